//! The exit code of a run that started, computed from its counts.
//!
//! Pure. If several codes apply, the first one below wins. Code 2 (nothing was attempted) is not among them: such a
//! run has no counts.

use super::Counts;
use crate::error::StopReason;

/// `1` stopped by an error, or rows untried for no known reason; `130`, `143`, `129` stopped by a signal with
/// rows untried; `3` a row failed; `4` stopped at the deadline with rows untried; `0` every row is delivered or
/// a duplicate.
#[must_use]
pub const fn exit_code(counts: &Counts, stopped: Option<&StopReason>) -> u8 {
    let (untried, failed) = (counts.untried > 0, counts.failed > 0);
    match stopped {
        Some(StopReason::Error(_)) => 1,
        Some(StopReason::Signal(signal)) if untried => signal.exit_code(),
        // should not happen; but an undelivered row must not count as success
        None if untried => 1,
        _ if failed => 3,
        Some(StopReason::Deadline | StopReason::Limited(_)) if untried => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RunError;
    use crate::shutdown::Signal;

    type Stop = fn() -> Option<StopReason>;

    #[test]
    fn the_first_code_that_applies_wins() {
        let none = || None;
        let error = || Some(StopReason::Error(RunError::Internal(String::new())));
        let interrupt = || Some(StopReason::Signal(Signal::Interrupt));
        let terminate = || Some(StopReason::Signal(Signal::Terminate));
        let hangup = || Some(StopReason::Signal(Signal::Hangup));
        let deadline = || Some(StopReason::Deadline);
        // for each reason to stop: all delivered, failed, untried, failed and untried
        let table: [(&str, Stop, [u8; 4]); 6] = [
            ("none", none, [0, 3, 1, 1]),
            ("error", error, [1, 1, 1, 1]),
            ("interrupt", interrupt, [0, 3, 130, 130]),
            ("terminate", terminate, [0, 3, 143, 143]),
            ("hangup", hangup, [0, 3, 129, 129]),
            ("deadline", deadline, [0, 3, 4, 3]),
        ];
        for (name, stopped, codes) in table {
            for ((failed, untried), code) in [(0, 0), (2, 0), (0, 2), (2, 2)].into_iter().zip(codes) {
                let done = Counts { stored: 1, skipped: 1, duplicate: 1, ..Counts::default() };
                let counts = Counts { rows: 3 + failed + untried, failed, untried, ..done };
                let got = exit_code(&counts, stopped().as_ref());
                assert_eq!(got, code, "{name}, {failed} failed, {untried} untried");
            }
        }
    }

    #[test]
    fn a_manifest_without_rows_is_a_success() {
        assert_eq!(exit_code(&Counts::default(), None), 0);
    }
}
