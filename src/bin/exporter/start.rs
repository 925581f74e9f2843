//! What a command does first: the config file, the log.

use std::process::ExitCode;

use tracing_subscriber::filter::LevelFilter;

use crate::cli::{ConfigArgs, LogArgs};
use crate::settings::{self, Environment, Sources};
use crate::{exit, output::log};

/// Finds the config file and starts the log. Whatever is refused is said in the form that was asked for, as far
/// as that is known; then there is an exit code besides what the settings come from.
pub fn start<'a>(
    env: Environment<'a>,
    config: &ConfigArgs,
    lines: &LogArgs,
) -> (Sources<'a>, Result<(), ExitCode>) {
    let mut warnings = Vec::new();
    let (sources, broken) = match Sources::with_config(env, config.config.as_deref(), &mut warnings) {
        Ok(sources) => (sources, None),
        Err(refusal) => (Sources::new(env), Some(refusal)),
    };
    match settings::log(lines, &sources) {
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
