//! `exporter run`: settings, runtime, signals, screen, the library's run, the closing words.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use exporter::error::RunError;
use exporter::event::{Events, Progress};
use exporter::report::Summary;
use exporter::run::{Finished, Stopped};
use exporter::stop::StopHandle;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::cli::RunArgs;
use crate::command::answer;
use crate::metrics::{Metrics, Plan};
use crate::settings::{self, Screen, Settings, Sources};
use crate::start::start;
use crate::ui::{self, Watch, closing};
use crate::{exit, log, out, process, signals};

/// Does it.
pub fn run(args: &RunArgs) -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    let (sources, began) = start(&env, &args.config, &args.screen.log);
    let screen = began
        .and_then(|()| settings::screen(&args.screen, &sources).map_err(|refusal| exit::refused(&refusal)));
    let metrics = settings::metrics_file(args, &sources);
    let screen = match screen {
        Ok(screen) => screen,
        Err(code) => {
            if let Some(path) = metrics.ok().flatten().filter(|_| !args.config.show_settings) {
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
    if args.config.show_settings {
        return match settings::look(args, &sources) {
            Ok(()) => answer(&settings::list(&sources), 0),
            Err(refusal) => exit::refused(&refusal),
        };
    }
    let progress = Arc::new(Progress::default());
    let metrics = metrics.map(|path| Metrics::start(path, Arc::clone(&progress)));
    let plan = metrics.as_ref().map(Metrics::plan).unwrap_or_default();
    let (summary, code) = fetch(args, &sources, screen, Progressing { progress, plan });
    if let Some(metrics) = metrics {
        metrics.end(summary.as_ref(), code);
    }
    ExitCode::from(code)
}

/// What is watched of a run.
struct Progressing {
    progress: Arc<Progress>,
    plan: Arc<OnceLock<Plan>>,
}

/// The job and its last words. Without a summary where nothing began.
fn fetch(
    args: &RunArgs,
    sources: &Sources<'_>,
    screen: Screen,
    watched: Progressing,
) -> (Option<Summary>, u8) {
    let settings = match settings::run(args, sources) {
        Ok(settings) => settings,
        Err(refusal) => {
            exit::refused(&refusal);
            return (None, exit::USAGE);
        }
    };
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(config) = sources.config() {
        tracing::info!(target: log::PROGRESS, "settings from {}", config.display());
    }
    if let Some(deadline) = &settings.deadline {
        tracing::info!(target: log::PROGRESS, "nothing new is taken after {}", deadline.shown);
    }
    let place = closing::Place::new(&settings.options, settings::for_failed(sources));
    let result = match process::runtime() {
        Ok(runtime) => {
            let result = runtime.block_on(work(settings, screen, watched));
            // a thread that waits for standard input or a dead disk must not hold the program
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(RunError::io("starting the runtime")(error)),
    };
    match result {
        Ok(finished) => {
            end(&finished, &place, screen);
            (Some(finished.summary), finished.exit_code)
        }
        Err(error) => {
            exit::failed(&error);
            (None, exit::code(&error))
        }
    }
}

async fn work(settings: Settings, screen: Screen, watched: Progressing) -> Result<Finished, RunError> {
    let stop = StopHandle::new();
    signals::listen(stop.clone()).map_err(RunError::io("listening to signals"))?;
    let (events, receiver) = Events::channel();
    let Progressing { progress, plan } = watched;
    let over = CancellationToken::new();
    let watch = Watch {
        progress: Arc::clone(&progress),
        rate: settings.options.rate,
        stop: stop.clone(),
        plan,
        over: over.clone(),
    };
    let watching = tokio::spawn(ui::watch(watch, ui::mode(screen), receiver));
    let run = exporter::run::run(settings.options, stop, events, progress);
    let result = AssertUnwindSafe(run).catch_unwind().await;
    over.cancel();
    // a screen that broke is no reason to lose the result
    let _ = watching.await;
    result.unwrap_or_else(|_| Err(RunError::Internal("a panic, see above".to_owned())))
}

fn end(finished: &Finished, place: &closing::Place, screen: Screen) {
    if let Some(Stopped::Error(error)) = &finished.stopped {
        exit::say(error);
    }
    if let Some(error) = &finished.reports {
        exit::say(error);
        tracing::error!("the reports are not those of this run; once that is mended run again");
    }
    if screen.format == log::Format::Json {
        closing::log(finished);
    }
    if !screen.quiet()
        && let Err(error) = out::stdout(&closing::text(finished, place))
    {
        tracing::error!("the summary could not be written to standard output: {error}");
    }
}
