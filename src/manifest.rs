//! The manifest: CSV → rows, each with the line on which it begins.
//!
//! Every row comes out, in the order of the file, as one to fetch or as a bad one with its reason; none is lost
//! and none is guessed at. Memory does not grow with the file. It remembers no row: duplicates, and what was
//! delivered before, are the ledger's.
//!
//! A record goes through `source` (bytes, hash, lines) → `record` (CSV) → `header` and `columns`, once → `row`.

mod check;
mod columns;
mod error;
mod header;
mod open;
mod record;
mod row;
mod source;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Read};
use std::path::Path;

use sha2::Digest;

pub use check::{Checked, FIRST_BAD_ROWS, check};
pub use columns::ColumnNames;
pub use error::ManifestError;
pub use header::{Header, REASON_COLUMNS};
pub use open::{Source, open};
pub use row::{BadRow, Entry, MAX_ID, Row};

use crate::item::Sha256;
use record::Records;
use source::{ByteSource, Encoding};

/// How a manifest is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestOptions {
    /// What stands between two fields: one ASCII byte; `None` is a comma.
    pub delimiter: Option<u8>,
    /// Header names to use in place of the known ones.
    pub columns: ColumnNames,
}

impl ManifestOptions {
    /// Settles a delimiter that was not chosen from the name of the file: a tab for `.tsv`, else a comma.
    #[must_use]
    pub fn for_file(mut self, path: &Path) -> Self {
        let is_tsv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        self.delimiter = self.delimiter.or(Some(if is_tsv { b'\t' } else { b',' }));
        self
    }
}

/// A manifest that is being read.
///
/// Also an iterator, which ends after the first error of reading.
pub struct Manifest<R> {
    records: Records<R>,
    header: Header,
    ended: bool,
}

impl<R: BufRead> Manifest<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// Where the input cannot be read, is empty, is not UTF-8, or its header does not name org, note and image
    /// once each.
    pub fn open(reader: R, options: &ManifestOptions) -> Result<Self, ManifestError> {
        let delimiter = options.delimiter.unwrap_or(b',');
        if !delimiter.is_ascii() || matches!(delimiter, b'"' | b'\r' | b'\n' | 0) {
            return Err(ManifestError::Delimiter);
        }
        let (source, encoding) = ByteSource::open(reader)?;
        if encoding == Encoding::Utf16 {
            return Err(ManifestError::Utf16);
        }
        let mut records = Records::new(source, delimiter);
        let first = records.read()?.ok_or(ManifestError::Empty)?;
        let header = Header::read(&first, &options.columns, delimiter)?;
        Ok(Self { records, header, ended: false })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next row, good or bad; `None` at the end of the manifest.
    ///
    /// # Errors
    ///
    /// Where the input cannot be read. The record in hand is lost then, so every later call gives `None`.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        if self.ended {
            return Ok(None);
        }
        // Until the record is there: an error on the way leaves by `?`.
        self.ended = true;
        let Some(record) = self.records.read()? else { return Ok(None) };
        self.ended = false;
        Ok(Some(row::judge(&record, &self.header)))
    }

    /// The SHA-256 of the whole input, byte order mark and blank lines included; what was not read yet is read.
    ///
    /// # Errors
    ///
    /// Where the rest cannot be read.
    pub fn fingerprint(self) -> io::Result<Sha256> {
        self.records.into_source().fingerprint()
    }
}

impl<R: BufRead> Iterator for Manifest<R> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

/// The fingerprint of a manifest that nobody parses: the SHA-256 of all that `reader` gives.
///
/// # Errors
///
/// Where `reader` fails.
pub fn fingerprint(mut reader: impl Read) -> io::Result<Sha256> {
    let mut digest = sha2::Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(Sha256(digest.finalize().into())),
            Ok(count) => digest.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
