//! What a run writes while it goes on, and the rows of images. A batch is applied as a whole, or not at all.

use rusqlite::{Connection, OptionalExtension, params};

use super::columns::int;
use super::fault::sqlite_error;
use super::intents::{intend, settle};
use super::runs::{RunCounters, update_counters};
use super::samples::{Sample, Span, record_sample, record_span};
use crate::error::{ErrorCode, ItemError, RunError};
use crate::item::{Item, NoteId, OrgId, Sha256};
use crate::layout;

/// A whole image under its final name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its row.
    pub item: Item,
    /// Relative to the export folder.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// Of the bytes on disk.
    pub sha256: Sha256,
    /// As the storage sent it, cleaned.
    pub content_type: String,
    /// As received.
    pub etag: String,
    /// Hash of the object's address without its signature.
    pub object: Sha256,
    /// What the bytes were compared with, joined by `+`.
    pub checked_by: String,
    /// Attempts that were counted.
    pub attempts: u32,
    /// RFC 3339, UTC.
    pub stored_at: String,
    /// Joined by `; `, may be empty.
    pub warning: String,
}

/// How a row that was not delivered has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndState {
    /// No further attempt of this run can help.
    Failed,
    /// Left for the next run.
    Untried,
}

/// A row that this run does not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDelivered {
    /// Its row.
    pub seq: i64,
    /// Failed, or left for the next run.
    pub state: EndState,
    /// Attempts that were counted.
    pub attempts: u32,
    /// Why.
    pub error: ItemError,
}

/// A partial download whose bytes are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRecord {
    /// The version of the object that the bytes belong to.
    pub etag: String,
    /// Hash of the object's address without its signature.
    pub object: Sha256,
    /// Size of the whole object.
    pub length: u64,
    /// Bytes that are durable in the part file.
    pub durable: u64,
    /// Hash of these bytes.
    pub sha256: Sha256,
}

/// One change of the ledger by a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// An image is whole and durable under its final name.
    Delivered(i64, Box<Delivered>),
    /// An image's file is about to be replaced: until the new one is delivered, neither is.
    Replacing(i64),
    /// A file is about to get this name, or to lose it: that of the whole image is known by its hash.
    Intended(String, Sha256),
    /// No file has this name any more, and none is about to get it.
    Settled(String),
    /// A row ends without its image.
    NotDelivered(i64, NotDelivered),
    /// A partial download can be continued, or (`None`) no longer can.
    Part(Box<Item>, Option<PartRecord>),
    /// The run's counters.
    Counters(i64, RunCounters),
    /// What a run has done in a minute.
    Sample(i64, Sample),
    /// A time in which a run could not go on.
    Span(i64, Span),
}

/// Applies all of them in one transaction.
pub(super) fn apply<'a>(
    connection: &mut Connection,
    writes: impl Iterator<Item = &'a Write>,
) -> Result<(), RunError> {
    let transaction = connection.transaction().map_err(sqlite_error)?;
    for write in writes {
        match write {
            Write::Delivered(run, delivered) => deliver(&transaction, *run, delivered),
            Write::Replacing(seq) => undeliver(&transaction, *seq),
            Write::Intended(path, sha256) => intend(&transaction, path, *sha256),
            Write::Settled(path) => settle(&transaction, path),
            Write::NotDelivered(run, it) => not_delivered(&transaction, *run, it),
            Write::Part(item, part) => keep_part(&transaction, item, part.as_ref()),
            Write::Counters(run, counters) => update_counters(&transaction, *run, counters),
            Write::Sample(run, sample) => record_sample(&transaction, *run, sample),
            Write::Span(run, span) => record_span(&transaction, *run, span),
        }
        .map_err(sqlite_error)?;
    }
    transaction.commit().map_err(sqlite_error)
}

