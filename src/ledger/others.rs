//! Rows of other shards, while a shard loads a manifest. They decide which folders are free and whether the manifest is
//! sound, as in a run that fetches all rows; then they are forgotten.

use rusqlite::{Connection, Statement};

use super::columns::number;
use crate::shard::Shard;

/// Rows of other shards, while a shard loads the manifest.
pub(super) struct Others<'c> {
    shard: Option<Shard>,
    insert: Option<Statement<'c>>,
    /// The note of the last row, and whether it is another shard's: rows of a note mostly stand together.
    last: (String, String, bool),
}

impl<'c> Others<'c> {
    /// Creates the temporary table `others`, if there are other shards.
    pub(super) fn new(connection: &'c Connection, shard: Option<Shard>) -> rusqlite::Result<Self> {
        let insert = match shard {
            None => None,
            Some(_) => {
                connection.execute_batch(
                    "DROP TABLE IF EXISTS temp.others; CREATE TEMP TABLE others (seq INTEGER PRIMARY KEY) STRICT;",
                )?;
                Some(connection.prepare("INSERT INTO temp.others VALUES (?1)")?)
            }
        };
        let last = (String::new(), String::new(), shard.is_some_and(|shard| !shard.owns("", "")));
        Ok(Self { shard, insert, last })
    }

    /// Whether the images of a note are another shard's.
    pub(super) fn has(&mut self, org: &str, note: &str) -> bool {
        let Some(shard) = self.shard else { return false };
        if (&*self.last.0, &*self.last.1) != (org, note) {
            self.last = (org.to_owned(), note.to_owned(), !shard.owns(org, note));
        }
        self.last.2
    }

    /// Adds a row to the table, if it is another shard's.
    pub(super) fn remember(&mut self, seq: i64, org: &str, note: &str) -> rusqlite::Result<()> {
        if self.has(org, note)
            && let Some(insert) = &mut self.insert
        {
            insert.execute([seq])?;
        }
        Ok(())
    }
}

/// Removes the rows of other shards, which have done their part. Returns how many rows and bad rows are left.
pub(super) fn forget_others(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    connection.execute_batch(
        "DELETE FROM rows WHERE seq IN (SELECT seq FROM temp.others);
         DELETE FROM bad_rows WHERE seq IN (SELECT seq FROM temp.others);
         DROP TABLE temp.others;",
    )?;
    connection.query_row("SELECT (SELECT count(*) FROM rows), (SELECT count(*) FROM bad_rows)", [], |row| {
        let count = |column| -> rusqlite::Result<u64> { Ok(number(row, column)?.unwrap_or_default()) };
        Ok((count(0)?, count(1)?))
    })
}
