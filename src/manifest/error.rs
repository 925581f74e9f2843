//! Why a file cannot be used as a manifest at all.
//!
//! The caller adds the file's name. Each message says what was found and what to do next. A single bad row is data,
//! not an error: see [`BadRow`](super::BadRow).

use std::io;

/// The manifest as a whole is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Reading failed.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// The second reading returned other bytes than the first.
    #[error("it changed while it was read: wait until it is written, and run again")]
    Changed,
    /// Without even a header.
    #[error("it is empty: it needs a header line that names org, note and image")]
    Empty,
    /// A byte order mark of UTF-16, or NUL bytes in the header.
    #[error("it is UTF-16, or not text at all: save it again as CSV in UTF-8")]
    Utf16,
    /// A compressed file, or a spreadsheet, which is one.
    #[error("it is compressed ({kind}): {advice}")]
    Compressed {
        /// Of which kind.
        kind: &'static str,
        /// What to do next.
        advice: &'static str,
    },
    /// The first line is no header, and one below it is.
    #[error(
        "line {line} is no header, but line {header} looks like the header: remove the lines above it{advice}"
    )]
    HeaderBelow {
        /// Line of what was taken for the header, from 1.
        line: u64,
        /// Line of what looks like it.
        header: u64,
        /// What else to do; may be empty.
        advice: String,
    },
    /// A column is missing, and the header holds bytes that are not UTF-8.
    #[error("header on line {line} is not UTF-8: save the manifest again as CSV in UTF-8")]
    HeaderNotUtf8 {
        /// Line of the header, from 1.
        line: u64,
    },
    /// The header is larger than a record may be, or a quote in it is never closed.
    #[error("header on line {line} never ends: close the quote in it, or check that this is a CSV file")]
    HeaderWithoutEnd {
        /// Line of the header, from 1.
        line: u64,
    },
    /// A delimiter that CSV does not allow.
    #[error("delimiter is not usable: give one ASCII character other than a quote, a line end or NUL")]
    Delimiter,
    /// Columns are missing.
    #[error("there is no column for {missing}: found {found}; known are {known}; {advice}")]
    MissingColumn {
        /// What is missing: `org`, or `note, image`.
        missing: String,
        /// The header's names.
        found: String,
        /// Names that are recognized.
        known: String,
        /// What to do next.
        advice: String,
    },
    /// More than one column can be meant.
    #[error(
        "there is more than one {column} column: found {found}; {candidates} could each be {column} (known are \
         {known}); {advice}"
    )]
    AmbiguousColumn {
        /// `org`, `note`, `image` or `sha256`.
        column: &'static str,
        /// The header's names that match.
        candidates: String,
        /// The header's names.
        found: String,
        /// Names that are recognized.
        known: String,
        /// What to do next.
        advice: String,
    },
    /// One column was given two roles.
    #[error("column {name} was asked for as {first} and as {second}: give each its own in --columns")]
    SharedColumn {
        /// The header's name.
        name: String,
        /// The first role.
        first: &'static str,
        /// The second role.
        second: &'static str,
    },
}