fn deliver(connection: &Connection, run: i64, it: &Delivered) -> rusqlite::Result<()> {
    let (note, key): (i64, i64) = connection
        .prepare_cached("SELECT note, key FROM rows WHERE seq = ?1")?
        .query_row([it.item.seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let row = ImageRow {
        note,
        name: it.item.image.as_str(),
        key,
        path: &it.path,
        bytes: it.bytes,
        sha256: it.sha256,
        content_type: &it.content_type,
        etag: &it.etag,
        object: Some(it.object),
        checked_by: &it.checked_by,
        attempts: it.attempts,
        stored_at: &it.stored_at,
        checked_at: &it.stored_at,
        run,
        warning: &it.warning,
    };
    let known = row.number(connection)?;
    let image = row.insert(connection, known)?;
    connection
        .prepare_cached("UPDATE rows SET image = ?2 WHERE seq = ?1")?
        .execute(params![it.item.seq, image])?;
    connection
        .prepare_cached("DELETE FROM parts WHERE note = ?1 AND name = ?2")?
        .execute(params![note, row.name])?;
    settle(connection, row.path)
}

/// A delivered image as the ledger keeps it.
#[derive(Clone, Copy, Debug)]
pub struct ImageRow<'a> {
    /// Number of its note.
    pub note: i64,
    /// Its id.
    pub name: &'a str,
    /// From [`image_key`].
    pub key: i64,
    /// Relative to the export folder.
    pub path: &'a str,
    /// Size.
    pub bytes: u64,
    /// Of the bytes on disk.
    pub sha256: Sha256,
    /// As the storage sent it, cleaned.
    pub content_type: &'a str,
    /// As received.
    pub etag: &'a str,
    /// Hash of the object's address without its signature, if it is known.
    pub object: Option<Sha256>,
    /// What the bytes were compared with, joined by `+`.
    pub checked_by: &'a str,
    /// Attempts that were counted.
    pub attempts: u32,
    /// RFC 3339, UTC.
    pub stored_at: &'a str,
    /// When its bytes were last read back or delivered.
    pub checked_at: &'a str,
    /// The run that delivered it; 0 if it is not known.
    pub run: i64,
    /// Joined by `; `, may be empty.
    pub warning: &'a str,
}

impl ImageRow<'_> {
    /// The number of this image in the ledger, if it was ever delivered.
    fn number(&self, connection: &Connection) -> rusqlite::Result<Option<i64>> {
        connection
            .prepare_cached("SELECT id FROM images WHERE key = ?1 AND note = ?2 AND name = ?3")?
            .query_row(params![self.key, self.note, self.name], |row| row.get(0))
            .optional()
    }

    /// Inserts it, or replaces the image of that number. Returns its number.
    pub(super) fn insert(&self, connection: &Connection, number: Option<i64>) -> rusqlite::Result<i64> {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO images (id, note, name, key, delivered, path, bytes, sha256, content_type,
                     etag, object, checked_by, attempts, stored_at, checked_at, run, warning)
                 VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?
            .insert(params![
                number,
                self.note,
                self.name,
                self.key,
                self.path,
                int(self.bytes),
                self.sha256.0,
                self.content_type,
                self.etag,
                self.object.map(|hash| hash.0),
                self.checked_by,
                self.attempts,
                self.stored_at,
                self.checked_at,
                self.run,
                self.warning
            ])
    }
}

/// Adds an image that is on the disk already. False: the ledger knows an image with these ids.
///
/// # Errors
/// If the ledger cannot be read or written.
pub fn adopt_image(connection: &Connection, image: &ImageRow) -> rusqlite::Result<bool> {
    if image.number(connection)?.is_some() {
        return Ok(false);
    }
    image.insert(connection, None).map(|_| true)
}

/// A hash of an image's ids, equal for images whose files would collide on a file system that ignores case.
#[must_use]
pub fn image_key(org: &OrgId, note: &NoteId, image: &str) -> i64 {
    layout::key(org, note, &layout::fold(&layout::segment(image)))
}

fn undeliver(connection: &Connection, seq: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE images SET delivered = 0
             WHERE (key, note, name) = (SELECT key, note, name FROM rows WHERE seq = ?1)",
        )?
        .execute([seq])?;
    Ok(())
}

fn not_delivered(connection: &Connection, run: i64, it: &NotDelivered) -> rusqlite::Result<()> {
    let end = RowEnd {
        seq: it.seq,
        failed: it.state == EndState::Failed,
        attempts: it.attempts,
        code: it.error.code.map_or("", ErrorCode::as_str),
        error: &it.error.error,
        trace_id: &it.error.trace_id,
    };
    end_row(connection, run, &end)
}

