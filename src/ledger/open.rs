//! Opening a ledger: the state folder, the lock, the schema's version.
//!
//! Nothing is created where only reading was asked for, and nothing of a damaged, newer or lost ledger is
//! touched.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::existing::{Holder, check_header, damaged, holder, newer, not_lost};
use super::sqlite_error;
pub(super) use crate::disk::fault::run_error as disk;
use crate::disk::{FileSystem, SAFE_JOURNAL, journal_mode};
use crate::error::{RunError, chain};

/// The state folder in the export folder.
pub const STATE_DIR: &str = ".exporter";
/// The ledger in the state folder.
pub const LEDGER_FILE: &str = "ledger.sqlite";
/// The lock in the state folder.
pub const LOCK_FILE: &str = "lock";
/// Version of `schema.sql`, kept in the file as `user_version`.
pub(super) const VERSION: i64 = 1;
/// 8 MiB: enough for the hot pages of a million rows, small beside the 64 MiB that a run may use.
pub(super) const CACHE_KIB: i64 = 8 * 1024;
/// The command that fills the folder.
const RUN: &str = "run";
/// The command that holds the lock for moments, to write down what it has checked.
pub const NOTES: &str = "verify";
/// A lock that is held is asked for so often.
const LOCK_WAIT: Duration = Duration::from_millis(20);
/// For so long: whoever asks for the holder has it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);
/// For so long by a run where somebody writes down notes: on a slow disk a moment may take a second.
const NOTES_PATIENCE: Duration = Duration::from_secs(5);

/// An export folder that is ours until this is dropped.
#[derive(Debug)]
pub struct State {
    /// The ledger, ready to be given a thread.
    pub connection: Connection,
    /// Files and folders that this call made, in that order.
    pub made: Vec<PathBuf>,
    /// The locks of the ledger and of the part files: they die with the process.
    pub locks: Vec<File>,
}

/// Takes the lock of the folder `out` and opens its ledger, making both where there are none.
///
/// # Errors
/// [`RunError::InUse`], [`RunError::Ledger`], [`RunError::Disk`] or [`RunError::Io`].
pub fn open_state(out: &Path, state_dir: Option<&Path>) -> Result<State, RunError> {
    let state = state_folder(out, state_dir);
    let path = state.join(LEDGER_FILE);
    plain(&path)?;
    // before anything is made, and again under the lock; whoever holds that is named first
    if let Err(refusal) = check(out, &path) {
        let held = holder(out, None)?.or(holder(out, state_dir)?);
        return Err(match held {
            Some(Holder { pid, command, .. }) => RunError::InUse { folder: out.to_owned(), pid, command },
            None => refusal,
        });
    }
    let parts = out.join(STATE_DIR);
    if !parts.is_dir() {
        export_is_there(out, &path)?;
    }
    if parts.is_symlink() {
        return Err(in_the_way(&parts, "a symbolic link"));
    }
    let mut made = Vec::new();
    for folder in [out, &parts, &state] {
        make_dir(folder, &mut made)?;
    }
    made.reverse(); // the innermost is to be removed first
    let mut new_locks = vec![state.join(LOCK_FILE), parts.join(LOCK_FILE)];
    new_locks.dedup();
    new_locks.retain(|lock| !lock.exists());
    let locks = locks(out, &state, RUN)?;
    made.splice(0..0, new_locks);
    check(out, &path)?;
    if !path.exists() {
        // SQLite gives its log and index the mode of this file
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(disk("making", &path))?;
        made.insert(0, path.clone());
    }
    let connection = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|error| named(&path, error))?;
    prepare(&connection, &state).map_err(|error| named(&path, error))?;
    migrate(&connection, &path)?;
    Ok(State { connection, made, locks })
}

/// A ledger elsewhere (`--state-dir`) that knows images, and a folder that is no export: its disk is not mounted.
/// To go on would fetch everything again, onto another disk.
fn export_is_there(out: &Path, ledger: &Path) -> Result<(), RunError> {
    let Ok(connection) = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY) else {
        return Ok(()); // no ledger, or one that is refused with its own words
    };
    let delivered: i64 = connection
        .query_row("SELECT count(*) FROM images WHERE delivered = 1", [], |row| row.get(0))
        .unwrap_or(0);
    if delivered == 0 {
        return Ok(());
    }
    Err(RunError::Disk(format!(
        "{} holds no export, but the ledger {} knows {delivered} delivered images: is its disk mounted?",
        out.display(),
        ledger.display()
    )))
}

/// Where ledger and lock of an export live.
#[must_use]
pub fn state_folder(out: &Path, state_dir: Option<&Path>) -> PathBuf {
    state_dir.map_or_else(|| out.join(STATE_DIR), Path::to_owned)
}

/// Sets the journal's mode. SQLite may refuse the write-ahead log without an error; what it then has is not durable
/// in a power cut (it only unlinks the journal), truncating it is.
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

pub(super) fn prepare(connection: &Connection, state: &Path) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(30))?;
    set_journal(connection, journal_mode(FileSystem::of(state)))?;
    // a commit that returned must survive a power cut; NORMAL does not flush the log
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "FILE")?;
    // sorting a million rows needs room that /tmp may not have; the file system of the export must have it
    connection.pragma_update(None, "temp_store_directory", state.to_string_lossy().as_ref())?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // every reference is written by the code that made the row it points to
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(())
}

pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), RunError> {
    if check_version(connection, path)? == 0 {
        let schema = include_str!("schema.sql");
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {schema} PRAGMA user_version = {VERSION}; COMMIT;"))
            .map_err(|error| named(path, error))?;
    }
    Ok(())
}

/// The version, 0 for a file without tables.
pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<i64, RunError> {
    let version: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| named(path, error))?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| named(path, error))?;
    match (version, tables) {
        (VERSION, 1..) | (0, 0) => Ok(version),
        (version, _) if version > VERSION => Err(newer(path, version)),
        _ => Err(damaged(path, "is not a ledger of exporter")),
    }
}

pub(crate) fn named(path: &Path, error: rusqlite::Error) -> RunError {
    match sqlite_error(error) {
        RunError::Ledger { what, kind, .. } => RunError::Ledger { path: path.to_owned(), what, kind },
        other => other,
    }
}

/// No ledger without images is lost, and one that is there must be ours to write.
fn check(out: &Path, path: &Path) -> Result<(), RunError> {
    if path.exists() { check_header(out, path).map(drop) } else { not_lost(out, path) }
}

/// Takes the locks of the ledger and of the part files. `by` is the command that takes them.
pub(super) fn locks(out: &Path, state: &Path, by: &str) -> Result<Vec<File>, RunError> {
    let mut locks = vec![lock(out, &state.join(LOCK_FILE), by)?];
    let parts = out.join(STATE_DIR);
    if state != parts {
        // a run with its ledger elsewhere would work on the same part files; a share may know no locks
        match lock(out, &parts.join(LOCK_FILE), by) {
            Ok(second) => locks.push(second),
            Err(in_use @ RunError::InUse { .. }) => return Err(in_use),
            Err(error) => tracing::debug!("the part files are not locked: {}", chain(&error)),
        }
    }
    Ok(locks)
}

/// Takes the lock. `by` is the command that takes it, for the next one who finds the folder locked.
fn lock(out: &Path, path: &Path, by: &str) -> Result<File, RunError> {
    // neither through a link, whose target would be written, nor into a pipe, which would be waited for
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(disk("opening", path))?;
    plain(path)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                file.rewind().map_err(disk("reading", path))?;
                let Holder { pid, command, .. } = Holder::read(&mut file);
                let patience = if by == RUN && command == NOTES { NOTES_PATIENCE } else { LOCK_PATIENCE };
                if begun.elapsed() > patience {
                    return Err(RunError::InUse { folder: out.to_owned(), pid, command });
                }
                std::thread::sleep(LOCK_WAIT);
            }
            Err(TryLockError::Error(error)) => return Err(disk("locking", path)(error)),
        }
    }
    // number and command are a courtesy to the next one who finds the folder locked
    file.set_len(0).map_err(disk("writing", path))?;
    file.rewind().map_err(disk("writing", path))?;
    write!(file, "{}\n{by}\n", std::process::id()).map_err(disk("writing", path))?;
    Ok(file)
}

/// Refuses a link, a pipe or a device in the place of a file; nothing there is fine.
pub(super) fn plain(path: &Path) -> Result<(), RunError> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => Err(in_the_way(path, "no plain file")),
        _ => Ok(()),
    }
}

fn in_the_way(path: &Path, kind: &str) -> RunError {
    RunError::Disk(format!("{} is in the way and is {kind}; move it away", path.display()))
}

/// What to do about a file in the place of a folder.
pub(crate) const ANOTHER: &str = "move it away, or choose another with -o";

/// Of what stands where a folder is wanted.
pub(crate) fn no_folder(path: &Path) -> String {
    format!("{} is in the way and is no folder", path.display())
}

/// Makes a folder that only its owner may enter, durably; one that is there is left as it is.
pub(super) fn make_dir(path: &Path, made: &mut Vec<PathBuf>) -> Result<(), RunError> {
    if path.is_dir() || path.as_os_str().is_empty() {
        return Ok(());
    }
    if path.symlink_metadata().is_ok() {
        let advice = io::Error::new(io::ErrorKind::NotADirectory, ANOTHER);
        return Err(RunError::Io { what: no_folder(path), source: advice });
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dir(parent, made)?;
    std::fs::DirBuilder::new().mode(0o700).create(path).map_err(disk("making", path))?;
    made.push(path.to_owned());
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(disk("flushing", parent))
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
    fn who_takes_notes_is_waited_for_and_a_run_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        drop(open_state(dir.path(), None).expect("made"));
        for (by, waits) in [(NOTES, true), (RUN, false)] {
            let held = locks(dir.path(), &dir.path().join(STATE_DIR), by).expect("free");
            let holder = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(1));
                drop(held);
            });
            assert_eq!(open_state(dir.path(), None).is_ok(), waits, "{by}");
            holder.join().expect("no panic");
        }
    }

    #[test]
    fn a_journal_in_a_mode_that_was_not_asked_for_is_refused() {
        let connection = Connection::open_in_memory().expect("a ledger");
        let refused = set_journal(&connection, "WAL").expect_err("a ledger in memory has neither");
        assert!(refused.to_string().contains("stays in mode memory"), "{refused}");
    }
}
