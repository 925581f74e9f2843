//! Links the rows of a manifest to each other and to delivered images: duplicates, contradictions, colliding names.
//!
//! Rows with the same key (a hash of org, note and lower-cased segment) name either the same image, or images whose
//! files would collide on a file system that ignores case: the first of those keeps the plain name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, OptionalExtension, params};

use super::columns::int;
use crate::layout;
use crate::manifest::BadRow;

/// What identifies one of the images that rows with the same key name: its note and its id.
type Identity = (i64, String);

/// A row of an image.
struct Asking {
    seq: i64,
    line: i64,
    wanted: Option<Vec<u8>>,
}

/// A row that asks for another hash than an earlier row for the same image. Small: all rows may be contradictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Contradiction {
    pub(super) seq: i64,
    line: i64,
    first_line: i64,
}

/// Marks duplicates and gives colliding images names of their own. Returns the contradictions, in the manifest's
/// order.
pub(super) fn duplicates(connection: &Connection) -> rusqlite::Result<Vec<Contradiction>> {
    let mut contradictions = Vec::new();
    let mut keys = connection.prepare(
        "SELECT key FROM rows WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1 ORDER BY key",
    )?;
    let mut shared = keys.query([])?;
    while let Some(row) = shared.next()? {
        group(connection, row.get(0)?, &mut contradictions)?;
    }
    drop(shared);
    drop(keys);
    against_delivered(connection)?;
    too_long(connection)?;
    contradictions.sort_unstable();
    Ok(contradictions)
}

/// Links the rows of one key.
fn group(connection: &Connection, key: i64, contradictions: &mut Vec<Contradiction>) -> rusqlite::Result<()> {
    let mut first_rows: HashMap<Identity, Asking> = HashMap::new();
    let mut select = connection
        .prepare_cached("SELECT seq, line, note, name, wanted FROM rows WHERE key = ?1 ORDER BY seq")?;
    let mut rows = select.query([key])?;
    while let Some(row) = rows.next()? {
        let asking = Asking { seq: row.get(0)?, line: row.get(1)?, wanted: row.get(4)? };
        let is_first_of_all = first_rows.is_empty();
        match first_rows.entry((row.get(2)?, row.get(3)?)) {
            Entry::Occupied(mut first) => {
                contradictions.extend(repeat(connection, first.get_mut(), asking)?);
            }
            Entry::Vacant(new) => {
                if !is_first_of_all {
                    set_segment(connection, asking.seq, Some(&layout::hashed(&new.key().1)))?;
                }
                new.insert(asking);
            }
        }
    }
    Ok(())
}

/// Marks a later row for the same image as a duplicate, unless it contradicts the first one.
fn repeat(
    connection: &Connection,
    first: &mut Asking,
    later: Asking,
) -> rusqlite::Result<Option<Contradiction>> {
    match (&first.wanted, later.wanted) {
        (Some(a), Some(b)) if *a != b => {
            return Ok(Some(Contradiction { seq: later.seq, line: later.line, first_line: first.line }));
        }
        (None, Some(hash)) => {
            // the first row asks for no hash: it takes over this one's, so that nothing is dropped
            connection
                .prepare_cached("UPDATE rows SET wanted = ?2 WHERE seq = ?1")?
                .execute(params![first.seq, hash])?;
            first.wanted = Some(hash);
        }
        _ => {}
    }
    connection
        .prepare_cached("UPDATE rows SET first = ?2 WHERE seq = ?1")?
        .execute([later.seq, first.seq])?;
    Ok(None)
}

fn set_segment(connection: &Connection, seq: i64, segment: Option<&str>) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE rows SET segment = ?2 WHERE seq = ?1")?
        .execute(params![seq, segment])?;
    Ok(())
}

impl Contradiction {
    /// The row as a bad one, for the refusal of the manifest or for its report.
    pub(super) fn bad_row(self, connection: &Connection) -> rusqlite::Result<BadRow> {
        let mut select = connection.prepare_cached(
            "SELECT o.name, n.name, r.name FROM rows r JOIN notes n ON n.id = r.note JOIN orgs o ON o.id = n.org
             WHERE r.seq = ?1",
        )?;
        select.query_row([self.seq], |row| {
            Ok(BadRow {
                line: self.line.unsigned_abs(),
                org: row.get(0)?,
                note: row.get(1)?,
                image: row.get(2)?,
                reason: format!("sha256 differs from that of line {} for the same image", self.first_line),
            })
        })
    }
}

/// Lets an image that was delivered earlier keep its name, whatever the order of this manifest; a colliding row gets
/// a name of its own.
fn against_delivered(connection: &Connection) -> rusqlite::Result<()> {
    let mut select = connection.prepare(
        "SELECT r.seq, r.name, r.note FROM rows r
         WHERE r.first IS NULL AND EXISTS (
             SELECT 1 FROM images i WHERE i.key = r.key AND NOT (i.note = r.note AND i.name = r.name))",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, name, note): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let own: Option<String> = connection
            .prepare_cached(
                "SELECT i.path FROM images i JOIN rows r ON r.key = i.key WHERE r.seq = ?1 AND i.note = ?2 AND i.name = ?3",
            )?
            .query_row(params![seq, note, name], |row| row.get(0))
            .optional()?;
        let segment = own.map_or_else(|| Some(layout::hashed(&name)), |path| segment_of(&path));
        set_segment(connection, seq, segment.as_deref())?;
    }
    Ok(())
}

/// `data/<org>/<note>/<segment>.<ext>` → `<segment>`.
fn segment_of(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    Some(name.rsplit_once('.').map_or(name, |(segment, _)| segment).to_owned())
}

/// Shortens names that are too long for a file system.
fn too_long(connection: &Connection) -> rusqlite::Result<()> {
    // an escaped byte becomes three: a shorter id cannot be too long
    let mut select = connection
        .prepare("SELECT seq, name FROM rows WHERE length(CAST(name AS BLOB)) > ?1 AND segment IS NULL")?;
    let mut rows = select.query([int(layout::MAX_SEGMENT as u64 / 3)])?;
    while let Some(row) = rows.next()? {
        let (seq, name): (i64, String) = (row.get(0)?, row.get(1)?);
        if layout::needs_hash(&layout::segment(&name)) {
            set_segment(connection, seq, Some(&layout::hashed(&name)))?;
        }
    }
    Ok(())
}

/// Links rows to the images of earlier runs that have the hash which the manifest asks for, if any.
pub(super) fn delivered(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE rows SET image = i.id FROM images i
         WHERE i.key = rows.key AND i.note = rows.note AND i.name = rows.name AND rows.first IS NULL
           AND (rows.wanted IS NULL OR rows.wanted = i.sha256)",
        [],
    )?;
    Ok(())
}

/// Turns a loaded row into a bad one.
pub(super) fn make_bad(connection: &Connection, seq: i64, bad: &BadRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE rows SET note = NULL, name = NULL, key = NULL, wanted = NULL, raw = NULL WHERE seq = ?1",
        )?
        .execute([seq])?;
    insert_bad(connection, seq, bad)
}

/// Records why a row is bad.
pub(super) fn insert_bad(connection: &Connection, seq: i64, bad: &BadRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO bad_rows (seq, org, note, image, reason) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![seq, bad.org, bad.note, bad.image, bad.reason])?;
    Ok(())
}
