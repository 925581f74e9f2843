//! The journal of a ledger: the write-ahead log where it works, else a journal that needs no shared memory.
//!
//! The write-ahead log needs memory that processes share, and locks on it; a share, a FUSE file system or a folder that
//! lets no file be mapped may not have them. Whether they work is seen by using them, not from the kind of the disk.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Error, ErrorCode, ffi};

use super::files;
use super::handles::{self, LedgerConnection};
use crate::disk::SAFE_JOURNAL;

/// Opens the ledger at `path`, which must exist, so that it can be read; if its write-ahead log cannot be opened here,
/// gives it a journal that can.
pub(super) fn open(path: &Path) -> rusqlite::Result<LedgerConnection> {
    let connection = handles::open(path)?;
    match read(&connection) {
        Err(error) if is_about_the_log(&error) => {
            drop(connection);
            leave_log(path).map_err(|_| error)?;
            handles::open(path)
        }
        result => result.map(|()| connection),
    }
}

/// Opens the ledger at `path`, which must exist, for writing with a journal of the mode `wanted`, or of
/// [`SAFE_JOURNAL`] if that does not work here. SQLite may refuse the write-ahead log without an error and keep a
/// journal that it only unlinks, which is not durable in a power cut; truncating the journal is.
pub(super) fn open_for_writing(path: &Path, wanted: &str) -> rusqlite::Result<LedgerConnection> {
    let connection = open(path)?;
    let Err(error) = switch(&connection, wanted) else { return Ok(connection) };
    if !is_about_the_log(&error) {
        return Err(error);
    }
    // what it knows of the log would keep it from leaving it
    drop(connection);
    leave_log(path).map_err(|_| error)?;
    let connection = handles::open(path)?;
    switch(&connection, SAFE_JOURNAL)?;
    Ok(connection)
}

/// Sets a mode and uses it.
fn switch(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    let set: String = connection.pragma_update_and_check(None, "journal_mode", mode, |row| row.get(0))?;
    if !set.eq_ignore_ascii_case(mode) {
        let refused = ffi::Error::new(ffi::SQLITE_CANTOPEN);
        return Err(Error::SqliteFailure(refused, Some(format!("its journal stays in mode {set}"))));
    }
    // locks the ledger as a commit does
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
}

fn read(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Leaves the write-ahead log without shared memory: a connection that locks the whole ledger from its first use on
/// does not need any ("Write-Ahead Logging", section 8). Fails at once if another process has the ledger open.
fn leave_log(path: &Path) -> rusqlite::Result<()> {
    let connection = handles::open(path)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    switch(&connection, SAFE_JOURNAL)?;
    // the attempt to use the log left them; no other process has them open while the ledger is locked
    files::remove_unused_log(path);
    connection.close()
}

/// Whether an error may be that of the log or its shared memory, rather than of the ledger itself. A lock on the shared
/// memory that is refused looks as if another process held it.
fn is_about_the_log(error: &Error) -> bool {
    let Error::SqliteFailure(failure, _) = error else { return false };
    matches!(
        failure.code,
        ErrorCode::CannotOpen | ErrorCode::DatabaseBusy | ErrorCode::FileLockingProtocolFailed
    ) || matches!(
        failure.extended_code,
        ffi::SQLITE_IOERR_SHMOPEN
            | ffi::SQLITE_IOERR_SHMSIZE
            | ffi::SQLITE_IOERR_SHMLOCK
            | ffi::SQLITE_IOERR_SHMMAP
            | ffi::SQLITE_IOERR_LOCK
            | ffi::SQLITE_READONLY_CANTINIT
            | ffi::SQLITE_READONLY_CANTLOCK
            | ffi::SQLITE_READONLY_RECOVERY
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(connection: &Connection) -> String {
        connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("a mode")
    }

    #[test]
    fn a_ledger_that_comes_to_a_share_leaves_the_write_ahead_log_and_keeps_its_rows() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ledger.sqlite");
        std::fs::write(&path, "").expect("made");
        let to_share: [fn(&Path); 2] = [
            |path| drop(open_for_writing(path, SAFE_JOURNAL).expect("opened")),
            |path| leave_log(path).expect("left"),
        ];
        for to_share in to_share {
            let connection = open_for_writing(&path, "WAL").expect("opened");
            assert_eq!(mode(&connection), "wal");
            let fill = "CREATE TABLE IF NOT EXISTS t (n INTEGER); DELETE FROM t; INSERT INTO t VALUES (7)";
            connection.execute_batch(fill).expect("written");
            drop(connection);
            to_share(&path);
            let connection = open(&path).expect("opened");
            assert_ne!(mode(&connection), "wal");
            let n: i64 = connection.query_row("SELECT n FROM t", [], |row| row.get(0)).expect("kept");
            assert_eq!(n, 7);
            for beside in ["ledger.sqlite-wal", "ledger.sqlite-shm"] {
                assert!(!std::fs::exists(dir.path().join(beside)).expect("looked"), "{beside}");
            }
            connection.execute_batch("DELETE FROM t").expect("no lock is left");
        }
    }

    #[test]
    fn a_ledger_that_another_connection_uses_keeps_its_log() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ledger.sqlite");
        std::fs::write(&path, "").expect("made");
        let in_use = open_for_writing(&path, "WAL").expect("opened");
        assert!(leave_log(&path).is_err());
        assert_eq!(mode(&in_use), "wal");
        in_use.execute_batch("CREATE TABLE t (n INTEGER)").expect("written");
    }

    #[test]
    fn a_writer_leaves_no_journal_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ledger.sqlite");
        std::fs::write(&path, "").expect("made");
        let connection = open_for_writing(&path, SAFE_JOURNAL).expect("opened");
        connection.execute_batch("CREATE TABLE t (n INTEGER)").expect("written");
        assert_eq!(mode(&connection), "truncate");
        connection.close().expect("closed");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_journal_in_a_mode_that_was_not_asked_for_is_refused() {
        let connection = Connection::open_in_memory().expect("a ledger");
        let refused = switch(&connection, "WAL").expect_err("a ledger in memory has neither");
        assert!(refused.to_string().contains("stays in mode memory"), "{refused}");
    }

    #[test]
    fn errors_of_the_log_are_told_from_those_of_the_ledger() {
        let error = |code| Error::SqliteFailure(ffi::Error::new(code), None);
        for code in [
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_IOERR_SHMOPEN,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_IOERR_SHMLOCK,
            ffi::SQLITE_IOERR_LOCK,
            ffi::SQLITE_PROTOCOL,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_READONLY_CANTINIT,
        ] {
            assert!(is_about_the_log(&error(code)), "{code}");
        }
        for code in [
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_FULL,
            ffi::SQLITE_READONLY,
        ] {
            assert!(!is_about_the_log(&error(code)), "{code}");
        }
    }
}
