//! Exit codes, and the one voice of all errors: `exporter: error: ` what happened, why, and what to do next.

use std::error::Error;
use std::process::ExitCode;

use exporter::error::{RunError, chain};

use crate::{human, log};

/// Wrong usage, settings or manifest: nothing was attempted.
pub const USAGE: u8 = 2;
/// The run had to stop.
pub const TROUBLE: u8 = 1;
/// So many bad rows are named, the others are counted.
const BAD_ROWS: usize = 20;

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
        let named = &first[..first.len().min(BAD_ROWS)];
        for row in named {
            tracing::error!(target: log::DETAIL, line = row.line, "{}", row.reason);
        }
        let rest = bad.saturating_sub(u64::try_from(named.len()).unwrap_or(u64::MAX));
        if rest > 0 {
            tracing::error!(target: log::DETAIL, "and {} more", human::count(rest));
        }
    }
}
