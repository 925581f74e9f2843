//! The reports: what a person, a script or an auditor reads about an export.
//!
//! They are written from the ledger and from nothing else, so that the same ledger always gives the same bytes: no
//! clock, no environment, no version of the running program. A file is replaced as a whole or not at all, and the
//! memory used does not grow with the rows. The ledger's view `results` decides what state a row is in; nothing here
//! decides it again.

pub(crate) mod archive;
mod atomic;
mod bag;
mod csv;
mod exit_code;
mod notes;
mod rows;
mod shared_content;
mod summary;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

pub use self::atomic::remove_leftovers;
use self::atomic::{AtomicFile, TagFile};
use self::bag::Payload;
pub use self::exit_code::exit_code;
pub use self::notes::{IncompleteNote, Notes};
pub use self::summary::{Counts, Org, Summary, counts, summary};
use crate::error::RunError;
use crate::ledger::{self, sqlite_error};

/// Writes all reports of an export again from its ledger. Takes the export's lock; a damaged ledger is refused before
/// any file is replaced.
///
/// # Errors
/// [`RunError::NoExport`], [`RunError::Ledger`], [`RunError::InUse`], and those of [`write_all`].
pub fn rewrite(out: &Path, state_dir: Option<&Path>) -> Result<Summary, RunError> {
    let state = ledger::open_locked(out, state_dir, "report")?;
    ledger::check_sound(&state.connection, out, state_dir)?;
    ledger::refuse_linked_folders(&state.connection, out)?;
    remove_leftovers(out)?;
    write_all(&state.connection, out)
}

/// Writes all reports into the export folder: `report.csv`, `failed.csv`, `notes.csv`, `manifest-sha256.txt`,
/// `bagit.txt`, `bag-info.txt`, `summary.json` and, last, `tagmanifest-sha256.txt`. Creates `data/` if it does not
/// exist, and first moves the reports of a run on another manifest to `reports/`. Blocks; a million rows take some
/// seconds. Written again from the same ledger, the files have the same bytes.
///
/// The reports are those of the newest run in the ledger, which must hold that run's end and exit code already.
/// `conn` must not be in a transaction. Temporary tables are used and dropped.
///
/// # Errors
/// [`RunError::Disk`] if the disk is full or read-only, [`RunError::Io`] for any other file error,
/// [`RunError::Sqlite`] if the ledger cannot be read. Reports written before the error are whole and stay; the others
/// are the previous ones. No temporary file stays behind.
pub fn write_all(conn: &Connection, folder: &Path) -> Result<Summary, RunError> {
    finish_and_write_all(conn, folder, |_| Ok(()))
}

/// [`write_all`] at the end of a run: `finish` gets the counts and records the run's end in the ledger; all files are
/// written after that. It saves counting the rows twice, which takes half a second for a million.
///
/// # Errors
/// Those of [`write_all`], and that of `finish`: nothing is written then.
pub fn finish_and_write_all(
    conn: &Connection,
    folder: &Path,
    finish: impl FnOnce(&Counts) -> rusqlite::Result<()>,
) -> Result<Summary, RunError> {
    write_files(conn, folder, finish).map_err(RunError::from)
}

fn write_files(
    conn: &Connection,
    folder: &Path,
    finish: impl FnOnce(&Counts) -> rusqlite::Result<()>,
) -> Result<Summary, ReportError> {
    let _tables = TemporaryTables(conn);
    let transaction = conn.unchecked_transaction()?;
    let mut summary = summary::collect(&transaction)?;
    finish(&summary.counts)?;
    summary.add_run(&transaction)?;
    transaction.commit()?;

    // one view of the ledger for all files
    let snapshot = conn.unchecked_transaction()?;
    archive::archive_previous(folder, &summary.manifest_sha256)?;
    bag::make_payload_folder(folder)?;
    let (mut tags, payload) = write_rows_and_payload(&snapshot, folder)?;
    tags.push(write_file(folder, "bagit.txt", |out| bag::write_declaration(out))?.1);
    tags.push(write_file(folder, "bag-info.txt", |out| bag::write_info(&summary, payload, out))?.1);
    tags.push(write_file(folder, "summary.json", |out| summary::write(&summary, out))?.1);
    write_file(folder, "tagmanifest-sha256.txt", |out| bag::write_tags(&mut tags, out))?;
    fs_err::File::open(folder)?.sync_all()?;
    Ok(summary)
}

