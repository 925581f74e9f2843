//! The command line of `exporter`: reads flags and environment, starts the library's run, shows how it goes,
//! and turns its end into an exit code. Whatever decides about an image is in the library.

mod cli;
mod exit;
mod human;
mod log;
mod manual;
mod metrics;
mod out;
mod process;
mod run;
mod settings;
mod signals;
mod start;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    process::harden();
    match cli::parse() {
        Ok(cli::Command::Run(args)) => run::run(&args),
        Ok(cli::Command::Completions(args)) => manual::completions(args.shell),
        Ok(cli::Command::Man(_)) => manual::man(),
        Err(code) => code,
    }
}
