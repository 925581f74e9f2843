//! Finds rows that share their bytes, or their object in the storage, with another row of the manifest.
//!
//! Both are told by a hash that two delivered images have in common. Sorting all hashes would cost more than
//! the rest of the reports, so a sieve of fixed size goes first: one pass over the images marks hashes that may
//! have come before, and only rows with such a hash are sorted. The sieve may suspect too many, never too few;
//! with many millions of rows it suspects most of them, which costs time but changes no result. Duplicates (two
//! rows that name one image) are none of its business.

use rusqlite::{Connection, Statement, params};

use super::bytes;

/// What two rows can share. The number is its name in the table `suspects`.
#[derive(Clone, Copy)]
enum Kind {
    Bytes = 0,
    Object = 1,
}

/// Collects rows whose hash occurs twice.
pub(super) struct SameFinder<'conn> {
    bytes: Sieve,
    object: Sieve,
    add: Statement<'conn>,
    delivered: u64,
}

/// What was counted on the way.
pub(super) struct Found {
    /// Images delivered, over all manifests.
    pub delivered: u64,
    /// Rows whose bytes an earlier row had.
    pub same_content: u64,
}

impl<'conn> SameFinder<'conn> {
    /// Passes over all delivered images and makes the temporary tables `suspects` and `same`. The latter says of
    /// a row (`seq`) which line has the same bytes or the same object; most rows are not in it.
    pub fn begin(conn: &'conn Connection) -> rusqlite::Result<Self> {
        conn.execute_batch(
            "CREATE TEMP TABLE suspects (
                kind INTEGER NOT NULL, hash BLOB NOT NULL, seq INTEGER NOT NULL, line INTEGER NOT NULL
             ) STRICT;
             CREATE TEMP TABLE same (seq INTEGER PRIMARY KEY, bytes INTEGER, object INTEGER) STRICT;",
        )?;
        let add = conn.prepare("INSERT INTO suspects VALUES (?1, ?2, ?3, ?4)")?;
        let mut finder = Self { bytes: Sieve::new(), object: Sieve::new(), add, delivered: 0 };
        let mut images = conn.prepare("SELECT sha256, object FROM images WHERE delivered = 1")?;
        let mut images = images.query([])?;
        while let Some(image) = images.next()? {
            finder.bytes.pass(bytes(image, 0)?);
            finder.object.pass(bytes(image, 1)?);
            finder.delivered += 1;
        }
        Ok(finder)
    }

    /// Takes a delivered row of the manifest. Empty stands for a hash that is not known.
    pub fn row(&mut self, seq: i64, line: i64, sha256: &[u8], object: &[u8]) -> rusqlite::Result<()> {
        if self.bytes.suspects(sha256) {
            self.add.execute(params![Kind::Bytes as i64, sha256, seq, line])?;
        }
        if self.object.suspects(object) {
            self.add.execute(params![Kind::Object as i64, object, seq, line])?;
        }
        Ok(())
    }

    /// Fills the table `same`; gives what was counted.
    pub fn finish(self, conn: &Connection) -> rusqlite::Result<Found> {
        let same_content = link(conn, Kind::Bytes, "INSERT INTO same (seq, bytes) VALUES (?1, ?2)")?;
        link(
            conn,
            Kind::Object,
            "INSERT INTO same (seq, object) VALUES (?1, ?2)
             ON CONFLICT (seq) DO UPDATE SET object = excluded.object",
        )?;
        Ok(Found { delivered: self.delivered, same_content })
    }
}

/// Every later row of a group names the first one, the first names the second.
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

/// Two Bloom filters: hashes that were seen, and hashes that were seen again.
struct Sieve {
    seen: Bits,
    again: Bits,
}

impl Sieve {
    fn new() -> Self {
        Self { seen: Bits::new(), again: Bits::new() }
    }

    fn pass(&mut self, hash: &[u8]) {
        if let Some(place) = Place::of(hash)
            && self.seen.set(&place)
        {
            self.again.set(&place);
        }
    }

    fn suspects(&self, hash: &[u8]) -> bool {
        Place::of(hash).is_some_and(|place| self.again.has(&place))
    }
}

/// Words of one filter: 2 MiB, so that a million hashes leave it nine tenths empty.
const WORDS: usize = 1 << 18;

struct Bits(Vec<u64>);

impl Bits {
    fn new() -> Self {
        Self(vec![0; WORDS])
    }

    fn has(&self, place: &Place) -> bool {
        self.0[place.word] & place.bits == place.bits
    }

    /// Sets the bits; whether all were set before.
    fn set(&mut self, place: &Place) -> bool {
        let had = self.has(place);
        self.0[place.word] |= place.bits;
        had
    }
}

/// Where a hash stands in a filter: two bits of one word, so that it costs one look at the memory.
struct Place {
    word: usize,
    bits: u64,
}

impl Place {
    /// A SHA-256 is as good as random: its own bytes say where it goes.
    fn of(hash: &[u8]) -> Option<Self> {
        let &[a, b, c, first, second, ..] = hash else { return None };
        let word = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Some(Self { word: word % WORDS, bits: 1 << (first % 64) | 1 << (second % 64) })
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_sieve_suspects_every_hash_that_came_twice_and_few_others() {
        let mut sieve = Sieve::new();
        let hash = |n: u32| Sha256::digest(n.to_le_bytes());
        for n in (0..100_000).chain(0..1000) {
            sieve.pass(&hash(n));
        }
        assert!((0..1000).all(|n| sieve.suspects(&hash(n))));
        let wrong = (1000..100_000).filter(|n| sieve.suspects(&hash(*n))).count();
        assert!(wrong < 100, "{wrong}");
    }

    #[test]
    fn a_hash_that_is_not_known_is_never_suspected() {
        let mut sieve = Sieve::new();
        sieve.pass(b"");
        sieve.pass(b"");
        assert!(!sieve.suspects(b""));
    }
}
