//! The ledger: a SQLite file that knows the state of every row, and the only source of the reports.
//!
//! The connection lives on a thread of its own. Writes that are waiting share one transaction, and therefore one
//! flush of the disk; a task that waits for its write continues after the durable commit. Everything else is a closure
//! that runs on that thread. Only the modules below change the ledger's tables; the rest of the program may read them.

pub(crate) mod columns;
mod copy;
mod delivered;
mod fault;
mod files;
mod handles;
mod identity;
mod inspect;
mod intents;
mod journal;
mod link;
mod load;
mod lock;
mod manifest;
mod merge;
mod open;
mod others;
mod owners;
mod pace;
mod paths;
mod queue;
mod read;
mod rebuild;
mod receipts;
mod runs;
mod samples;
mod schema;
mod scratch;
mod shards;
mod unasked;
mod vanished;
mod write;

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

pub(crate) use copy::{copy_ledger, export_id};
pub use delivered::{Damage, delivered_rows, mark_checked, mark_damaged, mark_vanished, repaired};
pub(crate) use fault::sqlite_error;
pub use handles::LedgerConnection;
pub use inspect::check_sound;
pub(crate) use intents::{Intent, settle_intents, unsettled_intents};
pub use load::{Loaded, Loading, is_loaded, load};
pub use lock::{Holder, VERIFY, holder};
pub use manifest::{first_bad_rows, manifest_warnings};
pub(crate) use merge::{
    Imported, begin_merge, delivered_files, explain_untried, import_ends, import_parts, import_shard,
    loaded_manifest, record_merge, rows_in_all,
};
pub use open::{State, open_locked, open_merged, open_state};
pub use owners::{Owner, adopt_note};
pub use pace::{Pace, pace_of};
pub use paths::{LEDGER_FILE, LOCK_FILE, STATE_DIR, state_folder};
pub use queue::{Cursor, Work, drop_org, next_items, prepare_work, wanted_parts};
pub use read::open_read_only;
pub use rebuild::{Condition, Rebuild, condition};
pub(crate) use receipts::{add_receipts, receipt_lines, runs_without_receipt};
pub use runs::{RunCounters, RunRow, finish_run, insert_run, runs};
pub(crate) use runs::{newest_run, runs_after};
pub use samples::{Sample, Span, SpanKind};
pub(crate) use samples::{samples, spans};
pub use scratch::{Scratch, open_gathered, open_scratch};
pub(crate) use shards::{Dissolving, Heartbeat, lock_shard, withdraw};
pub use shards::{
    ShardHome, ShardLook, ShardSet, ShardState, Standing, open_shard, open_shard_read_only, shard_of,
};
pub use vanished::{Inspection, inspect_delivered, refuse_linked_folders};
pub use write::{
    Delivered, EndState, ImageRow, NotDelivered, PartRecord, RowEnd, Write, adopt_image, end_row, image_key,
};

use crate::error::{RunError, chain};

/// Writes that share a transaction: bounds the time SQLite holds its lock, and what one failure affects.
const BATCH_MAX: usize = 1024;

type Question = Box<dyn FnOnce(&mut Connection) + Send>;
type Answer = oneshot::Sender<Result<(), RunError>>;

/// Writes that are applied together, and the task that waits for them, if any.
type Writes = (Vec<Write>, Option<Answer>);

enum Job {
    Write(Writes),
    Question(Question),
}

/// A handle to the ledger's thread, shared by its clones. The thread ends with the last handle.
#[derive(Clone, Debug)]
pub struct Ledger {
    jobs: Sender<Job>,
}

/// The ledger's thread, to be joined after the last handle is dropped.
#[derive(Debug)]
pub struct LedgerThread(JoinHandle<()>);

impl LedgerThread {
    /// Waits until the file is closed.
    ///
    /// # Errors
    /// If the thread panicked.
    pub fn join(self) -> Result<(), RunError> {
        self.0.join().map_err(|_| RunError::Internal("the ledger's thread failed".to_owned()))
    }
}

