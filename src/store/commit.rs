//! Parts → delivered images, a batch at a time, in the order that makes a crash harmless: the bytes of all parts
//! durable, then their final names recorded, then renamed, then their folders durable, then one commit in the ledger.
//! Each step takes the type that the step before it returns, so no step can be left out or moved. No task is answered
//! "delivered" before the last one.
//!
//! One thread does this. The parts that become ready while it works form its next batch, so the size of a batch follows
//! the load.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvError, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Folder;
use super::announce::{announce, settle_earlier};
use super::held::HeldSince;
use super::publish::{Delivery, record, remove_replaced, rename_into_place};
use super::sync::SyncStrategy;
use crate::error::{Failure, RunError};
use crate::ledger::{Delivered, Ledger, Write};

/// Parts in a batch: bounds how long the first one waits for the last.
const BATCH_MAX: usize = 512;

/// A delivered image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its size.
    pub bytes: u64,
    /// What the user should know about it, may be empty.
    pub warning: String,
}

/// A handle to the committing thread, which ends with the last handle.
#[derive(Clone, Debug)]
pub struct Committer {
    jobs: Sender<Job>,
}

/// The committing thread, to be joined after the last handle is gone.
#[derive(Debug)]
pub struct CommitterThread(JoinHandle<()>);

impl CommitterThread {
    /// Waits until the thread has ended.
    ///
    /// # Errors
    /// If it panicked.
    pub fn join(self) -> Result<(), RunError> {
        self.0.join().map_err(|_| RunError::Internal("the committing thread failed".to_owned()))
    }
}

impl Committer {
    /// Starts the thread for the run with number `run`.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(folder: Arc<Folder>, ledger: Ledger, run: i64) -> Result<(Self, CommitterThread), RunError> {
        let (jobs, inbox) = mpsc::channel();
        let sync = SyncStrategy::of(&folder);
        let worker = Worker { folder, ledger, run, sync };
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || worker.serve(&inbox))
            .map_err(RunError::io("starting the committing thread"))?;
        Ok((Self { jobs }, CommitterThread(thread)))
    }

    /// Delivers a part and waits until it would survive a power cut.
    ///
    /// # Errors
    /// [`Failure::Disk`] if this file could not be delivered, [`Failure::DiskFatal`] if none can be.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Receipt, Failure> {
        let (answer, receipt) = oneshot::channel();
        let gone = || Failure::DiskFatal { what: "the committing thread ended early".to_owned() };
        self.jobs.send(Job { delivery, answer, held: None }).map_err(|_| gone())?;
        receipt.await.map_err(|_| gone())?
    }
}

/// A part, and the task that waits for it.
#[derive(Debug)]
struct Job {
    delivery: Delivery,
    answer: oneshot::Sender<Result<Receipt, Failure>>,
    /// Another program held its file at the last attempt.
    held: Option<HeldSince>,
}

impl Job {
    /// Whether its rename is attempted again, which [`Job::due`] says when.
    fn is_worth_another_attempt(&mut self) -> bool {
        self.held = HeldSince::after_attempt(self.held, Instant::now());
        self.held.is_some() && !self.answer.is_closed()
    }

    fn due(&self) -> Option<Instant> {
        self.held.as_ref().map(HeldSince::due)
    }

    fn fail(self, failure: Failure) {
        // a task that was dropped does not need to know
        drop(self.answer.send(Err(failure)));
    }

    fn succeed(self) {
        let Delivered { bytes, warning, .. } = self.delivery.record;
        drop(self.answer.send(Ok(Receipt { bytes, warning })));
    }
}

/// Parts whose bytes are durable.
struct Flushed(Vec<Job>);

/// Parts under their final names, and the folders that do not hold these names durably yet.
struct Named {
    jobs: Vec<Job>,
    folders: BTreeSet<PathBuf>,
}

/// Images that would survive a power cut, but of which the ledger does not know yet.
struct Durable(Vec<Job>);

/// What the thread owns.
struct Worker {
    folder: Arc<Folder>,
    ledger: Ledger,
    run: i64,
    sync: SyncStrategy,
}

impl Worker {
    fn serve(&self, inbox: &Receiver<Job>) {
        // a sync that failed may have been about the bytes of any part: nothing that comes later can be trusted
        let mut fatal: Option<Failure> = None;
        let mut held = Vec::new();
        while let Ok(first) = next_job(inbox, &held) {
            let mut batch = take_due(&mut held);
            batch.extend(first.into_iter().chain(inbox.try_iter()).take(BATCH_MAX));
            match &fatal {
                Some(failure) => fail_all(batch, failure),
                None => fatal = self.deliver(batch, &mut held).err(),
            }
        }
    }

