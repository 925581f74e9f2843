//! What is shown and how. Read before the other settings, so that their refusals come in the right form.

use tracing_subscriber::filter::LevelFilter;

use super::{Refusal, Sources, number, table};
use crate::cli::{LogArgs, ScreenArgs};
use crate::output::log::Format;

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
    Ok((format.unwrap_or(Format::Text), level(args, sources)?))
}

/// One flag of the two on the command line outdoes both in the config file.
fn level(args: &LogArgs, sources: &Sources<'_>) -> Result<LevelFilter, Refusal> {
    let quiet = if args.verbose > 0 {
        sources.unset(&table::QUIET)
    } else {
        sources.switch(&table::QUIET, args.quiet)
    };
    if args.quiet {
        sources.unset(&table::VERBOSE);
        return Ok(LevelFilter::ERROR);
    }
    let count = args.verbose.to_string();
    let flag = (args.verbose > 0).then_some(count.as_ref());
    let verbose = sources.text(&table::VERBOSE, flag, |text| match text {
        "0" => Ok(LevelFilter::WARN),
        "1" => Ok(LevelFilter::INFO),
        "2" => Ok(LevelFilter::DEBUG),
        text if number::digits(text).is_some() => Ok(LevelFilter::TRACE),
        _ => Err("give a whole number, from 0 to 3".to_owned()),
    })?;
    if quiet && verbose.is_some_and(|level| level > LevelFilter::WARN) {
        return Err(Refusal::new("quiet and verbose", "the config file may have one of them"));
    }
    Ok(if quiet { LevelFilter::ERROR } else { verbose.unwrap_or(LevelFilter::WARN) })
}