impl Ledger {
    /// Moves the connection to a thread of its own.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(connection: LedgerConnection) -> Result<(Self, LedgerThread), RunError> {
        let (jobs, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || serve(connection, &inbox))
            .map_err(RunError::io("starting the ledger's thread"))?;
        Ok((Self { jobs }, LedgerThread(thread)))
    }

    /// Runs `question` on the ledger's thread and waits for its answer.
    ///
    /// # Errors
    /// What the question returns.
    pub async fn ask<T, F>(&self, question: F) -> Result<T, RunError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, RunError> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let job = Job::Question(Box::new(move |connection| {
            let _ = answer.send(question(connection));
        }));
        self.jobs.send(job).map_err(|_| thread_ended())?;
        wait.await.map_err(|_| thread_ended())?
    }

    /// Writes, and waits for the durable commit.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub async fn write(&self, writes: Vec<Write>) -> Result<(), RunError> {
        self.send(writes)?.await.map_err(|_| thread_ended())?
    }

    /// Writes, and blocks the calling thread until the commit is durable.
    ///
    /// # Errors
    /// If the ledger cannot be written.
    pub fn write_blocking(&self, writes: Vec<Write>) -> Result<(), RunError> {
        self.send(writes)?.blocking_recv().map_err(|_| thread_ended())?
    }

    /// Queues a write without waiting; if it fails, the next write that waits returns the error.
    ///
    /// # Errors
    /// If the ledger's thread has ended.
    pub fn post(&self, write: Write) -> Result<(), RunError> {
        self.jobs.send(Job::Write((vec![write], None))).map_err(|_| thread_ended())
    }

    fn send(&self, writes: Vec<Write>) -> Result<oneshot::Receiver<Result<(), RunError>>, RunError> {
        let (answer, wait) = oneshot::channel();
        self.jobs.send(Job::Write((writes, Some(answer)))).map_err(|_| thread_ended())?;
        Ok(wait)
    }
}

fn thread_ended() -> RunError {
    RunError::Internal("the ledger's thread ended early".to_owned())
}

/// The thread: runs questions and commits writes in the order of their arrival.
fn serve(mut connection: LedgerConnection, inbox: &Receiver<Job>) {
    let mut unreported = None;
    let mut next = None;
    while let Some(job) = next.take().or_else(|| inbox.recv().ok()) {
        match job {
            Job::Question(question) => question(&mut connection),
            Job::Write(writes) => {
                let mut batch = vec![writes];
                next = gather(inbox, &mut batch);
                commit(&mut connection, batch, &mut unreported);
            }
        }
    }
    // folds the write-ahead log into the file, so that one file is left
    if let Err(error) = connection.close() {
        tracing::warn!("closing the ledger: {error}");
    }
}

/// Adds the writes that are waiting to the batch. Returns the question that ended it, if one did.
fn gather(inbox: &Receiver<Job>, batch: &mut Vec<Writes>) -> Option<Job> {
    let mut size = 0;
    while size < BATCH_MAX {
        match inbox.try_recv() {
            Ok(Job::Write(writes)) => {
                size += writes.0.len();
                batch.push(writes);
            }
            Ok(question) => return Some(question),
            Err(_) => break,
        }
    }
    None
}

/// Commits a batch and answers every task that waits for a part of it. A failure that no task waits for is kept in
/// `unreported` for the next one that does.
fn commit(connection: &mut Connection, batch: Vec<Writes>, unreported: &mut Option<String>) {
    let result = write::apply(connection, batch.iter().flat_map(|(writes, _)| writes));
    for (_, answer) in batch {
        let outcome = match (&result, unreported.take()) {
            (Ok(()), None) => Ok(()),
            (Err(error), _) => Err(copy(error)),
            (Ok(()), Some(earlier)) => Err(RunError::Internal(earlier)),
        };
        match answer {
            Some(answer) => drop(answer.send(outcome)),
            None => *unreported = outcome.err().map(|error| error.to_string()),
        }
    }
}

/// One failure for every task in the batch.
fn copy(error: &RunError) -> RunError {
    match error {
        RunError::Disk(what) => RunError::Disk(what.clone()),
        RunError::Ledger { path, what, kind } => {
            RunError::Ledger { path: path.clone(), what: what.clone(), kind: *kind }
        }
        other => RunError::Internal(chain(other)),
    }
}
