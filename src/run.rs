//! The whole job: manifest → ledger → (limit) resolve → download → store → ledger → reports.
//!
//! Nothing is made before the manifest is known to be good. From then on, whatever happens, the run ends by
//! writing down how it ended and the reports of what was done.

mod end;
mod pipeline;
mod prepare;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::control::Control;
use crate::error::{ErrorCode, ItemError, RunError};
use crate::event::{Event, Events, Progress};
use crate::fetch::Fetcher;
use crate::http::{Http, ProxySettings};
use crate::ledger::{self, Ledger, RunRecord, State, sqlite_error};
use crate::options::RunOptions;
use crate::report::Summary;
use crate::stop::{Signal, StopHandle};
use crate::store::{Committer, Folder};
use crate::time;

/// Why a run ended before all rows were tried.
#[derive(Debug)]
pub enum Stopped {
    /// A signal.
    Signal(Signal),
    /// `--until` or `--max-duration`.
    Deadline,
    /// The API asks to wait beyond `--until` or `--max-duration`.
    Limited(ItemError),
    /// It could not go on.
    Error(RunError),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "stopped by {}", signal.name()),
            Self::Deadline => f.write_str("the time of --until or --max-duration was up"),
            Self::Limited(_) => {
                f.write_str("the API asks to wait beyond the time of --until or --max-duration")
            }
            Self::Error(error) => write!(f, "{error}"),
        }
    }
}

impl Stopped {
    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Error(error) => error.code(),
            Self::Limited(error) => error.code,
            Self::Signal(_) | Self::Deadline => None,
        }
    }
}

/// A run that was begun and has written its reports.
#[derive(Debug)]
pub struct Finished {
    /// What was done.
    pub summary: Summary,
    /// Exit code of the run, computed from the rows' states and the stop.
    pub exit_code: u8,
    /// Why it ended early, if it did.
    pub stopped: Option<Stopped>,
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
        let what = format!("HTTPS_PROXY is set: requests go through the proxy {}", proxy.name());
        events.send(Event::Notice { what });
    }
    events.send(Event::Reading { manifest: options.source.path() });
    let manifest = prepare::read(&options)?;
    let state = ledger::open_state(&options.out, options.state_dir.as_deref())?;
    let State { connection, fresh, lock } = state;
    let (ledger, ledger_thread) = Ledger::start(connection)?;
    let loaded = match prepare::load(&ledger, manifest, &options).await {
        Ok(loaded) => loaded,
        Err(error) => {
            drop(ledger);
            ledger_thread.join()?;
            if fresh && error.is_usage() {
                prepare::take_back(&options);
            }
            return Err(error);
        }
    };
    let folder = Arc::new(Folder::open(&options.out, options.min_free)?);
    let record = RunRecord {
        started_at: time::now(),
        manifest_sha256: loaded.sha256.to_string(),
        host: prepare::host(),
        user: prepare::user(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let run =
        ledger.ask(move |connection| ledger::begin_run(connection, &record).map_err(sqlite_error)).await?;
    let todo = prepare::work(&ledger, &folder, &events, &loaded).await;
    let control = Control::new(&options, events.clone());
    let (committer, committer_thread) = Committer::start(Arc::clone(&folder), ledger.clone(), run)?;
    let fetcher =
        Arc::new(Fetcher::new(&options, remote, control, folder, committer, ledger.clone(), progress));
    match todo {
        Ok(0) => {}
        Ok(todo) => pipeline::drive(&fetcher, run, todo, &stop, began).await,
        Err(error) => fetcher.control.stop(Stopped::Error(error)),
    }
    let stopped = fetcher.control.take_reason();
    let tally = pipeline::tally(&fetcher.progress, began);
    events.send(Event::Reporting);
    // tasks that were dropped may still hold a part of it: they end with the runtime
    drop(fetcher);
    let finished = end::end(&ledger, run, stopped, tally, options.out.clone()).await;
    drop(ledger);
    let joined =
        tokio::task::spawn_blocking(move || committer_thread.join().and_then(|()| ledger_thread.join()));
    // a disk that hangs must not keep a finished run from telling so
    if let Ok(Ok(result)) = tokio::time::timeout(Duration::from_secs(10), joined).await {
        result?;
    }
    drop(lock);
    events.send(Event::End);
    finished
}
