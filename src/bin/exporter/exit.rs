//! Exit codes, and the one voice of all errors: `exporter: error: ` what happened, why, and what to do next.

use std::error::Error;
use std::process::ExitCode;

use exporter::error::{RunError, chain};
use exporter::manifest::{BadRow, FIRST_BAD_ROWS};

use crate::output::{format, log};

/// Wrong usage, settings or manifest: nothing was attempted.
pub const USAGE: u8 = 2;
/// The run had to stop.
pub const TROUBLE: u8 = 1;
/// `verify` found something missing, changed or foreign.
pub const FOUND: u8 = 3;

/// Says why nothing was attempted.
pub fn refused(error: &dyn Error) -> ExitCode {
    tracing::error!("{}", chain(error));
    ExitCode::from(USAGE)
}

/// Says why the run did not begin, or could not end as it should.
pub fn failed(error: &RunError) -> ExitCode {
    say(error);
    ExitCode::from(code(error))
}

/// The exit code of a run that did not begin, or could not end as it should.
pub fn code(error: &RunError) -> u8 {
    match error {
        RunError::Interrupted(signal) => signal.exit_code(),
        _ if error.is_usage() => USAGE,
        _ => TROUBLE,
    }
}

/// Says what went wrong, with the bad rows where it is about them.
pub fn say(error: &RunError) {
    tracing::error!("{}", chain(error));
    if let RunError::BadRows { bad, first, .. } = error {
        for (line, reason) in named(first) {
            tracing::error!(target: log::DETAIL, line, "{reason}");
        }
        if let Some(more) = rest(*bad, first) {
            tracing::error!(target: log::DETAIL, "{more}");
        }
    }
}

/// Names bad rows that are left out.
pub fn warn_bad_rows(bad: u64, first: &[BadRow]) {
    tracing::warn!("{} would count as failed", format::counted(bad, "bad row"));
    for (line, reason) in named(first) {
        tracing::warn!(target: log::DETAIL, line, "{reason}");
    }
    if let Some(more) = rest(bad, first) {
        tracing::warn!(target: log::DETAIL, "{more}");
    }
}

fn named(first: &[BadRow]) -> impl Iterator<Item = (u64, &str)> {
    first.iter().take(FIRST_BAD_ROWS).map(|row| (row.line, &*row.reason))
}

fn rest(bad: u64, first: &[BadRow]) -> Option<String> {
    let rest = bad.saturating_sub(first.len().min(FIRST_BAD_ROWS) as u64);
    (rest > 0).then(|| format!("and {} more", format::count(rest)))
}
