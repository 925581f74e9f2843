//! What is still to be fetched, taken org by org in turn.
//!
//! The work of a run is a temporary table of (round, org, row): the n-th open row of every org belongs to round
//! n, and one cursor walks over it. So one large clinic does not hold back the others, and memory does not grow
//! with the rows.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::{Connection, params};

use super::columns::int;
use super::write::PartRecord;
use crate::error::{ErrorCode, ItemError};
use crate::item::{ImageId, Item, NoteId, OrgId, Sha256, hex};
use crate::layout;

/// A place in the work: everything up to it is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    round: i64,
    org: i64,
}

/// A row to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The image.
    pub item: Item,
    /// Number of its org, for [`drop_org`].
    pub org: i64,
    /// Bytes of an earlier run that are at hand.
    pub part: Option<PartRecord>,
}

/// Rows whose image is delivered, with path and size.
///
/// # Errors
/// Where the ledger cannot be read, or `look` fails.
pub fn delivered_rows(
    connection: &Connection,
    mut look: impl FnMut(i64, &str, u64) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut select = connection.prepare(
        "SELECT i.id, i.path, i.bytes FROM rows r JOIN images i ON i.id = r.image
         WHERE r.first IS NULL AND i.delivered = 1 ORDER BY r.seq",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let bytes: i64 = row.get(2)?;
        look(row.get(0)?, row.get_ref(1)?.as_str()?, bytes.unsigned_abs())?;
    }
    Ok(())
}

/// Makes images undelivered whose file is gone or has another size. Returns how many of the manifest's images were
/// delivered, and how many of them are not any more.
///
/// # Errors
/// Where the ledger cannot be read or written.
pub fn mark_vanished(connection: &mut Connection, folder: &Path) -> rusqlite::Result<(u64, u64)> {
    let transaction = connection.transaction()?;
    let (mut looked, mut vanished) = (0, 0);
    {
        let mut mark = transaction.prepare("UPDATE images SET delivered = 0 WHERE id = ?1")?;
        let mut look = |images: &mut Vec<Image>| {
            looked += images.len() as u64;
            for id in gone(images, folder) {
                mark.execute([id])?;
                vanished += 1;
            }
            images.clear();
            Ok(())
        };
        let mut images = Vec::with_capacity(LOOKED_AT);
        delivered_rows(&transaction, |id, path, bytes| {
            images.push(Image { id, path: path.to_owned(), bytes });
            if images.len() == LOOKED_AT { look(&mut images) } else { Ok(()) }
        })?;
        look(&mut images)?;
    }
    transaction.commit()?;
    Ok((looked, vanished))
}

/// What `verify --repair` writes as the reason of a row whose image it made undelivered: there was no file, or
/// another one.
pub const REPAIRED: [&str; 2] = [
    "verify found no file where the image was delivered",
    "verify found another file than the one that was delivered",
];

/// Rows that a repair made undelivered since the newest run.
///
/// # Errors
/// Where the ledger cannot be read.
pub fn repaired(connection: &Connection) -> rusqlite::Result<u64> {
    let rows: i64 = connection.query_row(
        "SELECT count(*) FROM rows
         WHERE run = (SELECT max(id) FROM runs) AND failed = 0 AND code = ?1 AND error IN (?2, ?3)",
        params![ErrorCode::Disk.as_str(), REPAIRED[0], REPAIRED[1]],
        |row| row.get(0),
    )?;
    Ok(rows.unsigned_abs())
}

/// Images whose files are looked for at a time: what starting the threads costs is nothing beside it.
const LOOKED_AT: usize = 8192;
/// Threads that look: a share answers many questions in the time of one.
const LOOKERS: usize = 8;

struct Image {
    id: i64,
    path: String,
    bytes: u64,
}

