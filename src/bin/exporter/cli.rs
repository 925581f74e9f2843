//! The words of the command line. What they mean is read in [`crate::settings`], so that a flag, a variable and
//! later a config file are read by the same rules; here stands only what clap needs to know.

mod ahead;
mod api;
mod look;
mod pace;
mod run;
mod screen;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::ahead::{DoctorArgs, PlanArgs};
pub use self::api::ApiArgs;
pub use self::look::{FolderArgs, ReportArgs, StatusArgs, VerifyArgs};
pub use self::pace::PaceArgs;
pub use self::run::{ManifestArgs, RunArgs};
pub use self::screen::{LogArgs, ScreenArgs};
use crate::settings::table;
use crate::{exit, log, out};

/// Brings a clinic's note images home, completely and provably
///
/// Reads a CSV manifest (one row an image, named by organization, note and image), asks the Max AI API for a
/// signed address of each, downloads, checks and stores it, and says for every row what became of it. A run
/// that was interrupted goes on where it stopped: give the same command again.
#[derive(Debug, Parser)]
#[command(name = "exporter", version, max_term_width = 100, arg_required_else_help = true)]
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

/// The command line, with the variables and defaults of all settings in its help.
fn described() -> clap::Command {
    Cli::command().mut_subcommands(|command| command.mut_args(describe))
}

fn describe(arg: Arg) -> Arg {
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
        let text = if log::coloured() { text.ansi().to_string() } else { text.to_string() };
        let voice = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            ""
        } else {
            "exporter: "
        };
        out::stderr_line(&format!("{voice}{}", text.trim_end()));
        return ExitCode::from(exit::USAGE);
    }
    let coloured = log::coloured() && std::io::stdout().is_terminal();
    let text = if coloured { text.ansi().to_string() } else { text.to_string() };
    if out::stdout(&text).is_err() { ExitCode::from(exit::TROUBLE) } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_contradiction_in_the_command_line() {
        described().debug_assert();
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
