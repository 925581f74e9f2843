//! The words of the command line. What they mean is read in [`crate::settings`], so that a flag, a variable and
//! a config file are read by the same rules; here stands only what clap needs to know.

mod ahead;
mod api;
mod commands;
mod config;
mod manual;
mod pace;
mod run;
mod screen;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::Str;
use clap::error::ErrorKind;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint};
use tracing_subscriber::filter::LevelFilter;

pub use self::ahead::{DoctorArgs, PlanArgs};
pub use self::api::ApiArgs;
pub use self::commands::{FolderArgs, ReportArgs, StatusArgs, VerifyArgs};
pub use self::config::ConfigArgs;
pub use self::manual::{CompletionsArgs, ManArgs};
pub use self::pace::PaceArgs;
pub use self::run::{ManifestArgs, RunArgs};
pub use self::screen::{LogArgs, ScreenArgs};
use crate::settings::table;
use crate::{
    exit,
    output::{self, log, redact},
};

/// Brings a clinic's note images home, completely and provably
///
/// Reads a CSV manifest (one row an image, named by organization, note and image), asks the Max AI API for a
/// signed address of each, downloads, checks and stores it, and says for every row what became of it. A run
/// that was interrupted goes on where it stopped: give the same command again.
#[derive(Debug, Parser)]
#[command(name = "exporter", version, max_term_width = 100, arg_required_else_help = true)]
#[command(subcommand_value_name = "COMMAND")]
#[command(after_help = "Example: exporter run manifest.csv --api-key-file key.txt")]
#[command(after_long_help = "\
Example:
  exporter run manifest.csv --api-key-file key.txt -o export

Exit codes:
  0    every row is delivered
  1    the run had to stop; doctor: there is a problem
  2    wrong usage, settings or manifest: nothing was attempted
  3    at least one row failed; verify: something is missing, changed or foreign
  4    stopped at --until or --max-duration
  130  stopped by Ctrl-C (143: SIGTERM, 129: SIGHUP)")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Run(Box<RunArgs>),
    Completions(CompletionsArgs),
    Man(ManArgs),
    Doctor(Box<DoctorArgs>),
    Plan(Box<PlanArgs>),
    Verify(VerifyArgs),
    Report(ReportArgs),
    Status(StatusArgs),
}

/// Reads the command line.
///
/// # Errors
/// The exit code, where there is nothing more to do: help was asked for, or the usage is wrong.
pub fn parse() -> Result<Command, ExitCode> {
    let read = described().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    read.map(|cli| cli.command).map_err(|error| answer(&error))
}

/// The command line, with the variables and defaults of all settings in its help, and what a shell can complete.
pub fn described() -> clap::Command {
    Cli::command().mut_subcommands(|command| command.mut_args(describe))
}

fn describe(arg: Arg) -> Arg {
    let hint = match arg.get_value_names().and_then(|names| names.first()).map(Str::as_str) {
        Some("FILE") => ValueHint::FilePath,
        Some("DIR") => ValueHint::DirPath,
        _ => arg.get_value_hint(),
    };
    let arg = arg.value_hint(hint);
    let Some(setting) = arg.get_long().and_then(table::find) else { return arg };
    let mut notes = Vec::new();
    notes.extend(setting.env.map(|name| format!("[env: {name}]")));
    notes.extend(setting.default.map(|value| format!("[default: {value}]")));
    if notes.is_empty() {
        return arg;
    }
    let notes = notes.join(" ");
    let short = arg.get_help().map(|help| format!("{help} {notes}"));
    let long = arg.get_long_help().or_else(|| arg.get_help()).map(|help| format!("{help}\n\n{notes}"));
    arg.help(short.unwrap_or_default()).long_help(long.unwrap_or_default())
}

/// Prints help, version or what is wrong.
fn answer(error: &clap::Error) -> ExitCode {
    let text = error.render();
    if error.use_stderr() {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let json = wants_json(&arguments, table::LOG_FORMAT.env.and_then(std::env::var_os));
        let coloured = !json && output::is_coloured(&std::io::stderr());
        let text = if coloured { text.ansi().to_string() } else { text.to_string() };
        let text = without_keys(text.trim_end(), &arguments);
        if json {
            log::start(log::Format::Json, LevelFilter::ERROR);
            tracing::error!("{}", text.trim_start_matches("error: "));
        } else if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            output::stderr_line(&text);
        } else {
            output::stderr_line(&format!("exporter: {text}"));
        }
        return ExitCode::from(exit::USAGE);
    }
    let coloured = output::is_coloured(&std::io::stdout());
    let text = if coloured { text.ansi().to_string() } else { text.to_string() };
    if output::stdout(&text).is_err() { ExitCode::from(exit::FAILURE) } else { ExitCode::SUCCESS }
}

/// What might be an API key (`max_<environment>_ak_<secret>`) is not shown, wherever on the command line it is.
fn without_keys(text: &str, arguments: &[OsString]) -> String {
    let arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    let keys = arguments.filter(|argument| redact::holds_key(argument));
    keys.fold(text.to_owned(), |text, key| text.replace(&*key, "(not shown)"))
}

/// Whether log lines would be JSON, as far as a command line that cannot be read tells.
fn wants_json(arguments: &[OsString], variable: Option<OsString>) -> bool {
    let flag = format!("--{}", table::LOG_FORMAT.flag);
    let joined = OsString::from(format!("{flag}=json"));
    let apart = arguments.windows(2).any(|pair| pair[0] == *flag && pair[1] == "json");
    let flagged = arguments.iter().any(|argument| argument.to_string_lossy().starts_with(&flag));
    apart || arguments.contains(&joined) || !flagged && variable.is_some_and(|format| format == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_contradiction_in_the_command_line() {
        described().debug_assert();
    }

    #[test]
    fn wrong_usage_is_said_in_json_where_that_is_asked_for() {
        let wants = |line: &str, variable: Option<&str>| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            wants_json(&arguments, variable.map(OsString::from))
        };
        assert!(wants("exporter run --log-format json --nope", None));
        assert!(wants("exporter run --log-format=json", Some("text")));
        assert!(wants("exporter run --nope", Some("json")));
        assert!(!wants("exporter run --log-format text", Some("json")));
        assert!(!wants("exporter run json", None));
    }

    #[test]
    fn every_setting_of_the_table_is_a_flag_of_a_command() {
        let command = described();
        for setting in table::ALL {
            let known = command
                .get_subcommands()
                .any(|command| command.get_arguments().any(|arg| arg.get_long() == Some(setting.flag)));
            assert!(known, "{}", setting.flag);
        }
    }
}
