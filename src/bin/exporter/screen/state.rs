//! What the screen knows: the run's phase from its events, its numbers from a sample of the counters, and its speed
//! from the samples of the last minute. Pure: time comes in as a parameter.

use std::collections::VecDeque;
use std::time::Duration;

use exporter::event::{Event, Progress};
use exporter::ledger::Pace;

use crate::output::{format, redact};

/// The speed is an average over one window of the API's allowance, so that a burst and the wait after it even out.
const SPEED_WINDOW: Duration = Duration::from_mins(1);
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// A speed over less time than this is a guess.
const SPEED_TIME_MIN: Duration = Duration::from_secs(3);

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub stored: u64,
    pub failed: u64,
    pub received: u64,
    pub pace: Pace,
    pub api_requests: u64,
    pub api_429: u64,
    pub retries: u64,
    pub waiting: Duration,
}

impl Sample {
    /// Reads the counters.
    pub fn of(progress: &Progress) -> Self {
        Self {
            stored: Progress::get(&progress.stored),
            failed: Progress::get(&progress.failed),
            received: Progress::get(&progress.received),
            pace: Pace::of(progress),
            api_requests: Progress::get(&progress.api_requests),
            api_429: Progress::get(&progress.api_429),
            retries: Progress::get(&progress.retries),
            waiting: Duration::from_millis(Progress::get(&progress.waiting_ms)),
        }
    }
}

/// What the run is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Starting,
    Reading(String),
    Checking,
    Fetching,
    Reporting,
    Ended,
}

/// What the screen knows.
#[derive(Debug, Default)]
pub struct State {
    pub phase: Phase,
    pub rows: u64,
    pub bad: u64,
    pub duplicates: u64,
    pub skipped: u64,
    pub todo: u64,
    /// Why no new image is attempted.
    pub outage: Option<String>,
    /// No new image is started.
    pub draining: bool,
    pub now: Sample,
    samples: VecDeque<(Duration, Sample)>,
}

impl State {
    /// Applies an event. `now` is the time since the screen began.
    pub fn apply(&mut self, event: Event, now: Duration) {
        match event {
            Event::Reading { manifest } => {
                let manifest = redact::safe(&manifest.to_string_lossy());
                self.phase = Phase::Reading(redact::without_keys(&manifest).into_owned());
            }
            Event::Checking => self.phase = Phase::Checking,
            Event::Begin { rows, bad, duplicates, skipped, todo, .. } => {
                (self.rows, self.bad, self.duplicates) = (rows, bad, duplicates);
                (self.skipped, self.todo) = (skipped, todo);
                self.phase = Phase::Fetching;
                self.samples.clear();
                self.samples.push_back((now, self.now));
            }
            Event::Outage { why } => self.outage = Some(redact::safe(&why)),
            Event::Recovered { .. } => self.outage = None,
            Event::Draining { .. } => self.draining = true,
            Event::Reporting => self.phase = Phase::Reporting,
            Event::End => self.phase = Phase::Ended,
            _ => {}
        }
    }

    /// Accepts the counters as they are now.
    pub fn sample(&mut self, now: Duration, sample: Sample) {
        self.now = sample;
        if self.samples.back().is_some_and(|(last, _)| now >= *last + SAMPLE_INTERVAL) {
            self.samples.push_back((now, sample));
        }
        while self.samples.len() > 2 && self.samples[1].0 + SPEED_WINDOW <= now {
            self.samples.pop_front();
        }
    }

    /// Rows with a final state.
    pub fn done(&self) -> u64 {
        (self.skipped + self.duplicates + self.bad + self.now.stored + self.now.failed).min(self.rows)
    }

    /// Failed rows, bad rows included.
    pub fn failed(&self) -> u64 {
        self.bad + self.now.failed
    }

    /// Rows and bytes a second over the last minute; `None` while that is a guess.
    pub fn speed(&self) -> Option<(f64, f64)> {
        let ((begin, first), (end, last)) = (self.samples.front()?, self.samples.back()?);
        let time = end.saturating_sub(*begin);
        if time < SPEED_TIME_MIN {
            return None;
        }
        let rate = |from: u64, to: u64| format::approximate(to.saturating_sub(from)) / time.as_secs_f64();
        let rows = rate(first.stored + first.failed, last.stored + last.failed);
        Some((rows, rate(first.received, last.received)))
    }

    /// Time until all rows are done at that speed; `None` if none are being finished.
    pub fn time_left(&self) -> Option<Duration> {
        let (rows, _) = self.speed()?;
        let rows_left = self.todo.saturating_sub(self.now.stored + self.now.failed);
        (rows > 0.0)
            .then(|| Duration::try_from_secs_f64((format::approximate(rows_left) / rows).round()).ok())?
    }

