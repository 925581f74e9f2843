//! The reports: what a person, a script or an auditor reads about an export.
//!
//! They are written from the ledger and from nothing else, so that the same ledger always gives the same bytes: no
//! clock, no environment, no version of the running program. A file is replaced as a whole or not at all, one that
//! cannot be replaced does not keep the others back, and the memory used does not grow with the rows. The ledger's
//! view `results` decides what state a row is in; nothing here decides it again.

pub(crate) mod archive;
mod atomic;
mod bad_notes;
mod bag;
mod csv;
mod details;
mod error;
mod exit_code;
mod gone;
mod html;
mod index;
mod notes;
pub(crate) mod receipts;
mod replace;
mod rows;
mod shared_content;
mod summary;
#[cfg(test)]
mod tests;

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use self::atomic::Draft;
pub use self::atomic::remove_leftovers;
use self::bag::Payload;
pub use self::details::Details;
use self::error::ReportError;
pub use self::exit_code::exit_code;
pub use self::gone::gone;
pub use self::notes::{IncompleteNote, Notes};
pub use self::receipts::Occasion;
use self::replace::Replacer;
pub use self::shared_content::SameBytes;
pub use self::summary::{Counts, Org, Summary, counts, summary};
use crate::error::RunError;
use crate::ledger;

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
    let summary = write_all(&state.connection, out, &Occasion::Report)?;
    state.connection.close().map_err(ledger::sqlite_error)?;
    Ok(summary)
}

/// Writes all reports into the export folder: `manifest-sha256.txt`, `report.csv`, `failed.csv`, `notes.csv`,
/// `index.csv`, `gone.csv`, `bagit.txt`, `bag-info.txt`, `report.html`, `summary.json` and, last, `tagmanifest-sha256.txt`. Creates
/// `data/` if it does not exist, and keeps the reports of a run on another manifest in `reports/`. Blocks; a million
/// rows take some seconds. Written again from the same ledger, the files have the same bytes. Then `receipts.jsonl`
/// gets a line for the occasion.
///
/// The reports are those of the newest run in the ledger, which must hold that run's end and exit code already.
/// `conn` must not be in a transaction. Temporary tables are used and dropped.
///
/// # Errors
/// [`RunError::Reports`] names the reports that could not be replaced, [`RunError::Disk`] those that the disk has no
/// room for: the old ones are whole, and all others are new. [`RunError::Sqlite`] if the ledger cannot be read: then
/// all reports are the old ones. No temporary file stays behind.
pub fn write_all(conn: &Connection, folder: &Path, occasion: &Occasion<'_>) -> Result<Summary, RunError> {
    let Written { summary, refused, .. } = finish_and_write_all(conn, folder, occasion, |_, _| Ok(()))?;
    refused.map_or(Ok(summary), Err)
}

/// The report that says how the run ended.
const SUMMARY: &str = "summary.json";
/// The report for people.
const HTML: &str = "report.html";
/// The report that has the hashes of the others.
const TAGS: &str = "tagmanifest-sha256.txt";

/// Reports that were written.
#[derive(Debug)]
pub struct Written {
    /// What they say.
    pub summary: Summary,
    /// Which of them could not be replaced.
    pub refused: Option<RunError>,
    /// SHA-256 of the newest receipt, in hex; `None` if there is none, or if the new one could not be appended.
    pub receipt: Option<String>,
}

/// Records the end of a run in the ledger; called again with the error if reports cannot be replaced.
type Finish<'a> = &'a mut dyn FnMut(&Counts, Option<&RunError>) -> rusqlite::Result<()>;

/// [`write_all`] at the end of a run: `finish` gets the counts and records the run's end in the ledger; all files are
/// written after that. It saves counting the rows twice, which takes half a second for a million. If reports cannot
/// be replaced, `finish` is called again with the error, so that ledger and `summary.json` say so, too.
///
/// # Errors
/// [`RunError::Sqlite`] if the ledger cannot be read, and that of `finish`.
pub fn finish_and_write_all(
    conn: &Connection,
    folder: &Path,
    occasion: &Occasion<'_>,
    mut finish: impl FnMut(&Counts, Option<&RunError>) -> rusqlite::Result<()>,
) -> Result<Written, RunError> {
    write_files(conn, folder, occasion, &mut finish).map_err(RunError::from)
}

fn write_files(
    conn: &Connection,
    folder: &Path,
    occasion: &Occasion<'_>,
    finish: Finish<'_>,
) -> Result<Written, ReportError> {
    let _tables = TemporaryTables(conn);
    let transaction = conn.unchecked_transaction()?;
    let mut summary = summary::collect(&transaction)?;
    finish(&summary.counts, None)?;
    summary.add_run(&transaction)?;
    transaction.commit()?;

    let mut files = Replacer::begin(folder, &summary.manifest_sha256);
    // the images of a shard are no bag of their own: a merge makes one of all shards
    if ledger::shard_of(conn)?.is_some() {
        return write_shard(conn, files, summary, finish);
    }
    if let Err(error) = bag::make_payload_folder(folder) {
        files.refuse("data/", error);
    }
    // one view of the ledger for all files
    let snapshot = conn.unchecked_transaction()?;
    let payload = write_rows_and_payload(&snapshot, folder, &mut files)?;
    drop(snapshot);
    files.write("bagit.txt", bag::write_declaration)?;
    files.write("bag-info.txt", |out| bag::write_info(&summary, payload, out))?;
    files.settle();
    let refused = write_end(conn, folder, &mut files, &mut summary, payload, finish)?;
    let tags = files.tags().into_iter().find(|tag| tag.name == TAGS).map(|tag| tag.sha256);
    match receipts::append(conn, folder, occasion, &summary, tags) {
        Ok(receipt) => Ok(Written { summary, refused, receipt }),
        Err(ReportError::File(error)) => {
            files.refuse(receipts::NAME, error);
            let now = error::refused(folder, files.refused());
            finish(&summary.counts, now.as_ref())?;
            summary.add_run(conn)?;
            Ok(Written { summary, refused: now, receipt: None })
        }
        Err(error) => Err(error),
    }
}

