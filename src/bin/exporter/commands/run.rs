//! `exporter run`: settings, runtime, signals, screen, the library's run, the closing summary.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::ArgMatches;
use exporter::error::{RunError, StopReason};
use exporter::event::{Events, Progress};
use exporter::report::{SameBytes, Summary};
use exporter::run::Finished;
use exporter::shutdown::StopHandle;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::commands::{answer, start};
use crate::metrics::{Metrics, Plan};
use crate::output::{self, format, log};
use crate::screen::summary::{self, SummaryContext};
use crate::screen::{self, Watch};
use crate::settings::{self, Refusal, Screen, Settings, Sources, table};
use crate::signals::{self, EndAtOnce};
use crate::{exit, process};

/// Runs the export; whatever its end, the metrics file gets the exit code of the run. `ending` ends the process at
/// a signal until the run listens to them.
pub fn run(args: &ArgMatches, ending: Option<EndAtOnce>) -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    let (sources, started) = start(args, &env);
    let screen = started.and_then(|()| settings::screen(&sources).map_err(|refusal| exit::refuse(&refusal)));
    let metrics = settings::metrics_file(&sources);
    let screen = match screen {
        Ok(screen) => screen,
        Err(code) => {
            if let Some(path) = metrics.ok().flatten().filter(|_| !sources.is_flagged(&table::SHOW_SETTINGS))
            {
                Metrics::start(path, Arc::default()).end(None, exit::USAGE, None);
            }
            return code;
        }
    };
    let metrics = match metrics {
        Ok(metrics) => metrics,
        Err(refusal) => return exit::refuse(&refusal),
    };
    if sources.is_flagged(&table::SHOW_SETTINGS) {
        return show_settings(&sources);
    }
    let progress = Arc::new(Progress::default());
    let metrics = metrics.map(|path| Metrics::start(path, Arc::clone(&progress)));
    match read_settings(&sources) {
        Ok(settings) => {
            let context = SummaryContext::new(&settings.options, settings::flags_for_failed_csv(&sources));
            export(settings, screen, progress, metrics, &context, ending)
        }
        Err(refusal) => {
            let code = exit::refuse(&refusal);
            if let Some(metrics) = metrics {
                metrics.end(None, exit::USAGE, None);
            }
            code
        }
    }
}

fn show_settings(sources: &Sources<'_>) -> ExitCode {
    match settings::check_all(sources) {
        Ok(()) => answer(&settings::list(sources), 0),
        Err(refusal) => exit::refuse(&refusal),
    }
}

/// Reads the settings, and logs what a person should know about them.
fn read_settings(sources: &Sources<'_>) -> Result<Settings, Refusal> {
    let settings = settings::run(sources)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(config) = sources.config() {
        tracing::info!(target: log::PROGRESS, "settings from {}", config.display());
    }
    if let Some(deadline) = &settings.deadline {
        tracing::info!(target: log::PROGRESS, "no new image is started after {}", deadline.shown);
    }
    Ok(settings)
}

/// The run from the first thread to the last line.
fn export(
    settings: Settings,
    screen: Screen,
    progress: Arc<Progress>,
    metrics: Option<Metrics>,
    context: &SummaryContext,
    ending: Option<EndAtOnce>,
) -> ExitCode {
    let stop = StopHandle::new();
    let exit_zero_on_deadline = settings.exit_zero_on_deadline;
    let plan = metrics.as_ref().map(Metrics::plan).unwrap_or_default();
    let (runtime, result) = match process::runtime() {
        Ok(runtime) => {
            let result = runtime.block_on(watched(settings, screen, progress, plan, stop.clone(), ending));
            (Some(runtime), result)
        }
        Err(error) => (None, Err(RunError::io("starting the runtime")(error))),
    };
    let (summary, code) = match &result {
        Ok(finished) => (Some(&finished.summary), finished.exit_code),
        Err(error) => (None, exit::code(error)),
    };
    if let Some(metrics) = metrics {
        let receipt = result.as_ref().ok().and_then(|finished| finished.receipt.as_deref());
        metrics.end(summary, code, receipt);
    }
    match &result {
        Ok(finished) => print_end(finished, context, screen, stop.signal().is_some()),
        Err(error) => exit::print(error),
    }
    // it listens to signals until the last line is written; a thread that waits for standard input or a dead disk must
    // not keep the process alive
    if let Some(runtime) = runtime {
        runtime.shutdown_background();
    }
    exit::of_run(code, exit_zero_on_deadline)
}

/// The library's run, with a screen that watches it.
async fn watched(
    settings: Settings,
    screen: Screen,
    progress: Arc<Progress>,
    plan: Arc<OnceLock<Plan>>,
    stop: StopHandle,
    ending: Option<EndAtOnce>,
) -> Result<Finished, RunError> {
    let over = CancellationToken::new();
    signals::listen(stop.clone(), over.clone()).map_err(RunError::io("listening to signals"))?;
    drop(ending);
    let (events, receiver) = Events::channel();
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
    // a screen that failed is no reason to lose the result
    let _ = watching.await;
    result.unwrap_or_else(|_| Err(RunError::Internal("a panic, see above".to_owned())))
}

/// Two images with the same bytes may be an error of the upload. The column `warning` of `report.csv` names all.
fn warn_same_bytes(summary: &Summary) {
    for SameBytes { line, earlier } in &summary.same_bytes {
        tracing::warn!(line, "same bytes as line {earlier}");
    }
    let more = summary.same_content.saturating_sub(summary.same_bytes.len() as u64);
    if more > 0 {
        let rows = format::counted(more, "more row");
        tracing::warn!("the same bytes as an earlier row: {rows}, see the column warning of report.csv");
    }
}

fn print_end(finished: &Finished, context: &SummaryContext, screen: Screen, signalled: bool) {
    if let Some(StopReason::Error(error)) = &finished.stopped {
        exit::print(error);
    }
    if let Some(error) = &finished.reports {
        exit::print(error);
        tracing::error!(
            "not all reports in the export folder are those of this run; mend that and write them again with \
             `exporter report`"
        );
    }
    warn_same_bytes(&finished.summary);
    if screen.format == log::Format::Json {
        summary::log(finished);
    }
    if screen.quiet() {
        return;
    }
    let text = summary::text(finished, context);
    let written = if signalled { output::stdout_with_timeout(text) } else { output::stdout(&text) };
    if let Err(error) = written {
        tracing::error!("the summary could not be written to standard output: {error}");
    }
}