/// How a row ended without its image, as the reports show it.
#[derive(Clone, Copy, Debug)]
pub struct RowEnd<'a> {
    /// Its number.
    pub seq: i64,
    /// Whether it failed; if not, it is left for the next run.
    pub failed: bool,
    /// Attempts that were counted.
    pub attempts: u32,
    /// An [`ErrorCode`] or an empty text.
    pub code: &'a str,
    /// Why.
    pub error: &'a str,
    /// Of the API's answer, may be empty.
    pub trace_id: &'a str,
}

/// Records how a row ended in run `run`.
///
/// # Errors
/// If the ledger cannot be written.
pub fn end_row(connection: &Connection, run: i64, it: &RowEnd) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE rows SET run = ?2, failed = ?3, attempts = ?4, code = ?5, error = ?6, trace_id = ?7 WHERE seq = ?1",
        )?
        .execute(params![it.seq, run, it.failed, it.attempts, it.code, it.error, it.trace_id])?;
    Ok(())
}

fn keep_part(connection: &Connection, item: &Item, part: Option<&PartRecord>) -> rusqlite::Result<()> {
    match part {
        Some(part) => connection
            .prepare_cached(
                "INSERT OR REPLACE INTO parts (note, name, file, etag, object, length, durable, sha256)
                 SELECT note, name, ?2, ?3, ?4, ?5, ?6, ?7 FROM rows WHERE seq = ?1",
            )?
            .execute(params![
                item.seq,
                item.part,
                part.etag,
                part.object.0,
                int(part.length),
                int(part.durable),
                part.sha256.0
            ])?,
        None => connection
            .prepare_cached(
                "DELETE FROM parts WHERE (note, name) = (SELECT note, name FROM rows WHERE seq = ?1)",
            )?
            .execute([item.seq])?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{ImageId, NoteId, OrgId};
    use crate::ledger::open_state;

    #[test]
    fn an_image_that_is_about_to_be_replaced_is_not_delivered() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut connection = open_state(dir.path(), None).expect("a ledger").connection;
        connection
            .execute_batch(
                "INSERT INTO runs (started_at, manifest_sha256, host, user, version) VALUES ('', '', '', '', '');
                 INSERT INTO orgs VALUES (1, 'o', 'o', 'o');
                 INSERT INTO notes VALUES (1, 1, 'n', 7, NULL);
                 INSERT INTO rows (seq, line, note, name, key) VALUES (1, 2, 1, 'i', 8), (2, 3, 1, 'j', 9);",
            )
            .expect("filled");
        let delivered = |seq, name: &str| {
            let item = Item {
                seq,
                line: 2,
                org: OrgId::new("o"),
                note: NoteId::new("n"),
                image: ImageId::new(name),
                wanted: None,
                stem: String::new(),
                part: String::new(),
                replaces: None,
            };
            let delivered = Delivered {
                item,
                path: format!("data/o/n/{name}.jpg"),
                bytes: 1,
                sha256: Sha256([0; 32]),
                content_type: String::new(),
                etag: String::new(),
                object: Sha256([0; 32]),
                checked_by: String::new(),
                attempts: 1,
                stored_at: String::new(),
                warning: String::new(),
            };
            Write::Delivered(1, Box::new(delivered))
        };
        let states = |connection: &Connection| -> Vec<String> {
            let mut select = connection.prepare("SELECT state FROM results ORDER BY seq").expect("read");
            let states = select.query_map([], |row| row.get(0)).expect("read");
            states.collect::<rusqlite::Result<_>>().expect("read")
        };
        apply(&mut connection, [delivered(1, "i"), delivered(2, "j")].iter()).expect("written");
        assert_eq!(states(&connection), ["stored", "stored"]);
        apply(&mut connection, [Write::Replacing(1)].iter()).expect("written");
        assert_eq!(states(&connection), ["untried", "stored"]);
        apply(&mut connection, [delivered(1, "i")].iter()).expect("written");
        assert_eq!(states(&connection), ["stored", "stored"]);
    }
}