/// Which of the images have no plain file of their size under their name.
fn gone(images: &[Image], folder: &Path) -> Vec<i64> {
    let whole = |image: &&Image| is_whole(&folder.join(&image.path), image.bytes);
    let find = |images: &[Image]| {
        images.iter().filter(|image| !whole(image)).map(|image| image.id).collect::<Vec<_>>()
    };
    if images.len() < LOOKED_AT / LOOKERS {
        return find(images);
    }
    std::thread::scope(|scope| {
        let share = images.len().div_ceil(LOOKERS);
        let lookers: Vec<_> = images.chunks(share).map(|images| scope.spawn(move || find(images))).collect();
        let found = lookers.into_iter().map(std::thread::ScopedJoinHandle::join);
        found.flat_map(|found| found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Whether a plain file of that size is there.
#[must_use]
pub fn is_whole(path: &Path, bytes: u64) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.len() == bytes)
}

/// Forgets the parts of images that no row asks for any more. Returns the names of the other part files, with which
/// this run may go on: few, as a run keeps only what was in flight.
///
/// # Errors
/// Where the ledger cannot be read or written.
pub fn wanted_parts(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    connection.execute(
        "DELETE FROM parts WHERE (note, name) NOT IN
             (SELECT note, name FROM rows WHERE note IN (SELECT note FROM parts))",
        [],
    )?;
    let mut select = connection.prepare("SELECT file FROM parts")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// Lists what is to be done; returns the number of rows.
///
/// # Errors
/// Where the ledger cannot be read or its disk is full.
pub fn prepare_work(connection: &Connection) -> rusqlite::Result<u64> {
    connection.execute_batch(
        "DROP TABLE IF EXISTS temp.work;
         CREATE TEMP TABLE work (round INTEGER, org INTEGER, row INTEGER, PRIMARY KEY (round, org)) WITHOUT ROWID;",
    )?;
    let rows = connection.execute(
        "INSERT INTO temp.work (round, org, row)
         SELECT row_number() OVER (PARTITION BY n.org ORDER BY r.seq), n.org, r.seq
         FROM rows r JOIN notes n ON n.id = r.note LEFT JOIN images i ON i.id = r.image
         WHERE r.first IS NULL AND coalesce(i.delivered, 0) = 0",
        [],
    )?;
    Ok(rows as u64)
}

/// The next rows behind the cursor, at most `limit`.
///
/// # Errors
/// Where the ledger cannot be read.
pub fn next_items(connection: &Connection, cursor: &mut Cursor, limit: u32) -> rusqlite::Result<Vec<Work>> {
    let mut select = connection.prepare_cached(
        "SELECT w.round, w.org, r.seq, r.line, o.name, n.name, r.name, r.wanted, o.segment, n.segment, r.segment,
                i.path, p.etag, p.object, p.length, p.durable, p.sha256
         FROM temp.work w JOIN rows r ON r.seq = w.row JOIN notes n ON n.id = r.note JOIN orgs o ON o.id = n.org
         LEFT JOIN images i ON i.key = r.key AND i.note = r.note AND i.name = r.name
         LEFT JOIN parts p ON p.note = r.note AND p.name = r.name
         WHERE (w.round, w.org) > (?1, ?2) ORDER BY w.round, w.org LIMIT ?3",
    )?;
    let mut rows = select.query(params![cursor.round, cursor.org, limit])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        *cursor = Cursor { round: row.get(0)?, org: row.get(1)? };
        let (org, note, image): (String, String, String) = (row.get(4)?, row.get(5)?, row.get(6)?);
        let (note_segment, image_segment): (Option<String>, Option<String>) = (row.get(9)?, row.get(10)?);
        let line: i64 = row.get(3)?;
        let item = Item {
            seq: row.get(2)?,
            line: line.unsigned_abs(),
            stem: layout::path(
                row.get_ref(8)?.as_str()?,
                &note_segment.unwrap_or_else(|| layout::segment(&note)),
                &image_segment.unwrap_or_else(|| layout::segment(&image)),
            ),
            part: part_name(&org, &note, &image),
            wanted: row.get::<_, Option<[u8; 32]>>(7)?.map(Sha256),
            replaces: row.get(11)?,
            org: OrgId::new(org),
            note: NoteId::new(note),
            image: ImageId::new(image),
        };
        let part = match row.get::<_, Option<String>>(12)? {
            None => None,
            Some(etag) => Some(PartRecord {
                etag,
                object: Sha256(row.get(13)?),
                length: row.get::<_, i64>(14)?.unsigned_abs(),
                durable: row.get::<_, i64>(15)?.unsigned_abs(),
                sha256: Sha256(row.get(16)?),
            }),
        };
        items.push(Work { item, org: cursor.org, part });
    }
    Ok(items)
}

/// The name of an image's part file: the same in every run, safe and distinct whatever the ids are.
fn part_name(org: &str, note: &str, image: &str) -> String {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for id in [org, note, image] {
        hash.update(int(id.len() as u64).to_be_bytes());
        hash.update(id);
    }
    format!("{}.part", hex(&hash.finalize()[..16]))
}

/// Gives up all rows of an org behind the cursor, without having tried them. Returns how many.
///
/// # Errors
/// Where the ledger cannot be written.
pub fn drop_org(
    connection: &mut Connection,
    run: i64,
    org: i64,
    cursor: Cursor,
    error: &ItemError,
) -> rusqlite::Result<u64> {
    let transaction = connection.transaction()?;
    // not made before an organization is refused: it costs a second with a million rows
    transaction.execute_batch("CREATE INDEX IF NOT EXISTS temp.work_org ON work (org, round)")?;
    let behind = params![org, cursor.round, cursor.org];
    transaction.execute(
        "UPDATE rows SET run = ?4, failed = 1, attempts = 0, code = ?5, error = ?6, trace_id = ?7
         WHERE seq IN (SELECT row FROM temp.work WHERE org = ?1 AND (round, org) > (?2, ?3))",
        params![
            org,
            cursor.round,
            cursor.org,
            run,
            error.code.map_or("", crate::error::ErrorCode::as_str),
            error.error,
            error.trace_id
        ],
    )?;
    let rows =
        transaction.execute("DELETE FROM temp.work WHERE org = ?1 AND (round, org) > (?2, ?3)", behind)?;
    transaction.commit()?;
    Ok(rows as u64)
}
