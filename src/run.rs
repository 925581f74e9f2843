//! The whole job: read the manifest, open the export, sweep the folder, drive the rows, finish.
//!
//! Nothing is created before the manifest is known to be good. From then on, whatever happens, the run ends by
//! recording how it ended and by writing the reports of what was done.

pub(crate) mod checked;
mod export;
mod finish;
mod pipeline;
mod prepare;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::export::Export;
use crate::error::{RunError, StopReason};
use crate::event::{Event, Events, Progress};
use crate::options::RunOptions;
use crate::remote::http::{Http, ProxySettings};
use crate::report::Summary;
use crate::shutdown::{Signal, StopHandle};

/// How long a thread may take to end what it was given.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A run that has written its reports.
#[derive(Debug)]
pub struct Finished {
    /// Counts of the rows, from the ledger.
    pub summary: Summary,
    /// Exit code of the run, computed from the rows' states and the stop.
    pub exit_code: u8,
    /// Why it ended early, if it did.
    pub stopped: Option<StopReason>,
    /// Why the reports could not be written, if so.
    pub reports: Option<RunError>,
    /// SHA-256 of the run's line in `receipts.jsonl`, in hex, if it has one.
    pub receipt: Option<String>,
}

/// Runs one export to its end.
///
/// # Errors
/// If the run did not start, or if the ledger cannot even say how it ended.
pub async fn run(
    options: RunOptions,
    stop: StopHandle,
    events: Events,
    progress: Arc<Progress>,
) -> Result<Finished, RunError> {
    let started = Instant::now();
    let remote = connect(&options, &events)?;
    let manifest = prepare::read(&options, &stop, &events).await?;
    let mut export = Export::open(&options, manifest, &stop).await?;
    export.warn(&options, &events);
    let todo = or_aborted(&stop, export.sweep(&events)).await?;
    let (fetcher, committing) = export.start(&options, remote, &events, progress)?;
    export.watch_heartbeat(&fetcher);
    match todo {
        Ok(0) => {}
        Ok(todo) => pipeline::drive(&fetcher, export.run(), todo, &stop, started).await,
        Err(error) => fetcher.admission.drain.stop(StopReason::Error(error)),
    }
    let stopped = fetcher.admission.drain.take_reason();
    let counters = pipeline::counters(&fetcher, started);
    events.send(Event::Reporting);
    drop(fetcher);
    // what was handed to the committing thread is delivered before it is counted
    join_within(JOIN_TIMEOUT, move || committing.join()).await?;
    let finished = export.finish(stopped, counters, &stop).await?;
    events.send(Event::End);
    finished
}

/// The network, and a word about a proxy that stands before it.
fn connect(options: &RunOptions, events: &Events) -> Result<Http, RunError> {
    let proxy = ProxySettings::from_env();
    let remote = Http::new(&options.api, options.stall_timeout, proxy.as_ref())?;
    if let Some(proxy) = &proxy {
        let what = format!("HTTPS_PROXY is set: https requests go through the proxy {}", proxy.name());
        events.send(Event::Notice { what });
    }
    Ok(remote)
}

/// Waits for `work` while nothing has been fetched yet: the first signal ends the run.
async fn or_stopped<T>(stop: &StopHandle, work: impl Future<Output = T>) -> Result<T, RunError> {
    tokio::select! {
        biased;
        () = stop.drained() => Err(interrupted(stop)),
        done = work => Ok(done),
    }
}

/// Waits for `work` that only a second signal ends: it is short, and leads to the reports.
async fn or_aborted<T>(stop: &StopHandle, work: impl Future<Output = T>) -> Result<T, RunError> {
    tokio::select! {
        biased;
        () = stop.aborted() => Err(interrupted(stop)),
        done = work => Ok(done),
    }
}

fn interrupted(stop: &StopHandle) -> RunError {
    RunError::Interrupted(stop.signal().unwrap_or(Signal::Interrupt))
}

/// Joins a thread, or leaves it behind after `timeout`: a disk that hangs must not keep a run from reporting how it
/// ended.
async fn join_within(
    timeout: Duration,
    join: impl FnOnce() -> Result<(), RunError> + Send + 'static,
) -> Result<(), RunError> {
    match tokio::time::timeout(timeout, tokio::task::spawn_blocking(join)).await {
        Ok(Ok(result)) => result,
        // it hangs, or tasks that were dropped still hold a part of it: it ends with the runtime
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}
