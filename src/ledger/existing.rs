//! The ledger of an export that is there: for reading, also beside a run, or for writing under the lock.
//!
//! Nothing is created. What is damaged, newer or lost is told by looking at the first bytes of the file, before
//! SQLite opens it: opening alone may already move pages from the write-ahead log.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::open::{
    CACHE_KIB, LEDGER_FILE, LOCK_FILE, State, VERSION, check_version, disk, locks, named, prepare,
    state_folder,
};
use crate::error::{LedgerState, RunError};

/// SQLite's header: magic, and `user_version` at byte 60 (<https://sqlite.org/fileformat2.html>, 1.3).
const HEADER: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// What would end a path in SQLite's `file:` addresses.
const PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');

/// Opens the ledger of an export for reading, while a run may be going on.
///
/// # Errors
/// [`RunError::NoExport`] where there is none, [`RunError::Ledger`] where it cannot be used.
pub fn open_read_only(out: &Path, state_dir: Option<&Path>) -> Result<Connection, RunError> {
    let path = look(out, state_dir)?;
    let open = |connection: rusqlite::Result<Connection>| {
        let connection = connection.map_err(|error| named(&path, error))?;
        connection.busy_timeout(std::time::Duration::from_secs(30)).map_err(|error| named(&path, error))?;
        if check_version(&connection, &path)? == 0 {
            return Err(empty(out, &path));
        }
        Ok(connection)
    };
    // this one never writes; but where it is the last to close, only one that could clears SQLite's own files away
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match open(Connection::open_with_flags(&path, flags)) {
        // a disk that is read-only has no place for them: then nobody else writes either
        Err(RunError::Disk(_)) if !beside(&path, "-wal").exists() => {
            let address = immutable(&path);
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_URI
                | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            open(Connection::open_with_flags(address, flags))
        }
        result => result,
    }
}

/// Makes the ledger that `reader` reads known to another connection, under the name `export`.
///
/// # Errors
/// Where it cannot be opened again.
pub fn attach(
    connection: &Connection,
    reader: &Connection,
    out: &Path,
    state_dir: Option<&Path>,
) -> rusqlite::Result<()> {
    let path = state_folder(out, state_dir).join(LEDGER_FILE);
    let address = if reader.is_readonly(rusqlite::MAIN_DB)? { immutable(&path) } else { plain(&path) };
    connection.execute("ATTACH ?1 AS export", [address])?;
    Ok(())
}

/// The address of a ledger that nobody writes.
fn immutable(path: &Path) -> String {
    format!("{}?immutable=1", plain(path))
}

fn plain(path: &Path) -> String {
    format!("file:{}", utf8_percent_encode(&path.to_string_lossy(), PATH))
}

/// An empty ledger in a file without a name, in the system's folder for temporary files: it is gone when it is
/// closed, and never has to survive anything.
///
/// # Errors
/// Where that folder cannot be written.
pub fn open_nameless() -> rusqlite::Result<Connection> {
    let connection = Connection::open("")?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "temp_store", "FILE")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.execute_batch(include_str!("schema.sql"))?;
    Ok(connection)
}

/// Takes the lock of an export and opens its ledger for writing. `by` is the command, for whoever finds it locked.
///
/// # Errors
/// As [`open_read_only`], and [`RunError::InUse`].
pub fn open_locked(out: &Path, state_dir: Option<&Path>, by: &str) -> Result<State, RunError> {
    let path = look(out, state_dir)?;
    let state = state_folder(out, state_dir);
    let locks = locks(out, &state, by)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(|error| named(&path, error))?;
    if check_version(&connection, &path)? == 0 {
        return Err(empty(out, &path));
    }
    prepare(&connection, &state).map_err(|error| named(&path, error))?;
    Ok(State { connection, made: Vec::new(), locks })
}

/// Reads the whole ledger for damage; some seconds for a million rows.
///
/// # Errors
/// [`RunError::Ledger`] where it is damaged.
pub fn check_sound(connection: &Connection, out: &Path, state_dir: Option<&Path>) -> Result<(), RunError> {
    let path = state_folder(out, state_dir).join(LEDGER_FILE);
    let said: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| named(&path, error))?;
    if said == "ok" { Ok(()) } else { Err(damaged(&path, &format!("is damaged ({said})"))) }
}

