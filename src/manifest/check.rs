//! One pass over a manifest before any request: how many rows it has and which of them are bad.
//!
//! Invariant: memory does not grow with the number of bad rows. Whether a bad row makes the run refuse the whole
//! manifest is the caller's decision.

use std::io::BufRead;

use super::{BadRow, Entry, Manifest, ManifestError, ManifestOptions};
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
    /// Rows with an id that looks like a number rounded by a spreadsheet (`1.23E+15`), and the line of the first.
    pub rounded: Option<(u64, u64)>,
}

/// Reads a manifest to its end.
///
/// # Errors
///
/// Those of [`Manifest::open`], and if reading fails later. A bad row is not an error.
pub fn check(reader: impl BufRead, options: &ManifestOptions) -> Result<ManifestCheck, ManifestError> {
    let mut manifest = Manifest::open(reader, options)?;
    let (mut rows, mut bad, mut first_bad, mut rounded) = (0, 0, Vec::new(), None);
    while let Some(entry) = manifest.next_entry()? {
        rows += 1;
        match entry {
            Entry::Bad(row) => {
                bad += 1;
                if first_bad.len() < FIRST_BAD_ROWS {
                    first_bad.push(row);
                }
            }
            Entry::Row(row) => {
                if [row.org.as_str(), row.note.as_str(), row.image.as_str()].into_iter().any(is_rounded) {
                    rounded.get_or_insert((0, row.line)).0 += 1;
                }
            }
        }
    }
    Ok(ManifestCheck { rows, bad, first_bad, fingerprint: manifest.fingerprint()?, rounded })
}

/// `1.23E+15`: how a spreadsheet saves a long number in a CSV file.
fn is_rounded(id: &str) -> bool {
    let Some((number, power)) = id.split_once(['E', 'e']) else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = |text: &str| match text.split_once(['.', ',']) {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(text),
    };
    power.strip_prefix(['+', '-']).is_some_and(digits) && whole(number)
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
    fn ids_that_a_spreadsheet_rounded_are_counted() {
        let text = "org,note,image\no,n,i\no,1.23E+15,i\no,n,2E+10\no,1e5,0xE+1\no,E+1,1.E+1\no,n,5,5E+07\n";
        let checked = check(text.as_bytes(), &ManifestOptions::default()).expect("a manifest");
        assert_eq!((checked.rounded, checked.bad), (Some((2, 3)), 1));
    }

    #[test]
    fn a_header_without_rows_is_a_manifest_of_no_rows() {
        let checked = check(&b"org,note,image"[..], &ManifestOptions::default()).expect("a manifest");
        assert_eq!((checked.rows, checked.bad, checked.first_bad), (0, 0, vec![]));
    }
}
