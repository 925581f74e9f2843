//! `exporter run`: settings, runtime, signals, screen, the library's run, the closing words.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;

use exporter::error::RunError;
use exporter::event::{Events, Progress};
use exporter::run::{Finished, Stopped};
use exporter::stop::StopHandle;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::cli::RunArgs;
use crate::settings::{self, Screen, Settings, Sources};
use crate::ui::{self, Watch, closing};
use crate::{exit, log, out, process, signals};

/// Does it.
pub fn run(args: &RunArgs) -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    let sources = Sources::new(&env);
    let screen = match settings::screen(&args.screen, &sources) {
        Ok(screen) => screen,
        Err(refusal) => {
            log::start(log::Format::Text, tracing_subscriber::filter::LevelFilter::ERROR);
            return exit::refused(&refusal);
        }
    };
    log::start(screen.format, screen.level);
    let settings = match settings::run(args, &sources) {
        Ok(settings) => settings,
        Err(refusal) => return exit::refused(&refusal),
    };
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(deadline) = &settings.deadline {
        tracing::info!(target: log::PROGRESS, "nothing new is taken after {}", deadline.shown);
    }
    let place = closing::Place::new(&settings.options);
    let runtime = match process::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&RunError::io("starting the runtime")(error)),
    };
    let result = runtime.block_on(work(settings, screen));
    // a thread that waits for standard input or a dead disk must not hold the program
    runtime.shutdown_background();
    match result {
        Ok(finished) => end(&finished, &place, screen),
        Err(error) => exit::failed(&error),
    }
}

async fn work(settings: Settings, screen: Screen) -> Result<Finished, RunError> {
    let stop = StopHandle::new();
    signals::listen(stop.clone()).map_err(RunError::io("listening to signals"))?;
    let (events, receiver) = Events::channel();
    let progress = Arc::new(Progress::default());
    let over = CancellationToken::new();
    let watch = Watch {
        progress: Arc::clone(&progress),
        rate: settings.options.rate,
        stop: stop.clone(),
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

fn end(finished: &Finished, place: &closing::Place, screen: Screen) -> ExitCode {
    if let Some(Stopped::Error(error)) = &finished.stopped {
        exit::say(error);
    }
    if let Some(error) = &finished.reports {
        exit::say(error);
        tracing::error!("the reports are not those of this run; once that is mended run again");
    }
    if !screen.quiet()
        && let Err(error) = out::stdout(&closing::text(finished, place))
    {
        tracing::error!("the summary could not be written to standard output: {error}");
    }
    ExitCode::from(finished.exit_code)
}
