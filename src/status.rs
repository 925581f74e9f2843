//! How far a run is, or how the last one ended: read from the ledger, also while a run writes to it.

mod shards;

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::{Serialize, Serializer};

pub use self::shards::ShardStatus;
use crate::error::RunError;
use crate::ledger::{self, Pace, RunRow, ShardSet, sqlite_error};
use crate::report::{Counts, counts};

/// Speed is taken over so many seconds: one window of the API's allowance.
const WINDOW: i64 = 60;

/// What is known. Serialized it is the answer in JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// A run is going on.
    pub running: bool,
    /// Rows by state, as the newest run has them now; those not reached yet are untried.
    #[serde(flatten)]
    pub counts: Counts,
    /// Of all images that are delivered, of every manifest.
    pub bytes: u64,
    /// Rows delivered a second over the last minute; 0 where no run is going on.
    pub rows_per_second: f64,
    /// Until all rows are done at that speed; `None` where nothing moves.
    pub seconds_left: Option<u64>,
    /// The newest run; `None` if there was none.
    #[serde(serialize_with = "write_newest")]
    pub run: Option<RunRow>,
    /// The process that runs, where its number can be read.
    pub pid: Option<u32>,
    /// What the run does; `None` where none is going on.
    pub phase: Option<Phase>,
    /// The shards, if several machines fill the export.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardStatus>,
    /// Images in flight and what the other rows wait for; `None` where no images are being fetched.
    pub pace: Option<Pace>,
    /// Untried rows that `verify --repair` made so since the newest run.
    #[serde(skip)]
    pub repaired: u64,
}

/// What a run that is going on does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It reads its manifest: all numbers are still those of the run before.
    Reading,
    /// It fetches images.
    Fetching,
    /// It has ended and writes its reports.
    Reporting,
}

/// The newest run as the JSON has it: `number`, and nothing of who ran it on which manifest.
#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn write_newest<S: Serializer>(run: &Option<RunRow>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Newest<'a> {
        number: i64,
        started_at: &'a str,
        finished_at: Option<&'a str>,
        exit_code: Option<u8>,
        stop: Option<&'a str>,
        seconds: f64,
        api_requests: u64,
        api_429: u64,
        retries: u64,
    }
    let newest = run.as_ref().map(|run| Newest {
        number: run.id,
        started_at: &run.started_at,
        finished_at: run.finished_at.as_deref(),
        exit_code: run.exit_code,
        stop: run.stop.as_deref(),
        seconds: run.seconds,
        api_requests: run.api_requests,
        api_429: run.api_429,
        retries: run.retries,
    });
    newest.serialize(serializer)
}

/// Looks at an export. `now` is the time of this machine's clock, which the ledger's times are of, too.
///
/// # Errors
/// [`RunError::NoExport`] and [`RunError::Ledger`].
pub fn status(out: &Path, state_dir: Option<&Path>, now: Timestamp) -> Result<Status, RunError> {
    if let Some(set) = ShardSet::read(out)? {
        return shards::status(out, state_dir, &set, now);
    }
    let connection = ledger::open_read_only(out, state_dir)?;
    // asked first: a run that ends meanwhile is then shown once more as going on, with its last numbers
    let holder = ledger::holder(out, state_dir)?.filter(|holder| matches!(&*holder.command, "" | "run"));
    let mut status = read(&connection, holder.is_some(), now).map_err(sqlite_error)?;
    status.phase = holder.as_ref().map(|holder| phase(status.run.as_ref(), holder.since));
    status.pid = holder.and_then(|holder| holder.pid);
    Ok(status)
}

/// A run writes itself down when its manifest is loaded; `since` is when it took the lock, if that is known.
fn phase(newest: Option<&RunRow>, since: Option<Timestamp>) -> Phase {
    let Some(run) = newest else { return Phase::Reading };
    let Some(finished_at) = &run.finished_at else { return Phase::Fetching };
    let before = |since: Timestamp| finished_at.parse().is_ok_and(|finished: Timestamp| finished < since);
    if since.is_some_and(before) { Phase::Reading } else { Phase::Reporting }
}

fn read(connection: &Connection, running: bool, now: Timestamp) -> rusqlite::Result<Status> {
    // one view of the ledger for all numbers
    let snapshot = connection.unchecked_transaction()?;
    let run = ledger::newest_run(&snapshot)?;
    let counts = counts(&snapshot)?;
    let bytes: i64 =
        snapshot.query_row("SELECT coalesce(sum(bytes), 0) FROM images WHERE delivered = 1", [], |row| {
            row.get(0)
        })?;
    let (rows_per_second, pace) = match &run {
        Some(run) if running && run.finished_at.is_none() => {
            (speed(&snapshot, run, now)?, ledger::pace_of(&snapshot, run.id)?)
        }
        _ => (0.0, None),
    };
    Ok(Status {
        running,
        counts,
        bytes: bytes.unsigned_abs(),
        rows_per_second,
        seconds_left: running.then(|| left(counts.untried, rows_per_second)).flatten(),
        run,
        pid: None,
        phase: None,
        shards: Vec::new(),
        pace,
        repaired: ledger::repaired(&snapshot)?,
    })
}