/// Who holds the lock of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process, where the number can be read.
    pub pid: Option<u32>,
    /// Its command: `run`, `verify` …; empty where that cannot be read.
    pub command: String,
    /// When it took the lock, by the clock of the lock's disk.
    pub since: Option<Timestamp>,
}

/// Who holds the lock now; `None` where nobody does.
///
/// # Errors
/// Where the lock file cannot be asked.
pub fn holder(out: &Path, state_dir: Option<&Path>) -> Result<Option<Holder>, RunError> {
    let path = state_folder(out, state_dir).join(LOCK_FILE);
    super::open::plain(&path)?;
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(disk("opening", &path))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(Holder::read(&mut file))),
        Err(TryLockError::Error(error)) => Err(disk("asking", &path)(error)),
    }
}

impl Holder {
    /// What the holder wrote into the lock: its number, then its command.
    pub(super) fn read(file: &mut File) -> Self {
        let written = file.metadata().and_then(|meta| meta.modified());
        let since = written.ok().and_then(|time| Timestamp::try_from(time).ok());
        let mut text = String::new();
        // a courtesy: what cannot be read is left out
        let _ = file.take(100).read_to_string(&mut text);
        let mut lines = text.lines();
        let pid = lines.next().and_then(|line| line.trim().parse().ok());
        Self { pid, command: lines.next().unwrap_or_default().to_owned(), since }
    }
}

/// Finds the ledger of an export and looks at its first bytes.
fn look(out: &Path, state_dir: Option<&Path>) -> Result<PathBuf, RunError> {
    let path = state_folder(out, state_dir).join(LEDGER_FILE);
    if !path.exists() {
        not_lost(out, &path)?;
        return Err(RunError::NoExport(out.to_owned()));
    }
    if check_header(out, &path)? { Ok(path) } else { Err(RunError::NoExport(out.to_owned())) }
}

/// Looks at the first bytes of a ledger. False: it is empty, and there are no images either, as a run leaves it that
/// was killed in its first moment.
pub(super) fn check_header(out: &Path, path: &Path) -> Result<bool, RunError> {
    let refuse = |what| Err(damaged(path, what));
    match Header::read(path)? {
        Header::Empty if holds_images(out) => refuse("is empty, but data/ holds images"),
        Header::Empty => Ok(false),
        Header::Foreign => refuse("is damaged (it is no SQLite file)"),
        Header::Version(version) if version > VERSION => Err(newer(path, version)),
        Header::Version(_) => Ok(true),
    }
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// There are none.
    Empty,
    /// It is no SQLite file.
    Foreign,
    /// `user_version` of a SQLite file.
    Version(i64),
}

impl Header {
    pub fn read(path: &Path) -> Result<Self, RunError> {
        super::open::plain(path)?;
        let mut header = Vec::with_capacity(HEADER);
        File::open(path)
            .and_then(|file| file.take(HEADER as u64).read_to_end(&mut header))
            .map_err(disk("reading", path))?;
        if header.is_empty() {
            return Ok(Self::Empty);
        }
        if header.len() < HEADER || !header.starts_with(MAGIC) {
            return Ok(Self::Foreign);
        }
        let version = [header[60], header[61], header[62], header[63]];
        Ok(Self::Version(i64::from(i32::from_be_bytes(version))))
    }
}

/// Of a ledger without tables, as a run leaves it that was killed as it began.
fn empty(out: &Path, path: &Path) -> RunError {
    if holds_images(out) {
        damaged(path, "is empty, but data/ holds images")
    } else {
        RunError::NoExport(out.to_owned())
    }
}

/// Of a ledger that this program does not know.
pub(super) fn newer(path: &Path, version: i64) -> RunError {
    let what =
        format!("has version {version}, this program knows {VERSION}: it was written by a newer exporter");
    RunError::Ledger { path: path.to_owned(), what, kind: LedgerState::Newer }
}

