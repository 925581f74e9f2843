//! Finds the header: behind blank rows and Excel's `sep=;`, and never by guessing.
//!
//! A delimiter that the user chose outranks the one that `sep=` names: the user has seen the file, and the line may
//! be left over from another program.
//!
//! If the first line cannot be the header but one of the next lines can (people and programs write titles above a
//! table), the error names that line.

use std::io::BufRead;

use super::ManifestOptions;
use super::columns::{self, ColumnNames};
use super::error::ManifestError;
use super::header::Header;
use super::record::{End, Record, Records};

/// Lines below the first one in which the header is looked for, to name it in the error.
const TITLES_MAX: usize = 20;

/// Whether fields can be separated by this byte.
pub(super) fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0)
}

/// Reads the header; the next record is the first row.
pub(super) fn read<R: BufRead>(
    records: &mut Records<R>,
    options: &ManifestOptions,
) -> Result<Header, ManifestError> {
    let (asked, mut delimiter) = (&options.columns, options.delimiter());
    let mut first = records.read()?.ok_or(ManifestError::Empty)?;
    if let Some(separator) = separator(&first, delimiter) {
        if options.delimiter.is_none() {
            delimiter = separator;
            records.set_delimiter(separator);
        }
        first = records.read()?.ok_or(ManifestError::Empty)?;
    }
    let line = first.line;
    match Header::read(&first, asked, delimiter) {
        Err(error @ (ManifestError::MissingColumn { .. } | ManifestError::HeaderNotUtf8 { .. })) => {
            Err(header_below(records, asked, delimiter, line).unwrap_or(error))
        }
        read => read,
    }
}

/// `sep=;`: how a file tells Excel its delimiter. Saved again, the line is quoted, or filled up with empty fields.
fn separator(record: &Record<'_>, delimiter: u8) -> Option<u8> {
    if record.end != End::Whole {
        return None;
    }
    let text = record.fields().collect::<Vec<_>>().join(&delimiter);
    let (name, value) = text.split_at_checked(b"sep=".len())?;
    let (separator, padding) = value.split_first()?;
    let is_padding = |byte: &u8| *byte == delimiter || byte == separator || byte.is_ascii_whitespace();
    let fits = name.eq_ignore_ascii_case(b"sep=")
        && is_delimiter(*separator)
        && !separator.is_ascii_alphanumeric()
        && padding.iter().all(is_padding);
    fits.then_some(*separator)
}

/// The error that names one of the next lines as the header.
fn header_below<R: BufRead>(
    records: &mut Records<R>,
    asked: &ColumnNames,
    delimiter: u8,
    line: u64,
) -> Option<ManifestError> {
    for _ in 0..TITLES_MAX {
        // a file that cannot be read on is refused for its first line
        let record = records.read().ok()??;
        let found = |advice| ManifestError::HeaderBelow { line, header: record.line, advice };
        if Header::read(&record, asked, delimiter).is_ok() {
            return Some(found(String::new()));
        }
        if let Some(other) = other_delimiter(&record, asked) {
            return Some(found(format!(", and give {}", columns::delimiter_flag(other))));
        }
    }
    None
}

/// The delimiter with which a record of one field would be a header.
fn other_delimiter(record: &Record<'_>, asked: &ColumnNames) -> Option<char> {
    let text = record.field(0).filter(|_| record.len() == 1)?;
    let text = std::str::from_utf8(text).ok()?;
    columns::DELIMITERS.into_iter().find(|delimiter| {
        let names: Vec<String> = text.split(*delimiter).map(str::to_owned).collect();
        columns::find(&names, asked, b',').is_ok()
    })
}
