//! Opens the ledger of a shard: locks, heartbeat, and what the export had delivered before.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use super::heartbeat::{Beat, Heartbeat};
use super::home::ShardHome;
use super::set::ShardSet;
use crate::disk::folder::{create_private, create_private_file};
use crate::disk::presence::{self, cannot_look_at};
use crate::error::{LedgerState, RunError};
use crate::ledger::copy::{self, copy_images};
use crate::ledger::delivered::mark_vanished;
use crate::ledger::fault::sqlite_error;
use crate::ledger::handles::LedgerConnection;
use crate::ledger::inspect::check;
use crate::ledger::lock::{MERGE, RUN, lock_both};
use crate::ledger::open::{State, connect, prepare};
use crate::ledger::paths::{LOCK_FILE, is_sharded, ledger_file};
use crate::ledger::read::{open_file, open_read_only};
use crate::shard::Shard;

/// How often a shard starts over because a merge has just finished the earlier ones.
const ATTEMPTS_MAX: u32 = 5;

/// A shard that belongs to this process until this is dropped.
#[derive(Debug)]
pub struct ShardState {
    /// Ledger and locks.
    pub state: State,
    /// Dropped before the locks.
    pub heartbeat: Heartbeat,
}

/// Locks a shard of the export `out` for a run and opens its ledger; creates whichever of them is missing. `manifest` is
/// the manifest's file, if it has one. Blocks while the process of another machine may be alive.
///
/// # Errors
/// [`RunError::Settings`] if the export has another number of shards, [`RunError::ShardInUse`], [`RunError::InUse`] if a
/// run without shards works in the export, [`RunError::Ledger`], [`RunError::Disk`].
pub fn open_shard(
    out: &Path,
    state_dir: Option<&Path>,
    shard: Shard,
    manifest: Option<&Path>,
) -> Result<ShardState, RunError> {
    let home = ShardHome::of(out, state_dir, shard);
    for _ in 0..ATTEMPTS_MAX {
        ShardSet::join(out, state_dir, shard, manifest)?;
        let mut made = Vec::new();
        for folder in [&home.folder, &home.state] {
            create_private(folder, &mut made)?;
        }
        made.reverse();
        let locks = lock_both(out, &home.state, &home.folder, RUN).map_err(|error| in_use(error, &home))?;
        // a merge that finishes the shards holds all their locks, and takes their folders away
        if !is_sharded(out)? || !presence::exists(&home.state.join(LOCK_FILE)).map_err(cannot_look_at(out))? {
            continue;
        }
        let heartbeat = Heartbeat::begin(out, &home)?;
        let connection = open_ledger(out, state_dir, &home, &mut made)?;
        return Ok(ShardState { state: State { connection, made, locks }, heartbeat });
    }
    Err(RunError::InUse { folder: out.to_owned(), pid: None, command: "merge".to_owned() })
}

/// Takes the locks of a shard for a merge; `None` if a process works on it, or it has no folder.
///
/// # Errors
/// [`RunError::Disk`] if it is not known.
pub(crate) fn lock_shard(out: &Path, home: &ShardHome) -> Result<Option<Vec<File>>, RunError> {
    match lock_both(out, &home.state, &home.folder, MERGE) {
        Ok(locks) => Ok(Some(locks)),
        Err(RunError::InUse { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes images of a shard undelivered: numbers in its ledger. The caller keeps its runs out.
///
/// # Errors
/// If the ledger cannot be written.
pub(crate) fn withdraw(home: &ShardHome, images: &[i64]) -> Result<(), RunError> {
    if images.is_empty() {
        return Ok(());
    }
    let path = home.ledger();
    let mut connection = connect(&path, &home.state)?;
    prepare(&connection, &path, &home.state)?;
    mark_vanished(&mut connection, images).map_err(sqlite_error)
}

/// The error of a lock that is held, with the machine that the heartbeat names.
fn in_use(error: RunError, home: &ShardHome) -> RunError {
    let RunError::InUse { folder, pid, .. } = error else { return error };
    let beat = Beat::read(&home.folder).ok().flatten();
    let host = beat.as_ref().map_or_else(crate::machine::host, |beat| beat.host.clone());
    RunError::ShardInUse { folder, shard: home.shard, host, pid: pid.or(beat.map(|beat| beat.pid)) }
}

fn open_ledger(
    out: &Path,
    state_dir: Option<&Path>,
    home: &ShardHome,
    made: &mut Vec<PathBuf>,
) -> Result<LedgerConnection, RunError> {
    let path = home.ledger();
    check(out, &path)?;
    if !presence::exists(&path).map_err(cannot_look_at(&path))? {
        create_private_file(&path)?;
        made.insert(0, path.clone());
    }
    let mut connection = connect(&path, &home.state)?;
    prepare(&connection, &path, &home.state)?;
    match shard_of(&connection).map_err(sqlite_error)? {
        Some(shard) if shard == home.shard => {}
        Some(shard) => return Err(wrong_shard(&path, shard)),
        None => take_over(out, state_dir, &mut connection, home.shard)?,
    }
    Ok(connection)
}

fn wrong_shard(path: &Path, shard: Shard) -> RunError {
    let what = format!("is that of shard {shard}");
    RunError::Ledger { path: path.to_owned(), what, kind: LedgerState::Damaged }
}

/// The shard whose rows a ledger has; `None`: it is that of a whole export.
///
/// # Errors
/// If the ledger cannot be read.
pub fn shard_of(connection: &Connection) -> rusqlite::Result<Option<Shard>> {
    let numbers = connection
        .query_row("SELECT number, shards FROM shard", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(numbers.and_then(|(number, of)| Shard::new(number, of)))
}

/// Makes a new ledger that of a shard, with the folders of all orgs and notes that the export knows, and with the images of
/// this shard that it delivered before; all or nothing.
fn take_over(
    out: &Path,
    state_dir: Option<&Path>,
    connection: &mut Connection,
    shard: Shard,
) -> Result<(), RunError> {
    let own = ledger_file(out, state_dir);
    let is_there = check(out, &own)?;
    let transaction = connection.transaction().map_err(sqlite_error)?;
    if is_there {
        let before = open_read_only(out, state_dir)?;
        copy::copy_owners(&before, &transaction, copy::Notes::All)?;
        // who delivered them is known to the export's own ledger
        copy_images(
            &before,
            &transaction,
            |org, note| shard.owns(org, note),
            |_, known| Ok(known.unwrap_or(0)),
        )
        .map_err(sqlite_error)?;
    }
    let insert = "INSERT INTO shard (id, number, shards) VALUES (1, ?1, ?2)";
    transaction
        .execute(insert, params![shard.number(), shard.of()])
        .and_then(|_| transaction.commit())
        .map_err(sqlite_error)
}

/// Opens the ledger of a shard for reading, also beside its run; `None` if there is none, or one that was never used.
///
/// # Errors
/// [`RunError::Ledger`] if it cannot be used.
pub fn open_shard_read_only(out: &Path, home: &ShardHome) -> Result<Option<LedgerConnection>, RunError> {
    let path = home.ledger();
    if !check(out, &path)? {
        return Ok(None);
    }
    let connection = match open_file(out, &path) {
        Err(RunError::NoExport(_)) => return Ok(None),
        connection => connection?,
    };
    match shard_of(&connection).map_err(sqlite_error)? {
        Some(shard) if shard == home.shard => Ok(Some(connection)),
        Some(shard) => Err(wrong_shard(&path, shard)),
        None => Ok(None),
    }
}
