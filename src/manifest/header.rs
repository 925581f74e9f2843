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

/// The manifest's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    names: Vec<String>,
    own: usize,
    columns: Columns,
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
        let names = record
            .fields()
            .map(|field| std::str::from_utf8(field).map(str::to_owned))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ManifestError::HeaderNotUtf8 { line })?;
        let own = match names.len().checked_sub(REASON_COLUMNS.len()) {
            Some(own) if names[own..] == REASON_COLUMNS => own,
            _ => names.len(),
        };
        let columns = columns::find(&names[..own], asked, delimiter)?;
        let mut raw = Vec::new();
        for (index, name) in names[..own].iter().enumerate() {
            if index > 0 {
                raw.push(b',');
            }
            csv_field::push(&mut raw, name.as_bytes());
        }
        Ok(Self { names, own, columns, raw })
    }

    /// The names of the manifest's own columns as in the file, without those that an earlier `failed.csv` added.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names[..self.own]
    }

    /// The same as one comma-separated CSV line without a line end.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Number of fields that every row must have.
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
}
