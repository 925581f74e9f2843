//! Connections to ledger files, counted, so that no other descriptor on such a file is opened and closed beside one.
//!
//! Closing any descriptor of a file drops every POSIX lock that the process holds on it (fcntl(2)); SQLite would go on
//! and believe that it has them. Another program that reads the ledger would then remove a write-ahead log that is in
//! use, and the ledger would be damaged. So every connection of this process is opened here, and a file is read
//! without SQLite only while none is open. Two connections to one file are no problem: SQLite shares their descriptors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::disk::{SAFE_JOURNAL, presence};

/// How long SQLite waits for a lock of the database: a reader or a checkpoint takes moments.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Device and inode: by these POSIX tells files apart, whatever their paths are.
type FileId = (u64, u64);

/// How many connections are open, by file.
static OPEN: Mutex<BTreeMap<FileId, usize>> = Mutex::new(BTreeMap::new());

fn open_files() -> MutexGuard<'static, BTreeMap<FileId, usize>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn file_id(path: &Path) -> io::Result<Option<FileId>> {
    Ok(presence::metadata_following(path)?.map(|file| (file.dev(), file.ino())))
}

/// A connection to a ledger file, counted until it is closed.
#[derive(Debug)]
pub struct LedgerConnection {
    connection: Connection,
    // dropped after the connection
    _counted: Counted,
}

impl LedgerConnection {
    /// Closes the file, and says so if that failed. The last connection folds the write-ahead log into the file; a
    /// journal that is only truncated between commits is removed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn close(self) -> rusqlite::Result<()> {
        let mode = self.connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
        if mode.is_ok_and(|mode| mode.eq_ignore_ascii_case(SAFE_JOURNAL)) {
            // an empty journal is none: it may stay
            let _ = self.connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()));
        }
        self.connection.close().map_err(|(_, error)| error)
    }
}

impl Deref for LedgerConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for LedgerConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

#[derive(Debug)]
struct Counted(Option<FileId>);

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(file) = self.0 else { return };
        let mut open = open_files();
        if let Some(count) = open.get_mut(&file) {
            *count -= 1;
            if *count == 0 {
                open.remove(&file);
            }
        }
    }
}

/// Opens the ledger at `path`, which must exist, for reading and writing.
pub(super) fn open(path: &Path) -> rusqlite::Result<LedgerConnection> {
    open_as(path, path, OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// Opens the ledger at `path` under the name `name`, which may be a URI of it.
pub(super) fn open_as(
    path: &Path,
    name: impl AsRef<Path>,
    flags: OpenFlags,
) -> rusqlite::Result<LedgerConnection> {
    // held until SQLite has its descriptor: no other one is open meanwhile
    let mut open = open_files();
    // a file that cannot be inspected is refused by SQLite in its own words
    let file = file_id(path).ok().flatten();
    let connection = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    if let Some(file) = file {
        *open.entry(file).or_insert(0) += 1;
    }
    drop(open);
    let connection = LedgerConnection { connection, _counted: Counted(file) };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The first bytes of the file at `path`, at most `length`. `None` if this process has it open through SQLite: then
/// its header has been checked, and the file is not touched.
pub(super) fn read_start(path: &Path, length: usize) -> io::Result<Option<Vec<u8>>> {
    // held until the descriptor is closed: no connection is opened meanwhile
    let open = open_files();
    if file_id(path)?.is_some_and(|file| open.contains_key(&file)) {
        return Ok(None);
    }
    let mut start = Vec::with_capacity(length);
    File::open(path)?.take(length as u64).read_to_end(&mut start)?;
    Ok(Some(start))
}

/// Flushes a ledger file that no connection has open.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    let open = open_files();
    let is_open = file_id(path)?.is_some_and(|file| open.contains_key(&file));
    debug_assert!(!is_open, "{} is opened beside a connection: its locks would be lost", path.display());
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{open_locked, open_read_only, open_state};

    /// The POSIX locks of this process on a file, as the kernel knows them: from each of its descriptors on that file, since
    /// `/proc/locks` may skip or repeat a line while other threads lock and unlock.
    #[cfg(target_os = "linux")]
    fn posix_locks(path: &Path) -> usize {
        let path = path.canonicalize().expect("a file");
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("listed").flatten();
        let ours = descriptors.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == path));
        let locks = |number: std::ffi::OsString| {
            let info =
                std::fs::read_to_string(Path::new("/proc/self/fdinfo").join(number)).expect("readable");
            info.lines().filter(|line| line.starts_with("lock:") && line.contains("POSIX")).count()
        };
        ours.map(|entry| locks(entry.file_name())).sum()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_reader_keeps_its_locks_whatever_else_this_process_does_with_the_ledger() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path();
        drop(open_state(out, None).expect("made"));
        let path = out.join(".exporter/ledger.sqlite");
        let reader = open_read_only(out, None).expect("opened");
        let read = || reader.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, u32>(0));
        assert_eq!(read(), Ok(0));
        let before = posix_locks(&path);
        assert!(before > 0, "SQLite locks a file that it reads");
        drop(open_locked(out, None, "verify").expect("opened beside it"));
        assert_eq!(posix_locks(&path), before, "a second connection for writing");
        drop(open_read_only(out, None).expect("opened beside it"));
        assert_eq!(posix_locks(&path), before, "a second reader");
        drop(open_state(out, None).expect("opened beside it"));
        assert_eq!(posix_locks(&path), before, "a run in the same process");
        let condition = crate::ledger::condition(out, None).expect("inspected");
        assert_eq!(condition, crate::ledger::Condition::Sound);
        assert_eq!(posix_locks(&path), before, "an adoption that asks whether it is sound");
        assert_eq!(read(), Ok(0));
    }

    #[test]
    fn a_file_is_read_without_sqlite_only_while_no_connection_is_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.sqlite");
        std::fs::write(&path, "").expect("made");
        assert_eq!(read_start(&path, 10).expect("read"), Some(Vec::new()));
        let (first, second) = (open(&path).expect("opened"), open(&path).expect("opened"));
        std::os::unix::fs::symlink(&path, folder.path().join("link")).expect("linked");
        assert_eq!(read_start(&folder.path().join("link"), 10).expect("asked"), None, "by any name");
        drop(first);
        assert_eq!(read_start(&path, 10).expect("asked"), None);
        second.close().expect("closed");
        assert_eq!(read_start(&path, 10).expect("read"), Some(Vec::new()));
    }
}
