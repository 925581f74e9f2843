//! What a run reports while it goes on.
//!
//! State changes are [`Event`]s over a channel; a receiver that has gone away is ignored. Numbers that change too often
//! for a channel are atomics in [`Progress`], which the screen samples. The screen only watches: nothing here steers the
//! run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::ItemError;
use crate::manifest::BadRow;

/// A state change that a person may want to know at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Reading and checking the manifest.
    Reading {
        /// The manifest, `-` for standard input.
        manifest: PathBuf,
    },
    /// Something worth knowing that needs no action.
    Notice {
        /// In words.
        what: String,
    },
    /// The manifest has bad rows, which the run leaves out.
    BadRows {
        /// Number of bad rows.
        bad: u64,
        /// The first of them.
        first: Vec<BadRow>,
    },
    /// Checking which delivered images are still there.
    Checking,
    /// The work is known, fetching starts.
    Begin {
        /// The export folder.
        folder: PathBuf,
        /// Rows of the manifest.
        rows: u64,
        /// Bad rows, counted as failed.
        bad: u64,
        /// Rows that name the image of an earlier row.
        duplicates: u64,
        /// Rows whose image was delivered by an earlier run.
        skipped: u64,
        /// Rows to fetch.
        todo: u64,
    },
    /// Something a person should look into, about one row or the whole run.
    Warning {
        /// Line of the manifest, if it is about one row.
        line: Option<u64>,
        /// In words.
        what: String,
    },
    /// An attempt failed and another follows.
    Retry {
        /// Line of the manifest.
        line: u64,
        /// Number of the attempt that failed, from 1.
        attempt: u32,
        /// Time until the next one starts.
        after: Duration,
        /// Why it failed.
        why: String,
    },
    /// A row has failed for good.
    Failed {
        /// Line of the manifest.
        line: u64,
        /// Why.
        error: ItemError,
    },
    /// The API refuses an organization: its other rows fail without a request.
    OrgRefused {
        /// Id of the organization.
        org: String,
        /// Rows that fail with it.
        rows: u64,
        /// What the API answered.
        why: String,
    },
    /// A service is down: no new image is attempted until a probe succeeds.
    Outage {
        /// What failed.
        why: String,
    },
    /// The outage is over.
    Recovered {
        /// How long it lasted.
        after: Duration,
    },
    /// The API answered 429: no request is sent for a while.
    RateLimited {
        /// How long.
        wait: Duration,
    },
    /// No new image is started, those in flight are finished.
    Draining {
        /// Why the run stops.
        why: String,
    },
    /// Writing the reports.
    Reporting,
    /// Everything is written.
    End,
}

/// Numbers that change with every row or byte: counts since the run started, if not said otherwise.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows delivered by this run.
    pub stored: AtomicU64,
    /// Rows that failed for good.
    pub failed: AtomicU64,
    /// Bytes received from the storage, those of unfinished images included.
    pub received: AtomicU64,
    /// Bytes of delivered images.
    pub bytes: AtomicU64,
    /// Images that may be in flight now.
    pub concurrency: AtomicU64,
    /// Images in flight.
    pub downloading: AtomicU64,
    /// Rows that wait for the API's answer.
    pub asking: AtomicU64,
    /// Rows that wait for the allowance.
    pub waiting: AtomicU64,
    /// Rows that are not asked for yet since the line is busy, or a service is out.
    pub queued: AtomicU64,
    /// Rows that have their URL and wait for a place among the images in flight.
    pub ready: AtomicU64,
    /// Requests sent to the API.
    pub api_requests: AtomicU64,
    /// Answers with status 429.
    pub api_429: AtomicU64,
    /// Attempts beyond the first of an image.
    pub retries: AtomicU64,
    /// Milliseconds until the next request may be sent to the API; 0: now.
    pub waiting_ms: AtomicU64,
    /// Thousandths of the API's allowance that this run has used; 0 before the first request.
    pub allowance_permille: AtomicU64,
}

impl Progress {
    /// Adds `by` to a counter.
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
    /// A channel: the sender, and the receiver of what is sent.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// A sender without a receiver.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Sends an event; without a receiver it is dropped.
    pub fn send(&self, event: Event) {
        if let Some(sender) = &self.0 {
            // a screen that has gone away must not stop the run
            let _ = sender.send(event);
        }
    }
}
