//! The journal of a ledger: the write-ahead log where it works, else a journal that needs no shared memory.
//!
//! The write-ahead log needs memory that processes share, and locks on it; a share, a FUSE file system or a folder that
//! lets no file be mapped may not have them. Whether they work is seen by using them, not from the kind of the disk.

use std::time::Duration;

use rusqlite::{Connection, Error, ErrorCode, ffi};

use crate::disk::SAFE_JOURNAL;

/// Sets the journal's mode to `wanted`, or to [`SAFE_JOURNAL`] if that does not work here. SQLite may refuse the
/// write-ahead log without an error and keep a journal that it only unlinks, which is not durable in a power cut;
/// truncating the journal is.
pub(super) fn set(connection: &Connection, wanted: &str) -> rusqlite::Result<()> {
    if switch(connection, wanted).is_ok() {
        return Ok(());
    }
    match switch(connection, SAFE_JOURNAL) {
        // the header says "write-ahead log", which cannot be opened
        Err(error) if is_about_the_log(&error) => leave_log(connection).map_err(|_| error),
        result => result,
    }
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

/// Checks that the ledger can be read; if its write-ahead log cannot be opened here, gives the ledger a journal that
/// can.
pub(super) fn make_readable(connection: &Connection) -> rusqlite::Result<()> {
    match read(connection) {
        Err(error) if is_about_the_log(&error) => leave_log(connection).map_err(|_| error),
        result => result,
    }
}

fn read(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Leaves the write-ahead log without shared memory: one connection that locks the whole ledger does not need any
/// ("Write-Ahead Logging", section 8). Fails at once if another process has the ledger open.
fn leave_log(connection: &Connection) -> rusqlite::Result<()> {
    let timeout: i64 = connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0))?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let left = switch(connection, SAFE_JOURNAL);
    connection.pragma_update(None, "locking_mode", "NORMAL")?;
    connection.busy_timeout(Duration::from_millis(timeout.unsigned_abs()))?;
    left?;
    // the lock is released at the end of the next transaction
    read(connection)
}

/// Whether an error may be that of the log or its shared memory, rather than of the ledger itself.
fn is_about_the_log(error: &Error) -> bool {
    let Error::SqliteFailure(failure, _) = error else { return false };
    matches!(failure.code, ErrorCode::CannotOpen | ErrorCode::FileLockingProtocolFailed)
        || matches!(
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
        let open = || Connection::open(dir.path().join("ledger.sqlite")).expect("a ledger");
        let leave: [fn(&Connection) -> rusqlite::Result<()>; 2] = [|it| set(it, SAFE_JOURNAL), leave_log];
        for leave in leave {
            let connection = open();
            set(&connection, "WAL").expect("set");
            assert_eq!(mode(&connection), "wal");
            let fill = "CREATE TABLE IF NOT EXISTS t (n INTEGER); DELETE FROM t; INSERT INTO t VALUES (7)";
            connection.execute_batch(fill).expect("written");
            drop(connection);
            let connection = open();
            leave(&connection).expect("left");
            assert_eq!(mode(&connection), "truncate");
            let n: i64 = connection.query_row("SELECT n FROM t", [], |row| row.get(0)).expect("kept");
            assert_eq!(n, 7);
            assert!(!std::fs::exists(dir.path().join("ledger.sqlite-wal")).expect("looked"));
            open().execute_batch("DELETE FROM t").expect("no lock is left");
        }
    }

    #[test]
    fn a_journal_in_a_mode_that_was_not_asked_for_is_refused() {
        let connection = Connection::open_in_memory().expect("a ledger");
        let refused = set(&connection, "WAL").expect_err("a ledger in memory has neither");
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
            ffi::SQLITE_READONLY_CANTINIT,
        ] {
            assert!(is_about_the_log(&error(code)), "{code}");
        }
        for code in [
            ffi::SQLITE_IOERR_READ,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_FULL,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_READONLY,
        ] {
            assert!(!is_about_the_log(&error(code)), "{code}");
        }
    }
}
