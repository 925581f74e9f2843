//! Opens a ledger for reading, also beside a run: no lock is taken and no row is changed.

use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::fault::opening_error;
use super::handles::{self, LedgerConnection};
use super::identity;
use super::inspect::{self, check_tables};
use super::journal;
use super::paths::{state_folder, with_suffix};
use super::schema::complete_for_reading;
use crate::disk::presence::{self, cannot_look_at};
use crate::error::RunError;

/// Characters that would end a path in SQLite's `file:` URIs.
const RESERVED: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');

/// Opens the ledger of an export for reading.
///
/// # Errors
/// [`RunError::NoExport`] if there is none, [`RunError::Ledger`] if it cannot be used, [`RunError::Settings`] if it
/// belongs to another export.
pub fn open_read_only(out: &Path, state_dir: Option<&Path>) -> Result<LedgerConnection, RunError> {
    let path = inspect::find(out, state_dir)?;
    let connection = open_file(out, &path)?;
    identity::check(&connection, out, &state_folder(out, state_dir))?;
    Ok(connection)
}

/// Opens the ledger at `path`, which passed [`inspect::check`], for reading.
pub(super) fn open_file(out: &Path, path: &Path) -> Result<LedgerConnection, RunError> {
    // never used for writing; but SQLite removes its own files only if the last connection to close may write
    let connection = match journal::open(path) {
        // on a read-only disk SQLite cannot create its own files; no other process writes there either
        Err(error) if is_about_the_disk(&error) && is_absent(&with_suffix(path, "-wal"))? => {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            handles::open_as(path, immutable_uri(path), flags)
        }
        result => result,
    };
    let connection = connection.map_err(|error| opening_error(path, error))?;
    check_tables(&connection, out, path)?;
    complete_for_reading(&connection).map_err(|error| opening_error(path, error))?;
    Ok(connection)
}

/// Not a lock that another process holds: that one may be writing.
fn is_about_the_disk(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly | SystemIoFailure))
}

fn is_absent(path: &Path) -> Result<bool, RunError> {
    presence::exists(path).map(|there| !there).map_err(cannot_look_at(path))
}

/// The URI under which a connection can attach the ledger that `reader` reads.
pub(super) fn uri_of(reader: &Connection, path: &Path) -> rusqlite::Result<String> {
    Ok(if reader.is_readonly(rusqlite::MAIN_DB)? { immutable_uri(path) } else { uri(path) })
}

/// The URI of a ledger that no process writes.
fn immutable_uri(path: &Path) -> String {
    format!("{}?immutable=1", uri(path))
}

fn uri(path: &Path) -> String {
    format!("file:{}", utf8_percent_encode(&path.to_string_lossy(), RESERVED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{LEDGER_FILE, LOCK_FILE, open_state};

    #[test]
    fn a_reader_leaves_none_of_sqlites_own_files_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open_state(folder.path(), None).expect("made"));
        let connection = open_read_only(folder.path(), None).expect("opened");
        let runs: i64 =
            connection.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).expect("read");
        assert_eq!(runs, 0);
        drop(connection);
        let entries = std::fs::read_dir(folder.path().join(".exporter")).expect("listed");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("entry").file_name()).collect();
        names.sort();
        assert_eq!(names, [LEDGER_FILE, LOCK_FILE]);
    }

    #[test]
    fn a_ledger_on_a_path_that_looks_like_an_address_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("a b?c#d%e");
        drop(open_state(&out, None).expect("made"));
        open_read_only(&out, None).expect("opened");
    }
}
