//! The command line of `exporter`: reads flags and environment, starts what the library does, shows how it goes,
//! and turns its end into an exit code. Whatever decides about an image is in the library.

mod cli;
mod commands;
mod exit;
mod metrics;
mod output;
mod process;
mod screen;
mod settings;
mod signals;
mod start;

use std::process::ExitCode;

use self::commands::{doctor, manual, plan, report, run, status, verify};

fn main() -> ExitCode {
    process::harden();
    let code = match cli::parse() {
        Ok(cli::Command::Run(args)) => run::run(&args),
        Ok(cli::Command::Completions(args)) => manual::completions(args.shell),
        Ok(cli::Command::Man(_)) => manual::man(),
        Ok(cli::Command::Doctor(args)) => doctor::run(&args),
        Ok(cli::Command::Plan(args)) => plan::run(&args),
        Ok(cli::Command::Verify(args)) => verify::run(&args),
        Ok(cli::Command::Report(args)) => report::report(&args),
        Ok(cli::Command::Status(args)) => status::run(&args),
        Err(code) => code,
    };
    output::flush();
    code
}
