//! The manifest: CSV → rows, each with the line on which it starts.
//!
//! Every row comes out, in the order of the file, either as one to fetch or as a bad one with its reason; none is
//! lost, and none is guessed. Memory does not grow with the file. No row is remembered: the ledger finds duplicates
//! and images that were delivered before.
//!
//! A record passes through `source` (bytes, hash, lines) → `record` (CSV) → `start`, `header` and `columns`, once →
//! `row`. What is odd but can be fetched becomes a `warning`.

mod check;
mod columns;
mod error;
mod header;
mod open;
mod record;
mod row;
mod source;
mod start;
#[cfg(test)]
mod tests;
mod warning;

use std::io::{self, BufRead, Read};
use std::path::Path;

use sha2::Digest;

pub use check::{FIRST_BAD_ROWS, ManifestCheck, check};
pub use columns::ColumnNames;
pub use error::ManifestError;
pub use header::{Header, INDEX_COLUMNS, REASON_COLUMNS};
pub use open::{Source, open};
pub use row::{BadRow, Entry, MAX_ID, Row};
pub use warning::{ManifestWarning, WarningKind};

use crate::item::Sha256;
use record::Records;
use source::{ByteSource, Container, Encoding};
use warning::Findings;

/// How a manifest is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestOptions {
    /// Separates two fields: one ASCII byte that the user chose.
    pub delimiter: Option<u8>,
    /// Without such a choice and without a line `sep=`: a tab separates two fields, not a comma.
    pub tabs: bool,
    /// Header names to use instead of the known ones.
    pub columns: ColumnNames,
}

impl ManifestOptions {
    /// Expects tabs in a file whose name ends in `.tsv`.
    #[must_use]
    pub fn for_file(mut self, path: &Path) -> Self {
        self.tabs = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        self
    }

    /// The delimiter of a file that does not name its own.
    fn delimiter(&self) -> u8 {
        self.delimiter.unwrap_or(if self.tabs { b'\t' } else { b',' })
    }
}

/// A manifest that is being read; an iterator over its rows, which ends after the first read error.
///
/// ```
/// use exporter::manifest::{Entry, Manifest, ManifestOptions};
///
/// let csv = "org,note,image,ward\nclinic-1,n-7,i-1,ENT\nclinic-1,,i-2,ENT\n";
/// let manifest = Manifest::open(csv.as_bytes(), &ManifestOptions::default())?;
/// let entries = manifest.collect::<Result<Vec<_>, _>>()?;
///
/// let [Entry::Row(row), Entry::Bad(bad)] = &entries[..] else { panic!("{entries:?}") };
/// assert_eq!((row.line, row.image.as_str()), (2, "i-1"));
/// assert_eq!((bad.line, bad.reason.as_str()), (3, "`note` is empty"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Manifest<R> {
    records: Records<R>,
    header: Header,
    findings: Findings,
    ended: bool,
}

impl<R: BufRead> Manifest<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// If the input cannot be read, is empty or not UTF-8, or if its header does not name org, note and image once
    /// each.
    pub fn open(reader: R, options: &ManifestOptions) -> Result<Self, ManifestError> {
        let delimiter = options.delimiter();
        if !start::is_delimiter(delimiter) {
            return Err(ManifestError::Delimiter);
        }
        let (source, encoding) = ByteSource::open(reader)?;
        match encoding {
            Encoding::Utf8 => {}
            Encoding::Utf16 => return Err(ManifestError::Utf16),
            Encoding::Compressed(container) => return Err(compressed(&container)),
        }
        let mut records = Records::new(source, delimiter);
        let header = start::read(&mut records, options)?;
        Ok(Self { records, header, findings: Findings::default(), ended: false })
    }

    /// Its columns.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next row, good or bad; `None` at the end of the manifest.
    ///
    /// # Errors
    ///
    /// If the input cannot be read. The current record is lost then, so every later call returns `None`.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        if self.ended {
            return Ok(None);
        }
        // in case the read fails and `?` returns early
        self.ended = true;
        let Some(record) = self.records.read()? else { return Ok(None) };
        self.ended = false;
        if record.unterminated && record.len() < self.header.width() {
            self.findings.note_cut(record.line);
        }
        let entry = row::judge(&record, &self.header);
        self.findings.note(&entry);
        Ok(Some(entry))
    }

    /// What is odd about the rows that were read so far, and about the header.
    #[must_use]
    pub fn warnings(&self) -> Vec<ManifestWarning> {
        self.findings.warnings(&self.header)
    }

    /// The SHA-256 of the whole input, byte order mark and blank lines included; reads the rest of it.
    ///
    /// # Errors
    ///
    /// If the rest cannot be read.
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

fn compressed(container: &Container) -> ManifestError {
    const UNPACK: &str = "unpack it first";
    const SAVE_AS: &str = "unpack it first, or save the spreadsheet as CSV in UTF-8";
    let (kind, advice) = match container {
        Container::Gzip => ("gzip", UNPACK),
        Container::Zip => ("zip, or a spreadsheet such as .xlsx", SAVE_AS),
        Container::Bzip2 => ("bzip2", UNPACK),
        Container::Xz => ("xz", UNPACK),
        Container::Zstd => ("zstd", UNPACK),
        Container::Xls => ("a spreadsheet, .xls", "save the spreadsheet as CSV in UTF-8"),
    };
    ManifestError::Compressed { kind, advice }
}

/// The fingerprint of a manifest without parsing it: the SHA-256 of everything `reader` yields.
///
/// # Errors
///
/// If `reader` fails.
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
