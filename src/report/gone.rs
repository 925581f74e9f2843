//! `gone.csv`: delivered images that earlier manifests asked for and the last one does not.
//!
//! A list for people: no run deletes anything because of it. So an image that a bad row names is not in it: that is an
//! error in the manifest, not the source's word that the image is gone. Nor is one for which the manifest has another
//! hash.

use std::io::Write;

use rusqlite::Connection;

use super::csv::Line;
use super::{ReportError, TemporaryTables, bad_notes};
use crate::ledger::columns::{bytes, number};

/// Fills the temporary table `gone` and returns the number of its images. Needs the table `bad_images`.
pub(super) fn collect(conn: &Connection) -> rusqlite::Result<u64> {
    conn.execute_batch(
        "CREATE TEMP TABLE gone (image INTEGER PRIMARY KEY) STRICT;
         INSERT INTO gone
         SELECT i.id FROM unasked u CROSS JOIN images i ON i.id = u.image
         WHERE i.delivered = 1
           AND NOT EXISTS (SELECT 1 FROM rows r WHERE r.key = i.key AND r.note = i.note AND r.name = i.name)
           AND NOT EXISTS (SELECT 1 FROM bad_images b WHERE b.note = i.note AND b.image = i.name)",
    )?;
    conn.query_row("SELECT count(*) FROM gone", [], |row| Ok(number(row, 0)?.unwrap_or_default()))
}

/// How many delivered images the loaded manifest does not ask for. Uses temporary tables.
///
/// # Errors
/// If the ledger cannot be read.
pub fn gone(conn: &Connection) -> rusqlite::Result<u64> {
    let _tables = TemporaryTables(conn);
    bad_notes::collect(conn)?;
    collect(conn)
}

/// Writes the file, sorted by the bytes of the path.
pub(super) fn write(conn: &Connection, out: &mut impl Write) -> Result<(), ReportError> {
    out.write_all(b"org,note,image,path,sha256,stored_at,last_manifest_sha256\n")?;
    let mut gone = conn.prepare(
        "SELECT o.name, n.name, i.name, i.path, i.sha256, i.stored_at, u.manifest_sha256
         FROM gone g CROSS JOIN images i ON i.id = g.image CROSS JOIN unasked u ON u.image = g.image
         CROSS JOIN notes n ON n.id = i.note CROSS JOIN orgs o ON o.id = n.org
         ORDER BY i.path",
    )?;
    let mut gone = gone.query([])?;
    let mut line = Line::default();
    while let Some(image) = gone.next()? {
        for column in 0..=3 {
            line.field(bytes(image, column)?);
        }
        line.hex(bytes(image, 4)?);
        line.field(bytes(image, 5)?);
        line.field(bytes(image, 6)?);
        line.end(out)?;
    }
    Ok(())
}
