//! What one ledger knows of delivered images, copied into another one: from the export's to a new shard's, and from the
//! shards' to the export's.
//!
//! Orgs and notes come with the folders that they own, in the order in which the other ledger met them, so that all
//! ledgers of an export give the same names. Memory does not grow with rows.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{bytes, int, number, text};
use super::fault::{sqlite_error, sqlite_error_in};
use super::files::{NEW_LEDGER, remove};
use super::handles;
use super::owners::{Owner, adopt_note};
use super::write::ImageRow;
use crate::disk::fault::disk_error;
use crate::disk::folder::create_private_file;
use crate::error::RunError;
use crate::item::Sha256;
use crate::layout;

/// Which notes are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notes {
    /// All of them.
    All,
    /// Those with images.
    WithImages,
}

/// Copies orgs and notes, and leaves their numbers in both ledgers in the temporary table `copied_notes`.
///
/// # Errors
/// [`RunError::Settings`] if two ids own one folder, [`RunError::Sqlite`].
pub(super) fn copy_owners(from: &Connection, to: &Connection, which: Notes) -> Result<(), RunError> {
    let prepare =
        "CREATE TEMP TABLE IF NOT EXISTS copied_notes (theirs INTEGER PRIMARY KEY, ours INTEGER NOT NULL);
                   DELETE FROM temp.copied_notes;";
    to.execute_batch(prepare).map_err(sqlite_error)?;
    let mut conflict = None;
    let mut copy = || -> rusqlite::Result<()> {
        let filter = match which {
            Notes::All => "",
            Notes::WithImages => "WHERE n.id IN (SELECT note FROM images)",
        };
        let mut select = from.prepare(&format!(
            "SELECT n.id, o.name, o.segment, n.name, n.segment FROM notes n JOIN orgs o ON o.id = n.org {filter}
             ORDER BY n.id"
        ))?;
        let mut insert = to.prepare("INSERT INTO temp.copied_notes VALUES (?1, ?2)")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let org = Owner { name: text(row, 1)?, segment: text(row, 2)? };
            let natural = layout::segment(text(row, 3)?);
            let own = row.get::<_, Option<String>>(4)?.unwrap_or(natural);
            let Some(ours) = adopt_note(to, org, Owner { name: text(row, 3)?, segment: &own })? else {
                conflict = Some(org.segment.to_owned());
                return Ok(());
            };
            insert.execute(params![row.get::<_, i64>(0)?, ours])?;
        }
        Ok(())
    };
    copy().map_err(sqlite_error)?;
    match conflict {
        None => Ok(()),
        Some(folder) => Err(RunError::Settings(format!(
            "two organizations own the folder data/{folder}: the ledgers do not belong to one export"
        ))),
    }
}

/// Copies the images of the notes that `keep` names by org and note, and whether they are delivered. [`copy_owners`] has
/// copied the notes. `run_of` gives the run of an image: it gets its run there, and its run here if it is known here.
pub(super) fn copy_images(
    from: &Connection,
    to: &Connection,
    keep: impl Fn(&str, &str) -> bool,
    run_of: impl Fn(i64, Option<i64>) -> rusqlite::Result<i64>,
) -> rusqlite::Result<()> {
    let mut select = from.prepare(
        "SELECT i.note, i.name, i.key, i.path, i.bytes, i.sha256, i.content_type, i.etag, i.object, i.checked_by,
             i.attempts, i.stored_at, i.checked_at, i.run, i.warning, i.delivered, o.name, n.name
         FROM images i JOIN notes n ON n.id = i.note JOIN orgs o ON o.id = n.org ORDER BY i.id",
    )?;
    let mut rows = select.query([])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let theirs: i64 = row.get(0)?;
        // images of a note mostly stand together
        let ours = match last {
            Some((note, ours)) if note == theirs => ours,
            _ => {
                let ours = if keep(text(row, 16)?, text(row, 17)?) { our_note(to, theirs)? } else { None };
                last = Some((theirs, ours));
                ours
            }
        };
        if let Some(note) = ours {
            copy_image(row, to, note, &run_of)?;
        }
    }
    Ok(())
}

fn our_note(to: &Connection, theirs: i64) -> rusqlite::Result<Option<i64>> {
    to.prepare_cached("SELECT ours FROM temp.copied_notes WHERE theirs = ?1")?
        .query_row([theirs], |row| row.get(0))
        .optional()
}

