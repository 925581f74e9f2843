//! One image from end to end: wait for the way, ask for its URL, download, check, deliver; and again where that
//! may help. What to do after a failure is decided in [`crate::fetch::retry`]; how bytes come in `download`.

mod attempts;
mod download;
pub mod retry;
#[cfg(test)]
pub(crate) mod tests;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::admission::Admission;
use crate::error::Service;
use crate::event::{Event, Progress};
use crate::ledger::{Given, Ledger, Work};
use crate::options::RunOptions;
use crate::remote::Remote;
use crate::store::{Committer, Folder, Receipt};
use attempts::Attempts;

/// What every image needs.
#[derive(Debug)]
pub struct Fetcher<R> {
    /// The network.
    pub remote: R,
    /// The run.
    pub control: Admission,
    /// The disk.
    pub folder: Arc<Folder>,
    /// Delivers.
    pub committer: Committer,
    /// Remembers parts.
    pub ledger: Ledger,
    /// Counts.
    pub progress: Arc<Progress>,
    /// Images that may use the network at a time. One that sleeps, or waits for the disk, has no place.
    pub places: Semaphore,
    /// So many of them.
    pub concurrency: usize,
    /// Tries for one image.
    pub max_attempts: u32,
    /// Longest time on retries for one image.
    pub max_retry_time: Duration,
    /// No byte for so long ends a try.
    pub stall: Duration,
    /// Largest image.
    pub max_size: u64,
}

/// Open files besides those of images: ledger, logs, lookups.
const OTHER_FILES: u64 = 40;

/// Files that images may hold open: each has a part file and a connection.
pub(crate) fn open_files() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES)
}

/// How a row ended.
#[derive(Debug)]
pub enum Outcome {
    /// Delivered.
    Stored(Receipt),
    /// Given up, or left for the next run.
    Given(Given),
    /// Its organization was refused for the fifth time in succession: so are its other rows.
    Tripped(Given),
    /// Out of tries since then, while nobody can tell whether it is sick alone or an outage begins. No bytes of it
    /// are at hand any more.
    Undecided(Given, Service, Instant),
}

impl<R: Remote> Fetcher<R> {
    /// Gathers what every image needs.
    pub fn new(
        options: &RunOptions,
        remote: R,
        control: Admission,
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
            control.events.send(Event::Warning { line: None, what });
        }
        Self {
            remote,
            control,
            folder,
            committer,
            ledger,
            progress,
            places: Semaphore::new(concurrency),
            concurrency,
            max_attempts: options.max_attempts.get(),
            max_retry_time: options.max_retry_time,
            stall: options.stall_timeout,
            max_size: options.max_size,
        }
    }

    /// Brings one image home, or says why not.
    pub async fn fetch(&self, work: &Work) -> Outcome {
        let mut journey = Attempts::new(self, work);
        loop {
            let failure = match journey.attempt().await {
                Ok(receipt) => {
                    // where it was an outage's probe, the next one may go
                    self.control.left_way(work.item.seq);
                    return Outcome::Stored(receipt);
                }
                Err(failure) => failure,
            };
            if let Some(outcome) = journey.after(failure).await {
                journey.end().await;
                return outcome;
            }
        }
    }
}
