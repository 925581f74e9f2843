//! The header: the names of the columns, and which of them are the manifest's own.
//!
//! Invariant: [`Header::raw`] is the header of the lines that every row has in `raw`. `columns.rs` decides which
//! column is which.

use crate::csv_field;

use super::columns::{self, ColumnNames, Columns};
use super::error::ManifestError;
use super::record::{End, Record};

/// Columns that `failed.csv` appends to the manifest's own.
///
/// A manifest that ends in exactly these is an earlier `failed.csv`. They are dropped, or every round would add
/// four more.
pub const REASON_COLUMNS: [&str; 4] = ["error_code", "error", "attempts", "advice"];

/// Columns that `index.csv` appends to the manifest's own.
///
/// A manifest that ends in exactly these is an earlier `index.csv`. They are its own columns as any others, but the
/// next `index.csv` has its own in their place. The hash of the image is the one that stands in them.
pub const INDEX_COLUMNS: [&str; 5] = ["path", "bytes", "sha256", "content_type", "stored_at"];
/// The position of the hash in [`INDEX_COLUMNS`].
const INDEX_SHA256: usize = 2;

/// The manifest's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    line: u64,
    names: Vec<String>,
    own: usize,
    columns: Columns,
    /// The hash column of the manifest that an `index.csv` was made for: its hashes stand behind it, too.
    repeated_hash: Option<usize>,
    raw: Vec<u8>,
}

impl Header {
    pub(super) fn read(
        record: &Record<'_>,
        asked: &ColumnNames,
        delimiter: u8,
    ) -> Result<Self, ManifestError> {
        let line = record.line;
        // Before all other checks: in UTF-16, quotes and line ends are not recognized either.
        if record.read_so_far().contains(&0) {
            return Err(ManifestError::Utf16);
        }
        if record.end != End::Whole {
            return Err(ManifestError::HeaderWithoutEnd { line });
        }
        // names of other columns may be in any encoding: they come back as they are
        let names: Vec<String> =
            record.fields().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
        let own = match names.len().checked_sub(REASON_COLUMNS.len()) {
            Some(own) if names[own..] == REASON_COLUMNS => own,
            _ => names.len(),
        };
        let is_text = record.fields().all(|field| std::str::from_utf8(field).is_ok());
        // where an index begins, its columns have no other meaning
        let index = own.checked_sub(INDEX_COLUMNS.len()).filter(|start| names[*start..own] == INDEX_COLUMNS);
        let named = index.unwrap_or(own);
        let mut columns = columns::find(&names[..named], asked, delimiter).map_err(|error| match error {
            ManifestError::MissingColumn { .. } if !is_text => ManifestError::HeaderNotUtf8 { line },
            error => error,
        })?;
        let repeated_hash = index.and(columns.sha256);
        columns.sha256 = index.map(|start| start + INDEX_SHA256).or(columns.sha256);
        let mut raw = Vec::new();
        for (index, name) in record.fields().take(own).enumerate() {
            if index > 0 {
                raw.push(b',');
            }
            csv_field::push(&mut raw, name);
        }
        Ok(Self { line, names, own, columns, repeated_hash, raw })
    }

    /// The names of the manifest's own columns, with U+FFFD for bytes that are not UTF-8, without those that an earlier `failed.csv` added.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names[..self.own]
    }

    /// The same as one comma-separated CSV line without a line end.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Line on which it is.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Number of its fields.
    pub(super) fn width(&self) -> usize {
        self.names.len()
    }

    pub(super) fn columns(&self) -> Columns {
        self.columns
    }

    /// The name of a column as messages show it.
    pub(super) fn label(&self, index: usize) -> String {
        self.names.get(index).map_or_else(String::new, |name| columns::shown(name))
    }

    /// Columns that look like a hash and are not compared.
    pub(super) fn other_hashes(&self) -> Vec<usize> {
        let has_role = |index| self.columns.all().contains(&Some(index)) || self.repeated_hash == Some(index);
        let is_hash = |index: &usize| !has_role(*index) && columns::looks_like_a_hash(&self.names[*index]);
        (0..self.own).filter(is_hash).collect()
    }

    /// The names of columns as messages list them.
    pub(super) fn list(&self, columns: &[usize]) -> String {
        columns::list(columns.iter().map(|index| &self.names[*index]))
    }

    /// Whether a record is a header again: it names org, note and image as this one does, or by other known names, as
    /// the header of another file that was appended. A byte order mark may precede it.
    pub(super) fn is_repeated_by(&self, record: &Record<'_>) -> bool {
        let Columns { org, note, image, .. } = self.columns;
        let meant = [org, note, image];
        let name = |index: usize| header_name(record.field(index).unwrap_or_default(), index);
        let repeats = |index: &usize| name(*index).eq_ignore_ascii_case(self.names[*index].trim().as_bytes());
        // the second question copies the whole record, which only few rows make necessary
        meant.iter().all(repeats)
            || (meant.iter().any(|index| columns::is_known(name(*index))) && is_header(record))
    }
}

/// A field as the name of a column. The byte order mark at the start of a file that was appended is no part of the first
/// one, and makes the quotes around it text.
fn header_name(field: &[u8], index: usize) -> &[u8] {
    let unmarked = field.strip_prefix("\u{feff}".as_bytes()).filter(|_| index == 0);
    let name = unmarked.map_or(field, |name| {
        name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name)
    });
    name.trim_ascii()
}

/// Whether a record could be the header of a manifest.
fn is_header(record: &Record<'_>) -> bool {
    let name = |(index, field)| String::from_utf8_lossy(header_name(field, index)).into_owned();
    let names: Vec<String> = record.fields().enumerate().map(name).collect();
    columns::find(&names, &ColumnNames::default(), b',').is_ok()
}
