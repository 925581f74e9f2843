//! Delivered images after their delivery: which they are, when they were last checked, and what makes them undelivered
//! again. No file is touched here.

use rusqlite::{Connection, params};

use crate::error::ErrorCode;
use crate::item::Sha256;

/// What `verify --repair` found in place of a delivered image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// No file.
    Missing,
    /// A file with other bytes, or something that is not a regular file.
    Changed,
    /// A file whose bytes the disk cannot return, while it returns those of others.
    Unreadable,
}

impl Damage {
    /// The reason of a row whose image a repair made undelivered.
    const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "verify found no file where the image was delivered",
            Self::Changed => "verify found another file than the one that was delivered",
            Self::Unreadable => "verify could not read the file that was delivered",
        }
    }
}

/// Calls `visit` with number, path and size of the delivered image of each row, in the manifest's order.
///
/// # Errors
/// If the ledger cannot be read, or `visit` fails.
pub fn delivered_rows(
    connection: &Connection,
    mut visit: impl FnMut(i64, &str, u64) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut select = connection.prepare(
        "SELECT i.id, i.path, i.bytes FROM rows r JOIN images i ON i.id = r.image
         WHERE r.first IS NULL AND i.delivered = 1 ORDER BY r.seq",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let bytes: i64 = row.get(2)?;
        visit(row.get(0)?, row.get_ref(1)?.as_str()?, bytes.unsigned_abs())?;
    }
    Ok(())
}

/// Makes images undelivered, all of them or none.
///
/// # Errors
/// If the ledger cannot be written.
pub fn mark_vanished(connection: &mut Connection, images: &[i64]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut mark = transaction.prepare("UPDATE images SET delivered = 0 WHERE id = ?1")?;
        for id in images {
            mark.execute([id])?;
        }
    }
    transaction.commit()
}

/// Records `checked_at` for images that were checked, whatever was found, if they are still those of the given hash: one
/// that was delivered again meanwhile keeps the time of its delivery.
///
/// # Errors
/// If the ledger cannot be written.
pub fn mark_checked(
    connection: &Connection,
    checked: &[(i64, Sha256)],
    checked_at: &str,
) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    {
        let mut update = transaction
            .prepare("UPDATE images SET checked_at = ?1 WHERE id = ?2 AND delivered = 1 AND sha256 = ?3")?;
        for (id, sha256) in checked {
            update.execute(params![checked_at, id, sha256.0])?;
        }
    }
    transaction.commit()
}

/// Makes damaged images undelivered and leaves their rows for the next run, with the reason.
///
/// # Errors
/// If the ledger cannot be written.
pub fn mark_damaged(
    connection: &Connection,
    damaged: impl Iterator<Item = (i64, Damage)>,
) -> rusqlite::Result<()> {
    connection
        .execute_batch("CREATE TEMP TABLE damaged (id INTEGER PRIMARY KEY, error TEXT NOT NULL) STRICT")?;
    let transaction = connection.unchecked_transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO damaged VALUES (?1, ?2)")?;
        for (id, damage) in damaged {
            insert.execute(params![id, damage.reason()])?;
        }
    }
    transaction.execute("UPDATE images SET delivered = 0 WHERE id IN (SELECT id FROM damaged)", [])?;
    transaction.execute(
        "UPDATE rows SET run = (SELECT max(id) FROM runs), failed = 0, attempts = 0, code = ?1, error = d.error,
             trace_id = ''
         FROM damaged d WHERE rows.image = d.id AND rows.first IS NULL",
        [ErrorCode::Disk.as_str()],
    )?;
    transaction.commit()
}

/// Rows that a repair made undelivered since the newest run.
///
/// # Errors
/// If the ledger cannot be read.
pub fn repaired(connection: &Connection) -> rusqlite::Result<u64> {
    let rows: i64 = connection.query_row(
        "SELECT count(*) FROM rows
         WHERE run = (SELECT max(id) FROM runs) AND failed = 0 AND code = ?1 AND error IN (?2, ?3, ?4)",
        params![
            ErrorCode::Disk.as_str(),
            Damage::Missing.reason(),
            Damage::Changed.reason(),
            Damage::Unreadable.reason()
        ],
        |row| row.get(0),
    )?;
    Ok(rows.unsigned_abs())
}
