//! Names in `data/` that are about to get a file, or to lose one.
//!
//! A run records the final names of a batch before the first rename of it, and removes each record with the commit that
//! delivers the image. Whatever the next run is asked to fetch, it therefore knows every file that a killed run may have
//! left under a name that no delivered image owns. The table is also what tells `verify` such a file from a foreign one.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use crate::item::Sha256;

/// A name that a killed run left in the table, and that no delivered image owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    /// Relative to the export folder.
    pub path: String,
    /// Of the file that is meant.
    pub sha256: Sha256,
    /// The image that was delivered there and withdrawn, and the hash of its bytes.
    pub withdrawn: Option<(i64, Sha256)>,
}

pub(super) fn intend(connection: &Connection, path: &str, sha256: Sha256) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO intents (path, sha256) VALUES (?1, ?2)")?
        .execute(params![path, sha256.0])?;
    Ok(())
}

pub(super) fn settle(connection: &Connection, path: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM intents WHERE path = ?1")?.execute([path])?;
    Ok(())
}

/// The names that no delivered image owns; the others need nothing.
pub(crate) fn unsettled_intents(connection: &Connection) -> rusqlite::Result<Vec<Intent>> {
    let mut select = connection.prepare("SELECT path, sha256 FROM intents")?;
    let intents = select.query_map([], |row| {
        Ok(Intent { path: row.get(0)?, sha256: Sha256(row.get(1)?), withdrawn: None })
    })?;
    let mut intents: Vec<Intent> = intents.collect::<rusqlite::Result<_>>()?;
    if intents.is_empty() {
        return Ok(intents);
    }
    let mut owned = HashSet::new();
    // one pass over the images: their paths have no index
    let mut select = connection.prepare(
        "SELECT i.path, i.id, i.delivered, i.sha256 FROM images i CROSS JOIN intents n ON n.path = i.path",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let path: String = row.get(0)?;
        if row.get(2)? {
            owned.insert(path);
        } else if let Some(intent) = intents.iter_mut().find(|intent| intent.path == path) {
            intent.withdrawn = Some((row.get(1)?, Sha256(row.get(3)?)));
        }
    }
    intents.retain(|intent| !owned.contains(&intent.path));
    Ok(intents)
}

/// Clears the table but for the names in `kept`, and delivers the images in `restored` again: their files are there
/// with the bytes of their delivery.
pub(crate) fn settle_intents(
    connection: &mut Connection,
    restored: &[i64],
    kept: &[Intent],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM intents", [])?;
    for intent in kept {
        intend(&transaction, &intent.path, intent.sha256)?;
    }
    for id in restored {
        transaction.execute("UPDATE images SET delivered = 1 WHERE id = ?1", [id])?;
    }
    transaction.commit()
}
