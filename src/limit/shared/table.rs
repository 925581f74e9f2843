//! The table in which runs of one user on one machine publish what happens to their requests: a small SQLite file.
//!
//! Always holds: an exchange reads what is new, decides and writes in one transaction that excludes all others, so that
//! all runs see one order. Nothing is waited for but that lock, and not for long. A process that is killed in the middle
//! leaves a journal, which SQLite rolls back. It is no ledger: nothing is flushed to the disk, since after a crash of the
//! machine nothing counts any more; a file that is damaged or not ours is replaced.
//!
//! Messages carry the id of the boot: their times mean nothing under another one.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::message::{self, Message};
use crate::disk::presence;
use crate::machine::boot_id;

/// Messages that are kept at least.
const MESSAGES_MIN: i64 = 16_384;
/// Messages that are kept at most: 60 MB. A run that begins under a larger allowance knows only the newest requests.
const MESSAGES_MAX: i64 = 600_000;
/// Messages about one request in each of three windows.
const MESSAGES_PER_SLOT: u32 = 2 * 3;
/// The lock is held for less than a millisecond, so it is asked for again after this time, doubled up to the longest.
const LOCK_PAUSE_MIN: Duration = Duration::from_micros(100);
/// SQLite's own pauses grow to 100 ms: a busy run would starve the others.
const LOCK_PAUSE_MAX: Duration = Duration::from_millis(5);
/// 2 s in all: if the lock is held for so long, its holder is stopped, or its disk is.
const LOCK_ATTEMPTS_MAX: i32 = 400;
/// Version of [`SCHEMA`], kept in the file as `user_version`; "clk" and a number.
const FORMAT: i64 = 0x636c_6b02;
/// One file, and no shared memory: it works on network disks, too.
const JOURNAL_MODE: &str = "TRUNCATE";
const SCHEMA: &str = "
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY,
        boot TEXT NOT NULL,
        at INTEGER NOT NULL, -- nanoseconds since the boot
        run INTEGER NOT NULL,
        pid INTEGER NOT NULL,
        started INTEGER NOT NULL, -- the process, in clock ticks since the boot
        request INTEGER NOT NULL,
        step TEXT NOT NULL,
        requests_left INTEGER,
        limited INTEGER NOT NULL,
        rate_limit INTEGER,
        remaining INTEGER,
        retry_after INTEGER, -- milliseconds
        reset INTEGER, -- milliseconds
        share INTEGER NOT NULL, -- the run's part of the allowance, in billionths
        shard INTEGER NOT NULL -- 0: none
    ) STRICT;";
const PRUNE: &str = "DELETE FROM messages WHERE id <= ?1";
const HEAD: &str = "SELECT coalesce(max(id), 0) FROM messages";

/// How far back messages matter to a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    time: Duration,
    messages: i64,
}

impl Memory {
    /// Of a run with this allowance.
    pub(super) fn new(time: Duration, requests: u32) -> Self {
        let messages = i64::from(requests) * i64::from(MESSAGES_PER_SLOT);
        Self { time, messages: messages.clamp(MESSAGES_MIN, MESSAGES_MAX) }
    }
}

/// Time since the boot; tests have another one.
pub(super) type Now = fn() -> io::Result<Duration>;

#[derive(Debug, thiserror::Error)]
pub(in crate::limit) enum TableError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("another process holds its lock")]
    Locked,
    #[error("it is not in this version's format")]
    Format,
    #[error("it is damaged")]
    Damaged,
    #[error(transparent)]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for TableError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            _ => Self::Sqlite(error),
        }
    }
}

impl TableError {
    /// Whether no run of this user can use the file, and not for a while: it must not be written.
    pub(in crate::limit) fn is_refusal(&self) -> bool {
        use io::ErrorKind::{
            AlreadyExists, InvalidInput, NotADirectory, PermissionDenied, ReadOnlyFilesystem, Unsupported,
        };
        match self {
            Self::Io(error) => matches!(
                error.kind(),
                AlreadyExists
                    | InvalidInput
                    | NotADirectory
                    | PermissionDenied
                    | ReadOnlyFilesystem
                    | Unsupported
            ),
            Self::Sqlite(error) => {
                matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
            }
            Self::Locked | Self::Format | Self::Damaged => false,
        }
    }

