//! The program around the library: reads the command line and the settings, starts what the library does, shows its
//! progress, and turns its result into an exit code. Every decision about an image is the library's.
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "a test may take any error for an absence"))]

mod cli;
mod commands;
mod exit;
mod metrics;
mod output;
mod process;
mod screen;
mod settings;
mod signals;
mod time_zone;

use std::process::ExitCode;

use self::commands::{doctor, manual, merge, plan, report, run, status, verify};
use self::settings::table::Command;

fn main() -> ExitCode {
    process::harden();
    // without it the signals do what the system does by default
    let ending = signals::end_at_once().ok();
    let code = match cli::parse() {
        Ok((Command::Run, args)) => run::run(&args, ending),
        Ok((Command::Merge, args)) => merge::run(&args),
        Ok((Command::Plan, args)) => plan::run(&args),
        Ok((Command::Doctor, args)) => doctor::run(&args),
        Ok((Command::Status, args)) => status::run(&args),
        Ok((Command::Verify, args)) => verify::run(&args),
        Ok((Command::Report, args)) => report::report(&args),
        Ok((Command::Completions, args)) => manual::completions(&args),
        Ok((Command::Man, _)) => manual::man(),
        Err(code) => code,
    };
    output::flush();
    code
}
