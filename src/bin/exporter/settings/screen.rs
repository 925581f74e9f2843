//! What is shown and how. Read before the other settings, so that their refusals come in the right form.

use tracing_subscriber::filter::LevelFilter;

use super::{Refusal, Sources, table};
use crate::cli::{LogArgs, ScreenArgs};
use crate::log::Format;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// A bar on a terminal, else plain.
    #[default]
    Auto,
    /// A bar.
    Bar,
    /// A line now and then.
    Plain,
    /// Nothing.
    None,
}

/// The screen as it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Text or JSON.
    pub format: Format,
    /// What is logged.
    pub level: LevelFilter,
    /// Progress.
    pub progress: Progress,
}

impl Screen {
    /// Whether nothing but errors is shown.
    pub fn quiet(&self) -> bool {
        self.level == LevelFilter::ERROR
    }
}

/// Reads the screen's settings.
///
/// # Errors
/// The first setting that cannot be used.
pub fn screen(args: &ScreenArgs, sources: &Sources<'_>) -> Result<Screen, Refusal> {
    let (format, level) = log(&args.log, sources)?;
    let progress = sources.text(&table::PROGRESS, args.progress.as_deref(), |text| match text {
        "auto" => Ok(Progress::Auto),
        "bar" => Ok(Progress::Bar),
        "plain" => Ok(Progress::Plain),
        "none" => Ok(Progress::None),
        _ => Err("write auto, bar, plain or none".to_owned()),
    })?;
    Ok(Screen { format, level, progress: progress.unwrap_or_default() })
}

/// Reads how and how much is logged.
///
/// # Errors
/// The first setting that cannot be used.
pub fn log(args: &LogArgs, sources: &Sources<'_>) -> Result<(Format, LevelFilter), Refusal> {
    let format = sources.text(&table::LOG_FORMAT, args.log_format.as_deref(), |text| match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("write text or json".to_owned()),
    })?;
    let level = match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        (_, 2) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    Ok((format.unwrap_or(Format::Text), level))
}
