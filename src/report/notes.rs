//! `notes.csv`: which notes of the manifest are complete.
//!
//! Images are distinct here: duplicates and bad rows are not counted. Only notes that the loaded manifest asks
//! for appear, in its order; the ledger's table `notes` knows those of earlier manifests too. The totals are
//! kept in a temporary table, not in memory, since there may be as many notes as rows.

use std::io::Write;

use rusqlite::{Connection, Statement, params};
use serde::Serialize;

use super::csv::Line;
use super::{Trouble, bytes, number};

/// So many incomplete notes are named in the summary: enough to see whether they are of one clinic.
const NAMED: u32 = 3;

/// Notes of the manifest: `total = complete + incomplete`. Bad rows belong to no note.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// Notes that the manifest asks for.
    pub total: u64,
    /// All their images are delivered.
    pub complete: u64,
    /// At least one image is not.
    pub incomplete: u64,
    /// The first of them in the manifest's order; `notes.csv` has all.
    #[serde(skip)]
    pub first_incomplete: Vec<IncompleteNote>,
}

/// A note that lacks images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteNote {
    /// Its organization, as in the manifest.
    pub org: String,
    /// Its id, as in the manifest.
    pub note: String,
    /// Distinct images that the manifest asks for.
    pub images: u64,
    /// So many of them are there.
    pub delivered: u64,
}

/// Adds up the rows of each note as they pass by in the manifest's order.
pub(super) struct NoteTotals<'conn> {
    add: Statement<'conn>,
    /// Rows of one note mostly stand together: they are written down as one.
    pending: Option<Pending>,
}

struct Pending {
    note: i64,
    first: i64,
    images: i64,
    delivered: i64,
}

impl<'conn> NoteTotals<'conn> {
    /// Makes the temporary table `note_totals`.
    pub fn begin(conn: &'conn Connection) -> rusqlite::Result<Self> {
        conn.execute_batch(
            "CREATE TEMP TABLE note_totals (
                note INTEGER PRIMARY KEY, first INTEGER NOT NULL,
                images INTEGER NOT NULL, delivered INTEGER NOT NULL
            ) STRICT",
        )?;
        let add = conn.prepare(
            "INSERT INTO note_totals VALUES (?1, ?2, ?3, ?4) ON CONFLICT (note) DO UPDATE
             SET images = images + excluded.images, delivered = delivered + excluded.delivered",
        )?;
        Ok(Self { add, pending: None })
    }

    /// Counts a row that is neither bad nor a duplicate.
    pub fn count(&mut self, seq: i64, note: i64, delivered: bool) -> rusqlite::Result<()> {
        if self.pending.as_ref().is_none_or(|pending| pending.note != note) {
            self.flush()?;
        }
        let pending = self.pending.get_or_insert(Pending { note, first: seq, images: 0, delivered: 0 });
        pending.images += 1;
        pending.delivered += i64::from(delivered);
        Ok(())
    }

    /// Ends the counting.
    pub fn finish(mut self, conn: &Connection) -> rusqlite::Result<Notes> {
        self.flush()?;
        let counted = "SELECT count(*), coalesce(sum(images = delivered), 0) FROM note_totals";
        let (total, complete) = conn.query_row(counted, [], |row| {
            Ok((number(row, 0)?.unwrap_or_default(), number(row, 1)?.unwrap_or_default()))
        })?;
        let mut first = conn.prepare(
            "SELECT o.name, n.name, t.images, t.delivered
             FROM (SELECT * FROM note_totals WHERE delivered < images ORDER BY first LIMIT ?1) t
             CROSS JOIN notes n ON n.id = t.note CROSS JOIN orgs o ON o.id = n.org",
        )?;
        let first_incomplete = first
            .query_map([NAMED], |row| {
                Ok(IncompleteNote {
                    org: row.get(0)?,
                    note: row.get(1)?,
                    images: number(row, 2)?.unwrap_or_default(),
                    delivered: number(row, 3)?.unwrap_or_default(),
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Notes { total, complete, incomplete: total - complete, first_incomplete })
    }

    fn flush(&mut self) -> rusqlite::Result<()> {
        if let Some(Pending { note, first, images, delivered }) = self.pending.take() {
            self.add.execute(params![note, first, images, delivered])?;
        }
        Ok(())
    }
}

/// Writes the file from the totals.
pub(super) fn write(conn: &Connection, out: &mut impl Write) -> Result<(), Trouble> {
    out.write_all(b"org,note,images,delivered,complete\n")?;
    // the join comes after the sort, so that the names are not sorted along
    let mut notes = conn.prepare(
        "SELECT o.name, n.name, t.images, t.delivered
         FROM (SELECT * FROM note_totals ORDER BY first LIMIT -1) t
         CROSS JOIN notes n ON n.id = t.note CROSS JOIN orgs o ON o.id = n.org",
    )?;
    let mut notes = notes.query([])?;
    let mut line = Line::default();
    while let Some(note) = notes.next()? {
        let (images, delivered) = (number(note, 2)?, number(note, 3)?);
        line.field(bytes(note, 0)?);
        line.field(bytes(note, 1)?);
        line.number(images);
        line.number(delivered);
        line.text(if images == delivered { "true" } else { "false" });
        line.end(out)?;
    }
    Ok(())
}
