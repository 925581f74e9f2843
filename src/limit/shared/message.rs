//! What runs tell each other about their requests, and how a message stands in the table.

use std::time::Duration;

use rusqlite::{Row, Transaction, params};

use super::Part;
use super::boot::Process;
use crate::remote::rate_headers::RateHeaders;

const READ: &str = "
    SELECT at, run, pid, started, request, step, requests_left, limited, rate_limit, remaining, retry_after, reset, share, shard
    FROM messages WHERE id > ?1 AND boot = ?2 AND at <= ?3 AND (at >= ?4 OR limited) ORDER BY id";
const INSERT: &str = "
    INSERT INTO messages (boot, at, run, pid, started, request, step,
                          requests_left, limited, rate_limit, remaining, retry_after, reset, share, shard)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A run waits, and still needs `left` requests.
    Waiting { left: u32 },
    /// It may be sent now; its run still needs `left`, this one included.
    Granted { left: u32 },
    /// Its answer has come.
    Answered(RateHeaders),
    /// It was not sent after all.
    Released,
    /// It was sent, and its run no longer waits for the answer.
    Abandoned,
}

/// What a run brings into the count of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limit) struct Stake {
    /// Its part of the allowance.
    pub part: Part,
    /// The number of its shard, 0 if it has none. A shard that is started again has one part, not two.
    pub shard: u32,
}

impl Stake {
    /// That of a run on an allowance of its own.
    pub(in crate::limit) const WHOLE: Self = Self { part: Part::WHOLE, shard: 0 };
}

/// What one run tells the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Since the boot.
    pub at: Duration,
    /// A random number.
    pub run: u32,
    pub process: Process,
    pub stake: Stake,
    /// The request's number in its run.
    pub request: u32,
    pub step: Step,
}

impl Message {
    /// Takes out what it says of the allowance that is left.
    pub(super) const fn forget_remaining(&mut self) {
        if let Step::Answered(headers) = &mut self.step {
            headers.remaining = None;
        }
    }
}

/// Messages behind `seen`, of this boot, not of the future and not older than `memory`, 429s excepted.
pub(super) fn read(
    transaction: &Transaction<'_>,
    seen: i64,
    boot: &str,
    now: Duration,
    memory: Duration,
) -> rusqlite::Result<Vec<Message>> {
    let mut statement = transaction.prepare_cached(READ)?;
    let mut rows = statement.query(params![seen, boot, nanos(now), nanos(now.saturating_sub(memory))])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        // a number out of its range is nothing that a run has written
        messages.extend(message(row).ok());
    }
    Ok(messages)
}

/// Adds a message.
pub(super) fn insert(transaction: &Transaction<'_>, boot: &str, message: &Message) -> rusqlite::Result<()> {
    let none = RateHeaders::default();
    let (step, left, headers) = match &message.step {
        Step::Waiting { left } => ("waiting", Some(*left), &none),
        Step::Granted { left } => ("granted", Some(*left), &none),
        Step::Answered(headers) => ("answered", None, headers),
        Step::Released => ("released", None, &none),
        Step::Abandoned => ("abandoned", None, &none),
    };
    transaction.prepare_cached(INSERT)?.execute(params![
        boot,
        nanos(message.at),
        message.run,
        message.process.pid,
        message.process.started,
        message.request,
        step,
        left,
        headers.limited,
        headers.limit,
        headers.remaining,
        headers.retry_after.map(millis),
        headers.reset.map(millis),
        message.stake.part.billionths(),
        message.stake.shard,
    ])?;
    Ok(())
}

fn duration(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Duration>> {
    let millis: Option<u32> = row.get(index)?;
    Ok(millis.map(|millis| Duration::from_millis(millis.into())))
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let left = row.get::<_, Option<u32>>(6)?.unwrap_or(0);
    let step = match row.get_ref(5)?.as_str()? {
        "waiting" => Step::Waiting { left },
        "granted" => Step::Granted { left },
        "answered" => Step::Answered(RateHeaders {
            limited: row.get(7)?,
            limit: row.get(8)?,
            remaining: row.get(9)?,
            retry_after: duration(row, 10)?,
            reset: duration(row, 11)?,
        }),
        "released" => Step::Released,
        "abandoned" => Step::Abandoned,
        _ => return Err(rusqlite::Error::InvalidQuery),
    };
    Ok(Message {
        at: Duration::from_nanos(row.get::<_, i64>(0)?.unsigned_abs()),
        run: row.get(1)?,
        process: Process { pid: row.get(2)?, started: row.get(3)? },
        stake: Stake { part: Part::from_billionths(row.get(12)?), shard: row.get(13)? },
        request: row.get(4)?,
        step,
    })
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Rounded up: a wait is never cut short.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
