//! Bytes → CSV records, each with the line on which it starts.
//!
//! Uses `csv_core` directly, since the `csv` crate reports the line of the blank lines before a record instead of
//! the record's own. Invariant: one record is in memory at a time, and at most [`RECORD_MAX`] bytes of it, however
//! long it is. What a field means is not known here.

use std::io::{self, BufRead};

use csv_core::ReadRecordResult;

use super::source::ByteSource;

/// Longest record, in bytes without its line end: thousands of times a usual row. It stops at files that are not
/// manifests, and at a quote that is never closed, which would swallow the rest of the file.
pub(super) const RECORD_MAX: usize = 1 << 20;

/// How a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At a line end, or at the end of the input.
    Whole,
    /// Longer than [`RECORD_MAX`]: the fields before that are kept, the rest was read and dropped.
    TooLarge,
    /// The input ended inside quotes: the fields before them are kept.
    OpenQuote,
}

/// One record, valid until the next is read.
pub(super) struct Record<'a> {
    /// Line on which it starts, from 1.
    pub(super) line: u64,
    pub(super) end: End,
    /// The input ended with it, without a line end.
    pub(super) unterminated: bool,
    bytes: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Record<'a> {
    /// Number of complete fields.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The field at `index` without its quotes, if it was read whole.
    pub(super) fn field(&self, index: usize) -> Option<&'a [u8]> {
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(index)?)
    }

    /// All bytes that were kept, field after field, incomplete fields included.
    pub(super) fn read_so_far(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len()).filter_map(|index| self.field(index))
    }
}

pub(super) struct Records<R> {
    source: ByteSource<R>,
    csv: csv_core::Reader,
    // Both buffers are reused for every record and only grow; the first `filled` and `count` are in use.
    bytes: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    count: usize,
    unterminated: bool,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(source: ByteSource<R>, delimiter: u8) -> Self {
        let csv = parser(delimiter);
        Self {
            source,
            csv,
            bytes: vec![0; 1024],
            filled: 0,
            ends: vec![0; 16],
            count: 0,
            unterminated: false,
        }
    }

    /// Splits the next records at another delimiter.
    pub(super) fn set_delimiter(&mut self, delimiter: u8) {
        self.csv = parser(delimiter);
    }

    /// The next record that is neither a blank line nor a row of empty fields, or of fields of nothing but blanks;
    /// `None` at the end.
    pub(super) fn read(&mut self) -> io::Result<Option<Record<'_>>> {
        loop {
            if !self.source.skip_line_ends()? {
                return Ok(None);
            }
            let line = self.source.line();
            let end = self.parse()?;
            if end == End::Whole && is_blank(&self.bytes[..self.filled]) {
                continue;
            }
            let (bytes, ends) = (&self.bytes[..self.filled], &self.ends[..self.count]);
            return Ok(Some(Record { line, end, unterminated: self.unterminated, bytes, ends }));
        }
    }

    pub(super) fn into_source(self) -> ByteSource<R> {
        self.source
    }

    fn parse(&mut self) -> io::Result<End> {
        (self.filled, self.count) = (0, 0);
        let mut taken = 0;
        while taken <= RECORD_MAX {
            if self.filled == self.bytes.len() {
                self.bytes.resize(self.filled * 2, 0);
            }
            if self.count == self.ends.len() {
                self.ends.resize(self.count * 2, 0);
            }
            let (bytes, ends) = (&mut self.bytes[self.filled..], &mut self.ends[self.count..]);
            let step = step(&mut self.source, &mut self.csv, RECORD_MAX + 1 - taken, bytes, ends)?;
            taken += step.taken;
            self.filled += step.bytes;
            self.count += step.ends;
            if let Some(end) = step.end {
                self.unterminated = step.at_end;
                return Ok(end);
            }
        }
        self.drop_rest()
    }

    /// Reads to the end of the record and keeps nothing.
    fn drop_rest(&mut self) -> io::Result<End> {
        let (mut bytes, mut ends) = ([0; 4096], [0; 512]);
        loop {
            if step(&mut self.source, &mut self.csv, usize::MAX, &mut bytes, &mut ends)?.end.is_some() {
                return Ok(End::TooLarge);
            }
        }
    }
}

/// Whether a field, or all of a record's fields, say nothing.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().is_empty()
}

struct Step {
    taken: usize,
    bytes: usize,
    ends: usize,
    end: Option<End>,
    /// The input has ended.
    at_end: bool,
}

fn parser(delimiter: u8) -> csv_core::Reader {
    let mut csv = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    // csv_core drops a byte order mark at its first call, if the chunk is long enough to hold all of it. The source has
    // done that already, so the first call gets a blank line.
    csv.read_record(b"\n", &mut [0], &mut [0]);
    csv
}

/// One call of the parser on at most `limit` bytes; neither `bytes` nor `ends` may be empty.
fn step<R: BufRead>(
    source: &mut ByteSource<R>,
    csv: &mut csv_core::Reader,
    limit: usize,
    bytes: &mut [u8],
    ends: &mut [usize],
) -> io::Result<Step> {
    let input = source.fill()?;
    let at_end = input.is_empty();
    // A line end completes a last record without one. Inside quotes it is text, which shows that the quote is open.
    let input = if at_end { b"\n" } else { &input[..input.len().min(limit)] };
    let (result, taken, bytes, ends) = csv.read_record(input, bytes, ends);
    let end = match result {
        ReadRecordResult::Record => Some(End::Whole),
        _ if at_end => Some(End::OpenQuote),
        _ => None,
    };
    if !at_end {
        source.consume(taken)?;
    }
    Ok(Step { taken, bytes, ends, end, at_end })
}
