//! What is missing or changed becomes undelivered: the next run fetches it, and the reports say so at once.

use std::path::Path;

use rusqlite::{Connection, params};

use super::Problem;
use super::hash::FileState;
use crate::error::{ErrorCode, RunError};
use crate::ledger::{REPAIRED, sqlite_error};
use crate::report;

/// Marks them in one transaction and writes the reports. The caller holds the lock. No file is touched: a changed one
/// stays until a run replaces it.
pub(super) fn repair(connection: &Connection, out: &Path, problems: &[Problem]) -> Result<(), RunError> {
    mark(connection, problems).map_err(sqlite_error)?;
    report::remove_leftovers(out)?;
    report::write_all(connection, out)?;
    Ok(())
}

fn mark(connection: &Connection, problems: &[Problem]) -> rusqlite::Result<()> {
    connection
        .execute_batch("CREATE TEMP TABLE broken (id INTEGER PRIMARY KEY, error TEXT NOT NULL) STRICT")?;
    let transaction = connection.unchecked_transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO broken VALUES (?1, ?2)")?;
        for Problem { job, seen } in problems {
            let error = match seen {
                FileState::Missing => REPAIRED[0],
                _ => REPAIRED[1],
            };
            insert.execute(params![job.id, error])?;
        }
    }
    transaction.execute("UPDATE images SET delivered = 0 WHERE id IN (SELECT id FROM broken)", [])?;
    // the rows that ask for them are left for the next run, with the reason
    transaction.execute(
        "UPDATE rows SET run = (SELECT max(id) FROM runs), failed = 0, attempts = 0, code = ?1, error = b.error,
             trace_id = ''
         FROM broken b WHERE rows.image = b.id AND rows.first IS NULL",
        [ErrorCode::Disk.as_str()],
    )?;
    transaction.commit()
}
