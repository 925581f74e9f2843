//! The whole job: manifest → ledger → (limit) resolve → download → store → ledger → reports.
//!
//! Nothing is made before the manifest is known to be good. From then on, whatever happens, the run ends by
//! writing down how it ended and the reports of what was done.

mod finish;
mod pipeline;
mod prepare;

use std::sync::Arc;
use std::time::Duration;

use crate::admission::Admission;
use crate::error::{RunError, StopReason};
use crate::event::{Event, Events, Progress};
use crate::fetch::Fetcher;
use crate::ledger::{self, Ledger, State};
use crate::options::RunOptions;
use crate::remote::http::{Http, ProxySettings};
use crate::report::Summary;
use crate::shutdown::{Signal, StopHandle};
use crate::store::{Committer, Folder};

/// Threads have so long to end what they were given.
const PATIENCE: Duration = Duration::from_secs(10);

/// A run that was begun and has written its reports.
#[derive(Debug)]
pub struct Finished {
    /// What was done.
    pub summary: Summary,
    /// Exit code of the run, computed from the rows' states and the stop.
    pub exit_code: u8,
    /// Why it ended early, if it did.
    pub stopped: Option<StopReason>,
    /// Why the reports could not be written, if so.
    pub reports: Option<RunError>,
}

/// Does the whole job.
///
/// # Errors
/// Where the run did not begin, or where not even the ledger can be asked how it ended.
pub async fn run(
    options: RunOptions,
    stop: StopHandle,
    events: Events,
    progress: Arc<Progress>,
) -> Result<Finished, RunError> {
    let began = tokio::time::Instant::now();
    let proxy = ProxySettings::from_env();
    let remote = Http::new(&options.api, options.stall_timeout, proxy.as_ref())?;
    if let Some(proxy) = &proxy {
        let what = format!("HTTPS_PROXY is set: https requests go through the proxy {}", proxy.name());
        events.send(Event::Notice { what });
    }
    events.send(Event::Reading { manifest: options.source.path() });
    let manifest = {
        let options = options.clone();
        // standard input may be a terminal, or a pipe that never ends
        let reading = tokio::task::spawn_blocking(move || prepare::read(&options));
        unless_stopped(&stop, reading)
            .await?
            .map_err(|_| RunError::Internal("a panic, see above".to_owned()))??
    };
    if let Some(what) = manifest.warning.clone() {
        events.send(Event::Warning { line: None, what });
    }
    let state = ledger::open_state(&options.out, options.state_dir.as_deref())?;
    let State { connection, made, locks } = state;
    let (ledger, ledger_thread) = Ledger::start(connection)?;
    let loading = unless_stopped(&stop, prepare::load(&ledger, manifest, &options)).await;
    let loaded = match loading.and_then(|loaded| loaded) {
        Ok(loaded) => loaded,
        // what was read so far is taken back when the ledger is opened again
        Err(error @ RunError::Interrupted(_)) => return Err(error),
        Err(error) => {
            drop(ledger);
            ledger_thread.join()?;
            if error.is_usage() {
                prepare::take_back(&made);
            }
            return Err(error);
        }
    };
    let run = loaded.run;
    let folder = match Folder::open(&options.out, options.min_free) {
        Ok(folder) => Arc::new(folder),
        Err(error) => {
            // the error is what counts: whether it can be written down too is not
            let _ = finish::give_up(&ledger, run, &error, options.out.clone()).await;
            return Err(error);
        }
    };
    let state = ledger::state_folder(&options.out, options.state_dir.as_deref());
    for what in crate::disk::warnings(&options.out, &state).into_iter().chain(folder.warning()) {
        events.send(Event::Warning { line: None, what });
    }
    let todo = unless_aborted(&stop, prepare::work(&ledger, &folder, &events, &loaded)).await?;
    let control = Admission::new(&options, events.clone());
    let (committer, committer_thread) = Committer::start(Arc::clone(&folder), ledger.clone(), run)?;
    let fetcher = Arc::new(Fetcher::new(
        &options,
        remote,
        control,
        Arc::clone(&folder),
        committer,
        ledger.clone(),
        progress,
    ));
    match todo {
        Ok(0) => {}
        Ok(todo) => pipeline::drive(&fetcher, run, todo, &stop, began).await,
        Err(error) => fetcher.control.stop(StopReason::Error(error)),
    }
    let stopped = fetcher.control.take_reason();
    let tally = pipeline::tally(&fetcher, began);
    events.send(Event::Reporting);
    drop(fetcher);
    // what was handed over is delivered before it is counted
    ended(move || committer_thread.join()).await?;
    let finished =
        unless_aborted(&stop, finish::end(&ledger, run, stopped, tally, options.out.clone())).await?;
    drop(ledger);
    ended(move || ledger_thread.join()).await?;
    drop(locks);
    events.send(Event::End);
    finished
}

/// Nothing was fetched yet: the first signal ends it all.
async fn unless_stopped<T>(stop: &StopHandle, work: impl Future<Output = T>) -> Result<T, RunError> {
    tokio::select! {
        biased;
        () = stop.drained() => Err(interrupted(stop)),
        done = work => Ok(done),
    }
}

/// Work that a first signal does not end: it is short, and leads to the reports.
async fn unless_aborted<T>(stop: &StopHandle, work: impl Future<Output = T>) -> Result<T, RunError> {
    tokio::select! {
        biased;
        () = stop.aborted() => Err(interrupted(stop)),
        done = work => Ok(done),
    }
}

fn interrupted(stop: &StopHandle) -> RunError {
    RunError::Interrupted(stop.signal().unwrap_or(Signal::Interrupt))
}

/// Waits for a thread's end. A disk that hangs must not keep a run from telling how it ended.
async fn ended(join: impl FnOnce() -> Result<(), RunError> + Send + 'static) -> Result<(), RunError> {
    match tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(join)).await {
        Ok(Ok(result)) => result,
        // it hangs, or tasks that were dropped still hold a part of it: they end with the runtime
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}
