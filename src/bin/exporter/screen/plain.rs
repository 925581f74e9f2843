//! Progress as a log line now and then: for journals, pipes and terminals that cannot move their cursor. In JSON logs
//! the numbers are keys.

use std::time::Duration;

use exporter::options::Rate;

use super::line::{percent, whole};
use super::state::{Phase, Sample, State};
use crate::output::{format, log};

const INTERVAL_MAX: Duration = Duration::from_mins(1);

/// When the last line was logged, and what it said.
#[derive(Debug, Default)]
pub struct Plain {
    started: Option<Duration>,
    last: Option<(Duration, Sample, String)>,
}

impl Plain {
    /// Logs the first line.
    pub fn start(&mut self, state: &State, rate: Rate, now: Duration) {
        self.started = Some(now);
        self.last = Some((now, state.now, state.doing()));
        tracing::info!(
            target: log::PROGRESS, rows = state.rows, to_fetch = state.todo, skipped = state.skipped,
            duplicates = state.duplicates, bad_rows = state.bad, "{}", opening(state, rate)
        );
    }

    /// Logs a line if one is due.
    pub fn show(&mut self, state: &State, now: Duration) {
        let (Some(started), Some((last, sample, doing))) = (self.started, &self.last) else { return };
        if state.phase == Phase::Ended {
            return;
        }
        let changed = counts(sample) != counts(&state.now) || *doing != state.doing();
        if !due(now.saturating_sub(started), now.saturating_sub(*last), changed) {
            return;
        }
        self.last = Some((now, state.now, state.doing()));
        let (rows_per_second, bytes_per_second) = state.speed().unwrap_or_default();
        tracing::info!(
            target: log::PROGRESS, rows = state.rows, done = state.done(), stored = state.now.stored,
            failed = state.failed(), received = state.now.received, retries = state.now.retries,
            api_requests = state.now.api_requests, api_429 = state.now.api_429, rows_per_second, bytes_per_second,
            seconds_left = state.time_left().map(|left| left.as_secs()), "{}", text(state)
        );
    }
}

/// The counters whose change is worth a line. Waits and images in flight change all the time.
const fn counts(sample: &Sample) -> (u64, u64, u64) {
    (sample.stored, sample.failed, sample.retries)
}

/// Every 10 s in the first minute, every 30 s up to the fifth, then every minute; if nothing has changed, every minute.
pub fn due(running: Duration, since_last: Duration, changed: bool) -> bool {
    let interval = match running.as_secs() {
        _ if !changed => INTERVAL_MAX,
        0..=60 => Duration::from_secs(10),
        61..=300 => Duration::from_secs(30),
        _ => INTERVAL_MAX,
    };
    since_last >= interval
}

/// `50,000 rows: 40,000 to fetch, 9,000 delivered before, 1,000 duplicates; at least 39 min at 1000/60s`.
fn opening(state: &State, rate: Rate) -> String {
    let mut parts =
        vec![format!("{}: {} to fetch", format::counted(state.rows, "row"), format::count(state.todo))];
    if state.skipped > 0 {
        parts.push(format!("{} delivered before", format::count(state.skipped)));
    }
    if state.duplicates > 0 {
        parts.push(format::counted(state.duplicates, "duplicate"));
    }
    if state.bad > 0 {
        parts.push(format!("{} bad", format::count(state.bad)));
    }
    let text = parts.join(", ");
    // one request per image
    match rate.shortest(state.todo) {
        Duration::ZERO => text,
        time => format!("{text}; at least {} at {rate}", format::duration(time)),
    }
}

/// `11,600 of 50,000 (23 %), 16.0 images/s, 12.0 MiB/s, 40 min left, 12 retries, 3 failed; waiting 23 s for the rate limit`.
fn text(state: &State) -> String {
    let (done, rows) = (state.done(), state.rows);
    let mut parts =
        vec![format!("{} of {} ({} %)", format::count(done), format::count(rows), percent(done, rows))];
    if let Some((rows, bytes)) = state.speed() {
        parts.push(format!("{} images/s", format::per_second(rows)));
        parts.push(format!("{}/s", format::bytes(whole(bytes))));
    }
    parts.extend(state.time_left().map(|left| format!("{} left", format::duration(left))));
    if state.now.retries > 0 {
        parts.push(format::retries(state.now.retries));
    }
    if state.failed() > 0 {
        parts.push(format!("{} failed", format::count(state.failed())));
    }
    format!("{}; {}", parts.join(", "), state.doing())
}

#[cfg(test)]
mod tests {
    use exporter::options::RATE;
    use insta::assert_snapshot;

    use super::super::state::tests::{running, started};
    use super::*;

    #[test]
    fn the_first_line_names_the_work_and_its_shortest_time() {
        assert_snapshot!(opening(&running(0), RATE), @"50,000 rows: 40,000 to fetch, 9,000 delivered before, 1,000 duplicates; at least 39 min at 1000/60s");
        assert_snapshot!(opening(&started(1, 1), RATE), @"1 row: 1 to fetch");
        assert_snapshot!(opening(&started(0, 0), RATE), @"0 rows: 0 to fetch");
    }

    #[test]
    fn a_line_names_what_is_done_how_fast_and_what_is_waited_for() {
        let mut state = running(100);
        assert_snapshot!(text(&state), @"11,600 of 50,000 (23 %), 16.0 images/s, 12.0 MiB/s, 40 min left; 32 downloading, 3 asking, 200 waiting for the allowance (up to 48 in flight)");
        (state.now.retries, state.now.failed, state.now.waiting) = (1, 3, Duration::from_secs(23));
        assert_snapshot!(text(&state), @"11,603 of 50,000 (23 %), 16.0 images/s, 12.0 MiB/s, 40 min left, 1 retry, 3 failed; waiting 23 s for the rate limit, 32 downloading");
    }

    #[test]
    fn lines_come_less_often_the_longer_the_run_takes() {
        let due =
            |running, since, changed| due(Duration::from_secs(running), Duration::from_secs(since), changed);
        assert!(!due(9, 9, true) && due(10, 10, true));
        assert!(!due(100, 29, true) && due(100, 30, true));
        assert!(!due(1000, 59, true) && due(1000, 60, true));
        assert!(!due(50, 50, false) && due(60, 60, false));
    }
}
