//! What every row of a run shares, and how a row can end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::queue::{Circumstances, Queue};
use super::room::Room;
use crate::admission::Admission;
use crate::error::Service;
use crate::event::{Event, Progress};
use crate::ledger::{Ledger, NotDelivered};
use crate::options::{Concurrency, RunOptions};
use crate::store::{Committer, Folder, Receipt};

/// `auto` may need more than this at the vendor's allowance.
const FEW: usize = 32;

/// What every row shares.
#[derive(Debug)]
pub(crate) struct Fetcher<R> {
    pub remote: R,
    pub admission: Admission,
    pub folder: Arc<Folder>,
    pub committer: Committer,
    pub ledger: Ledger,
    pub progress: Arc<Progress>,
    /// Where rows wait for their turn to ask the API, and for a place among the images in flight.
    pub queue: Arc<Queue>,
    /// The most rows that may be started and not ended.
    pub rows_max: usize,
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
        let room = Room::of_process(options.concurrency);
        warn_of_few_files(options.concurrency, room, &admission);
        let queue = Queue::new(options.concurrency, room);
        let rows_max = queue.rows_max();
        Self {
            remote,
            admission,
            folder,
            committer,
            ledger,
            progress,
            queue: Arc::new(queue),
            rows_max,
            max_attempts: options.max_attempts.get(),
            max_retry_time: options.max_retry_time,
            stall_timeout: options.stall_timeout,
            max_size: options.max_size,
        }
    }

    /// Adjusts how many images are in flight, and how far ahead URLs are asked for.
    pub fn adjust(&self) {
        let Self { admission, progress, .. } = self;
        self.queue.adjust(&Circumstances {
            allowed_per_second: admission.limiter.allowed_per_second(),
            received: Progress::get(&progress.received),
            is_out: admission.is_out(),
            is_sound: admission.is_sound(),
            time_left: admission.drain.time_left(),
        });
    }
}

/// The user should know why fewer images are in flight than were asked for.
fn warn_of_few_files(wanted: Concurrency, room: Room, admission: &Admission) {
    let few = match wanted {
        Concurrency::Fixed(number) => {
            (room.downloads < number.get() as usize).then(|| format!("not {number}"))
        }
        Concurrency::Auto => (room.downloads < FEW).then(|| "however many the allowance needs".to_owned()),
    };
    if let Some(wanted) = few {
        let what = format!(
            "at most {} images are in flight at a time, {wanted}: the limit of open files (ulimit -n) or the free memory \
             is low",
            room.downloads
        );
        admission.events.send(Event::Warning { line: None, what });
    }
}
