//! Opens a ledger for writing: the lock, the settings of the connection, the schema.
//!
//! A ledger that is damaged, newer or lost is refused before anything is created.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::fault::opening_error;
use super::files::{NEW_LEDGER, remove};
use super::handles::LedgerConnection;
use super::identity;
use super::inspect::{check, check_tables, refuse_unmounted};
use super::journal;
use super::lock::{MERGE, RUN, holder, locks};
use super::paths::{LEDGER_FILE, LOCK_FILE, STATE_DIR, ledger_file, state_folder};
use super::read::open_read_only;
use super::schema::complete;
use super::shards::{ShardSet, remove_leftovers};
use crate::disk::folder::{create_private, create_private_file, obstacle, refuse_special};
use crate::disk::presence::{self, Presence, cannot_look_at};
use crate::disk::{FileSystem, journal_mode};
use crate::error::RunError;

/// 8 MiB: enough for the hot pages of a million rows, small beside the 64 MiB that a run may use.
pub(super) const CACHE_KIB: i64 = 8 * 1024;
/// The write-ahead log is cut back to this after a checkpoint.
const JOURNAL_MAX: i64 = 64 << 20;

/// An export folder that belongs to this process until this is dropped.
#[derive(Debug)]
pub struct State {
    /// The ledger, ready for [`super::Ledger::start`].
    pub connection: LedgerConnection,
    /// Files and folders that this call created, the innermost first: the order in which they can be removed.
    pub made: Vec<PathBuf>,
    /// The locks of the ledger and of the part files, released with the process at the latest.
    pub locks: Vec<File>,
}

/// Locks the folder `out` for a run and opens its ledger; creates whichever of them is missing.
///
/// # Errors
/// [`RunError::InUse`], [`RunError::Ledger`], [`RunError::Disk`] or [`RunError::Io`]; [`RunError::Settings`] if the
/// ledger belongs to another export, or if the export is one of shards.
pub fn open_state(out: &Path, state_dir: Option<&Path>) -> Result<State, RunError> {
    ShardSet::refuse(out, "its rows are shared by several runs")?;
    let state = open_for(out, state_dir, RUN)?;
    // a shard may have started before the lock was taken
    ShardSet::refuse(out, "its rows are shared by several runs")?;
    remove_leftovers(out, &state_folder(out, state_dir))?;
    Ok(state)
}

/// As [`open_state`], for a merge of the export's shards.
///
/// # Errors
/// As [`open_state`].
pub fn open_merged(out: &Path, state_dir: Option<&Path>) -> Result<State, RunError> {
    open_for(out, state_dir, MERGE)
}

fn open_for(out: &Path, state_dir: Option<&Path>, by: &str) -> Result<State, RunError> {
    check_first(out, state_dir)?;
    let mut made = create_folders(out, &state_folder(out, state_dir))?;
    // now that it is there, its path may turn out to be that of the export's own
    let state = state_folder(out, state_dir);
    let path = state.join(LEDGER_FILE);
    let mut new_locks = vec![state.join(LOCK_FILE), out.join(STATE_DIR).join(LOCK_FILE)];
    new_locks.dedup();
    let mut made_locks = Vec::new();
    for lock in new_locks {
        if !exists(&lock)? {
            made_locks.push(lock);
        }
    }
    let locks = locks(out, &state, by)?;
    made.splice(0..0, made_locks);
    check(out, &path)?;
    remove(&state.join(NEW_LEDGER))?;
    if !exists(&path)? {
        // SQLite gives its log and index the mode of this file
        create_private_file(&path)?;
        made.insert(0, path.clone());
    }
    let connection = connect(&path, &state)?;
    prepare(&connection, &path, &state)?;
    identity::check(&connection, out, &state)?;
    made.splice(0..0, identity::bind(&connection, out, &state)?);
    Ok(State { connection, made, locks })
}

/// Checks the ledger before anything is created; it is checked again under the lock.
fn check_first(out: &Path, state_dir: Option<&Path>) -> Result<(), RunError> {
    let path = ledger_file(out, state_dir);
    refuse_special(&path)?;
    let checked = check(out, &path)
        .and_then(|is_there| if is_there { open_read_only(out, state_dir).map(drop) } else { Ok(()) });
    match checked {
        Ok(()) | Err(RunError::NoExport(_)) => Ok(()),
        Err(refusal @ RunError::Settings(_)) => Err(refusal),
        // a process that holds the lock may be about to create the ledger
        Err(refusal) => {
            let held = holder(out, None)?.or(holder(out, state_dir)?);
            Err(held.map_or(refusal, |holder| holder.in_use(out)))
        }
    }
}

fn exists(path: &Path) -> Result<bool, RunError> {
    presence::exists(path).map_err(cannot_look_at(path))
}

/// Creates the export folder and its state folders; returns what it created, the innermost first.
fn create_folders(out: &Path, state: &Path) -> Result<Vec<PathBuf>, RunError> {
    let parts = out.join(STATE_DIR);
    if !presence::is_folder(&parts).map_err(cannot_look_at(&parts))? {
        refuse_unmounted(out, &state.join(LEDGER_FILE))?;
    }
    if matches!(Presence::of(&parts).map_err(cannot_look_at(&parts))?, Presence::Link(_)) {
        return Err(obstacle(&parts, "a symbolic link"));
    }
    let mut made = Vec::new();
    for folder in [out, &parts, state] {
        create_private(folder, &mut made)?;
    }
    made.reverse();
    Ok(made)
}

/// Locks an export for the command `by` and opens its ledger for writing; creates nothing.
///
/// # Errors
/// As [`super::open_read_only`], and [`RunError::InUse`].
pub fn open_locked(out: &Path, state_dir: Option<&Path>, by: &str) -> Result<State, RunError> {
    // refuses what cannot be used before a lock is created
    drop(open_read_only(out, state_dir)?);
    let state = state_folder(out, state_dir);
    let path = state.join(LEDGER_FILE);
    let locks = locks(out, &state, by)?;
    let connection = connect(&path, &state)?;
    check_tables(&connection, out, &path)?;
    identity::check(&connection, out, &state)?;
    prepare(&connection, &path, &state)?;
    Ok(State { connection, made: Vec::new(), locks })
}

/// Opens a ledger file that exists, with a journal that works in the folder `state`.
pub(super) fn connect(path: &Path, state: &Path) -> Result<LedgerConnection, RunError> {
    let journal = journal_mode(FileSystem::of(state));
    journal::open_for_writing(path, journal).map_err(|error| opening_error(path, error))
}

/// Makes a connection ready for writing: its settings, and the tables that are missing.
pub(super) fn prepare(connection: &Connection, path: &Path, state: &Path) -> Result<(), RunError> {
    configure(connection, state).map_err(|error| opening_error(path, error))?;
    complete(connection, path)
}

fn configure(connection: &Connection, state: &Path) -> rusqlite::Result<()> {
    // a commit that returned must survive a power cut; NORMAL does not flush the log
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "FILE")?;
    // sorting a million rows needs room that /tmp may not have; the file system of the export must have it
    connection.pragma_update(None, "temp_store_directory", state.to_string_lossy().as_ref())?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_MAX)?;
    // every reference is written by the code that inserted the row it points to
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(())
}