/// Of a ledger that cannot be used as it is.
pub(super) fn damaged(path: &Path, what: &str) -> RunError {
    RunError::Ledger { path: path.to_owned(), what: what.to_owned(), kind: LedgerState::Damaged }
}

/// A folder without a ledger must have no images.
pub(super) fn not_lost(out: &Path, path: &Path) -> Result<(), RunError> {
    if holds_images(out) {
        let what = "is missing, but data/ holds images".to_owned();
        return Err(RunError::Ledger { path: path.to_owned(), what, kind: LedgerState::Missing });
    }
    Ok(())
}

fn holds_images(out: &Path) -> bool {
    std::fs::read_dir(out.join("data")).is_ok_and(|mut entries| entries.next().is_some())
}

/// A file of SQLite's own beside the ledger.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a ledger of no runs.
    fn export() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        drop(super::super::open_state(folder.path(), None).expect("made"));
        folder
    }

    fn listed(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).expect("listed");
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_reader_leaves_none_of_sqlites_own_files_behind() {
        let folder = export();
        let connection = open_read_only(folder.path(), None).expect("opened");
        let runs: i64 =
            connection.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).expect("read");
        assert_eq!(runs, 0);
        drop(connection);
        let mut names = listed(&folder.path().join(".exporter"));
        names.sort();
        assert_eq!(names, [LEDGER_FILE, LOCK_FILE]);
    }

    #[test]
    fn a_ledger_on_a_path_that_looks_like_an_address_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("a b?c#d%e");
        drop(super::super::open_state(&out, None).expect("made"));
        open_read_only(&out, None).expect("opened");
    }

    #[test]
    fn a_folder_without_a_ledger_is_no_export_and_one_with_images_has_lost_it() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(open_read_only(folder.path(), None), Err(RunError::NoExport(_))));
        std::fs::create_dir_all(folder.path().join("data/o")).expect("made");
        for result in
            [open_read_only(folder.path(), None).map(drop), open_locked(folder.path(), None, "x").map(drop)]
        {
            let error = result.expect_err("lost").to_string();
            assert!(error.contains("is missing") && error.contains("verify --adopt"), "{error}");
        }
        assert_eq!(listed(folder.path()), ["data"], "nothing is created");
    }

    #[test]
    fn a_ledger_that_is_damaged_or_newer_is_refused_and_not_touched() {
        let folder = export();
        std::fs::create_dir_all(folder.path().join("data/o")).expect("made");
        let path = folder.path().join(".exporter/ledger.sqlite");
        let sound = std::fs::read(&path).expect("read");
        let mut newer = sound.clone();
        newer[63] = 99;
        let mut garbage = sound.clone();
        garbage[..100].fill(7);
        for (bytes, word) in [
            (newer, "version 99"),
            (garbage, "is damaged"),
            (sound[..50].to_vec(), "is damaged"),
            (sound[..5000].to_vec(), "is damaged"),
            (Vec::new(), "is empty"),
        ] {
            std::fs::write(&path, &bytes).expect("written");
            for result in [
                open_read_only(folder.path(), None).map(drop),
                open_locked(folder.path(), None, "x").map(drop),
                super::super::open_state(folder.path(), None).map(drop),
            ] {
                let error = result.expect_err(word).to_string();
                assert!(error.contains(word), "{word}: {error}");
            }
            assert!(std::fs::read(&path).expect("read") == bytes, "{word}: it was touched");
        }
    }

    #[test]
    fn the_holder_of_the_lock_is_named_by_number_and_command() {
        let folder = export();
        assert_eq!(holder(folder.path(), None).expect("asked"), None);
        let state = open_locked(folder.path(), None, "verify").expect("locked");
        let held = holder(folder.path(), None).expect("asked").expect("held");
        assert_eq!((held.pid, &*held.command), (Some(std::process::id()), "verify"));
        let age = Timestamp::now().duration_since(held.since.expect("a time"));
        assert!(age.as_secs() < 60, "{age}");
        let error = open_locked(folder.path(), None, "report").map(drop).expect_err("held").to_string();
        assert!(error.contains("in use by `exporter verify`"), "{error}");
        drop(state);
        assert_eq!(holder(folder.path(), None).expect("asked"), None);
    }
}