/// Writes the reports of the rows and the payload manifest side by side: sorting the paths of a million images takes
/// a third of the whole time. A ledger in memory has no second connection; there one follows the other.
fn write_rows_and_payload(
    snapshot: &Connection,
    folder: &Path,
) -> Result<(Vec<TagFile>, Payload), ReportError> {
    let second = second_connection(snapshot)?;
    let (rows, payload) = std::thread::scope(|scope| {
        let payload = second.map(|second| scope.spawn(move || write_payload(&second, folder)));
        let rows = write_rows(snapshot, folder);
        let payload = match payload {
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => write_payload(snapshot, folder),
        };
        (rows, payload)
    });
    let mut tags = rows?;
    let (payload, tag) = payload?;
    tags.push(tag);
    Ok((tags, payload))
}

/// `None` for a ledger in memory. The two see the same rows: `conn` is the only writer.
fn second_connection(conn: &Connection) -> rusqlite::Result<Option<Connection>> {
    let Some(path) = conn.path().filter(|path| !path.is_empty()) else { return Ok(None) };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map(Some)
}

/// Writes the reports of the loaded manifest's rows.
fn write_rows(snapshot: &Connection, folder: &Path) -> Result<Vec<TagFile>, ReportError> {
    let mut report = AtomicFile::create(folder, "report.csv")?;
    let mut failed = AtomicFile::create(folder, "failed.csv")?;
    rows::write(snapshot, &mut report, &mut failed)?;
    let mut tags = vec![report.commit()?, failed.commit()?];
    tags.push(write_file(folder, "notes.csv", |out| notes::write(snapshot, out))?.1);
    Ok(tags)
}

/// Writes the list of all delivered images, whichever manifest asked for them.
fn write_payload(snapshot: &Connection, folder: &Path) -> Result<(Payload, TagFile), ReportError> {
    write_file(folder, "manifest-sha256.txt", |out| bag::write_manifest(snapshot, out))
}

fn write_file<T, E: Into<ReportError>>(
    folder: &Path,
    name: &'static str,
    write: impl FnOnce(&mut AtomicFile<'_>) -> Result<T, E>,
) -> Result<(T, TagFile), ReportError> {
    let mut file = AtomicFile::create(folder, name)?;
    let written = write(&mut file).map_err(Into::into)?;
    Ok((written, file.commit()?))
}

/// Drops the temporary tables `suspects`, `same` and `note_totals` with itself.
struct TemporaryTables<'conn>(&'conn Connection);

impl Drop for TemporaryTables<'_> {
    fn drop(&mut self) {
        // a table that stays goes with the connection
        let _ = self.0.execute_batch(
            "DROP TABLE IF EXISTS temp.suspects; DROP TABLE IF EXISTS temp.same; DROP TABLE IF EXISTS temp.note_totals",
        );
    }
}

/// What stops the writing; `?` accepts errors of SQLite and of files alike.
#[derive(Debug)]
enum ReportError {
    Ledger(rusqlite::Error),
    File(io::Error),
}

impl From<rusqlite::Error> for ReportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error)
    }
}

impl From<io::Error> for ReportError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<ReportError> for RunError {
    fn from(error: ReportError) -> Self {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match error {
            // sorting a large ledger spills into temporary files
            ReportError::Ledger(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) =>
            {
                Self::Disk(format!("the ledger or its temporary files: {error}"))
            }
            ReportError::Ledger(error) => sqlite_error(error),
            ReportError::File(error)
                if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) =>
            {
                Self::Disk(error.to_string())
            }
            ReportError::File(error) => Self::io("the reports could not be written")(error),
        }
    }
}
