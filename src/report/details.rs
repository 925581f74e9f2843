//! What only `report.html` shows: which lines failed, how large the images are, what vouches for them.
//!
//! Collected in the pass over all rows that adds up the counts. It grows with the error codes and the kinds of checks,
//! not with the rows.

use std::collections::BTreeMap;

/// Lines that are named for each error code.
const FIRST_LINES_MAX: usize = 20;
/// Kinds of checks that are told apart. There are as many as ways to combine them; a damaged ledger may hold anything.
const CHECKS_MAX: usize = 1000;
/// The smallest sizes of all groups but the first, in bytes.
pub(super) const SIZE_LIMITS: [u64; 9] =
    [1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30];

/// Collected in a pass over the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// By error code.
    pub(super) failures: BTreeMap<String, FailedRows>,
    /// Images of the manifest that are delivered.
    pub(super) images: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Bytes of the largest.
    pub(super) largest: u64,
    /// How many are in each group of sizes.
    pub(super) sizes: [u64; SIZE_LIMITS.len() + 1],
    /// How many were checked in each way; the ways are joined by `+`, empty for none.
    pub(super) checked_by: BTreeMap<String, u64>,
}

/// The rows that failed with one code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FailedRows {
    pub rows: u64,
    /// Where the first of them are in the manifest.
    pub first_lines: Vec<u64>,
    /// Why the first one failed: the advice follows from it.
    pub error: String,
}

impl Details {
    pub(super) fn add_failure(&mut self, code: &str, line: u64, error: &str) {
        if !self.failures.contains_key(code) {
            let first = FailedRows { error: error.to_owned(), ..FailedRows::default() };
            self.failures.insert(code.to_owned(), first);
        }
        let Some(failed) = self.failures.get_mut(code) else { return };
        failed.rows += 1;
        if failed.first_lines.len() < FIRST_LINES_MAX {
            failed.first_lines.push(line);
        }
    }

    pub(super) fn add_image(&mut self, bytes: u64, checked_by: &str) {
        self.images += 1;
        self.bytes += bytes;
        self.largest = self.largest.max(bytes);
        self.sizes[SIZE_LIMITS.partition_point(|limit| *limit <= bytes)] += 1;
        let ways = self.checked_by.len();
        match self.checked_by.get_mut(checked_by) {
            Some(images) => *images += 1,
            None if ways < CHECKS_MAX => drop(self.checked_by.insert(checked_by.to_owned(), 1)),
            None => {}
        }
    }
}
