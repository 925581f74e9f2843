//! The rows that a run has to fetch, one from each org in turn.
//!
//! The work of a run is a temporary table of (round, org, row): the n-th open row of each org belongs to round n, and
//! one cursor walks over it. One large clinic therefore does not hold back the others, and memory does not grow with
//! the rows.

use std::collections::HashSet;

use rusqlite::{Connection, Row, params};

use super::columns::int;
use super::write::PartRecord;
use crate::error::{ErrorCode, ItemError};
use crate::item::{Earlier, ImageId, Item, NoteId, OrgId, Sha256, hex};
use crate::layout;

/// A position in the work: every row up to it has been handed out.
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
    /// A partial download of an earlier run or attempt.
    pub part: Option<PartRecord>,
}

/// Forgets the partial downloads of images that no row asks for any more. Returns the part files of the others: few,
/// as a run keeps only what was in flight.
///
/// # Errors
/// If the ledger cannot be read or written.
pub fn wanted_parts(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    connection.execute(
        "DELETE FROM parts WHERE (note, name) NOT IN
             (SELECT note, name FROM rows WHERE note IN (SELECT note FROM parts))",
        [],
    )?;
    let mut select = connection.prepare("SELECT file FROM parts")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// Lists the rows to fetch; returns their number.
///
/// # Errors
/// If the ledger cannot be read or its disk is full.
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

/// The next rows after the cursor, at most `limit`.
///
/// # Errors
/// If the ledger cannot be read.
pub fn next_items(connection: &Connection, cursor: &mut Cursor, limit: u32) -> rusqlite::Result<Vec<Work>> {
    let mut select = connection.prepare_cached(
        "SELECT w.round, w.org, r.seq, r.line, o.name, n.name, r.name, r.wanted, o.segment, n.segment, r.segment,
                i.path, i.bytes, i.sha256, p.etag, p.object, p.length, p.durable, p.sha256
         FROM temp.work w JOIN rows r ON r.seq = w.row JOIN notes n ON n.id = r.note JOIN orgs o ON o.id = n.org
         LEFT JOIN images i ON i.key = r.key AND i.note = r.note AND i.name = r.name
         LEFT JOIN parts p ON p.note = r.note AND p.name = r.name
         WHERE (w.round, w.org) > (?1, ?2) ORDER BY w.round, w.org LIMIT ?3",
    )?;
    let mut rows = select.query(params![cursor.round, cursor.org, limit])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        *cursor = Cursor { round: row.get(0)?, org: row.get(1)? };
        items.push(Work { item: item(row)?, org: cursor.org, part: part(row)? });
    }
    Ok(items)
}

/// The image of a row that [`next_items`] selects.
fn item(row: &Row) -> rusqlite::Result<Item> {
    let (org, note, image): (String, String, String) = (row.get(4)?, row.get(5)?, row.get(6)?);
    let (note_segment, image_segment): (Option<String>, Option<String>) = (row.get(9)?, row.get(10)?);
    Ok(Item {
        seq: row.get(2)?,
        line: row.get::<_, i64>(3)?.unsigned_abs(),
        stem: layout::path(
            row.get_ref(8)?.as_str()?,
            &note_segment.unwrap_or_else(|| layout::segment(&note)),
            &image_segment.unwrap_or_else(|| layout::segment(&image)),
        ),
        part: part_name(&org, &note, &image),
        wanted: row.get::<_, Option<[u8; 32]>>(7)?.map(Sha256),
        replaces: earlier(row)?,
        org: OrgId::new(org),
        note: NoteId::new(note),
        image: ImageId::new(image),
    })
}

/// The earlier delivery of a row that [`next_items`] selects.
fn earlier(row: &Row) -> rusqlite::Result<Option<Earlier>> {
    let Some(path) = row.get(11)? else { return Ok(None) };
    let bytes = row.get::<_, i64>(12)?.unsigned_abs();
    Ok(Some(Earlier { path, bytes, sha256: Sha256(row.get(13)?) }))
}

/// The partial download of a row that [`next_items`] selects.
fn part(row: &Row) -> rusqlite::Result<Option<PartRecord>> {
    let Some(etag) = row.get::<_, Option<String>>(14)? else { return Ok(None) };
    Ok(Some(PartRecord {
        etag,
        object: Sha256(row.get(15)?),
        length: row.get::<_, i64>(16)?.unsigned_abs(),
        durable: row.get::<_, i64>(17)?.unsigned_abs(),
        sha256: Sha256(row.get(18)?),
    }))
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

/// Gives up all rows of an org after the cursor without an attempt. Returns how many.
///
/// # Errors
/// If the ledger cannot be written.
pub fn drop_org(
    connection: &mut Connection,
    run: i64,
    org: i64,
    cursor: Cursor,
    error: &ItemError,
) -> rusqlite::Result<u64> {
    let transaction = connection.transaction()?;
    // only created once an organization is refused: it costs a second for a million rows
    transaction.execute_batch("CREATE INDEX IF NOT EXISTS temp.work_org ON work (org, round)")?;
    let after = params![org, cursor.round, cursor.org];
    transaction.execute(
        "UPDATE rows SET run = ?4, failed = 1, attempts = 0, code = ?5, error = ?6, trace_id = ?7
         WHERE seq IN (SELECT row FROM temp.work WHERE org = ?1 AND (round, org) > (?2, ?3))",
        params![
            org,
            cursor.round,
            cursor.org,
            run,
            error.code.map_or("", ErrorCode::as_str),
            error.error,
            error.trace_id
        ],
    )?;
    let rows =
        transaction.execute("DELETE FROM temp.work WHERE org = ?1 AND (round, org) > (?2, ?3)", after)?;
    transaction.commit()?;
    Ok(rows as u64)
}
