//! The receipts as they stand in the file: read line by line, held against the rules of the chain. Changes nothing.
//!
//! A line counts if it is a whole receipt. Any other, as a power cut leaves it, is noted and passed over: the receipt
//! behind it names the hash of it or of the last receipt before it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::disk::presence::Presence;
use crate::item::hex;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// Longer lines are no receipts: those of this program have less than 1 KiB.
const LINE_MAX: u64 = 64 * 1024;

/// What the chain depends on.
#[derive(Deserialize)]
struct Link {
    seq: u64,
    previous: String,
    tagmanifest_sha256: Option<String>,
}

/// Where the chain breaks. Lines are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The receipt of this line does not name the hash of the one before.
    Previous { line: u64 },
    /// Receipts are missing, or in another order.
    Sequence { line: u64, expected: u64, found: u64 },
}

/// All receipts of a file.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    seq: u64,
    head: Hash,
    tags: Option<String>,
    hashes: HashSet<Hash>,
    torn_lines: Vec<u64>,
    torn_end: Vec<u8>,
    faults: Vec<Fault>,
    lines: u64,
    /// Of the line before, whether it is a receipt or not.
    line_before: Hash,
}

impl Chain {
    /// Reads a file; `None` if there is none.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match Presence::of(path)? {
            Presence::Absent => return Ok(None),
            Presence::File(_) => {}
            // a link would be followed, a pipe would block
            _ => {
                return Err(io::Error::other(format!(
                    "`{}` is no regular file; move it away",
                    path.display()
                )));
            }
        }
        let mut file = BufReader::new(File::open(path)?);
        let mut chain = Self::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            (&mut file).take(LINE_MAX).read_until(b'\n', &mut line)?;
            match line.split_last() {
                None => return Ok(Some(chain)),
                Some((b'\n', whole)) => chain.extend(whole),
                Some(_) if line.len() as u64 == LINE_MAX => chain.pass_over(&mut file)?,
                Some(_) => {
                    chain.torn_end = line;
                    return Ok(Some(chain));
                }
            }
        }
    }

    /// Passes over the rest of a line that is too long.
    fn pass_over(&mut self, file: &mut impl BufRead) -> io::Result<()> {
        self.lines += 1;
        self.torn_lines.push(self.lines);
        file.skip_until(b'\n').map(drop)
    }

    /// Adds a line.
    pub fn extend(&mut self, line: &[u8]) {
        self.lines += 1;
        let hash: Hash = Sha256::digest(line).into();
        match serde_json::from_slice::<Link>(line) {
            Ok(link) => self.link(link, hash),
            Err(_) => self.torn_lines.push(self.lines),
        }
        self.line_before = hash;
    }

    fn link(&mut self, link: Link, hash: Hash) {
        if ![self.head, self.line_before].iter().any(|hash| hex(hash) == link.previous) {
            self.faults.push(Fault::Previous { line: self.lines });
        }
        if link.seq != self.seq + 1 {
            let (line, expected) = (self.lines, self.seq + 1);
            self.faults.push(Fault::Sequence { line, expected, found: link.seq });
        }
        (self.seq, self.head, self.tags) = (link.seq, hash, link.tagmanifest_sha256);
        self.hashes.insert(hash);
    }

    /// Number of the newest receipt; 0 if there is none.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Hash of the newest receipt; zeros if there is none.
    pub fn head(&self) -> Hash {
        self.head
    }

    /// Hash of `tagmanifest-sha256.txt` in the newest receipt, in hex.
    pub fn tags(&self) -> Option<&str> {
        self.tags.as_deref()
    }

    /// How many receipts there are.
    pub fn receipts(&self) -> u64 {
        self.lines - self.torn_lines.len() as u64
    }

    /// Whether it has a receipt with this hash.
    pub fn holds(&self, hash: &Hash) -> bool {
        self.hashes.contains(hash)
    }

    /// What is behind the last line end.
    pub fn torn_end(&self) -> &[u8] {
        &self.torn_end
    }

    /// Lines that are no receipts.
    pub fn torn_lines(&self) -> &[u64] {
        &self.torn_lines
    }

    /// Where it breaks.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether a line continues the chain.
    pub fn is_followed_by(&self, line: &[u8]) -> bool {
        serde_json::from_slice::<Link>(line)
            .is_ok_and(|link| link.seq == self.seq + 1 && link.previous == hex(&self.head))
    }

    /// Whether it has this receipt.
    pub fn holds_line(&self, line: &str) -> bool {
        self.holds(&Sha256::digest(line).into())
    }

    /// The last of the known lines, the oldest first, that are not in the file.
    pub fn lacks<'a>(&self, known: &'a [String]) -> &'a [String] {
        let first = known.iter().rposition(|line| self.holds_line(line)).map_or(0, |at| at + 1);
        &known[first..]
    }
}
