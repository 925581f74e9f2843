//! `exporter doctor`: one line per check.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::ArgMatches;
use exporter::doctor::{Check, Diagnosis, Outcome, doctor};
use exporter::error::RunError;

use crate::output::redact;
use crate::{cli, commands, exit, process, settings};

/// Makes the checks and prints them.
pub fn run(args: &ArgMatches) -> ExitCode {
    let (options, warnings) = match commands::begin(args, settings::doctor) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match process::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return exit::failed(&RunError::io("starting the runtime")(error)),
    };
    let mut diagnosis = runtime.block_on(doctor(&options));
    for check in &mut diagnosis.checks {
        check.found = redact::without_keys(&check.found).into_owned();
    }
    // a name lookup that hangs must not keep the process alive
    runtime.shutdown_background();
    let text = if args.get_flag(cli::JSON) { commands::json(&diagnosis) } else { text(&diagnosis) };
    commands::answer(&text, if diagnosis.ok { 0 } else { exit::FAILURE })
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    for check in &diagnosis.checks {
        let Check { name, result, found, remedy } = check;
        let word = match result {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Problem => "problem",
        };
        let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
        let _ = writeln!(text, "{word:<9}{name:<14}{}", redact::safe(&format!("{found}{remedy}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_one_line_with_its_remedy() {
        let check = |name, result, found: &str, remedy: &str| Check {
            name,
            result,
            found: found.to_owned(),
            remedy: remedy.to_owned(),
        };
        let diagnosis = Diagnosis {
            ok: false,
            checks: vec![
                check("key", Outcome::Ok, "accepted", ""),
                check("clock", Outcome::Warning, "600 s behind the API's", "set it"),
                check("long_names", Outcome::Problem, "no\nway", "choose another"),
            ],
        };
        insta::assert_snapshot!(text(&diagnosis), @r"
        ok       key           accepted
        warning  clock         600 s behind the API's; set it
        problem  long_names    no\u{a}way; choose another
        ");
    }
}
