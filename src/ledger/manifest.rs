//! What the ledger keeps of the loaded manifest besides its rows, so that every run of it says the same: its warnings,
//! and the reasons of its bad rows.

use rusqlite::{Connection, params};

use crate::manifest::{BadRow, FIRST_BAD_ROWS};

/// Replaces the warnings by those of the manifest that is being loaded.
pub(super) fn record_warnings(connection: &Connection, warnings: &[String]) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM manifest_warnings", [])?;
    let mut insert = connection.prepare("INSERT INTO manifest_warnings (id, what) VALUES (?1, ?2)")?;
    for (id, what) in (1_i64..).zip(warnings) {
        insert.execute(params![id, what])?;
    }
    Ok(())
}

/// What is odd about the loaded manifest, in sentences.
///
/// # Errors
/// If the ledger cannot be read.
pub fn manifest_warnings(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut select = connection.prepare("SELECT what FROM manifest_warnings ORDER BY id")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// The first [`FIRST_BAD_ROWS`] bad rows, in the manifest's order.
///
/// # Errors
/// If the ledger cannot be read.
pub fn first_bad_rows(connection: &Connection) -> rusqlite::Result<Vec<BadRow>> {
    let mut select = connection.prepare(
        "SELECT r.line, b.org, b.note, b.image, b.reason FROM bad_rows b JOIN rows r ON r.seq = b.seq
         ORDER BY b.seq LIMIT ?1",
    )?;
    let rows = select.query_map([i64::try_from(FIRST_BAD_ROWS).unwrap_or(i64::MAX)], |row| {
        Ok(BadRow {
            line: row.get::<_, i64>(0)?.unsigned_abs(),
            org: row.get(1)?,
            note: row.get(2)?,
            image: row.get(3)?,
            reason: row.get(4)?,
        })
    })?;
    rows.collect()
}
