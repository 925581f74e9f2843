//! The export while a run works in it: ledger, its thread, the locks, and the folder, opened and closed as one.
//!
//! The locks are held to the very end, and released only after the ledger is closed.

use std::path::PathBuf;
use std::sync::Arc;

use super::checked::{CheckedManifest, LoadedManifest};
use super::prepare;
use super::{Finished, JOIN_TIMEOUT, finish, join_within, or_aborted, or_stopped};
use crate::admission::Admission;
use crate::disk;
use crate::error::{RunError, StopReason};
use crate::event::{Event, Events, Progress};
use crate::fetch::Fetcher;
use crate::ledger::{self, Heartbeat, Ledger, LedgerThread, RunCounters, ShardHome, ShardState, State};
use crate::manifest::Source;
use crate::options::RunOptions;
use crate::shutdown::StopHandle;
use crate::store::{Committer, CommitterThread, Folder};

pub(super) struct Export {
    ledger: Ledger,
    ledger_thread: LedgerThread,
    /// Of a shard; it ends before the locks are released.
    heartbeat: Option<Heartbeat>,
    /// They die with the process, or when dropped.
    locks: Vec<std::fs::File>,
    folder: Arc<Folder>,
    loaded: LoadedManifest,
}

impl Export {
    /// Opens ledger and folder, and loads the manifest. A manifest that is refused leaves nothing behind.
    pub async fn open(
        options: &RunOptions,
        manifest: CheckedManifest,
        stop: &StopHandle,
    ) -> Result<Self, RunError> {
        let (State { connection, made, locks }, heartbeat) = open_state(options, stop).await?;
        let (ledger, ledger_thread) = Ledger::start(connection)?;
        // if a signal ends it, what was loaded so far is rolled back when the ledger is opened the next time
        let loading = or_stopped(stop, prepare::load(&ledger, manifest, options.shard)).await?;
        let loaded = match loading {
            Ok(loaded) => loaded,
            Err(error) => {
                drop(ledger);
                ledger_thread.join()?;
                if error.is_usage() {
                    roll_back(&made);
                }
                return Err(error);
            }
        };
        let own = options
            .shard
            .map(|shard| ShardHome::of(&options.out, options.state_dir.as_deref(), shard).folder);
        let folder = match Folder::open(&options.out, own.as_deref(), options.min_free) {
            Ok(folder) => Arc::new(folder),
            Err(error) => {
                let reports = own.unwrap_or_else(|| options.out.clone());
                // the error is what counts: whether it can be recorded too is not
                let _ = finish::give_up(&ledger, loaded.run, &error, reports).await;
                return Err(error);
            }
        };
        Ok(Self { ledger, ledger_thread, heartbeat, locks, folder, loaded })
    }

    /// The run that was started in the ledger.
    pub const fn run(&self) -> i64 {
        self.loaded.run
    }

    /// Warns of rows that the run leaves out, and of disks that do not do what it relies on.
    pub fn warn(&self, options: &RunOptions, events: &Events) {
        let LoadedManifest { bad, first_bad, .. } = &self.loaded;
        if *bad > 0 {
            events.send(Event::BadRows { bad: *bad, first: first_bad.clone() });
        }
        let state = ledger::state_folder(&options.out, options.state_dir.as_deref());
        for what in disk::warnings(&options.out, &state).into_iter().chain(self.folder.warning()) {
            events.send(Event::Warning { line: None, what });
        }
    }

    /// Stops the run if another machine takes over its shard.
    pub fn watch_heartbeat<R: Send + Sync + 'static>(&mut self, fetcher: &Arc<Fetcher<R>>) {
        let Some(lost) = self.heartbeat.as_mut().and_then(Heartbeat::lost) else { return };
        let fetcher = Arc::downgrade(fetcher);
        tokio::spawn(async move {
            if let Ok(error) = lost.await
                && let Some(fetcher) = fetcher.upgrade()
            {
                fetcher.admission.drain.stop(StopReason::Error(error));
            }
        });
    }

    /// Clears the folder for the run; the number of rows to fetch.
    pub async fn sweep(&self, events: &Events) -> Result<u64, RunError> {
        prepare::sweep(&self.ledger, &self.folder, events, &self.loaded).await
    }

    /// Starts what the rows share.
    pub fn start<R>(
        &self,
        options: &RunOptions,
        remote: R,
        events: &Events,
        progress: Arc<Progress>,
    ) -> Result<(Arc<Fetcher<R>>, CommitterThread), RunError> {
        let admission = Admission::new(options, events.clone());
        let (folder, ledger) = (&self.folder, &self.ledger);
        let (committer, thread) = Committer::start(Arc::clone(folder), ledger.clone(), self.loaded.run)?;
        let fetcher =
            Fetcher::new(options, remote, admission, Arc::clone(folder), committer, ledger.clone(), progress);
        Ok((Arc::new(fetcher), thread))
    }

    /// Records how the run ended, writes the reports, and closes the ledger. The outer error is that of a run which
    /// a second signal ended.
    pub async fn finish(
        self,
        stopped: Option<StopReason>,
        counters: RunCounters,
        stop: &StopHandle,
    ) -> Result<Result<Finished, RunError>, RunError> {
        let Self { ledger, ledger_thread, heartbeat, locks, folder, loaded } = self;
        let finished =
            or_aborted(stop, finish::finish(&ledger, loaded.run, stopped, counters, folder)).await?;
        drop(ledger);
        join_within(JOIN_TIMEOUT, move || ledger_thread.join()).await?;
        drop(heartbeat);
        drop(locks);
        Ok(finished)
    }
}

/// Locks the export, or the run's shard of it, and opens the ledger.
async fn open_state(options: &RunOptions, stop: &StopHandle) -> Result<(State, Option<Heartbeat>), RunError> {
    let Some(shard) = options.shard else {
        return Ok((ledger::open_state(&options.out, options.state_dir.as_deref())?, None));
    };
    let (out, state_dir) = (options.out.clone(), options.state_dir.clone());
    let manifest = match &options.source {
        Source::File(path) => Some(path.clone()),
        Source::Stdin => None,
    };
    // it waits while another machine may be at work on the shard
    let opening = tokio::task::spawn_blocking(move || {
        ledger::open_shard(&out, state_dir.as_deref(), shard, manifest.as_deref())
    });
    let opened = or_stopped(stop, opening).await?;
    let ShardState { state, heartbeat } =
        opened.map_err(|_| RunError::Internal("a panic, see above".to_owned()))??;
    Ok((state, Some(heartbeat)))
}

/// Removes what a first run created before its manifest was refused: files first, then the folders around them.
fn roll_back(made: &[PathBuf]) {
    for path in made {
        // best effort; a folder that holds anything else stays
        let _ = std::fs::remove_dir(path).or_else(|_| std::fs::remove_file(path));
    }
}
