//! What a command does first: the config file, the screen's settings, the log.

use std::ffi::OsStr;
use std::process::ExitCode;

use tracing_subscriber::filter::LevelFilter;

use crate::cli::{ConfigArgs, ScreenArgs};
use crate::settings::{self, Environment, Screen, Sources};
use crate::{exit, log};

/// Finds the config file and starts the log. Whatever is refused is said in the form that was asked for, as far
/// as that is known.
///
/// # Errors
/// The exit code; why has been said.
pub fn start<'a>(
    env: Environment<'a>,
    config: &ConfigArgs,
    screen: &ScreenArgs,
) -> Result<(Sources<'a>, Screen), ExitCode> {
    let mut warnings = Vec::new();
    let named: Option<&OsStr> = config.config.as_deref();
    let (sources, broken) = match Sources::with_config(env, named, &mut warnings) {
        Ok(sources) => (sources, None),
        Err(refusal) => (Sources::new(env), Some(refusal)),
    };
    let screen = settings::screen(screen, &sources).map_err(|refusal| {
        log::start(log::Format::Text, LevelFilter::ERROR);
        exit::refused(&refusal)
    })?;
    log::start(screen.format, screen.level);
    if let Some(refusal) = broken {
        return Err(exit::refused(&refusal));
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok((sources, screen))
}
