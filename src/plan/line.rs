//! Do more machines pay? What the allowance needs of a line, held against what was delivered before. Pure.

use crate::ledger::RunRow;
use crate::options::Rate;

/// A gigabit line, less a fifth for everything else on it: what one machine is taken to have if no run says otherwise.
const USUAL_LINE: u64 = 800_000_000;
/// A run that used this much of the allowance was not held back by its line.
const FULL_SHARE: f64 = 0.9;
/// In windows of the allowance: a shorter run says nothing about a line.
const RUN_WINDOWS_MIN: f64 = 1.0;

/// What a line must carry to use the allowance in full, and how many machines that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Bits a second.
    pub needed: u64,
    /// What the fastest run has reached; `None` if none was long enough.
    pub reached: Option<u64>,
    /// Machines with such a line.
    pub machines: u32,
}

impl Line {
    /// For images of `image_bytes` each. `runs`: those on the export so far.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    pub(super) fn of(rate: Rate, image_bytes: u64, runs: &[RunRow]) -> Self {
        let window = rate.window.as_secs_f64();
        let needed = (f64::from(rate.requests) / window * image_bytes as f64 * 8.0).round() as u64;
        let long = runs.iter().filter(|run| run.bytes > 0 && run.seconds >= RUN_WINDOWS_MIN * window);
        let speed = |run: &RunRow| (run.bytes as f64 * 8.0 / run.seconds).round() as u64;
        let is_full = |run: &RunRow| run.allowance_share.is_some_and(|share| share >= FULL_SHARE);
        let one_will_do = long.clone().any(is_full);
        let reached = long.map(speed).max();
        let machines =
            if one_will_do { 1 } else { needed.div_ceil(reached.unwrap_or(USUAL_LINE).max(1)).max(1) };
        Self { needed, reached, machines: u32::try_from(machines).unwrap_or(u32::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::RATE;

    fn run(bytes: u64, seconds: f64, share: Option<f64>) -> RunRow {
        RunRow { bytes, seconds, allowance_share: share, ..RunRow::default() }
    }

    #[test]
    fn one_machine_will_do_unless_the_line_says_otherwise() {
        let line = |bytes, runs: &[RunRow]| {
            let Line { needed, reached, machines } = Line::of(RATE, bytes, runs);
            (needed, reached, machines)
        };
        assert_eq!(line(2_000_000, &[]), (266_666_667, None, 1), "on a usual line");
        assert_eq!(line(16_000_000, &[]), (2_133_333_333, None, 3));
        // 100 Mbit/s for two minutes
        let slow = run(1_500_000_000, 120.0, Some(0.4));
        assert_eq!(line(2_000_000, std::slice::from_ref(&slow)), (266_666_667, Some(100_000_000), 3));
        let short = run(1_000, 5.0, Some(0.1));
        assert_eq!(line(2_000_000, &[short]), (266_666_667, None, 1), "too short to tell");
        let full = run(1_000_000_000, 120.0, Some(0.97));
        assert_eq!(line(2_000_000, &[slow, full]).2, 1, "the allowance was used, not the line");
    }
}
