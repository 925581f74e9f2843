//! One pass over a manifest before any request: how many rows it has and which of them are bad.
//!
//! Invariant: memory does not grow with the number of bad rows. Whether a bad row makes the run refuse the whole
//! manifest is the caller's decision.

use std::io::BufRead;

use super::{BadRow, Entry, Manifest, ManifestError, ManifestOptions, ManifestWarning};
use crate::item::Sha256;

/// Bad rows that are named: a screenful. The others are counted.
pub const FIRST_BAD_ROWS: usize = 20;

/// What a pass over the manifest found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestCheck {
    /// All rows, bad ones included.
    pub rows: u64,
    /// Rows that cannot be fetched.
    pub bad: u64,
    /// The first [`FIRST_BAD_ROWS`] of them, in the order of the file.
    pub first_bad: Vec<BadRow>,
    /// SHA-256 of the whole input.
    pub fingerprint: Sha256,
    /// What is odd and refuses nothing.
    pub warnings: Vec<ManifestWarning>,
}

/// Reads a manifest to its end.
///
/// # Errors
///
/// Those of [`Manifest::open`], and if reading fails later. A bad row is not an error.
pub fn check(reader: impl BufRead, options: &ManifestOptions) -> Result<ManifestCheck, ManifestError> {
    let mut manifest = Manifest::open(reader, options)?;
    let (mut rows, mut bad, mut first_bad) = (0, 0, Vec::new());
    while let Some(entry) = manifest.next_entry()? {
        rows += 1;
        if let Entry::Bad(row) = entry {
            bad += 1;
            if first_bad.len() < FIRST_BAD_ROWS {
                first_bad.push(row);
            }
        }
    }
    let warnings = manifest.warnings();
    Ok(ManifestCheck { rows, bad, first_bad, fingerprint: manifest.fingerprint()?, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_twenty_bad_rows_are_named_and_the_rest_is_counted() {
        let text = format!("org,note,image\n{}o,n,i\n", "o,,i\n".repeat(25));
        let checked = check(text.as_bytes(), &ManifestOptions::default()).expect("a manifest");
        assert_eq!((checked.rows, checked.bad), (26, 25));
        let lines: Vec<u64> = checked.first_bad.iter().map(|row| row.line).collect();
        assert_eq!(lines, (2..=21).collect::<Vec<u64>>());
        assert_eq!(checked.fingerprint, super::super::fingerprint(text.as_bytes()).expect("no I/O"));
    }

    #[test]
    fn a_header_without_rows_is_a_manifest_of_no_rows() {
        let checked = check(&b"org,note,image"[..], &ManifestOptions::default()).expect("a manifest");
        assert_eq!((checked.rows, checked.bad, checked.first_bad), (0, 0, vec![]));
    }
}
