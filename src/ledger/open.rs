//! Opens a ledger for writing: the lock, the settings of the connection, the schema.
//!
//! A ledger that is damaged, newer or lost is refused before anything is created.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::sqlite_error_in;
use super::inspect::{self, VERSION, check, check_tables, check_version, refuse_unmounted};
use super::lock::{RUN, holder, locks};
use super::pace::create_pace;
use super::paths::{LEDGER_FILE, LOCK_FILE, STATE_DIR, state_folder};
use crate::disk::folder::{create_private, create_private_file, obstacle, refuse_special};
use crate::disk::presence::{self, Presence, cannot_look_at};
use crate::disk::{FileSystem, SAFE_JOURNAL, journal_mode};
use crate::error::RunError;

/// The ledger's tables.
pub(super) const SCHEMA: &str = include_str!("schema.sql");
/// 8 MiB: enough for the hot pages of a million rows, small beside the 64 MiB that a run may use.
pub(super) const CACHE_KIB: i64 = 8 * 1024;
/// How long SQLite waits for a lock of the database: a reader or a checkpoint takes moments.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// The write-ahead log is cut back to this after a checkpoint.
const JOURNAL_MAX: i64 = 64 << 20;

/// An export folder that belongs to this process until this is dropped.
#[derive(Debug)]
pub struct State {
    /// The ledger, ready for [`super::Ledger::start`].
    pub connection: Connection,
    /// Files and folders that this call created, the innermost first: the order in which they can be removed.
    pub made: Vec<PathBuf>,
    /// The locks of the ledger and of the part files, released with the process at the latest.
    pub locks: Vec<File>,
}

/// Locks the folder `out` for a run and opens its ledger; creates whichever of them is missing.
///
/// # Errors
/// [`RunError::InUse`], [`RunError::Ledger`], [`RunError::Disk`] or [`RunError::Io`].
pub fn open_state(out: &Path, state_dir: Option<&Path>) -> Result<State, RunError> {
    let state = state_folder(out, state_dir);
    let path = state.join(LEDGER_FILE);
    refuse_special(&path)?;
    // before anything is created, and again under the lock; a process that holds it may be about to create the ledger
    if let Err(refusal) = check(out, &path) {
        let held = holder(out, None)?.or(holder(out, state_dir)?);
        return Err(held.map_or(refusal, |holder| holder.in_use(out)));
    }
    let mut made = create_folders(out, &state)?;
    let mut new_locks = vec![state.join(LOCK_FILE), out.join(STATE_DIR).join(LOCK_FILE)];
    new_locks.dedup();
    let mut made_locks = Vec::new();
    for lock in new_locks {
        if !exists(&lock)? {
            made_locks.push(lock);
        }
    }
    let locks = locks(out, &state, RUN)?;
    made.splice(0..0, made_locks);
    check(out, &path)?;
    if !exists(&path)? {
        // SQLite gives its log and index the mode of this file
        create_private_file(&path)?;
        made.insert(0, path.clone());
    }
    let connection = connect(&path)?;
    prepare(&connection, &path, &state)?;
    Ok(State { connection, made, locks })
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
    let path = inspect::find(out, state_dir)?;
    let state = state_folder(out, state_dir);
    let locks = locks(out, &state, by)?;
    let connection = connect(&path)?;
    check_tables(&connection, out, &path)?;
    configure(&connection, &state).map_err(|error| sqlite_error_in(&path, error))?;
    Ok(State { connection, made: Vec::new(), locks })
}

/// Opens a ledger file that exists.
pub(super) fn connect(path: &Path) -> Result<Connection, RunError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|error| sqlite_error_in(path, error))
}

/// Gives the ledger of an earlier program the indexes of the schema. With keys alone, ids that differ in case only were
/// found by reading all of them.
fn index_names(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE INDEX IF NOT EXISTS notes_name ON notes (key, name);
         CREATE INDEX IF NOT EXISTS images_name ON images (key, name);
         DROP INDEX IF EXISTS notes_key;
         DROP INDEX IF EXISTS images_key;",
    )
}

/// Makes a connection ready for writing: its settings, and the tables if there are none.
pub(super) fn prepare(connection: &Connection, path: &Path, state: &Path) -> Result<(), RunError> {
    configure(connection, state).map_err(|error| sqlite_error_in(path, error))?;
    if check_version(connection, path)? > 0 {
        let added = index_names(connection).and_then(|()| create_pace(connection));
        return added.map_err(|error| sqlite_error_in(path, error));
    }
    connection
        .execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"))
        .map_err(|error| sqlite_error_in(path, error))
}

fn configure(connection: &Connection, state: &Path) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    set_journal(connection, journal_mode(FileSystem::of(state)))?;
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

/// Sets the journal's mode. SQLite may refuse the write-ahead log without an error and keep a journal that it only
/// unlinks, which is not durable in a power cut; truncating the journal is.
fn set_journal(connection: &Connection, wanted: &str) -> rusqlite::Result<()> {
    let set = |mode: &str| {
        connection.pragma_update_and_check(None, "journal_mode", mode, |row| row.get::<_, String>(0))
    };
    if set(wanted).is_ok_and(|mode| mode.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    let mode = set(SAFE_JOURNAL)?;
    if mode.eq_ignore_ascii_case(SAFE_JOURNAL) {
        return Ok(());
    }
    let refused = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    Err(rusqlite::Error::SqliteFailure(refused, Some(format!("its journal stays in mode {mode}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_comes_to_a_share_leaves_the_write_ahead_log_and_keeps_its_rows() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = || Connection::open(dir.path().join(LEDGER_FILE)).expect("a ledger");
        let mode = |connection: &Connection| {
            connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).expect("a mode")
        };
        let connection = open();
        set_journal(&connection, "WAL").expect("set");
        assert_eq!(mode(&connection), "wal");
        connection.execute_batch("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (7)").expect("written");
        drop(connection);
        let connection = open();
        set_journal(&connection, SAFE_JOURNAL).expect("set");
        assert_eq!(mode(&connection), "truncate");
        let n: i64 = connection.query_row("SELECT n FROM t", [], |row| row.get(0)).expect("kept");
        assert_eq!(n, 7);
        assert!(!dir.path().join("ledger.sqlite-wal").exists());
    }

    #[test]
    fn a_journal_in_a_mode_that_was_not_asked_for_is_refused() {
        let connection = Connection::open_in_memory().expect("a ledger");
        let refused = set_journal(&connection, "WAL").expect_err("a ledger in memory has neither");
        assert!(refused.to_string().contains("stays in mode memory"), "{refused}");
    }
}