    /// Delivers what can be delivered. An error means that no other batch can be; every task has its answer then.
    /// Jobs whose file another program holds go to `held`.
    fn deliver(&self, batch: Vec<Job>, held: &mut Vec<Job>) -> Result<(), Failure> {
        let flushed = self.flush(batch)?;
        let named = self.rename(flushed, held)?;
        let durable = self.flush_names(named)?;
        self.record(durable)
    }

    fn flush(&self, batch: Vec<Job>) -> Result<Flushed, Failure> {
        let free = self.folder.ensure_free(0);
        let flushed = free
            .and_then(|()| self.sync.sync_parts(batch.iter().map(|job| &job.delivery.part), &self.folder));
        let (jobs, results) = or_fail_all(batch, flushed)?;
        Ok(Flushed(keep_successful(jobs.into_iter().zip(results))))
    }

    fn rename(&self, Flushed(jobs): Flushed, held: &mut Vec<Job>) -> Result<Named, Failure> {
        let announced = announce(jobs.iter().map(|job| &job.delivery), &self.ledger);
        let (jobs, ()) = or_fail_all(jobs, announced)?;
        // many files share a folder: it is made durable once
        let mut folders = BTreeSet::new();
        let renamed = jobs.into_iter().filter_map(|mut job| {
            let result = rename_into_place(&mut job.delivery, &self.folder, &mut folders);
            if matches!(result, Err(Failure::FileHeld(_))) && job.is_worth_another_attempt() {
                held.push(job);
                return None;
            }
            Some((job, result))
        });
        let jobs = keep_successful(renamed);
        Ok(Named { jobs, folders })
    }

    fn flush_names(&self, Named { jobs, folders }: Named) -> Result<Durable, Failure> {
        let flushed = self.sync.sync_folders(&folders, jobs.len(), &self.folder);
        let (jobs, ()) = or_fail_all(jobs, flushed)?;
        Ok(Durable(jobs))
    }

    fn record(&self, Durable(jobs): Durable) -> Result<(), Failure> {
        let delivered = |job: &Job| Write::Delivered(self.run, Box::new(job.delivery.record.clone()));
        let recorded = record(jobs.iter().map(delivered).collect(), &self.ledger);
        let (jobs, ()) = or_fail_all(jobs, recorded)?;
        for job in jobs {
            remove_replaced(&job.delivery, &self.folder);
            settle_earlier(&job.delivery, &self.folder, &self.ledger);
            job.succeed();
        }
        Ok(())
    }
}

/// The next job; `None` if it is time for one of those that wait for their rename.
///
/// # Errors
/// If there will be no other job: no task waits for one any more.
fn next_job(inbox: &Receiver<Job>, held: &[Job]) -> Result<Option<Job>, RecvError> {
    let Some(due) = held.iter().filter_map(Job::due).min() else { return inbox.recv().map(Some) };
    match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
        Ok(job) => Ok(Some(job)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(RecvError),
    }
}

/// Takes out the jobs whose next attempt is due.
fn take_due(held: &mut Vec<Job>) -> Vec<Job> {
    let now = Instant::now();
    held.extract_if(.., |job| job.due().is_none_or(|due| due <= now)).collect()
}

/// The jobs that succeeded; the others get their failure as an answer.
fn keep_successful(results: impl Iterator<Item = (Job, Result<(), Failure>)>) -> Vec<Job> {
    let successful = results.filter_map(|(job, result)| match result {
        Ok(()) => Some(job),
        Err(failure) => {
            job.fail(failure);
            None
        }
    });
    successful.collect()
}

/// The jobs beside what a step returned; if it failed, all of them get that failure as an answer.
fn or_fail_all<T>(jobs: Vec<Job>, step: Result<T, Failure>) -> Result<(Vec<Job>, T), Failure> {
    match step {
        Ok(value) => Ok((jobs, value)),
        Err(failure) => {
            fail_all(jobs, &failure);
            Err(failure)
        }
    }
}

fn fail_all(jobs: Vec<Job>, failure: &Failure) {
    for job in jobs {
        job.fail(match failure {
            Failure::DiskFatal { what } => Failure::DiskFatal { what: what.clone() },
            other => Failure::Disk(other.describe().error),
        });
    }
}