    /// What the run is doing or waiting for, in plain words.
    pub fn doing(&self) -> String {
        match &self.phase {
            Phase::Starting => "starting".to_owned(),
            Phase::Reading(manifest) => format!("reading {manifest}"),
            Phase::Checking => "checking the export folder".to_owned(),
            Phase::Reporting => "writing the reports".to_owned(),
            Phase::Ended => "done".to_owned(),
            Phase::Fetching if self.draining => {
                format!("stopping, {} in flight", format::count(in_flight(&self.now.pace)))
            }
            Phase::Fetching => match (&self.outage, self.now.waiting.as_secs()) {
                (Some(why), _) => format!("outage: {why}, probing"),
                // shorter waits are the ordinary pace
                (None, 0) => format::pace(&self.now.pace),
                (None, 1..) => self.waiting(),
            },
        }
    }

    /// Images go on coming while the allowance is waited for.
    fn waiting(&self) -> String {
        let time = format::duration(whole_seconds(self.now.waiting));
        match self.now.pace.downloading {
            0 => format!("waiting {time} for the rate limit"),
            images => format!("waiting {time} for the rate limit, {} downloading", format::count(images)),
        }
    }
}

/// Rows that a gentle stop finishes.
const fn in_flight(pace: &Pace) -> u64 {
    pace.downloading + pace.asking + pace.ready
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A run that has just started.
    pub fn started(rows: u64, todo: u64) -> State {
        let mut state = State::default();
        let skipped = rows - todo;
        let event = Event::Begin { folder: "export".into(), rows, bad: 0, duplicates: 0, skipped, todo };
        state.apply(event, Duration::ZERO);
        state
    }

    /// A run of 50,000 rows that has worked for `seconds` at 16 rows and 12 MiB a second.
    pub fn running(seconds: u64) -> State {
        let mut state = State::default();
        let (bad, duplicates, skipped, todo) = (0, 1_000, 9_000, 40_000);
        let folder = "export".into();
        state.apply(Event::Begin { folder, rows: 50_000, bad, duplicates, skipped, todo }, Duration::ZERO);
        for second in 0..=seconds {
            let sample = Sample {
                stored: second * 16,
                received: second * (12 << 20),
                pace: Pace { concurrency: 48, downloading: 32, asking: 3, waiting: 200, ..Pace::default() },
                api_requests: second * 16,
                ..Sample::default()
            };
            state.sample(Duration::from_secs(second), sample);
        }
        state
    }

    #[test]
    fn a_speed_is_shown_once_it_is_no_guess_and_forgets_what_is_older_than_a_minute() {
        assert_eq!(running(2).speed(), None);
        assert_eq!(running(30).speed().map(|(rows, _)| rows.round()), Some(16.0));
        let mut state = running(600);
        for second in 601..=662 {
            state.sample(Duration::from_secs(second), state.now);
        }
        assert_eq!(state.speed(), Some((0.0, 0.0)));
        assert_eq!(state.time_left(), None);
    }

    #[test]
    fn time_left_counts_rows_to_fetch_only() {
        let state = running(100);
        assert_eq!(state.done(), 11_600);
        assert_eq!(state.time_left(), Some(Duration::from_secs((40_000 - 1_600) / 16)));
    }

    #[test]
    fn the_state_is_said_in_words() {
        let mut state = running(10);
        let fetching = "32 downloading, 3 asking, 200 waiting for the allowance (up to 48 in flight)";
        assert_eq!(state.doing(), fetching);
        state.now.waiting = Duration::from_millis(900);
        assert_eq!(state.doing(), fetching);
        state.now.waiting = Duration::from_millis(22_100);
        assert_eq!(state.doing(), "waiting 23 s for the rate limit, 32 downloading");
        state.now.pace.downloading = 0;
        assert_eq!(state.doing(), "waiting 23 s for the rate limit");
        state.now.pace.downloading = 32;
        state.apply(Event::Outage { why: "the API answered 503".to_owned() }, Duration::ZERO);
        assert_eq!(state.doing(), "outage: the API answered 503, probing");
        state.apply(Event::Draining { why: "Ctrl-C".to_owned() }, Duration::ZERO);
        assert_eq!(state.doing(), "stopping, 35 in flight");
        state.apply(Event::Reporting, Duration::ZERO);
        assert_eq!(state.doing(), "writing the reports");
    }
}
