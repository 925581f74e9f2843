//! Exit codes, and the one voice of all errors: `exporter: error: ` what happened, why, and what to do next.

use std::error::Error;
use std::process::ExitCode;

use exporter::error::RunError;

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
    ExitCode::from(if error.is_usage() { USAGE } else { TROUBLE })
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

/// An error and its causes, joined by `": "`. A cause that only repeats what was said is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let io = std::io::Error::other("disk on fire");
        let error = RunError::io("writing report.csv")(io);
        assert_eq!(chain(&error), "writing report.csv: disk on fire");
        let twice = RunError::io("it failed: disk on fire")(std::io::Error::other("disk on fire"));
        assert_eq!(chain(&twice), "it failed: disk on fire");
    }
}