    /// Whether the open file is no longer the one at its path.
    fn is_moved(&self) -> bool {
        let Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) = self else { return false };
        error.extended_code == rusqlite::ffi::SQLITE_READONLY_DBMOVED
    }

    /// Whether the file's content is at fault, and not its disk, its folder or another process.
    fn is_damage(&self) -> bool {
        match self {
            Self::Format | Self::Damaged => true,
            Self::Io(_) | Self::Locked => false,
            // garbage makes SQLite fail in many ways, the rest in these
            Self::Sqlite(error) => !matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::CannotOpen
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::DiskFull
                        | ErrorCode::PermissionDenied
                        | ErrorCode::OutOfMemory
                        | ErrorCode::FileLockingProtocolFailed
                )
            ),
        }
    }
}

/// The open table.
#[derive(Debug)]
pub(in crate::limit) struct Table {
    path: PathBuf,
    connection: Connection,
    inode: u64,
    boot: String,
    now: Now,
    memory: Memory,
    /// Messages up to this id were read here, or written.
    seen: i64,
}

impl Table {
    /// Opens the file; creates it and its folder if they are missing, and replaces it if it is damaged or foreign.
    pub(super) fn open(path: &Path, now: Now, memory: Memory) -> Result<Self, TableError> {
        now()?;
        let boot = boot_id()?;
        let (path, inode, connection) = match open(path) {
            Err(error) if error.is_damage() => {
                remove(path)?;
                open(path)?
            }
            opened => opened?,
        };
        Ok(Self { path, connection, inode, boot, now, memory, seen: 0 })
    }

    /// Takes the lock, reads what is new, and publishes what `act` returns. `act` gets the time since the boot, and is
    /// called once at most.
    ///
    /// # Errors
    /// The outer one if `act` was not called; the inner one if what it returned could not be written.
    pub(super) fn sync<T>(
        &mut self,
        mut act: impl FnMut(Duration, Vec<Message>) -> (T, Vec<Message>),
    ) -> Result<(T, Result<(), TableError>), TableError> {
        // removed or replaced by another process: the others have a new file by now
        if inode(&self.path)?.is_none_or(|inode| inode != self.inode) {
            self.reopen()?;
        }
        match self.exchange(&mut act) {
            Err(error) if error.is_damage() => {
                remove(&self.path)?;
                self.reopen()?;
                self.exchange(&mut act)
            }
            result => result,
        }
    }

    fn exchange<T>(
        &mut self,
        act: &mut impl FnMut(Duration, Vec<Message>) -> (T, Vec<Message>),
    ) -> Result<(T, Result<(), TableError>), TableError> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let head: i64 = transaction.prepare_cached(HEAD)?.query_row([], |row| row.get(0))?;
        if head < self.seen {
            self.seen = 0;
        }
        let now = (self.now)()?;
        let news = message::read(&transaction, self.seen, &self.boot, now, self.memory.time)?;
        self.seen = head;
        let (result, outgoing) = act(now, news);
        let written = match write(transaction, head, &self.boot, &outgoing, self.memory) {
            Ok(head) => {
                self.seen = head;
                Ok(())
            }
            // the file was replaced in this moment: the next exchange opens the new one
            Err(error) if error.is_moved() => Ok(()),
            Err(error) => Err(error),
        };
        Ok((result, written))
    }

    fn reopen(&mut self) -> Result<(), TableError> {
        let opened = Self::open(&self.path, self.now, self.memory)?;
        *self = Self { boot: std::mem::take(&mut self.boot), ..opened };
        Ok(())
    }

    /// From now on every write fails, as on a full disk.
    #[cfg(test)]
    pub(super) fn fill_disk(&self) {
        let full = "CREATE TEMP TRIGGER full BEFORE INSERT ON main.messages
                    BEGIN SELECT raise(ABORT, 'database or disk is full'); END";
        self.connection.execute_batch(full).expect("a trigger");
    }

    /// There is room again.
    #[cfg(test)]
    pub(super) fn free_disk(&self) {
        self.connection.execute_batch("DROP TRIGGER temp.full").expect("no trigger");
    }
}

