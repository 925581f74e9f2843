//! One pass over a manifest before any request: how many rows, which of them are bad.
//!
//! Invariant: memory does not grow with the number of bad rows. It decides nothing; whether a bad row refuses the
//! whole manifest is the caller's choice.

use std::io::BufRead;

use super::{BadRow, Entry, Manifest, ManifestError, ManifestOptions};
use crate::item::Sha256;

/// How many bad rows are named: a screenful. The rest is counted.
pub const FIRST_BAD: usize = 20;

/// What a pass over the manifest found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// All rows, the bad ones included.
    pub rows: u64,
    /// Bad rows.
    pub bad: u64,
    /// The first [`FIRST_BAD`] of them, in the order of the file.
    pub first_bad: Vec<BadRow>,
    /// SHA-256 of the whole input.
    pub fingerprint: Sha256,
}

/// Reads a manifest to its end.
///
/// # Errors
///
/// Those of [`Manifest::open`], and where reading fails later on. A bad row is no error.
pub fn check(reader: impl BufRead, options: &ManifestOptions) -> Result<Checked, ManifestError> {
    let mut manifest = Manifest::open(reader, options)?;
    let (mut rows, mut bad, mut first_bad) = (0, 0, Vec::new());
    while let Some(entry) = manifest.next_entry()? {
        rows += 1;
        if let Entry::Bad(row) = entry {
            bad += 1;
            if first_bad.len() < FIRST_BAD {
                first_bad.push(row);
            }
        }
    }
    Ok(Checked { rows, bad, first_bad, fingerprint: manifest.fingerprint()? })
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
