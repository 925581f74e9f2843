//! Notes that bad rows name: they are not complete, whatever else is delivered of them.
//!
//! A bad row belongs to no note in the ledger. So its ids are held against those of the good rows here, in temporary
//! tables, for a manifest may have as many bad rows as good ones. An image that a good row names, too, is counted
//! once; a bad row without a readable image id makes its note incomplete and counts no image.

use rusqlite::{Connection, params};

/// Creates the temporary table `bad_notes`: the notes that bad rows name, with the note's number in the ledger, or one
/// below zero if the ledger does not know the note; and `bad_images`, the images of these that no good row names.
pub(super) fn collect(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "CREATE TEMP TABLE bad_notes (
            id INTEGER PRIMARY KEY, org TEXT NOT NULL, name TEXT NOT NULL, first INTEGER NOT NULL, note INTEGER,
            UNIQUE (org, name)
         ) STRICT;
         CREATE TEMP TABLE bad_images (
            id INTEGER PRIMARY KEY, note INTEGER NOT NULL, image TEXT NOT NULL, UNIQUE (note, image)
         ) STRICT;
         INSERT INTO bad_notes (org, name, first)
            SELECT org, note, min(seq) FROM bad_rows WHERE org <> '' AND note <> '' GROUP BY org, note;",
    )?;
    if conn.query_row("SELECT NOT EXISTS (SELECT 1 FROM bad_notes)", [], |row| row.get(0))? {
        return Ok(());
    }
    number(conn)?;
    // CROSS JOIN fixes the order of the loops: one pass over the large table
    conn.execute_batch(
        "INSERT OR IGNORE INTO bad_images (note, image)
            SELECT n.note, b.image FROM bad_rows b CROSS JOIN bad_notes n ON n.org = b.org AND n.name = b.note
            WHERE b.image <> '';
         DELETE FROM bad_images WHERE id IN (
            SELECT i.id FROM rows r CROSS JOIN bad_images i ON i.note = r.note AND i.image = r.name);",
    )
}

/// Gives each of the notes its number.
fn number(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE bad_notes SET note = -id", [])?;
    let mut set = conn.prepare("UPDATE bad_notes SET note = ?2 WHERE id = ?1")?;
    let mut known = conn.prepare(
        "SELECT b.id, n.id FROM notes n CROSS JOIN orgs o ON o.id = n.org
         CROSS JOIN bad_notes b ON b.org = o.name AND b.name = n.name",
    )?;
    let mut known = known.query([])?;
    while let Some(pair) = known.next()? {
        set.execute(params![pair.get::<_, i64>(0)?, pair.get::<_, i64>(1)?])?;
    }
    Ok(())
}

/// Adds the notes and their images to the table `note_totals`.
pub(super) fn add_to_totals(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO note_totals (note, first, images, delivered, bad)
            SELECT n.note, n.first, (SELECT count(*) FROM bad_images i WHERE i.note = n.note), 0, 1 FROM bad_notes n
            WHERE true
         ON CONFLICT (note) DO UPDATE
            SET images = images + excluded.images, first = min(first, excluded.first), bad = 1",
        [],
    )?;
    Ok(())
}
