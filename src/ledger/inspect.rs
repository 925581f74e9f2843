//! Is there a ledger, and can it be used: sound, empty, damaged, newer or lost.
//!
//! Nothing is created or changed. The first bytes of the file are read before SQLite opens it, since opening alone
//! may already move pages from the write-ahead log into a damaged ledger.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::fault::{opening_error, sqlite_error_in};
use super::handles;
use super::journal;
use super::paths::{is_sharded, ledger_file};
use crate::disk::fault::disk_error;
use crate::disk::folder::refuse_special;
use crate::disk::presence::{self, cannot_look, cannot_look_at};
use crate::error::disk_cause::IS_IT_MOUNTED;
use crate::error::{LedgerState, RunError};

/// Version of `schema.sql`, kept in the file as `user_version`.
pub(super) const VERSION: i64 = 2;

/// SQLite's header: magic, and `user_version` at byte 60 (<https://sqlite.org/fileformat2.html>, 1.3).
const HEADER_LENGTH: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
const EMPTY: &str = "is empty, but data/ holds images";

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The file has no bytes.
    Empty,
    /// It is no SQLite file.
    Foreign,
    /// `user_version` of a SQLite file.
    Version(i64),
    /// This process has it open through SQLite, after it was inspected.
    Open,
}

impl Header {
    pub fn read(path: &Path) -> Result<Self, RunError> {
        refuse_special(path)?;
        let start = handles::read_start(path, HEADER_LENGTH).map_err(disk_error("reading", path))?;
        let Some(header) = start else { return Ok(Self::Open) };
        if header.is_empty() {
            return Ok(Self::Empty);
        }
        if header.len() < HEADER_LENGTH || !header.starts_with(MAGIC) {
            return Ok(Self::Foreign);
        }
        let version = [header[60], header[61], header[62], header[63]];
        Ok(Self::Version(i64::from(i32::from_be_bytes(version))))
    }
}

/// The path of an export's ledger, if it looks usable from its first bytes.
pub(super) fn find(out: &Path, state_dir: Option<&Path>) -> Result<PathBuf, RunError> {
    let path = ledger_file(out, state_dir);
    if check(out, &path)? {
        return Ok(path);
    }
    if is_sharded(out)? {
        let out = out.display();
        return Err(RunError::Settings(format!(
            "{out} is exported in shards that are not merged yet: `exporter merge MANIFEST -o {out}` makes one ledger of \
             theirs"
        )));
    }
    Err(RunError::NoExport(out.to_owned()))
}

/// Whether there is a ledger with content. False: none, or an empty one, and no images either; a run that was killed
/// in its first moment leaves an empty one.
pub(super) fn check(out: &Path, path: &Path) -> Result<bool, RunError> {
    if !presence::exists(path).map_err(cannot_look_at(path))? {
        refuse_lost(out, path)?;
        return Ok(false);
    }
    match Header::read(path)? {
        Header::Empty if holds_images(out)? => Err(damaged(path, EMPTY)),
        Header::Empty => Ok(false),
        Header::Foreign => Err(damaged(path, "is damaged (it is no SQLite file)")),
        Header::Version(version) if version > VERSION => Err(newer(path, version)),
        Header::Version(_) | Header::Open => Ok(true),
    }
}

/// The version of an open ledger, 0 for a file without tables.
pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<i64, RunError> {
    let number = |sql| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(|error| sqlite_error_in(path, error))
    };
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (version, tables) {
        (1..=VERSION, 1..) | (0, 0) => Ok(version),
        (version, _) if version > VERSION => Err(newer(path, version)),
        _ => Err(damaged(path, "is not a ledger of exporter")),
    }
}

/// Refuses an open ledger that another program made or that has no tables.
pub(super) fn check_tables(connection: &Connection, out: &Path, path: &Path) -> Result<(), RunError> {
    if check_version(connection, path)? > 0 {
        return Ok(());
    }
    if holds_images(out)? { Err(damaged(path, EMPTY)) } else { Err(RunError::NoExport(out.to_owned())) }
}

/// Reads the whole ledger for damage; some seconds for a million rows.
///
/// # Errors
/// [`RunError::Ledger`] if it is damaged.
pub fn check_sound(connection: &Connection, out: &Path, state_dir: Option<&Path>) -> Result<(), RunError> {
    let path = ledger_file(out, state_dir);
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| sqlite_error_in(&path, error))?;
    if verdict == "ok" { Ok(()) } else { Err(damaged(&path, &format!("is damaged ({verdict})"))) }
}

/// Refuses a ledger elsewhere (`--state-dir`) that knows delivered images, for a folder that holds no export: its
/// disk is not mounted, and the run would fetch everything again onto another disk.
pub(super) fn refuse_unmounted(out: &Path, ledger: &Path) -> Result<(), RunError> {
    if !check(out, ledger)? {
        return Ok(());
    }
    let connection = journal::open(ledger).map_err(|error| opening_error(ledger, error))?;
    if check_version(&connection, ledger)? == 0 {
        return Ok(());
    }
    let delivered: i64 = connection
        .query_row("SELECT count(*) FROM images WHERE delivered = 1", [], |row| row.get(0))
        .map_err(|error| sqlite_error_in(ledger, error))?;
    if delivered == 0 {
        return Ok(());
    }
    Err(RunError::Disk(format!(
        "{} holds no export, but the ledger {} knows {delivered} delivered images: {IS_IT_MOUNTED}",
        out.display(),
        ledger.display()
    )))
}

/// Refuses a folder that holds images but no ledger.
fn refuse_lost(out: &Path, path: &Path) -> Result<(), RunError> {
    if holds_images(out)? {
        let what = "is missing, but data/ holds images".to_owned();
        return Err(RunError::Ledger { path: path.to_owned(), what, kind: LedgerState::Missing });
    }
    Ok(())
}

/// The error for a ledger that a newer program wrote.
pub(super) fn newer(path: &Path, version: i64) -> RunError {
    let what =
        format!("has version {version}, this program knows {VERSION}: it was written by a newer exporter");
    RunError::Ledger { path: path.to_owned(), what, kind: LedgerState::Newer }
}

/// The error for a ledger that cannot be used as it is.
fn damaged(path: &Path, what: &str) -> RunError {
    RunError::Ledger { path: path.to_owned(), what: what.to_owned(), kind: LedgerState::Damaged }
}

/// Whether there are images that the ledger would know. Those of shards are in the shards' ledgers.
fn holds_images(out: &Path) -> Result<bool, RunError> {
    if is_sharded(out)? {
        return Ok(false);
    }
    let data = out.join("data");
    let first = || Ok(presence::known(std::fs::read_dir(&data))?.and_then(|mut entries| entries.next()));
    let entry = first().and_then(Option::transpose).map_err(cannot_look(&data))?;
    Ok(entry.is_some())
}

#[cfg(test)]
mod tests {
    use crate::ledger::{open_locked, open_read_only, open_state};

    use super::*;

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
        let entries = std::fs::read_dir(folder.path()).expect("listed");
        let names: Vec<_> = entries.map(|entry| entry.expect("entry").file_name()).collect();
        assert_eq!(names, ["data"], "nothing is created");
    }

    #[test]
    fn a_ledger_that_is_damaged_or_newer_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open_state(folder.path(), None).expect("made"));
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
                open_state(folder.path(), None).map(drop),
            ] {
                let error = result.expect_err(word).to_string();
                assert!(error.contains(word), "{word}: {error}");
            }
            assert!(std::fs::read(&path).expect("read") == bytes, "{word}: it was touched");
        }
    }
}
