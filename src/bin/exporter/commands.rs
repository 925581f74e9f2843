//! What all commands but `run` have in common: how they begin, and how they answer.

pub mod doctor;
pub mod manual;
pub mod plan;
pub mod report;
pub mod run;
pub mod status;
pub mod verify;

use std::process::ExitCode;

use crate::cli::{ConfigArgs, LogArgs};
use crate::settings::{self, Refusal, Sources};
use crate::start::start;
use crate::{exit, output};

/// Starts logging, and reads the settings.
///
/// # Errors
/// The exit code, where a setting cannot be used (that is said then), or where the settings were to be shown.
pub fn begin<T>(
    config: &ConfigArgs,
    lines: &LogArgs,
    read: impl FnOnce(&Sources<'_>) -> Result<T, Refusal>,
) -> Result<T, ExitCode> {
    let env = |name: &str| std::env::var_os(name);
    let (sources, began) = start(&env, config, lines);
    began?;
    let settings = read(&sources).map_err(|refusal| exit::refuse(&refusal))?;
    if config.show_settings {
        return Err(answer(&settings::list(&sources), 0));
    }
    Ok(settings)
}

/// Prints the answer; `code` where that succeeds.
pub fn answer(text: &str, code: u8) -> ExitCode {
    match output::stdout(text) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            tracing::error!("the answer could not be written to standard output: {error}");
            ExitCode::from(exit::FAILURE)
        }
    }
}

/// One JSON value, over several lines.
pub fn json(value: &impl serde::Serialize) -> String {
    // numbers, texts and lists of them are always written
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
