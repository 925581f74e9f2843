//! What a run did in each minute, and when it had to wait: for the report's picture of its pace.

use rusqlite::{Connection, Row, params};

use super::columns::{int, number};

/// One minute of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Minutes since the run started, from 0.
    pub minute: u64,
    /// Requests sent to the API.
    pub requests: u64,
    /// Answers with status 429.
    pub answers_429: u64,
    /// Images delivered.
    pub images: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Most images that were fetched at a time.
    pub in_flight: u64,
    /// Requests a minute that were allowed.
    pub allowance: f64,
}

/// Why a run could not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A service was out.
    Outage,
    /// A 429 asked for it.
    Wait,
}

impl SpanKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Wait => "wait",
        }
    }
}

/// A time in which a run could not go on. In milliseconds since the run started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Why.
    pub what: SpanKind,
    /// When it began.
    pub began: u64,
    /// When it ended, or was last seen to go on.
    pub ended: u64,
}

/// Records a minute, in place of what was recorded of it before.
pub(super) fn record_sample(connection: &Connection, run: i64, sample: &Sample) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO samples (run, minute, requests, answers_429, images, bytes, in_flight, allowance)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            run,
            int(sample.minute),
            int(sample.requests),
            int(sample.answers_429),
            int(sample.images),
            int(sample.bytes),
            int(sample.in_flight),
            sample.allowance
        ])
        .map(drop)
}

/// Records a span, in place of what was recorded of it before.
pub(super) fn record_span(connection: &Connection, run: i64, span: &Span) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO spans (run, what, began, ended) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![run, span.what.as_str(), int(span.began), int(span.ended)])
        .map(drop)
}

/// The minutes of a run, the first one first. A minute in which nothing was recorded is missing.
pub(crate) fn samples(connection: &Connection, run: i64) -> rusqlite::Result<Vec<Sample>> {
    let mut select = connection.prepare(
        "SELECT minute, requests, answers_429, images, bytes, in_flight, allowance FROM samples WHERE run = ?1
         ORDER BY minute",
    )?;
    let count = |row: &Row<'_>, column| Ok::<_, rusqlite::Error>(number(row, column)?.unwrap_or_default());
    let read = |row: &Row<'_>| {
        Ok(Sample {
            minute: count(row, 0)?,
            requests: count(row, 1)?,
            answers_429: count(row, 2)?,
            images: count(row, 3)?,
            bytes: count(row, 4)?,
            in_flight: count(row, 5)?,
            allowance: row.get(6)?,
        })
    };
    select.query_map([run], read)?.collect()
}

/// The spans of a run by their beginning.
pub(crate) fn spans(connection: &Connection, run: i64) -> rusqlite::Result<Vec<Span>> {
    let mut select =
        connection.prepare("SELECT what, began, ended FROM spans WHERE run = ?1 ORDER BY began, what")?;
    let read = |row: &Row<'_>| {
        let what = if row.get_ref(0)?.as_str()? == SpanKind::Outage.as_str() {
            SpanKind::Outage
        } else {
            SpanKind::Wait
        };
        let time = |column| Ok::<_, rusqlite::Error>(number(row, column)?.unwrap_or_default());
        Ok(Span { what, began: time(1)?, ended: time(2)? })
    };
    select.query_map([run], read)?.collect()
}
