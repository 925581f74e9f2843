//! The table of runs: who ran when, on which manifest, what the run did and how it ended.
//!
//! Every reader and writer of the table uses [`RunRow`]. A run that was killed has no end in the table; what is
//! known of it anyway follows from the ledger alone, never from the clock.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::columns::{int, number};
use super::pace::{Pace, write_pace};
use super::sqlite_error;
use crate::error::RunError;
use crate::machine::host;
use crate::timestamp;

/// A row of the table. As JSON it is what `report --runs --json` prints; `verify --adopt` reads one from a
/// `summary.json`, which has the same names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRow {
    /// Number of the run; 0 before it is in the table.
    #[serde(rename = "run", skip_deserializing)]
    pub id: i64,
    /// RFC 3339, UTC, like all times here.
    pub started_at: String,
    /// `None`: the run is still going on, or was killed.
    pub finished_at: Option<String>,
    /// Duration; of a run without an end, as of its last counters.
    pub seconds: f64,
    /// `None` as above.
    pub exit_code: Option<u8>,
    /// Why the run stopped early, if it did.
    pub stop: Option<String>,
    /// Login name of the user who started it.
    pub user: String,
    /// Machine it ran on.
    pub host: String,
    /// Version of the program.
    pub version: String,
    /// SHA-256 of the manifest's file, in hex.
    pub manifest_sha256: String,
    /// Bytes of the images that this run delivered.
    pub bytes: u64,
    /// Requests sent to the API.
    pub api_requests: u64,
    /// 429 answers among them.
    pub api_429: u64,
    /// Attempts beyond the first of each image.
    pub retries: u64,
    /// Share of the API's allowance that the run used, 0 to 1.
    #[serde(skip_serializing)]
    pub allowance_share: Option<f64>,
}

/// What a run has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunCounters {
    /// Since it started.
    pub seconds: f64,
    /// Bytes of images delivered.
    pub bytes: u64,
    /// Requests sent to the API.
    pub api_requests: u64,
    /// 429 answers among them.
    pub api_429: u64,
    /// Attempts beyond the first of each image.
    pub retries: u64,
    /// Share of the API's allowance that was used, 0 to 1.
    pub allowance_share: Option<f64>,
    /// Images in flight, and what other rows wait for.
    pub pace: Pace,
}

impl RunRow {
    /// A run that starts now, by this user on this machine, with the manifest of that SHA-256 (hex).
    #[must_use]
    pub fn starting(manifest_sha256: String) -> Self {
        Self {
            started_at: timestamp::now(),
            manifest_sha256,
            host: host(),
            user: user(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Self::default()
        }
    }

    /// Reads a row of `SELECT * FROM runs`.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let count = |name| -> rusqlite::Result<u64> {
            Ok(number(row, row.as_ref().column_index(name)?)?.unwrap_or_default())
        };
        Ok(Self {
            id: row.get("id")?,
            started_at: row.get("started_at")?,
            finished_at: row.get("finished_at")?,
            seconds: row.get("seconds")?,
            exit_code: row.get("exit_code")?,
            stop: row.get("stop")?,
            user: row.get("user")?,
            host: row.get("host")?,
            version: row.get("version")?,
            manifest_sha256: row.get("manifest_sha256")?,
            bytes: count("bytes")?,
            api_requests: count("api_requests")?,
            api_429: count("api_429")?,
            retries: count("retries")?,
            allowance_share: row.get("allowance_share")?,
        })
    }

    /// Gives a run without an end the one that its images tell of: the run ended with its newest image, or at its
    /// start if it delivered none.
    pub(crate) fn with_inferred_end(self, connection: &Connection) -> rusqlite::Result<Self> {
        if self.finished_at.is_some() {
            return Ok(self);
        }
        let (newest, bytes): (Option<String>, _) = connection.query_row(
            "SELECT max(stored_at), coalesce(sum(bytes), 0) FROM images WHERE run = ?1 AND delivered = 1",
            [self.id],
            |row| Ok((row.get(0)?, number(row, 1)?.unwrap_or_default())),
        )?;
        let finished_at = newest.unwrap_or_else(|| self.started_at.clone());
        let seconds = seconds_between(&self.started_at, &finished_at).unwrap_or(self.seconds);
        Ok(Self { finished_at: Some(finished_at), seconds, bytes, exit_code: None, ..self })
    }
}

fn seconds_between(from: &str, to: &str) -> Option<f64> {
    let (from, to) = (from.parse::<Timestamp>().ok()?, to.parse::<Timestamp>().ok()?);
    Some(to.duration_since(from).as_secs_f64())
}

/// The login name, else the user's number.
fn user() -> String {
    let named =
        ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// Adds a run that starts, or one of a lost ledger, and returns its number.
///
/// # Errors
/// If the ledger cannot be written.
pub fn insert_run(connection: &Connection, run: &RunRow) -> rusqlite::Result<i64> {
    connection.execute(
        "INSERT INTO runs (started_at, finished_at, seconds, manifest_sha256, host, user, version, exit_code, stop,
             bytes, api_requests, api_429, retries, allowance_share)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            run.started_at,
            run.finished_at,
            run.seconds,
            run.manifest_sha256,
            run.host,
            run.user,
            run.version,
            run.exit_code,
            run.stop,
            int(run.bytes),
            int(run.api_requests),
            int(run.api_429),
            int(run.retries),
            run.allowance_share
        ],
    )?;
    Ok(connection.last_insert_rowid())
}

/// Records what the run has done so far.
pub(super) fn update_counters(
    connection: &Connection,
    run: i64,
    counters: &RunCounters,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE runs SET seconds = ?2, bytes = ?3, api_requests = ?4, api_429 = ?5, retries = ?6,
             allowance_share = ?7 WHERE id = ?1",
        )?
        .execute(params![
            run,
            counters.seconds,
            int(counters.bytes),
            int(counters.api_requests),
            int(counters.api_429),
            int(counters.retries),
            counters.allowance_share
        ])?;
    write_pace(connection, run, &counters.pace)
}

/// Records how the run ended. `stop` is why rows were left untried: its error code, or an empty text, and the reason.
///
/// # Errors
/// If the ledger cannot be written.
pub fn finish_run(
    connection: &Connection,
    run: i64,
    finished_at: &str,
    exit_code: u8,
    stop: Option<(&str, &str)>,
    counters: &RunCounters,
) -> rusqlite::Result<()> {
    update_counters(connection, run, counters)?;
    let (code, why) = stop.map_or(("", None), |(code, why)| (code, Some(why)));
    connection.execute(
        "UPDATE runs SET finished_at = ?2, exit_code = ?3, stop_code = ?4, stop = ?5 WHERE id = ?1",
        params![run, finished_at, exit_code, code, why],
    )?;
    Ok(())
}

/// All runs that were ever started on the export, the first one first.
///
/// # Errors
/// If the ledger cannot be read.
pub fn runs(connection: &Connection) -> Result<Vec<RunRow>, RunError> {
    runs_after(connection, 0).map_err(sqlite_error)
}

/// The runs that started after run `after`.
pub(crate) fn runs_after(connection: &Connection, after: i64) -> rusqlite::Result<Vec<RunRow>> {
    let mut runs = connection.prepare("SELECT * FROM runs WHERE id > ?1 ORDER BY id")?;
    runs.query_map([after], RunRow::read)?.collect()
}

/// The run that the view `results` speaks of.
pub(crate) fn newest_run(connection: &Connection) -> rusqlite::Result<Option<RunRow>> {
    connection.query_row("SELECT * FROM runs ORDER BY id DESC LIMIT 1", [], RunRow::read).optional()
}
