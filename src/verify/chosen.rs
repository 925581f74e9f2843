//! The images that are to be checked, in the order of the check: all in the order of their delivery, which is much like
//! that on the disk, or a share of them, those checked longest ago.

use rusqlite::{Connection, params};

use super::file_state::HashJob;
use super::options::{Progress, Share};
use crate::item::Sha256;

/// Images read from the ledger at a time.
pub(super) const PAGE_ROWS: u32 = 512;

/// Lists the images in the temporary table `chosen` and announces them to `progress`.
pub(super) fn choose(
    connection: &Connection,
    oldest: Option<Share>,
    progress: &Progress,
) -> rusqlite::Result<()> {
    connection
        .execute_batch("CREATE TEMP TABLE chosen (n INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT")?;
    let all: i64 =
        connection.query_row("SELECT count(*) FROM images WHERE delivered = 1", [], |row| row.get(0))?;
    let (order, count) = match oldest {
        None => ("id", all),
        Some(share) => {
            let count = share.of_all(all.unsigned_abs());
            ("checked_at, id", i64::try_from(count).unwrap_or(i64::MAX))
        }
    };
    connection.execute(
        &format!(
            "INSERT INTO chosen (id) SELECT id FROM images WHERE delivered = 1 ORDER BY {order} LIMIT ?1"
        ),
        [count],
    )?;
    let (images, bytes): (i64, i64) = connection.query_row(
        "SELECT count(*), coalesce(sum(i.bytes), 0) FROM chosen c JOIN images i ON i.id = c.id",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Progress::set(&progress.images, images.unsigned_abs());
    Progress::set(&progress.bytes, bytes.unsigned_abs());
    Ok(())
}

/// The next images after position `after`, which moves on. One that a run made undelivered meanwhile is left out.
pub(super) fn page(connection: &Connection, after: &mut i64) -> rusqlite::Result<Vec<HashJob>> {
    let mut select = connection.prepare_cached(
        "SELECT c.n, i.id, i.path, i.bytes, i.sha256, i.stored_at, i.delivered
         FROM chosen c JOIN images i ON i.id = c.id WHERE c.n > ?1 ORDER BY c.n LIMIT ?2",
    )?;
    let mut jobs = Vec::with_capacity(PAGE_ROWS as usize);
    // a page without any delivered image is not the end
    while jobs.is_empty() {
        let before = *after;
        let mut rows = select.query(params![*after, PAGE_ROWS])?;
        while let Some(row) = rows.next()? {
            *after = row.get(0)?;
            if row.get(6)? {
                jobs.push(HashJob {
                    position: *after,
                    id: row.get(1)?,
                    path: row.get(2)?,
                    bytes: Some(row.get::<_, i64>(3)?.unsigned_abs()),
                    sha256: Sha256(row.get(4)?),
                    stored_at: row.get(5)?,
                });
            }
        }
        if *after == before {
            break;
        }
    }
    Ok(jobs)
}