/// Commits `messages` behind `head`, and returns the new head.
fn write(
    transaction: Transaction<'_>,
    head: i64,
    boot: &str,
    messages: &[Message],
    memory: Memory,
) -> Result<i64, TableError> {
    let mut last = head;
    for message in messages {
        message::insert(&transaction, boot, message)?;
        last = transaction.last_insert_rowid();
    }
    if last > head {
        let kept = kept(&transaction, memory)?;
        transaction.prepare_cached(PRUNE)?.execute([last - kept])?;
    }
    transaction.commit()?;
    Ok(last)
}

/// How many messages are kept: as many as the run with the largest allowance wants. It stands in the file's header.
fn kept(transaction: &Transaction<'_>, memory: Memory) -> Result<i64, TableError> {
    let stored: i64 = transaction.prepare_cached("PRAGMA application_id")?.query_row([], |row| row.get(0))?;
    let stored = stored.clamp(MESSAGES_MIN, MESSAGES_MAX);
    if memory.messages > stored {
        transaction.pragma_update(None, "application_id", memory.messages)?;
    }
    Ok(stored.max(memory.messages))
}

fn open(path: &Path) -> Result<(PathBuf, u64, Connection), TableError> {
    let path = private_file(path)?;
    let inode = inode(&path)?.unwrap_or_default();
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(&path, flags)?;
    connection.busy_handler(Some(wait_for_lock))?;
    connection.pragma_update_and_check(None, "journal_mode", JOURNAL_MODE, |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    prepare(&connection)?;
    Ok((path, inode, connection))
}

fn wait_for_lock(attempt: i32) -> bool {
    let doubled = LOCK_PAUSE_MIN.saturating_mul(1 << attempt.clamp(0, 16));
    std::thread::sleep(doubled.min(LOCK_PAUSE_MAX));
    attempt < LOCK_ATTEMPTS_MAX
}

/// Creates the table in a new file, and checks any other one.
fn prepare(connection: &Connection) -> Result<(), TableError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let tables: u32 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    let format: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format != FORMAT {
        return Err(TableError::Format);
    }
    let check: String = transaction.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    let head: i64 = transaction.query_row(HEAD, [], |row| row.get(0))?;
    // ids that run out would no longer tell the order
    if check != "ok" || head > i64::MAX / 2 {
        return Err(TableError::Damaged);
    }
    transaction.commit()?;
    Ok(())
}

/// The file for the user alone, whatever created it. SQLite gives its journal the same mode. The path that is returned
/// has no link in its folders, since SQLite follows none.
///
/// An existing file is not opened here: closing it would drop the locks that SQLite holds on it in this process.
fn private_file(path: &Path) -> io::Result<PathBuf> {
    let path = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            make_private(folder, 0o700)?;
            folder.canonicalize()?.join(name)
        }
        _ => path.to_owned(),
    };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => drop(created?),
    }
    if !path.symlink_metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    make_private(&path, 0o600)?;
    Ok(path)
}

fn make_private(path: &Path, mode: u32) -> io::Result<()> {
    if path.metadata()?.mode() & 0o777 == mode {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

/// The file and its journal.
fn remove(path: &Path) -> io::Result<()> {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    // a journal that outlived its file would be rolled back into the next one
    for path in [Path::new(&journal), path] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// `None` if nothing is there. A look that fails says nothing.
fn inode(path: &Path) -> io::Result<Option<u64>> {
    Ok(presence::metadata(path)?.map(|there| there.ino()))
}

#[cfg(test)]
mod tests;