/// Images that the run delivered in the last minute, or since it began, a second.
fn speed(connection: &Connection, run: &RunRow, now: Timestamp) -> rusqlite::Result<f64> {
    let started = run.started_at.parse().unwrap_or(now);
    let window = now.checked_sub(jiff::SignedDuration::from_secs(WINDOW)).unwrap_or(now);
    let from = started.max(window);
    let seconds = now.duration_since(from).as_secs_f64();
    if seconds < 1.0 {
        return Ok(0.0);
    }
    let stored: u32 = connection.query_row(
        "SELECT count(*) FROM images WHERE run = ?1 AND delivered = 1 AND stored_at >= ?2",
        params![run.id, crate::timestamp::rfc3339(from)],
        |row| row.get(0),
    )?;
    Ok((f64::from(stored) / seconds * 1000.0).round() / 1000.0)
}

fn left(rows: u64, per_second: f64) -> Option<u64> {
    if per_second <= 0.0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a guess for people")]
    let seconds = (rows as f64 / per_second).round();
    std::time::Duration::try_from_secs_f64(seconds).ok().map(|time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that has begun at 08:00:00 and has delivered an image every second up to 08:02:00.
    fn ledger() -> Connection {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(include_str!("ledger/schema.sql")).expect("schema");
        connection.execute_batch("PRAGMA foreign_keys = OFF").expect("set");
        connection
            .execute_batch(
                "INSERT INTO runs (started_at, manifest_sha256, host, user, version, api_requests)
                 VALUES ('2026-03-01T08:00:00Z', '', '', '', '', 130)",
            )
            .expect("begun");
        for n in 1..=300_i64 {
            let image = (n <= 120).then_some(n);
            connection
                .execute(
                    "INSERT INTO rows (seq, line, note, name, image) VALUES (?1, ?1, 1, ?1, ?2)",
                    params![n, image],
                )
                .expect("row");
        }
        for n in 1..=120_i64 {
            let at = format!("2026-03-01T08:0{}:{:02}.5Z", n / 60, n % 60);
            connection
                .execute(
                    "INSERT INTO images VALUES (?1, 1, ?1, ?1, 1, ?1, 10, zeroblob(32), '', '', NULL, '', 1, ?2, ?2, 1, '')",
                    params![n, at],
                )
                .expect("image");
        }
        connection
    }

    #[test]
    fn speed_is_that_of_the_last_minute_and_time_left_follows_from_it() {
        let connection = ledger();
        let at = |time: &str| read(&connection, true, time.parse().expect("a time")).expect("read");
        let status = at("2026-03-01T08:02:00.6Z");
        assert_eq!((status.counts.rows, status.counts.stored, status.counts.untried), (300, 120, 180));
        assert_eq!(status.bytes, 1200);
        assert!((status.rows_per_second - 1.0).abs() < 0.05, "{}", status.rows_per_second);
        assert!(
            status.seconds_left.is_some_and(|left| (170..=190).contains(&left)),
            "{:?}",
            status.seconds_left
        );
        let silent = at("2026-03-01T08:05:00Z");
        assert_eq!((silent.rows_per_second, silent.seconds_left), (0.0, None));
        let early = at("2026-03-01T08:00:00.2Z");
        assert_eq!((early.rows_per_second, early.seconds_left), (0.0, None), "too early to tell");
    }

    #[test]
    fn a_lock_taken_after_the_newest_run_ended_is_that_of_one_that_reads_its_manifest() {
        let at = |time: &str| time.parse::<Timestamp>().ok();
        let run = |finished_at: Option<&str>| RunRow {
            finished_at: finished_at.map(str::to_owned),
            ..RunRow::default()
        };
        let ended = run(Some("2026-03-01T08:00:00Z"));
        assert_eq!(phase(None, at("2026-03-01T08:00:00Z")), Phase::Reading);
        assert_eq!(phase(Some(&run(None)), at("2026-03-01T08:00:00Z")), Phase::Fetching);
        assert_eq!(phase(Some(&ended), at("2026-03-01T08:00:01Z")), Phase::Reading);
        assert_eq!(phase(Some(&ended), at("2026-03-01T07:00:00Z")), Phase::Reporting);
        assert_eq!(phase(Some(&ended), None), Phase::Reporting);
    }

    #[test]
    fn without_a_run_nothing_moves() {
        let connection = ledger();
        let status = read(&connection, false, "2026-03-01T08:02:00Z".parse().expect("a time")).expect("read");
        assert_eq!((status.running, status.rows_per_second, status.seconds_left), (false, 0.0, None));
        assert_eq!(status.counts.untried, 180);
    }
}
