//! The one truth: a SQLite file that knows the state of every row.
//!
//! The connection lives on a thread of its own. Writes that are waiting share one transaction, and therefore
//! one flush of the disk; whoever asked is answered when the commit is durable. Every other question is a
//! closure that is run there. No other part of the program writes to the file.

pub(crate) mod columns;
mod existing;
mod link;
mod load;
mod open;
mod queue;
mod rebuild;
mod runs;
mod write;

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

pub use existing::{Holder, attach, check_sound, holder, open_locked, open_nameless, open_read_only};
pub use load::{Loaded, Loading, is_loaded, load};
pub(crate) use open::{ANOTHER, no_folder};
pub use open::{LEDGER_FILE, LOCK_FILE, NOTES, STATE_DIR, State, open_state, state_folder};
pub use queue::{
    Cursor, REPAIRED, Work, delivered_rows, drop_org, is_whole, mark_vanished, next_items, prepare_work,
    repaired, wanted_parts,
};
pub use rebuild::{Condition, Rebuild, condition};
pub(crate) use runs::newest_run;
pub use runs::{RunCounters, RunRow, finish_run, insert_run, runs};
pub use write::{Delivered, Given, PartRecord, Write};

use crate::error::{LedgerState, RunError, chain};

/// Writes that share a transaction at most: bounds the time a lock is held and what a failure takes along.
const BATCH: usize = 1024;

type Question = Box<dyn FnOnce(&mut Connection) + Send>;
type Answer = oneshot::Sender<Result<(), RunError>>;

enum Job {
    Write(Vec<Write>, Option<Answer>),
    Question(Question),
}

/// A handle to the ledger's thread; clones talk to the same one. The thread ends with the last handle.
#[derive(Clone, Debug)]
pub struct Ledger {
    jobs: Sender<Job>,
}

/// The ledger's thread, to be joined after the last handle is gone.
#[derive(Debug)]
pub struct LedgerThread(JoinHandle<()>);

impl LedgerThread {
    /// Waits until the file is closed.
    ///
    /// # Errors
    /// Where the thread panicked.
    pub fn join(self) -> Result<(), RunError> {
        self.0.join().map_err(|_| RunError::Internal("the ledger's thread failed".to_owned()))
    }
}

impl Ledger {
    /// Gives the connection a thread.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn start(connection: Connection) -> Result<(Self, LedgerThread), RunError> {
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
        self.jobs.send(job).map_err(|_| gone())?;
        wait.await.map_err(|_| gone())?
    }

    /// Writes, and waits until it is durable.
    ///
    /// # Errors
    /// Where the ledger cannot be written.
    pub async fn write(&self, writes: Vec<Write>) -> Result<(), RunError> {
        self.send(writes)?.await.map_err(|_| gone())?
    }

    /// Writes, and blocks the calling thread until it is durable.
    ///
    /// # Errors
    /// Where the ledger cannot be written.
    pub fn write_blocking(&self, writes: Vec<Write>) -> Result<(), RunError> {
        self.send(writes)?.blocking_recv().map_err(|_| gone())?
    }

    /// Writes some time soon; a failure shows with the next write that waits.
    ///
    /// # Errors
    /// Where the ledger's thread is gone.
    pub fn post(&self, write: Write) -> Result<(), RunError> {
        self.jobs.send(Job::Write(vec![write], None)).map_err(|_| gone())
    }

    fn send(&self, writes: Vec<Write>) -> Result<oneshot::Receiver<Result<(), RunError>>, RunError> {
        let (answer, wait) = oneshot::channel();
        self.jobs.send(Job::Write(writes, Some(answer))).map_err(|_| gone())?;
        Ok(wait)
    }
}

fn gone() -> RunError {
    RunError::Internal("the ledger's thread ended early".to_owned())
}

fn serve(mut connection: Connection, inbox: &Receiver<Job>) {
    let mut unreported = None;
    while let Ok(job) = inbox.recv() {
        let mut next = Some(job);
        while let Some(job) = next.take() {
            match job {
                Job::Question(question) => question(&mut connection),
                Job::Write(writes, answer) => {
                    let mut batch = vec![(writes, answer)];
                    let mut size = 0;
                    while size < BATCH {
                        match inbox.try_recv() {
                            Ok(Job::Write(writes, answer)) => {
                                size += writes.len();
                                batch.push((writes, answer));
                            }
                            Ok(question) => {
                                next = Some(question);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    commit(&mut connection, batch, &mut unreported);
                }
            }
        }
    }
    // folds the write-ahead log into the file, so that one file is left
    if let Err((_, error)) = connection.close() {
        tracing::warn!("closing the ledger: {error}");
    }
}

fn commit(
    connection: &mut Connection,
    batch: Vec<(Vec<Write>, Option<Answer>)>,
    unreported: &mut Option<String>,
) {
    let result = write::apply(connection, batch.iter().flat_map(|(writes, _)| writes));
    for (_, answer) in batch {
        let told = match (&result, unreported.take()) {
            (Ok(()), None) => Ok(()),
            (Err(error), _) => Err(same(error)),
            (Ok(()), Some(earlier)) => Err(RunError::Internal(earlier)),
        };
        match answer {
            Some(answer) => drop(answer.send(told)),
            None => *unreported = told.err().map(|error| error.to_string()),
        }
    }
}

/// One failure for everybody in the batch.
fn same(error: &RunError) -> RunError {
    match error {
        RunError::Disk(what) => RunError::Disk(what.clone()),
        RunError::Ledger { path, what, kind } => {
            RunError::Ledger { path: path.clone(), what: what.clone(), kind: *kind }
        }
        other => RunError::Internal(chain(other)),
    }
}

/// Sorts SQLite's errors: a full disk is the run's business, a damaged file the user's.
pub(crate) fn sqlite_error(error: rusqlite::Error) -> RunError {
    use rusqlite::ErrorCode as Code;
    let path = std::path::PathBuf::from(open::LEDGER_FILE);
    match error.sqlite_error_code() {
        Some(Code::DiskFull) => RunError::Disk("the disk with the ledger is full".to_owned()),
        Some(Code::ReadOnly | Code::SystemIoFailure | Code::CannotOpen) => {
            RunError::Disk(format!("the ledger cannot be written ({error})"))
        }
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => {
            RunError::Ledger { path, what: format!("is damaged ({error})"), kind: LedgerState::Damaged }
        }
        _ => RunError::Sqlite(error),
    }
}
