//! What all commands but `run` have in common: how they begin, and how they answer.

use std::process::ExitCode;

use crate::cli::LogArgs;
use crate::settings::{self, Refusal, Sources};
use crate::{exit, log, out};

/// Starts logging, and reads the settings from flags and environment.
///
/// # Errors
/// The exit code, where a setting cannot be used: that is said then.
pub fn begin<T>(
    args: &LogArgs,
    read: impl FnOnce(&Sources<'_>) -> Result<T, Refusal>,
) -> Result<T, ExitCode> {
    let env = |name: &str| std::env::var_os(name);
    let sources = Sources::new(&env);
    match settings::log(args, &sources) {
        Ok((format, level)) => log::start(format, level),
        Err(refusal) => {
            log::start(log::Format::Text, tracing_subscriber::filter::LevelFilter::ERROR);
            return Err(exit::refused(&refusal));
        }
    }
    read(&sources).map_err(|refusal| exit::refused(&refusal))
}

/// Prints the answer; `code` where that succeeds.
pub fn answer(text: &str, code: u8) -> ExitCode {
    match out::stdout(text) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            tracing::error!("the answer could not be written to standard output: {error}");
            ExitCode::from(exit::TROUBLE)
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
