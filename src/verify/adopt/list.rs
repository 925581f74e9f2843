//! `manifest-sha256.txt`, the list of what was delivered, as a temporary table.

use std::io::{BufRead, BufReader};
use std::path::Path;

use rusqlite::{Connection, params};

use crate::error::RunError;
use crate::item::Sha256;
use crate::ledger::sqlite_error;
use crate::verify::chosen::PAGE_ROWS;
use crate::verify::file_state::HashJob;

/// The list's name in the export folder.
pub(super) const LIST: &str = "manifest-sha256.txt";

/// Paths that are owned after an adoption: those of images, and listed files that are not what they were or cannot be
/// read.
pub(super) const OWNED: &str =
    "SELECT path, 1 FROM images UNION SELECT path, 1 FROM listed WHERE kept = 1 ORDER BY path";

/// Reads the list into the temporary table `listed`; returns its length.
///
/// # Errors
/// If the list cannot be read, or a line of it is no checksum of a file in `data/`.
pub(super) fn load(connection: &Connection, out: &Path) -> Result<u64, RunError> {
    let path = out.join(LIST);
    let reading = || format!("reading {}", path.display());
    connection
        .execute_batch(
            "CREATE TEMP TABLE listed (
                n INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL,
                kept INTEGER NOT NULL DEFAULT 0
             ) STRICT",
        )
        .map_err(sqlite_error)?;
    let transaction = connection.unchecked_transaction().map_err(sqlite_error)?;
    let mut lines = 0;
    {
        let mut insert =
            transaction.prepare("INSERT INTO listed (path, sha256) VALUES (?1, ?2)").map_err(sqlite_error)?;
        let file = std::fs::File::open(&path).map_err(RunError::io(reading()))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(RunError::io(reading()))?;
            lines += 1;
            let wrong = || {
                let what = format!("line {lines} of {} is no checksum of a file in data/", path.display());
                RunError::Settings(what)
            };
            let (hash, name) = parse(&line).ok_or_else(wrong)?;
            insert.execute(params![name, hash.0]).map_err(|_| wrong())?;
        }
    }
    transaction.commit().map_err(sqlite_error)?;
    Ok(lines)
}

/// `<64 hex digits>  data/…`.
fn parse(line: &str) -> Option<(Sha256, &str)> {
    let (hash, name) = line.split_once(' ')?;
    let name = name.strip_prefix([' ', '*'])?;
    let plain = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    (plain && name.starts_with("data/")).then_some((Sha256::from_hex(hash)?, name))
}

/// The next files after position `after`, which moves on.
pub(super) fn page(connection: &Connection, after: &mut i64) -> rusqlite::Result<Vec<HashJob>> {
    let mut select =
        connection.prepare_cached("SELECT n, path, sha256 FROM listed WHERE n > ?1 ORDER BY n LIMIT ?2")?;
    let mut rows = select.query(params![*after, PAGE_ROWS])?;
    let mut jobs = Vec::with_capacity(PAGE_ROWS as usize);
    while let Some(row) = rows.next()? {
        *after = row.get(0)?;
        jobs.push(HashJob {
            position: *after,
            id: *after,
            path: row.get(1)?,
            bytes: None,
            sha256: Sha256(row.get(2)?),
            stored_at: String::new(),
        });
    }
    Ok(jobs)
}

/// Notes that a file that was not adopted is there: it is not foreign.
pub(super) fn keep(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE listed SET kept = 1 WHERE n = ?1")?.execute([id]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_names_a_file_in_data_and_nothing_else() {
        let hash = "a".repeat(64);
        let line = format!("{hash}  data/o/n/i.jpg");
        assert_eq!(parse(&line).map(|(_, name)| name), Some("data/o/n/i.jpg"));
        assert_eq!(parse(&format!("{hash} *data/o/n/i.jpg")).map(|(_, name)| name), Some("data/o/n/i.jpg"));
        for line in [
            "",
            "short  data/o",
            &format!("{hash} data/o/n/i.jpg"),
            &format!("{hash}  ../data/o"),
            &format!("{hash}  data/../../etc/passwd"),
            &format!("{hash}  /data/o"),
            &format!("{hash}  report.csv"),
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
