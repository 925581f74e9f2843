//! `notes.csv`: which notes of the manifest are complete.
//!
//! Images are distinct: duplicates are not counted. A note that a bad row names is not complete. Only notes of the
//! loaded manifest appear, in its order; the ledger's table `notes` also has those of earlier manifests. The totals are
//! kept in a temporary table, not in memory, since there may be as many notes as rows.

use std::io::Write;

use rusqlite::{Connection, Statement, params};
use serde::Serialize;

use super::csv::Line;
use super::{ReportError, bad_notes};
use crate::ledger::columns::{bytes, number};

/// Incomplete notes that the summary names: enough to see whether they belong to one clinic.
const FIRST_INCOMPLETE_MAX: u32 = 3;

/// Notes of the manifest: `total = complete + incomplete`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// Notes that the manifest asks for.
    pub total: u64,
    /// Notes with all images delivered, and without a bad row.
    pub complete: u64,
    /// Notes that lack at least one image, or that a bad row names.
    pub incomplete: u64,
    /// The first incomplete notes in the manifest's order; `notes.csv` has all.
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
    /// Those of them that are delivered.
    pub delivered: u64,
}

/// Adds up the rows of each note as they pass in the manifest's order.
pub(super) struct NoteTotals<'conn> {
    add: Statement<'conn>,
    /// Rows of one note are mostly adjacent: they are added to the table together.
    pending: Option<Pending>,
}

struct Pending {
    note: i64,
    first: i64,
    images: i64,
    delivered: i64,
}

impl<'conn> NoteTotals<'conn> {
    /// Creates the temporary table `note_totals`.
    pub fn begin(conn: &'conn Connection) -> rusqlite::Result<Self> {
        conn.execute_batch(
            "CREATE TEMP TABLE note_totals (
                note INTEGER PRIMARY KEY, first INTEGER NOT NULL,
                images INTEGER NOT NULL, delivered INTEGER NOT NULL, bad INTEGER NOT NULL DEFAULT 0
            ) STRICT",
        )?;
        let add = conn.prepare(
            "INSERT INTO note_totals (note, first, images, delivered) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (note) DO UPDATE
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

    /// Ends the count.
    pub fn finish(mut self, conn: &Connection) -> rusqlite::Result<Notes> {
        self.flush()?;
        bad_notes::collect(conn)?;
        bad_notes::add_to_totals(conn)?;
        let counted = "SELECT count(*), coalesce(sum(images = delivered AND bad = 0), 0) FROM note_totals";
        let (total, complete) = conn.query_row(counted, [], |row| {
            Ok((number(row, 0)?.unwrap_or_default(), number(row, 1)?.unwrap_or_default()))
        })?;
        let mut first = conn.prepare(
            "SELECT coalesce(o.name, b.org), coalesce(n.name, b.name), t.images, t.delivered
             FROM (SELECT * FROM note_totals WHERE delivered < images OR bad = 1 ORDER BY first LIMIT ?1) t
             LEFT JOIN notes n ON n.id = t.note LEFT JOIN orgs o ON o.id = n.org
             LEFT JOIN bad_notes b ON b.id = -t.note",
        )?;
        let first_incomplete = first
            .query_map([FIRST_INCOMPLETE_MAX], |row| {
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
pub(super) fn write(conn: &Connection, out: &mut impl Write) -> Result<(), ReportError> {
    out.write_all(b"org,note,images,delivered,complete\n")?;
    // join after sorting, so that the sort does not carry the names
    let mut notes = conn.prepare(
        "SELECT coalesce(o.name, b.org), coalesce(n.name, b.name), t.images, t.delivered, t.bad
         FROM (SELECT * FROM note_totals ORDER BY first LIMIT -1) t
         LEFT JOIN notes n ON n.id = t.note LEFT JOIN orgs o ON o.id = n.org
         LEFT JOIN bad_notes b ON b.id = -t.note",
    )?;
    let mut notes = notes.query([])?;
    let mut line = Line::default();
    while let Some(note) = notes.next()? {
        let (images, delivered) = (number(note, 2)?, number(note, 3)?);
        line.field(bytes(note, 0)?);
        line.field(bytes(note, 1)?);
        line.number(images);
        line.number(delivered);
        let complete = images == delivered && number(note, 4)? == Some(0);
        line.text(if complete { "true" } else { "false" });
        line.end(out)?;
    }
    Ok(())
}
