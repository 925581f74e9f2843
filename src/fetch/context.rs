//! What every row of a run shares, and how a row can end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::admission::Admission;
use crate::error::Service;
use crate::event::{Event, Progress};
use crate::ledger::{Ledger, NotDelivered};
use crate::options::RunOptions;
use crate::store::{Committer, Folder, Receipt};

/// Open files besides those of images: ledger, logs, name lookups.
const OTHER_FILES: u64 = 40;

/// What every row shares.
#[derive(Debug)]
pub(crate) struct Fetcher<R> {
    pub remote: R,
    pub admission: Admission,
    pub folder: Arc<Folder>,
    pub committer: Committer,
    pub ledger: Ledger,
    pub progress: Arc<Progress>,
    /// One permit for each image that may use the network at a time. A row that sleeps or waits for the disk has
    /// given its slot back.
    pub slots: Semaphore,
    /// How many slots there are.
    pub concurrency: usize,
    /// Attempts at one image.
    pub max_attempts: u32,
    /// Time that one image may spend on retries.
    pub max_retry_time: Duration,
    /// An attempt that receives no byte for this long has failed.
    pub stall_timeout: Duration,
    /// Of one image, in bytes.
    pub max_size: u64,
}

/// How a row ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Delivered.
    Stored(Receipt),
    /// Failed, or left for the next run.
    NotDelivered(NotDelivered),
    /// Failed, and its refusal closed its organization: the other rows of it fail too.
    OrgRefused(NotDelivered),
    /// Out of attempts, but something else than the image may yet turn out to be at fault. No bytes of the image are
    /// kept.
    Parked(NotDelivered, Suspect),
}

/// What may turn out to be at fault for a row that is out of attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Suspect {
    /// This service, which failed the row at that time: an outage may be beginning.
    Outage(Service, Instant),
    /// The disk, which may fail for every row.
    Disk,
}

impl<R> Fetcher<R> {
    pub fn new(
        options: &RunOptions,
        remote: R,
        admission: Admission,
        folder: Arc<Folder>,
        committer: Committer,
        ledger: Ledger,
        progress: Arc<Progress>,
    ) -> Self {
        let wanted = options.concurrency.get() as usize;
        let concurrency = usize::try_from(open_files() / 2).unwrap_or(wanted).clamp(1, wanted);
        if concurrency < wanted {
            let what = format!(
                "only {concurrency} images are in flight at a time, not {wanted}: the limit of open files is low \
                 (ulimit -n)"
            );
            admission.events.send(Event::Warning { line: None, what });
        }
        Self {
            remote,
            admission,
            folder,
            committer,
            ledger,
            progress,
            slots: Semaphore::new(concurrency),
            concurrency,
            max_attempts: options.max_attempts.get(),
            max_retry_time: options.max_retry_time,
            stall_timeout: options.stall_timeout,
            max_size: options.max_size,
        }
    }
}

/// Files that images may hold open: each has a part file and a connection.
pub(crate) fn open_files() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES)
}
