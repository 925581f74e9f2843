//! How a command begins (config file, log, settings) and how it answers.

pub mod doctor;
pub mod manual;
pub mod merge;
pub mod plan;
pub mod receipts;
pub mod report;
pub mod run;
pub mod status;
pub mod verify;

use std::process::ExitCode;

use clap::ArgMatches;
use tracing_subscriber::filter::LevelFilter;

use crate::output::log;
use crate::settings::{self, Environment, Refusal, Sources, table};
use crate::{exit, output};

/// Finds the config file and starts the log. A refusal is logged in the format that the user asked for, if that is
/// known; the exit code then comes beside the sources that could be read.
pub fn start<'a>(args: &'a ArgMatches, env: Environment<'a>) -> (Sources<'a>, Result<(), ExitCode>) {
    let mut warnings = Vec::new();
    let (sources, broken) = match Sources::with_config(args, env, &mut warnings) {
        Ok(sources) => (sources, None),
        Err(refusal) => (Sources::new(args, env), Some(refusal)),
    };
    match settings::log(&sources) {
        Ok((format, level)) => log::start(format, level),
        Err(refusal) => {
            log::start(log::Format::Text, LevelFilter::ERROR);
            return (sources, Err(exit::refuse(&refusal)));
        }
    }
    if let Some(refusal) = broken {
        return (sources, Err(exit::refuse(&refusal)));
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    (sources, Ok(()))
}

/// Starts the log and reads the settings of any command but `run`.
///
/// # Errors
/// The exit code, if a setting cannot be used (the refusal is logged), or if the settings were only to be shown.
pub fn begin<T>(
    args: &ArgMatches,
    read: impl FnOnce(&Sources<'_>) -> Result<T, Refusal>,
) -> Result<T, ExitCode> {
    let env = |name: &str| std::env::var_os(name);
    let (sources, began) = start(args, &env);
    began?;
    let settings = read(&sources).map_err(|refusal| exit::refuse(&refusal))?;
    if sources.is_flagged(&table::SHOW_SETTINGS) {
        return Err(answer(&settings::list(&sources), 0));
    }
    Ok(settings)
}

/// Prints the answer; `code` if that succeeds.
pub fn answer(text: &str, code: u8) -> ExitCode {
    match output::stdout(text) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            tracing::error!("the answer could not be written to standard output: {error}");
            ExitCode::from(exit::FAILURE)
        }
    }
}

/// One JSON value on several lines.
pub fn json(value: &impl serde::Serialize) -> String {
    // numbers, texts and lists of them can always be written
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