/// Writes the files that depend on which of the others are there: how the run ended, and the hashes of all.
fn write_end(
    conn: &Connection,
    folder: &Path,
    files: &mut Replacer<'_>,
    summary: &mut Summary,
    payload: Payload,
    finish: Finish<'_>,
) -> Result<Option<RunError>, ReportError> {
    let refused = error::refused(folder, files.refused());
    if refused.is_some() {
        finish(&summary.counts, refused.as_ref())?;
        summary.add_run(conn)?;
    }
    files.write(HTML, |out| html::write(conn, summary, payload, out))?;
    files.write(SUMMARY, |out| summary::write(summary, out))?;
    files.settle();
    let mut tags = files.tags();
    files.write(TAGS, |out| bag::write_tags(&mut tags, out))?;
    files.settle();
    if let Err(error) = fs_err::File::open(folder).and_then(|folder| folder.sync_all()) {
        files.refuse("the export folder", error);
    }
    let first = refused.is_none();
    let refused = error::refused(folder, files.refused());
    if first && refused.is_some() {
        // one of the last two
        finish(&summary.counts, refused.as_ref())?;
        summary.add_run(conn)?;
        if !files.refused().iter().any(|refused| refused.name == SUMMARY) {
            files.write(SUMMARY, |out| summary::write(summary, out))?;
        }
    }
    Ok(refused)
}

/// Writes the reports of a shard: of its rows, and `summary.json`.
fn write_shard(
    conn: &Connection,
    mut files: Replacer<'_>,
    mut summary: Summary,
    finish: Finish<'_>,
) -> Result<Written, ReportError> {
    let folder = files.folder();
    let snapshot = conn.unchecked_transaction()?;
    let rows = draft_rows(&snapshot, folder)?;
    drop(snapshot);
    for draft in rows {
        files.replace(draft);
    }
    files.settle();
    let mut refused = error::refused(folder, files.refused());
    if refused.is_some() {
        finish(&summary.counts, refused.as_ref())?;
        summary.add_run(conn)?;
    }
    files.write(SUMMARY, |out| summary::write(&summary, out))?;
    files.settle();
    let all = error::refused(folder, files.refused());
    if refused.is_none() && all.is_some() {
        finish(&summary.counts, all.as_ref())?;
    }
    refused = all.or(refused);
    // the merge of all shards is the event that has a receipt
    Ok(Written { summary, refused, receipt: None })
}

/// Writes the reports of the rows and the payload manifest side by side: sorting the paths of a million images takes
/// a third of the whole time. A ledger in memory has no second connection; there one follows the other. The payload
/// manifest replaces the old one first.
fn write_rows_and_payload(
    snapshot: &Connection,
    folder: &Path,
    files: &mut Replacer<'_>,
) -> Result<Payload, ReportError> {
    let second = second_connection(snapshot)?;
    let (rows, payload) = std::thread::scope(|scope| {
        let payload = second.map(|second| scope.spawn(move || draft_payload(&second, folder)));
        let rows = draft_rows(snapshot, folder);
        let payload = match payload {
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => draft_payload(snapshot, folder),
        };
        (rows, payload)
    });
    let (rows, (payload, list)) = (rows?, payload?);
    files.replace(list);
    for draft in rows {
        files.replace(draft);
    }
    Ok(payload)
}

/// `None` for a ledger in memory. The two see the same rows: `conn` is the only writer.
fn second_connection(conn: &Connection) -> rusqlite::Result<Option<Connection>> {
    let Some(path) = conn.path().filter(|path| !path.is_empty()) else { return Ok(None) };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map(Some)
}

/// Writes the reports of the loaded manifest's rows.
fn draft_rows(snapshot: &Connection, folder: &Path) -> Result<[Draft; 5], ReportError> {
    let mut report = Draft::create(folder, "report.csv");
    let mut failed = Draft::create(folder, "failed.csv");
    let mut index = Draft::create(folder, "index.csv");
    rows::write(snapshot, &mut report, &mut failed, &mut index)?;
    let mut notes = Draft::create(folder, "notes.csv");
    notes::write(snapshot, &mut notes)?;
    let mut gone = Draft::create(folder, "gone.csv");
    gone::write(snapshot, &mut gone)?;
    Ok([report, failed, notes, index, gone])
}

/// Writes the list of all delivered images, whichever manifest asked for them.
fn draft_payload(snapshot: &Connection, folder: &Path) -> Result<(Payload, Draft), ReportError> {
    let mut list = Draft::create(folder, "manifest-sha256.txt");
    let payload = bag::write_manifest(snapshot, &mut list)?;
    Ok((payload, list))
}

/// Drops the temporary tables with itself.
struct TemporaryTables<'conn>(&'conn Connection);

impl Drop for TemporaryTables<'_> {
    fn drop(&mut self) {
        // a table that stays goes with the connection
        let _ = self.0.execute_batch(
            "DROP TABLE IF EXISTS temp.suspects; DROP TABLE IF EXISTS temp.same;
             DROP TABLE IF EXISTS temp.note_totals; DROP TABLE IF EXISTS temp.bad_notes;
             DROP TABLE IF EXISTS temp.bad_images; DROP TABLE IF EXISTS temp.gone",
        );
    }
}
