//! What is shown, and how. Read before the other settings, so that a refusal of theirs is written in the right form.

use tracing_subscriber::filter::LevelFilter;

use super::{Refusal, Sources, table, values};
use crate::output::log::Format;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// A bar on a terminal, else plain lines.
    #[default]
    Auto,
    Bar,
    /// A line from time to time.
    Plain,
    None,
}

/// What the user wants on standard error.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub format: Format,
    pub level: LevelFilter,
    pub progress: Progress,
}

impl Screen {
    /// Whether nothing but errors is shown.
    pub fn quiet(&self) -> bool {
        self.level == LevelFilter::ERROR
    }
}

/// Reads the settings of the screen.
///
/// # Errors
/// The first setting that cannot be used.
pub fn screen(sources: &Sources<'_>) -> Result<Screen, Refusal> {
    let (format, level) = log(sources)?;
    let progress = sources.text(&table::PROGRESS, |text| match text {
        "auto" => Ok(Progress::Auto),
        "bar" => Ok(Progress::Bar),
        "plain" => Ok(Progress::Plain),
        "none" => Ok(Progress::None),
        _ => Err("write auto, bar, plain or none".to_owned()),
    })?;
    Ok(Screen { format, level, progress: progress.unwrap_or_default() })
}

/// Reads the format of the log and its level.
///
/// # Errors
/// The first setting that cannot be used.
pub fn log(sources: &Sources<'_>) -> Result<(Format, LevelFilter), Refusal> {
    let format = sources.text(&table::LOG_FORMAT, |text| match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("write text or json".to_owned()),
    })?;
    Ok((format.unwrap_or(Format::Text), level(sources)?))
}

/// The level from `quiet` and `verbose`. Either flag overrides both settings of the config file.
fn level(sources: &Sources<'_>) -> Result<LevelFilter, Refusal> {
    if sources.is_flagged(&table::VERBOSE) {
        sources.overridden(&table::QUIET);
        return Ok(verbosity(sources)?.unwrap_or(LevelFilter::WARN));
    }
    let quiet = sources.switch(&table::QUIET);
    if sources.is_flagged(&table::QUIET) {
        sources.overridden(&table::VERBOSE);
        return Ok(LevelFilter::ERROR);
    }
    match verbosity(sources)? {
        Some(level) if quiet && level > LevelFilter::WARN => {
            Err(Refusal::new("quiet and verbose", "the config file may have one of them"))
        }
        _ if quiet => Ok(LevelFilter::ERROR),
        level => Ok(level.unwrap_or(LevelFilter::WARN)),
    }
}

fn verbosity(sources: &Sources<'_>) -> Result<Option<LevelFilter>, Refusal> {
    sources.text(&table::VERBOSE, |text| match text {
        "0" => Ok(LevelFilter::WARN),
        "1" => Ok(LevelFilter::INFO),
        "2" => Ok(LevelFilter::DEBUG),
        text if values::digits(text).is_some() => Ok(LevelFilter::TRACE),
        _ => Err("give a whole number, from 0 to 3".to_owned()),
    })
}