fn copy_image(
    row: &Row<'_>,
    to: &Connection,
    note: i64,
    run_of: &impl Fn(i64, Option<i64>) -> rusqlite::Result<i64>,
) -> rusqlite::Result<()> {
    let (name, key) = (text(row, 1)?, row.get(2)?);
    let known: Option<(i64, i64)> = to
        .prepare_cached("SELECT id, run FROM images WHERE key = ?1 AND note = ?2 AND name = ?3")?
        .query_row(params![key, note, name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let image = ImageRow {
        note,
        name,
        key,
        path: text(row, 3)?,
        bytes: number(row, 4)?.unwrap_or_default(),
        sha256: Sha256(row.get(5)?),
        content_type: text(row, 6)?,
        etag: text(row, 7)?,
        object: row.get::<_, Option<[u8; 32]>>(8)?.map(Sha256),
        checked_by: text(row, 9)?,
        attempts: row.get(10)?,
        stored_at: text(row, 11)?,
        checked_at: text(row, 12)?,
        run: run_of(row.get(13)?, known.map(|(_, run)| run))?,
        warning: text(row, 14)?,
    };
    let id = image.insert(to, known.map(|(id, _)| id))?;
    if !row.get::<_, bool>(15)? {
        to.prepare_cached("UPDATE images SET delivered = 0 WHERE id = ?1")?.execute([id])?;
    }
    Ok(())
}

/// Copies the names that files are about to get or to lose, and that the other ledger has not recorded.
pub(super) fn copy_intents(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let mut select = from.prepare("SELECT path, sha256 FROM intents")?;
    let mut insert = to.prepare_cached("INSERT OR REPLACE INTO intents (path, sha256) VALUES (?1, ?2)")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        insert.execute(params![text(row, 0)?, bytes(row, 1)?])?;
    }
    Ok(())
}

/// Copies the rows that ask for images which were delivered once and are not any more: these own their paths.
pub(super) fn copy_asked(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let mut select = from.prepare(
        "SELECT i.note, i.name, i.key FROM images i
         WHERE i.delivered = 0 AND EXISTS (
             SELECT 1 FROM rows r WHERE r.key = i.key AND r.note = i.note AND r.name = i.name)",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let Some(note) = our_note(to, row.get(0)?)? else { continue };
        to.prepare_cached("INSERT INTO rows (line, note, name, key) VALUES (0, ?1, ?2, ?3)")?
            .execute(params![note, text(row, 1)?, row.get::<_, i64>(2)?])?;
    }
    Ok(())
}

/// Copies a whole ledger to `path`, in the place of one that no process uses.
///
/// # Errors
/// [`RunError::Disk`], [`RunError::Sqlite`].
pub(crate) fn copy_ledger(from: &Connection, path: &Path) -> Result<(), RunError> {
    let new = path.with_file_name(NEW_LEDGER);
    remove(&new)?;
    create_private_file(&new)?;
    from.execute("VACUUM INTO ?1", [new.to_string_lossy()]).map_err(|error| sqlite_error_in(&new, error))?;
    handles::sync(&new).map_err(disk_error("flushing", &new))?;
    remove(path)?;
    std::fs::rename(&new, path).map_err(disk_error("naming", path))
}

/// The id of the export that a ledger was made for: the same in every copy of it.
///
/// # Errors
/// If the ledger cannot be read.
pub(crate) fn export_id(connection: &Connection) -> Result<String, RunError> {
    connection.query_row("SELECT export FROM identity", [], |row| row.get(0)).map_err(sqlite_error)
}

/// Copies the partial downloads of the notes in `copied_notes` whose images are not delivered. Returns their files.
pub(super) fn copy_parts(from: &Connection, to: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut select =
        from.prepare("SELECT note, name, file, etag, object, length, durable, sha256 FROM parts")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let Some(note) = our_note(to, row.get(0)?)? else { continue };
        let (name, file) = (text(row, 1)?, text(row, 2)?);
        let numbers = [number(row, 5)?, number(row, 6)?].map(|number| int(number.unwrap_or_default()));
        to.prepare_cached(
            "INSERT OR REPLACE INTO parts (note, name, file, etag, object, length, durable, sha256)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            note,
            name,
            file,
            text(row, 3)?,
            bytes(row, 4)?,
            numbers[0],
            numbers[1],
            bytes(row, 7)?
        ])?;
        files.push(file.to_owned());
    }
    Ok(files)
}
