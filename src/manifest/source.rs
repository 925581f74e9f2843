//! The manifest's bytes as they pass: each hashed once, and the line ends counted.
//!
//! Invariant: `line` is the line of the next unconsumed byte, whatever the size of the reader's chunks. LF, CRLF and
//! a lone CR each end one line. Nothing here knows CSV.

use std::io::{self, BufRead, Chain, Cursor, ErrorKind, Read};

use sha2::Digest;

use crate::item::Sha256;

/// The encoding, judged by the first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// No sign of anything but UTF-8.
    Utf8,
    /// A byte order mark of UTF-16.
    Utf16,
    /// Not text at all.
    Compressed(Container),
}

/// A kind of file that holds other files, known by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Container {
    Gzip,
    Zip,
    Bzip2,
    Xz,
    Zstd,
    Xls,
}

/// The longest of the marks below.
const START: usize = 8;

impl Encoding {
    fn of(start: &[u8]) -> Self {
        let container = match start {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Self::Utf16,
            [0x1f, 0x8b, ..] => Container::Gzip,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Container::Zip,
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', ..] => Container::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Container::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Container::Zstd,
            [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1] => Container::Xls,
            _ => return Self::Utf8,
        };
        Self::Compressed(container)
    }
}

pub(super) struct ByteSource<R> {
    reader: Chain<Cursor<Vec<u8>>, R>,
    digest: sha2::Sha256,
    /// Bytes of the reader's buffer that are hashed but not consumed yet. Hashing whole buffers makes the hash nearly
    /// free.
    hashed_ahead: usize,
    line: u64,
    after_cr: bool,
}

impl<R: BufRead> ByteSource<R> {
    /// Inspects the first bytes and skips the byte order mark of UTF-8, which is hashed like the rest.
    pub(super) fn open(mut reader: R) -> io::Result<(Self, Encoding)> {
        let mut start = Vec::with_capacity(START);
        reader.by_ref().take(START as u64).read_to_end(&mut start)?;
        let encoding = Encoding::of(&start);
        let mark = if start.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut source = Self {
            reader: Cursor::new(start).chain(reader),
            digest: sha2::Sha256::new(),
            hashed_ahead: 0,
            line: 1,
            after_cr: false,
        };
        source.fill()?;
        source.consume(mark)?;
        Ok((source, encoding))
    }

    /// Line of the next byte, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Bytes that can be consumed; none at the end of the input.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.reader.fill_buf() {
                // not asked again at the end: a pipe or a terminal would be read once more
                Ok([]) => return Ok(&[]),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let bytes = self.reader.fill_buf()?;
        if let Some(new @ [_, ..]) = bytes.get(self.hashed_ahead..) {
            self.digest.update(new);
            self.hashed_ahead = bytes.len();
        }
        Ok(bytes)
    }

    /// Consumes the first `count` of the bytes that [`fill`](Self::fill) returned.
    pub(super) fn consume(&mut self, count: usize) -> io::Result<()> {
        // the buffer that `fill` returned, so nothing is read here
        if let Some(taken @ [.., last]) = self.reader.fill_buf()?.get(..count) {
            self.line += line_ends(taken, self.after_cr);
            self.after_cr = *last == b'\r';
        }
        self.reader.consume(count);
        self.hashed_ahead -= count;
        Ok(())
    }

    /// Consumes line ends up to the next other byte; false if the input ends first.
    pub(super) fn skip_line_ends(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.fill()?;
            if bytes.is_empty() {
                return Ok(false);
            }
            match bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) {
                Some(0) => return Ok(true),
                Some(count) => self.consume(count)?,
                None => {
                    let count = bytes.len();
                    self.consume(count)?;
                }
            }
        }
    }

    /// The hash of the whole input; reads the rest of it first.
    pub(super) fn fingerprint(mut self) -> io::Result<Sha256> {
        loop {
            let count = self.fill()?.len();
            if count == 0 {
                return Ok(Sha256(self.digest.finalize().into()));
            }
            self.consume(count)?;
        }
    }
}

/// Line ends in `bytes`, where a LF right after a CR belongs to it.
fn line_ends(bytes: &[u8], after_cr: bool) -> u64 {
    let count = |wanted: u8| bytes.iter().map(|byte| u64::from(*byte == wanted)).sum::<u64>();
    let pairs = if after_cr || bytes.contains(&b'\r') {
        u64::from(after_cr && bytes.starts_with(b"\n"))
            + bytes.windows(2).map(|pair| u64::from(pair == b"\r\n")).sum::<u64>()
    } else {
        0
    };
    count(b'\n') + count(b'\r') - pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_end_counts_once() {
        assert_eq!(line_ends(b"a\nb\r\nc\rd\r\r\n\n", false), 6);
        assert_eq!(line_ends(b"", true), 0);
    }

    #[test]
    fn a_crlf_cut_between_two_chunks_counts_once() {
        assert_eq!(line_ends(b"a\r", false) + line_ends(b"\nb", true), 1);
    }

    #[test]
    fn the_fingerprint_covers_the_byte_order_mark_and_unconsumed_bytes() {
        let text = b"\xef\xbb\xbforg,note,image\n\n";
        let (source, encoding) = ByteSource::open(&text[..]).expect("no I/O");
        assert_eq!(encoding, Encoding::Utf8);
        let wanted: [u8; 32] = sha2::Sha256::digest(text).into();
        assert_eq!(source.fingerprint().expect("no I/O"), Sha256(wanted));
    }
}
