//! One image from end to end: wait for the way, ask for its URL, download, check, deliver; and again where that
//! may help. What to do after a failure is decided in [`crate::retry`]; how bytes come in `download`.

mod download;
mod journey;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::control::Control;
use crate::error::Service;
use crate::event::Progress;
use crate::ledger::{Given, Ledger, Work};
use crate::options::RunOptions;
use crate::remote::Remote;
use crate::store::{Committer, Folder, Receipt};
use journey::Journey;

/// What every image needs.
#[derive(Debug)]
pub struct Fetcher<R> {
    /// The network.
    pub remote: R,
    /// The run.
    pub control: Control,
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

/// How a row ended.
#[derive(Debug)]
pub enum Outcome {
    /// Delivered.
    Stored(Receipt),
    /// Given up, or left for the next run.
    Given(Given),
    /// Its organization was refused for the fifth time in succession: so are its other rows.
    Tripped(Given),
    /// Out of tries, while nobody can tell whether it is sick alone or an outage begins.
    Undecided(Given, Service),
}

impl<R: Remote> Fetcher<R> {
    /// Gathers what every image needs.
    pub fn new(
        options: &RunOptions,
        remote: R,
        control: Control,
        folder: Arc<Folder>,
        committer: Committer,
        ledger: Ledger,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            remote,
            control,
            folder,
            committer,
            ledger,
            progress,
            places: Semaphore::new(options.concurrency.get() as usize),
            concurrency: options.concurrency.get() as usize,
            max_attempts: options.max_attempts.get(),
            max_retry_time: options.max_retry_time,
            stall: options.stall_timeout,
            max_size: options.max_size,
        }
    }

    /// Brings one image home, or says why not.
    pub async fn fetch(&self, work: &Work) -> Outcome {
        let mut journey = Journey::new(self, work);
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
