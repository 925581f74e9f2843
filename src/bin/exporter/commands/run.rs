//! `exporter run`: settings, runtime, signals, screen, the library's run, the closing words.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::ArgMatches;
use exporter::error::RunError;
use exporter::error::StopReason;
use exporter::event::{Events, Progress};
use exporter::run::Finished;
use exporter::shutdown::StopHandle;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::commands::{answer, start};
use crate::metrics::{Metrics, Plan};
use crate::screen::{self, Watch, summary};
use crate::settings::{self, Refusal, Screen, Settings, Sources, table};
use crate::{
    exit,
    output::{self, log},
    process, signals,
};

/// Does it.
pub fn run(args: &ArgMatches) -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    let (sources, began) = start(args, &env);
    let screen = began.and_then(|()| settings::screen(&sources).map_err(|refusal| exit::refused(&refusal)));
    let metrics = settings::metrics_file(&sources);
    let screen = match screen {
        Ok(screen) => screen,
        Err(code) => {
            if let Some(path) = metrics.ok().flatten().filter(|_| !sources.is_flagged(&table::SHOW_SETTINGS))
            {
                // whoever watches the file learns of this, too
                Metrics::start(path, Arc::default()).end(None, exit::USAGE);
            }
            return code;
        }
    };
    let metrics = match metrics {
        Ok(metrics) => metrics,
        Err(refusal) => return exit::refused(&refusal),
    };
    if sources.is_flagged(&table::SHOW_SETTINGS) {
        return match settings::check_all(&sources) {
            Ok(()) => answer(&settings::list(&sources), 0),
            Err(refusal) => exit::refused(&refusal),
        };
    }
    let progress = Arc::new(Progress::default());
    let metrics = metrics.map(|path| Metrics::start(path, Arc::clone(&progress)));
    let plan = metrics.as_ref().map(Metrics::plan).unwrap_or_default();
    let settings = match begin(&sources) {
        Ok(settings) => settings,
        Err(refusal) => {
            let refused = exit::refused(&refusal);
            if let Some(metrics) = metrics {
                metrics.end(None, exit::USAGE);
            }
            return refused;
        }
    };
    let place = summary::Place::new(&settings.options, settings::flags_for_failed_csv(&sources));
    let stop = StopHandle::new();
    let (runtime, result) = match process::runtime() {
        Ok(runtime) => {
            let result =
                runtime.block_on(work(settings, screen, Progressing { progress, plan }, stop.clone()));
            (Some(runtime), result)
        }
        Err(error) => (None, Err(RunError::io("starting the runtime")(error))),
    };
    let (summary, code) = match &result {
        Ok(finished) => (Some(&finished.summary), finished.exit_code),
        Err(error) => (None, exit::code(error)),
    };
    if let Some(metrics) = metrics {
        metrics.end(summary, code);
    }
    match &result {
        Ok(finished) => end(finished, &place, screen, stop.signal().is_some()),
        Err(error) => exit::say(error),
    }
    // it has listened to signals until the last word was said; a thread that waits for standard input or a dead disk
    // must not hold the program
    if let Some(runtime) = runtime {
        runtime.shutdown_background();
    }
    ExitCode::from(code)
}

/// What is watched of a run.
struct Progressing {
    progress: Arc<Progress>,
    plan: Arc<OnceLock<Plan>>,
}

/// The settings, and what a person should know of them.
fn begin(sources: &Sources<'_>) -> Result<Settings, Refusal> {
    let settings = settings::run(sources)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(config) = sources.config() {
        tracing::info!(target: log::PROGRESS, "settings from {}", config.display());
    }
    if let Some(deadline) = &settings.deadline {
        tracing::info!(target: log::PROGRESS, "nothing new is taken after {}", deadline.shown);
    }
    Ok(settings)
}

async fn work(
    settings: Settings,
    screen: Screen,
    watched: Progressing,
    stop: StopHandle,
) -> Result<Finished, RunError> {
    let over = CancellationToken::new();
    signals::listen(stop.clone(), over.clone()).map_err(RunError::io("listening to signals"))?;
    let (events, receiver) = Events::channel();
    let Progressing { progress, plan } = watched;
    let watch = Watch {
        progress: Arc::clone(&progress),
        rate: settings.options.rate,
        stop: stop.clone(),
        plan,
        over: over.clone(),
    };
    let watching = tokio::spawn(screen::watch(watch, screen::mode(screen), receiver));
    let run = exporter::run::run(settings.options, stop, events, progress);
    let result = AssertUnwindSafe(run).catch_unwind().await;
    over.cancel();
    // a screen that broke is no reason to lose the result
    let _ = watching.await;
    result.unwrap_or_else(|_| Err(RunError::Internal("a panic, see above".to_owned())))
}

fn end(finished: &Finished, place: &summary::Place, screen: Screen, signalled: bool) {
    if let Some(StopReason::Error(error)) = &finished.stopped {
        exit::say(error);
    }
    if let Some(error) = &finished.reports {
        exit::say(error);
        tracing::error!("the reports are not those of this run; once that is mended run again");
    }
    if screen.format == log::Format::Json {
        summary::log(finished);
    }
    if screen.quiet() {
        return;
    }
    let text = summary::text(finished, place);
    let said = if signalled { output::last_words(text) } else { output::stdout(&text) };
    if let Err(error) = said {
        tracing::error!("the summary could not be written to standard output: {error}");
    }
}
