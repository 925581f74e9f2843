//! Exit codes, and how every error is printed: `exporter: error: ` what happened, why, and what to do next.

use std::error::Error;
use std::process::ExitCode;

use exporter::error::{RunError, chain};
use exporter::manifest::{BadRow, FIRST_BAD_ROWS};

use crate::output::{format, log};

/// Wrong usage, settings or manifest: nothing was attempted.
pub const USAGE: u8 = 2;
/// The run had to stop.
pub const FAILURE: u8 = 1;
/// `verify` found something missing, changed, unreadable or foreign.
pub const FINDINGS: u8 = 3;
/// `--until` or `--max-duration` ended the run with rows left, none of them failed.
const DEADLINE: u8 = 4;

/// Prints why nothing was attempted.
pub fn refuse(error: &dyn Error) -> ExitCode {
    tracing::error!("{}", chain(error));
    ExitCode::from(USAGE)
}

/// Prints why the command did not start, or did not end as it should.
pub fn failed(error: &RunError) -> ExitCode {
    print(error);
    ExitCode::from(code(error))
}

/// What the process of a run exits with; reports, log and metrics have the run's own code.
pub fn of_run(code: u8, exit_zero_on_deadline: bool) -> ExitCode {
    if exit_zero_on_deadline && code == DEADLINE { ExitCode::SUCCESS } else { ExitCode::from(code) }
}

/// The exit code of a command that did not start, or did not end as it should.
pub fn code(error: &RunError) -> u8 {
    match error {
        RunError::Interrupted(signal) => signal.exit_code(),
        _ if error.is_usage() => USAGE,
        _ => FAILURE,
    }
}

/// Prints an error, and below it the first bad rows if it is about them.
pub fn print(error: &RunError) {
    tracing::error!("{}", chain(error));
    if let RunError::BadRows { bad, first, .. } = error {
        for (line, reason) in first_rows(first) {
            tracing::error!(target: log::DETAIL, line, "{reason}");
        }
        if let Some(more) = remaining(*bad, first) {
            tracing::error!(target: log::DETAIL, "{more}");
        }
    }
}

/// Warns of bad rows that `--on-bad-row skip` leaves out. `what`: what they do, after their number.
pub fn warn_bad_rows(bad: u64, first: &[BadRow], what: &str) {
    tracing::warn!("{} {what}", format::counted(bad, "bad row"));
    for (line, reason) in first_rows(first) {
        tracing::warn!(target: log::DETAIL, line, "{reason}");
    }
    if let Some(more) = remaining(bad, first) {
        tracing::warn!(target: log::DETAIL, "{more}");
    }
}

fn first_rows(first: &[BadRow]) -> impl Iterator<Item = (u64, &str)> {
    first.iter().take(FIRST_BAD_ROWS).map(|row| (row.line, &*row.reason))
}

fn remaining(bad: u64, first: &[BadRow]) -> Option<String> {
    let shown = first.len().min(FIRST_BAD_ROWS) as u64;
    let remaining = bad.saturating_sub(shown);
    (remaining > 0).then(|| format!("and {} more", format::count(remaining)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_deadline_becomes_0_and_only_if_asked() {
        // `ExitCode` has no equality
        let same = |left: ExitCode, right: ExitCode| format!("{left:?}") == format!("{right:?}");
        for code in [0, USAGE, FAILURE, FINDINGS, DEADLINE, 129, 130, 143] {
            let expected = if code == DEADLINE { 0 } else { code };
            assert!(same(of_run(code, true), ExitCode::from(expected)), "{code}");
            assert!(same(of_run(code, false), ExitCode::from(code)), "{code}");
        }
    }
}
