//! The reports: what a person, a script or an auditor reads of an export.
//!
//! Everything here is written from the ledger and from nothing else, so that the same ledger always gives the
//! same bytes: no clock, no environment, no version of the program at hand. A file is replaced atomically or
//! not at all, and the memory used does not grow with the rows. What state a row is in is decided in the
//! ledger's view `results`; nothing here decides it again.

mod again;
pub(crate) mod archive;
mod atomic;
mod bag;
mod csv;
mod exit_code;
mod last_run;
mod notes;
mod rows;
mod shared_content;
mod summary;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OpenFlags, Row};

pub use self::again::{RunLine, again, runs};
pub use self::atomic::remove_leftovers;
use self::atomic::{Draft, Tag};
use self::bag::Payload;
pub use self::exit_code::exit_code;
use self::last_run::LastRun;
pub use self::notes::{IncompleteNote, Notes};
pub use self::summary::{Counts, Org, Summary, counts, summary};
use crate::error::RunError;

/// Writes all reports into the export folder: `report.csv`, `failed.csv`, `notes.csv`, `manifest-sha256.txt`,
/// `bagit.txt`, `bag-info.txt`, `summary.json` and, last, `tagmanifest-sha256.txt`; makes `data/` if it is not
/// there. Those of a run on another manifest are moved to `reports/` first. Blocks; a million rows take some seconds. Called again with the same ledger it writes the same bytes.
///
/// The newest run in the ledger is the one that is reported: its end and exit code must be in the ledger before.
/// `conn` must not be in a transaction. The sorting uses temporary tables, which are gone afterwards.
///
/// # Errors
/// [`RunError::Disk`] where the disk is full or read-only, [`RunError::Io`] for any other file error,
/// [`RunError::Sqlite`] where the ledger cannot be read. The reports written before the error are whole and
/// stay, the others are those of before; no temporary file stays behind.
pub fn write_all(conn: &Connection, folder: &Path) -> Result<Summary, RunError> {
    end_and_write_all(conn, folder, |_| Ok(()))
}

/// [`write_all`] at the end of a run: `end` gets the counts and writes the run's end into the ledger, which all files
/// are written from after that. Counting a million rows twice would take half a second.
///
/// # Errors
/// Those of [`write_all`], and that of `end`: nothing is written then.
pub fn end_and_write_all(
    conn: &Connection,
    folder: &Path,
    end: impl FnOnce(&Counts) -> rusqlite::Result<()>,
) -> Result<Summary, RunError> {
    write_files(conn, folder, end).map_err(RunError::from)
}

fn write_files(
    conn: &Connection,
    folder: &Path,
    end: impl FnOnce(&Counts) -> rusqlite::Result<()>,
) -> Result<Summary, Trouble> {
    let _tables = Tables(conn);
    let transaction = conn.unchecked_transaction()?;
    let mut summary = summary::collect(&transaction)?;
    end(&summary.counts)?;
    summary.of_run(LastRun::read(&transaction)?);
    transaction.commit()?;
    // one view of the ledger for all files
    let snapshot = conn.unchecked_transaction()?;
    archive::keep(folder, &summary.manifest_sha256)?;
    bag::make_payload_folder(folder)?;
    let second = second(conn)?;
    let (written, listed) = std::thread::scope(|scope| {
        let listing = second.map(|second| scope.spawn(move || list_payload(&second, folder)));
        let written = write_rows(&snapshot, folder);
        let listed = match listing {
            Some(listing) => listing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => list_payload(&snapshot, folder),
        };
        (written, listed)
    });
    let mut tags = written?;
    let (payload, tag) = listed?;
    tags.push(tag);

    let mut file = Draft::begin(folder, "bagit.txt")?;
    bag::write_declaration(&mut file)?;
    tags.push(file.finish()?);

    let mut file = Draft::begin(folder, "bag-info.txt")?;
    bag::write_info(&summary, payload, &mut file)?;
    tags.push(file.finish()?);

    let mut file = Draft::begin(folder, "summary.json")?;
    summary::write(&summary, &mut file)?;
    tags.push(file.finish()?);

    let mut file = Draft::begin(folder, "tagmanifest-sha256.txt")?;
    bag::write_tags(&mut tags, &mut file)?;
    file.finish()?;

    fs_err::File::open(folder)?.sync_all()?;
    Ok(summary)
}

/// What is written from the rows of the manifest.
fn write_rows(snapshot: &Connection, folder: &Path) -> Result<Vec<Tag>, Trouble> {
    let mut report = Draft::begin(folder, "report.csv")?;
    let mut failed = Draft::begin(folder, "failed.csv")?;
    rows::write(snapshot, &mut report, &mut failed)?;
    let mut tags = vec![report.finish()?, failed.finish()?];

    let mut file = Draft::begin(folder, "notes.csv")?;
    notes::write(snapshot, &mut file)?;
    tags.push(file.finish()?);
    Ok(tags)
}

/// The temporary tables `suspects`, `same` and `note_totals`, gone when this is dropped.
struct Tables<'conn>(&'conn Connection);

impl Drop for Tables<'_> {
    fn drop(&mut self) {
        // what stays is gone with the connection
        let _ = self.0.execute_batch(
            "DROP TABLE IF EXISTS temp.suspects; DROP TABLE IF EXISTS temp.same; DROP TABLE IF EXISTS temp.note_totals",
        );
    }
}

/// What is written from the images, whatever manifest asked for them.
fn list_payload(snapshot: &Connection, folder: &Path) -> Result<(Payload, Tag), Trouble> {
    let mut file = Draft::begin(folder, "manifest-sha256.txt")?;
    let payload = bag::write_manifest(snapshot, &mut file)?;
    Ok((payload, file.finish()?))
}

/// A second connection to the same ledger, so that two cores share the work: sorting the paths of a million images
/// takes a third of the time of all. `None` for a ledger in memory. Nobody writes meanwhile: `conn` is the writer.
fn second(conn: &Connection) -> rusqlite::Result<Option<Connection>> {
    let Some(path) = conn.path().filter(|path| !path.is_empty()) else { return Ok(None) };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map(Some)
}

/// What stops the writing. `?` takes it from `SQLite` and from files alike.
#[derive(Debug)]
enum Trouble {
    Ledger(rusqlite::Error),
    File(io::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<Trouble> for RunError {
    fn from(trouble: Trouble) -> Self {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match trouble {
            // sorting a large ledger spills into temporary files
            Trouble::Ledger(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => {
                Self::Disk(format!("the ledger or its temporary files: {error}"))
            }
            Trouble::Ledger(error) => crate::ledger::sqlite_error(error),
            Trouble::File(error)
                if matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) =>
            {
                Self::Disk(error.to_string())
            }
            Trouble::File(error) => Self::io("the reports could not be written")(error),
        }
    }
}

/// A text column without copying it; NULL is the empty text.
fn text<'row>(row: &'row Row<'_>, column: usize) -> rusqlite::Result<&'row str> {
    Ok(row.get_ref(column)?.as_str_or_null().map_err(|error| wrong(column, error))?.unwrap_or_default())
}

/// A BLOB (or text) column without copying it; NULL is empty.
fn bytes<'row>(row: &'row Row<'_>, column: usize) -> rusqlite::Result<&'row [u8]> {
    Ok(row.get_ref(column)?.as_bytes_or_null().map_err(|error| wrong(column, error))?.unwrap_or_default())
}

/// A column that counts something; NULL is `None`.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    row.get::<_, Option<i64>>(column)?
        .map(|n| u64::try_from(n).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, n)))
        .transpose()
}

fn wrong(column: usize, error: FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, Box::new(error))
}
