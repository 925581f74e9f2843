//! What a run tells the screen, and what the screen may look at.
//!
//! State changes are [`Event`]s over a channel; a receiver that went away is ignored. Numbers that change too
//! often for that are atomics in [`Progress`], which the screen samples. The screen only watches: nothing here
//! steers the run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::ItemError;

/// Something a person might want to know at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Reading and checking the manifest.
    Reading {
        /// The manifest, `-` for standard input.
        manifest: PathBuf,
    },
    /// Something worth knowing that is no trouble.
    Notice {
        /// In words.
        what: String,
    },
    /// Checking which delivered images are still there.
    Checking,
    /// The work is known and begins.
    Begin {
        /// The export folder.
        folder: PathBuf,
        /// Rows of the manifest.
        rows: u64,
        /// Bad rows that are counted as failed.
        bad: u64,
        /// Rows that name an image of an earlier row.
        duplicates: u64,
        /// Rows delivered earlier.
        skipped: u64,
        /// Rows to fetch.
        todo: u64,
    },
    /// Something a person should know, about one row or the whole.
    Warning {
        /// Line of the manifest, where it concerns one row.
        line: Option<u64>,
        /// In words.
        what: String,
    },
    /// A try failed and another will follow.
    Retry {
        /// Line of the manifest.
        line: u64,
        /// Number of the try that failed.
        attempt: u32,
        /// When the next one comes.
        after: Duration,
        /// Why.
        why: String,
    },
    /// A row is given up.
    Failed {
        /// Line of the manifest.
        line: u64,
        /// Why.
        error: ItemError,
    },
    /// An organization is refused: its other rows fail without a request.
    Tripped {
        /// The organization.
        org: String,
        /// Rows that fail with it.
        rows: u64,
        /// What the API said.
        why: String,
    },
    /// Nothing new is tried, the way is being probed.
    Outage {
        /// Why.
        why: String,
    },
    /// The outage is over.
    Recovered {
        /// How long it took.
        after: Duration,
    },
    /// The API asked everybody to wait.
    Limited {
        /// For so long.
        wait: Duration,
    },
    /// Nothing new is taken, what is in flight ends.
    Draining {
        /// Why.
        why: String,
    },
    /// Writing the reports.
    Reporting,
    /// Everything is written.
    End,
}

/// Numbers that change with every row or byte. Each is a plain count since the run began.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows delivered by this run.
    pub stored: AtomicU64,
    /// Rows given up.
    pub failed: AtomicU64,
    /// Bytes that came from the storage, of images not finished too.
    pub received: AtomicU64,
    /// Bytes of delivered images.
    pub bytes: AtomicU64,
    /// Images being fetched.
    pub in_flight: AtomicU64,
    /// Requests sent to the API.
    pub api_requests: AtomicU64,
    /// 429 answers among them.
    pub api_429: AtomicU64,
    /// Tries beyond the first.
    pub retries: AtomicU64,
    /// Milliseconds until the API may be asked again, 0 when it may be asked now.
    pub waiting_ms: AtomicU64,
    /// Thousandths of the API's allowance that this run has used; 0 before the first request.
    pub allowance_permille: AtomicU64,
}

impl Progress {
    /// Adds one.
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// Reads a counter.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// The sending side of the events.
#[derive(Clone, Debug)]
pub struct Events(Option<mpsc::UnboundedSender<Event>>);

impl Events {
    /// A channel: what is sent here comes out there.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Nobody listens.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Tells it, if anybody listens.
    pub fn send(&self, event: Event) {
        if let Some(sender) = &self.0 {
            // a screen that went away must not stop the run
            let _ = sender.send(event);
        }
    }
}
