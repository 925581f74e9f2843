//! Finds rows that share their bytes, or their object in the storage, with another row of the manifest.
//!
//! Two delivered images share them if they have a hash in common. To find such hashes in SQL (`GROUP BY … HAVING
//! count(*) > 1`) means sorting all of them, which for a million rows costs 3 s of processor time and would double
//! the time that the reports take; a pass through two Bloom filters of fixed size costs a tenth of that. Only rows
//! whose hash may have occurred before are then sorted. A filter may suspect too many rows, never too few: with many
//! millions of rows it suspects most of them, which costs time but changes no result. Two rows that name the same
//! image are duplicates, and none of this file's business.

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
    bytes: RepeatFilter,
    object: RepeatFilter,
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
        let mut shared = Self { bytes: RepeatFilter::new(), object: RepeatFilter::new(), add };
        let mut images = conn.prepare("SELECT sha256, object FROM images WHERE delivered = 1")?;
        let mut images = images.query([])?;
        while let Some(image) = images.next()? {
            shared.bytes.insert(bytes(image, 0)?);
            shared.object.insert(bytes(image, 1)?);
        }
        Ok(shared)
    }

    /// Accepts a delivered row of the manifest. An unknown hash is empty.
    pub fn row(&mut self, seq: i64, line: i64, sha256: &[u8], object: &[u8]) -> rusqlite::Result<()> {
        if self.bytes.may_repeat(sha256) {
            self.add.execute(params![Kind::Bytes as i64, sha256, seq, line])?;
        }
        if self.object.may_repeat(object) {
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

/// Hashes that were inserted once, and hashes that were inserted again.
struct RepeatFilter {
    once: BloomFilter,
    again: BloomFilter,
}

impl RepeatFilter {
    fn new() -> Self {
        Self { once: BloomFilter::new(), again: BloomFilter::new() }
    }

    fn insert(&mut self, hash: &[u8]) {
        if let Some(position) = Position::of(hash)
            && self.once.insert(&position)
        {
            self.again.insert(&position);
        }
    }

    /// True for every hash that was inserted twice, and for few others.
    fn may_repeat(&self, hash: &[u8]) -> bool {
        Position::of(hash).is_some_and(|position| self.again.contains(&position))
    }
}

/// Size of one filter in words: 2 MiB, which a million hashes leave nine tenths empty.
const FILTER_WORDS: usize = 1 << 18;

struct BloomFilter(Vec<u64>);

impl BloomFilter {
    fn new() -> Self {
        Self(vec![0; FILTER_WORDS])
    }

    fn contains(&self, position: &Position) -> bool {
        self.0[position.word] & position.bits == position.bits
    }

    /// Sets the bits; true if all were set before.
    fn insert(&mut self, position: &Position) -> bool {
        let contained = self.contains(position);
        self.0[position.word] |= position.bits;
        contained
    }
}

/// The bits of a hash in a filter: two of one word, so that a lookup costs one access to memory.
struct Position {
    word: usize,
    bits: u64,
}

impl Position {
    /// A SHA-256 is as good as random, so its own bytes give the position.
    fn of(hash: &[u8]) -> Option<Self> {
        let &[a, b, c, first, second, ..] = hash else { return None };
        let word = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Some(Self { word: word % FILTER_WORDS, bits: 1 << (first % 64) | 1 << (second % 64) })
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_filter_suspects_every_hash_that_came_twice_and_few_others() {
        let mut filter = RepeatFilter::new();
        let hash = |n: u32| Sha256::digest(n.to_le_bytes());
        for n in (0..100_000).chain(0..1000) {
            filter.insert(&hash(n));
        }
        assert!((0..1000).all(|n| filter.may_repeat(&hash(n))));
        let wrong = (1000..100_000).filter(|n| filter.may_repeat(&hash(*n))).count();
        assert!(wrong < 100, "{wrong}");
    }

    #[test]
    fn a_hash_that_is_not_known_is_never_suspected() {
        let mut filter = RepeatFilter::new();
        filter.insert(b"");
        filter.insert(b"");
        assert!(!filter.may_repeat(b""));
    }
}
