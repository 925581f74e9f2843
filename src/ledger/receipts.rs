//! The lines of `receipts.jsonl`. Each is here before it is appended to the file, so that a line which a kill or a power
//! cut kept from the file, or tore, is known.

use rusqlite::{Connection, params};

use super::runs::{RunRow, runs_after};

/// All lines, the oldest first.
pub(crate) fn receipt_lines(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut lines = connection.prepare("SELECT line FROM receipts WHERE line <> '' ORDER BY id")?;
    lines.query_map([], |row| row.get(0))?.collect()
}

/// Adds lines, all or none, as written when `run` was the newest run.
pub(crate) fn add_receipts(connection: &Connection, run: i64, lines: &[String]) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for line in lines {
        transaction.execute("INSERT INTO receipts (run, line) VALUES (?1, ?2)", params![run, line])?;
    }
    transaction.commit()
}

/// The runs since the newest receipt, the first one first: a run that is about to end, and those that were killed.
pub(crate) fn runs_without_receipt(connection: &Connection) -> rusqlite::Result<Vec<RunRow>> {
    let newest = connection.query_row("SELECT coalesce(max(run), 0) FROM receipts", [], |row| row.get(0))?;
    runs_after(connection, newest)
}
