//! How far the shards of an export are: each one, and all together.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;

use super::{Phase, Status, left, read};
use crate::error::RunError;
use crate::ledger::{self, ShardHome, ShardLook, ShardSet, Standing, sqlite_error};
use crate::report::Counts;
use crate::shard::Shard;

/// One shard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShardStatus {
    /// Its number, from 1.
    pub shard: u32,
    /// How it stands.
    pub state: Standing,
    /// The machine that works on it, or did last.
    pub host: Option<String>,
    /// The process that works on it, if its number can be read.
    pub pid: Option<u32>,
    /// Exit code of its newest run, if that has ended.
    pub exit_code: Option<u8>,
    /// Its rows by state; all zero if it has not loaded its manifest.
    #[serde(flatten)]
    pub counts: Counts,
    /// Of all its images that are delivered.
    pub bytes: u64,
    /// Rows delivered a second over the last minute.
    pub rows_per_second: f64,
}

/// Looks at all shards. The rows of one that has not run are untried.
pub(super) fn status(
    out: &Path,
    state_dir: Option<&Path>,
    set: &ShardSet,
    now: Timestamp,
) -> Result<Status, RunError> {
    let mut all = Status::default();
    let mut rows_in_all = 0;
    for shard in Shard::all(set.shards) {
        let look = ShardLook::at(out, ShardHome::of(out, state_dir, shard))?;
        if let Some(ledger) = &look.ledger {
            rows_in_all = rows_in_all.max(ledger::rows_in_all(ledger).map_err(sqlite_error)?.unwrap_or(0));
        }
        let own = of_shard(&look, now)?;
        all.counts.add_all(&own.counts);
        all.bytes += own.bytes;
        all.rows_per_second += own.rows_per_second;
        all.running |= own.state == Standing::Running;
        all.shards.push(own);
    }
    let unknown = rows_in_all.saturating_sub(all.counts.rows);
    all.counts.rows += unknown;
    all.counts.untried += unknown;
    all.bytes += delivered_before(out, state_dir, &all.shards)?;
    all.phase = all.running.then_some(Phase::Fetching);
    all.seconds_left = all.running.then(|| left(all.counts.untried, all.rows_per_second)).flatten();
    Ok(all)
}

fn of_shard(look: &ShardLook, now: Timestamp) -> Result<ShardStatus, RunError> {
    let own = match &look.ledger {
        Some(ledger) => read(ledger, look.standing == Standing::Running, now).map_err(sqlite_error)?,
        None => Status::default(),
    };
    Ok(ShardStatus {
        shard: look.home.shard.number(),
        state: look.standing,
        host: look.host.clone(),
        pid: look.pid,
        exit_code: look.run.as_ref().and_then(|run| run.exit_code),
        counts: own.counts,
        bytes: own.bytes,
        rows_per_second: own.rows_per_second,
    })
}

/// Bytes that the export's own ledger knows of shards which have none yet.
fn delivered_before(out: &Path, state_dir: Option<&Path>, shards: &[ShardStatus]) -> Result<u64, RunError> {
    let is_missing = |shard: &ShardStatus| shard.state == Standing::Missing;
    if !shards.iter().any(is_missing) {
        return Ok(0);
    }
    let connection = match ledger::open_read_only(out, state_dir) {
        Ok(connection) => connection,
        // nothing was delivered before, or merged
        Err(RunError::Settings(_) | RunError::NoExport(_)) => return Ok(0),
        Err(error) => return Err(error),
    };
    let of = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    let is_of_missing = |org: &str, note: &str| {
        let number = Shard::of_note(org, note, of).number();
        shards.get(number as usize - 1).is_some_and(is_missing)
    };
    bytes_of_notes(&connection, is_of_missing).map_err(sqlite_error)
}

fn bytes_of_notes(connection: &Connection, is_meant: impl Fn(&str, &str) -> bool) -> rusqlite::Result<u64> {
    let mut select = connection.prepare(
        "SELECT o.name, n.name, i.bytes FROM images i JOIN notes n ON n.id = i.note JOIN orgs o ON o.id = n.org
         WHERE i.delivered = 1",
    )?;
    let mut rows = select.query([])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if is_meant(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?) {
            bytes += row.get::<_, i64>(2)?.unsigned_abs();
        }
    }
    Ok(bytes)
}
