//! Finds rows that share their bytes, or their object in the storage, with another row of the manifest.
//!
//! Two delivered images share them if they have a hash in common. SQL (`GROUP BY … HAVING count(*) > 1`) would sort
//! all rows by whole hashes on disk, which for a million rows doubles the time that the reports take. Here the first
//! eight bytes of each hash are sorted in memory (16 MB for a million images), and only the rows that share those go
//! through SQL. Two rows that name the same image are duplicates, and none of this file's business.

use rusqlite::{Connection, Statement, params};

use crate::ledger::columns::{bytes, number};

/// What two rows can share. The number stands for it in the table `suspects`.
#[derive(Clone, Copy)]
enum Kind {
    Bytes = 0,
    Object = 1,
}

/// Collects rows whose hash occurs twice.
pub(super) struct SharedContent<'conn> {
    bytes: Repeats,
    object: Repeats,
    add: Statement<'conn>,
}

/// A row that has the bytes of an earlier row of another image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SameBytes {
    /// Its line in the manifest.
    pub line: u64,
    /// Line of the earlier row.
    pub earlier: u64,
}

/// Rows with the bytes of an earlier one that the summary names.
const SAME_BYTES_MAX: u32 = 20;

/// The first rows that have the bytes of an earlier row, in the manifest's order. Needs the temporary table `same`.
pub(super) fn first_same_bytes(conn: &Connection) -> rusqlite::Result<Vec<SameBytes>> {
    // the first row of a group names the second one, which is not earlier
    let mut same = conn.prepare(
        "SELECT r.line, s.bytes FROM same s CROSS JOIN rows r ON r.seq = s.seq WHERE s.bytes < r.line
         ORDER BY s.seq LIMIT ?1",
    )?;
    same.query_map([SAME_BYTES_MAX], |row| {
        let (line, earlier) = (number(row, 0)?, number(row, 1)?);
        Ok(SameBytes { line: line.unwrap_or_default(), earlier: earlier.unwrap_or_default() })
    })?
    .collect()
}

impl<'conn> SharedContent<'conn> {
    /// Passes over all delivered images and creates the temporary tables `suspects` and `same`. The latter names for
    /// a row (`seq`) the line that has the same bytes, or the same object; most rows are not in it.
    pub fn begin(conn: &'conn Connection) -> rusqlite::Result<Self> {
        conn.execute_batch(
            "CREATE TEMP TABLE suspects (
                kind INTEGER NOT NULL, hash BLOB NOT NULL, seq INTEGER NOT NULL, line INTEGER NOT NULL
             ) STRICT;
             CREATE TEMP TABLE same (seq INTEGER PRIMARY KEY, bytes INTEGER, object INTEGER) STRICT;",
        )?;
        let add = conn.prepare("INSERT INTO suspects VALUES (?1, ?2, ?3, ?4)")?;
        let mut shared = Self { bytes: Repeats::default(), object: Repeats::default(), add };
        let mut images = conn.prepare("SELECT sha256, object FROM images WHERE delivered = 1")?;
        let mut images = images.query([])?;
        while let Some(image) = images.next()? {
            shared.bytes.insert(bytes(image, 0)?);
            shared.object.insert(bytes(image, 1)?);
        }
        shared.bytes.keep_repeated();
        shared.object.keep_repeated();
        Ok(shared)
    }

    /// Accepts a delivered row of the manifest. An unknown hash is empty.
    pub fn row(&mut self, seq: i64, line: i64, sha256: &[u8], object: &[u8]) -> rusqlite::Result<()> {
        if self.bytes.contains(sha256) {
            self.add.execute(params![Kind::Bytes as i64, sha256, seq, line])?;
        }
        if self.object.contains(object) {
            self.add.execute(params![Kind::Object as i64, object, seq, line])?;
        }
        Ok(())
    }

    /// Fills the table `same`. Returns how many rows have the same bytes as an earlier row.
    pub fn finish(self, conn: &Connection) -> rusqlite::Result<u64> {
        drop(self);
        let same_content = link(conn, Kind::Bytes, "INSERT INTO same (seq, bytes) VALUES (?1, ?2)")?;
        link(
            conn,
            Kind::Object,
            "INSERT INTO same (seq, object) VALUES (?1, ?2)
             ON CONFLICT (seq) DO UPDATE SET object = excluded.object",
        )?;
        Ok(same_content)
    }
}

/// Every later row of a group names the first one, the first names the second. Returns how many later rows there are.
fn link(conn: &Connection, kind: Kind, insert: &str) -> rusqlite::Result<u64> {
    let mut insert = conn.prepare(insert)?;
    let mut suspects =
        conn.prepare("SELECT hash, seq, line FROM suspects WHERE kind = ?1 ORDER BY hash, seq")?;
    let mut suspects = suspects.query([kind as i64])?;
    let mut first: Option<First> = None;
    let mut later = 0;
    while let Some(row) = suspects.next()? {
        let (hash, seq, line) = (bytes(row, 0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
        match &mut first {
            Some(first) if first.hash == hash => {
                insert.execute([seq, first.line])?;
                if !first.linked {
                    insert.execute([first.seq, line])?;
                    first.linked = true;
                }
                later += 1;
            }
            _ => first = Some(First { hash: hash.to_vec(), seq, line, linked: false }),
        }
    }
    Ok(later)
}

struct First {
    hash: Vec<u8>,
    seq: i64,
    line: i64,
    linked: bool,
}

/// Finds hashes that occur more than once, by their first eight bytes.
#[derive(Default)]
struct Repeats {
    /// First every hash, then those that repeat; sorted.
    prefixes: Vec<u64>,
}

impl Repeats {
    fn insert(&mut self, hash: &[u8]) {
        self.prefixes.extend(prefix(hash));
    }

    /// Keeps the hashes that were inserted twice.
    fn keep_repeated(&mut self) {
        self.prefixes.sort_unstable();
        let repeated = self.prefixes.chunk_by(PartialEq::eq).filter(|equal| equal.len() > 1);
        self.prefixes = repeated.map(|equal| equal[0]).collect();
    }

    /// True for every hash that was inserted twice, and for others only by chance.
    fn contains(&self, hash: &[u8]) -> bool {
        prefix(hash).is_some_and(|prefix| self.prefixes.binary_search(&prefix).is_ok())
    }
}

/// `None` for a hash that is not known.
fn prefix(hash: &[u8]) -> Option<u64> {
    hash.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn hashes_that_came_twice_are_found_and_no_others() {
        let mut repeats = Repeats::default();
        let hash = |n: u32| Sha256::digest(n.to_le_bytes());
        for n in (0..10_000).chain(0..1000).chain(0..10) {
            repeats.insert(&hash(n));
        }
        repeats.keep_repeated();
        assert!((0..1000).all(|n| repeats.contains(&hash(n))));
        assert!(!(1000..11_000).any(|n| repeats.contains(&hash(n))));
    }

    #[test]
    fn a_hash_that_is_not_known_is_no_repeat() {
        let mut repeats = Repeats::default();
        repeats.insert(b"");
        repeats.insert(b"");
        repeats.keep_repeated();
        assert!(!repeats.contains(b""));
    }
}
