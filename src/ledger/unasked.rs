//! Images that the loaded manifest does not ask for, and the newest manifest that did.
//!
//! Invariant: a delivered image without a row has a line in the table `unasked`. The line of one that has a row again
//! stays, and is replaced when it loses its row.

use rusqlite::{Connection, OptionalExtension};

/// Keeps the images that the rows ask for in a temporary table, before the rows are replaced. Returns the hash of their
/// manifest; `None` if none is loaded.
pub(super) fn remember_asked(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let manifest = connection.query_row("SELECT sha256 FROM manifest", [], |row| row.get(0)).optional()?;
    connection.execute_batch(
        "CREATE TEMP TABLE asked (image INTEGER NOT NULL) STRICT;
         INSERT INTO asked SELECT image FROM rows WHERE image IS NOT NULL;
         -- a row that wants another hash than the delivered image has is not linked to it
         INSERT INTO asked
         SELECT i.id FROM rows r CROSS JOIN images i ON i.key = r.key AND i.note = r.note AND i.name = r.name
         WHERE r.image IS NULL AND r.first IS NULL AND r.wanted IS NOT NULL;",
    )?;
    Ok(manifest)
}

/// Records which images have no row any more: of the remembered ones, or, if no manifest was loaded before, of all. The
/// rows of the new manifest must be linked.
pub(super) fn record_unasked(connection: &Connection, before: Option<String>) -> rusqlite::Result<()> {
    match before {
        Some(manifest) => connection.execute(
            "INSERT OR REPLACE INTO unasked
             SELECT a.image, ?1 FROM (SELECT image FROM asked EXCEPT SELECT image FROM rows) a
             WHERE NOT EXISTS (
                 SELECT 1 FROM images i CROSS JOIN rows r ON r.key = i.key AND r.note = i.note AND r.name = i.name
                 WHERE i.id = a.image)",
            [manifest],
        ),
        // a ledger that was filled from files and reports, or a plan's
        None => connection.execute(
            "INSERT OR REPLACE INTO unasked
             SELECT i.id, coalesce(c.manifest_sha256, '') FROM images i LEFT JOIN runs c ON c.id = i.run
             WHERE NOT EXISTS (SELECT 1 FROM rows r WHERE r.key = i.key AND r.note = i.note AND r.name = i.name)",
            [],
        ),
    }?;
    connection.execute_batch("DROP TABLE temp.asked")
}
