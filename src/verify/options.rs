//! What is verified, and how far a verification is.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is to be verified.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The export folder.
    pub out: PathBuf,
    /// Folder of ledger and lock, if it is not in the export folder.
    pub state_dir: Option<PathBuf>,
    /// Mark what is missing or changed as undelivered.
    pub repair: bool,
    /// Only this share of the images, those checked longest ago; foreign files are not searched for then.
    pub oldest: Option<Share>,
}

/// A share of the images: `part` of `of`, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 1 to `of`.
    pub part: u64,
    /// At least 1.
    pub of: u64,
}

impl Share {
    /// The number of images in this share of `all`.
    #[must_use]
    pub fn of_all(self, all: u64) -> u64 {
        let count = (u128::from(all) * u128::from(self.part)).div_ceil(u128::from(self.of.max(1)));
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

/// Counters that a screen samples.
#[derive(Debug, Default)]
pub struct Progress {
    /// Images to check.
    pub images: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Images checked so far.
    pub seen: AtomicU64,
    /// Bytes read so far.
    pub read: AtomicU64,
}

impl Progress {
    pub(super) fn set(counter: &AtomicU64, value: u64) {
        counter.store(value, Ordering::Relaxed);
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up() {
        let seventh = Share { part: 1, of: 7 };
        for (all, expected) in [(0, 0), (1, 1), (7, 1), (8, 2), (700, 100)] {
            assert_eq!(seventh.of_all(all), expected, "{all}");
        }
        assert_eq!(Share { part: 7, of: 7 }.of_all(u64::MAX), u64::MAX);
    }
}
