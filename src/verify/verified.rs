//! The result of a verification. Serialized, it is the answer in JSON.

use std::time::Instant;

use serde::Serialize;

use super::options::Progress;

/// What a verification found. Paths are relative to the export folder and sorted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verified {
    /// Delivered images that were checked: not those whose files could not be read.
    pub checked: u64,
    /// Those whose file has the bytes that were delivered.
    pub ok: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Rounded to milliseconds.
    pub seconds: f64,
    /// No file is there.
    pub missing: Vec<String>,
    /// Another size, other bytes, or no regular file.
    pub changed: Vec<String>,
    /// Files that could not be read: nothing is known about their bytes.
    pub unreadable: Vec<String>,
    /// Files in `data/` that belong to no image.
    pub foreign: Vec<String>,
    /// Files in `data/` that operating systems leave behind. They are no finding.
    pub litter: Vec<String>,
    /// Files of images that are to be fetched again, because a repair found them changed or a run could not replace
    /// them. They are counted as nothing else.
    pub waiting: u64,
    /// Images that became undelivered.
    pub repaired: u64,
    /// Images that a rebuilt ledger knows as delivered.
    pub adopted: u64,
    /// What the user should know besides.
    #[serde(skip)]
    pub notices: Vec<String>,
}

impl Verified {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.missing.is_empty()
            && self.changed.is_empty()
            && self.unreadable.is_empty()
            && self.foreign.is_empty()
    }

    /// Fills in the bytes that were read and the time since `start`.
    pub(super) fn measured(mut self, progress: &Progress, start: Instant) -> Self {
        self.bytes = progress.bytes_read();
        self.seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        self
    }
}
