//! What is written while a run goes on. All of a batch, or nothing of it.

use rusqlite::{Connection, OptionalExtension, params};

use super::columns::int;
use super::runs::{RunCounters, update_counters};
use super::sqlite_error;
use crate::error::{ItemError, RunError};
use crate::item::{Item, Sha256};

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
    /// As the storage said, cleaned.
    pub content_type: String,
    /// As received.
    pub etag: String,
    /// Hash of the object's address without its signature.
    pub object: Sha256,
    /// What the bytes were held against, joined by `+`.
    pub checked_by: String,
    /// Tries that were counted.
    pub attempts: u32,
    /// RFC 3339, UTC.
    pub stored_at: String,
    /// Joined by `; `, may be empty.
    pub warning: String,
}

/// A row that this run does not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its row.
    pub seq: i64,
    /// Given up, or left for the next run.
    pub failed: bool,
    /// Tries that were counted.
    pub attempts: u32,
    /// Why.
    pub error: ItemError,
}

/// A begun download whose bytes are on disk.
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
    /// Their hash.
    pub sha256: Sha256,
}

/// One thing to write down.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// An image is whole and durable under its final name.
    Delivered(i64, Box<Delivered>),
    /// An image's file is about to be replaced: until the new one is delivered, neither is.
    Replacing(i64),
    /// A row ends without its image.
    Given(i64, Given),
    /// A part is at hand, or (`None`) is no more.
    Part(Box<Item>, Option<PartRecord>),
    /// The run's counters.
    Counters(i64, RunCounters),
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
            Write::Given(run, given) => give(&transaction, *run, given),
            Write::Part(item, part) => keep_part(&transaction, item, part.as_ref()),
            Write::Counters(run, counters) => update_counters(&transaction, *run, counters),
        }
        .map_err(sqlite_error)?;
    }
    transaction.commit().map_err(sqlite_error)
}

fn deliver(connection: &Connection, run: i64, it: &Delivered) -> rusqlite::Result<()> {
    let (note, key): (i64, i64) = connection
        .prepare_cached("SELECT note, key FROM rows WHERE seq = ?1")?
        .query_row([it.item.seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let known: Option<i64> = connection
        .prepare_cached("SELECT id FROM images WHERE key = ?1 AND note = ?2 AND name = ?3")?
        .query_row(params![key, note, it.item.image.as_str()], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO images (id, note, name, key, delivered, path, bytes, sha256, content_type, etag,
                object, checked_by, attempts, stored_at, checked_at, run, warning)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14, ?15)",
        )?
        .execute(params![
            known,
            note,
            it.item.image.as_str(),
            key,
            it.path,
            int(it.bytes),
            it.sha256.0,
            it.content_type,
            it.etag,
            it.object.0,
            it.checked_by,
            it.attempts,
            it.stored_at,
            run,
            it.warning
        ])?;
    let image = known.unwrap_or_else(|| connection.last_insert_rowid());
    connection
        .prepare_cached("UPDATE rows SET image = ?2 WHERE seq = ?1")?
        .execute(params![it.item.seq, image])?;
    connection
        .prepare_cached("DELETE FROM parts WHERE note = ?1 AND name = ?2")?
        .execute(params![note, it.item.image.as_str()])?;
    Ok(())
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

fn give(connection: &Connection, run: i64, it: &Given) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE rows SET run = ?2, failed = ?3, attempts = ?4, code = ?5, error = ?6, trace_id = ?7 WHERE seq = ?1",
        )?
        .execute(params![
            it.seq,
            run,
            it.failed,
            it.attempts,
            it.error.code.map_or("", crate::error::ErrorCode::as_str),
            it.error.error,
            it.error.trace_id
        ])?;
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
