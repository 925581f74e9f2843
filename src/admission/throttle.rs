//! The fourth gate: may the wait that a 429 asks for be waited out?
//!
//! How long to wait is the limiter's business. Here the wait is held against `--max-outage` and the deadline; a wait
//! that does not fit stops the run at once, since sleeping first would gain nothing.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::Admission;
use super::watched::lock;
use crate::error::{ErrorResponse, Failure, RunError, StopReason};
use crate::event::Event;

/// A shorter wait than this is over before a user would do anything about it.
const REMEDY_MIN: Duration = Duration::from_hours(1);

#[derive(Debug)]
pub(super) struct Throttle {
    /// Since when the API has answered nothing but 429.
    limited_since: Mutex<Option<Instant>>,
    max_outage: Duration,
    /// Folder in which the wait is kept for later runs.
    kept_in: Option<PathBuf>,
}

impl Throttle {
    pub(super) const fn new(max_outage: Duration, kept_in: Option<PathBuf>) -> Self {
        Self { limited_since: Mutex::new(None), max_outage, kept_in }
    }

    /// Later runs keep to a long wait, too: what to do if it was not the API that asked for it.
    fn remedy(&self, wait: Duration) -> String {
        match &self.kept_in {
            Some(folder) if wait >= REMEDY_MIN => format!(
                ". Later runs wait as long, since the request clock in {} keeps it; if a firewall asked for it and not \
                 the API, remove that folder while nothing runs",
                folder.display()
            ),
            _ => String::new(),
        }
    }
}

impl Admission {
    /// The API answered 429, and the limiter has recorded it: stops the run if the wait does not fit.
    pub(crate) fn rate_limited(&self, response: &ErrorResponse) {
        let since = *lock(&self.throttle.limited_since).get_or_insert_with(Instant::now);
        let wait = self.limiter.closed_for();
        if self.wait_fits(wait, since, response) {
            self.events.send(Event::RateLimited { wait });
        }
    }

    /// Checks a wait that was announced to another run, or before this one. It stops the run only if a row waits to
    /// ask the API: rows that have their answer are not concerned.
    pub(crate) fn check_announced_wait(&self) {
        if !self.limiter.is_waited_for() {
            return;
        }
        let wait = self.limiter.closed_for();
        if wait > Duration::ZERO && !self.drain.is_draining() {
            let message = "the API asked another run with this key to wait".to_owned();
            let response = ErrorResponse { status: 429, message, ..ErrorResponse::default() };
            let since = lock(&self.throttle.limited_since).unwrap_or_else(Instant::now);
            self.wait_fits(wait, since, &response);
        }
    }

    /// The API answered anything but 429.
    pub(crate) fn rate_limit_over(&self) {
        *lock(&self.throttle.limited_since) = None;
    }

    /// Stops the run if it may not wait for `wait`.
    fn wait_fits(&self, wait: Duration, since: Instant, response: &ErrorResponse) -> bool {
        let max_outage = self.throttle.max_outage;
        let reason = match judge_wait(wait, since.elapsed(), self.drain.time_left(), max_outage) {
            WaitVerdict::Fits => return true,
            WaitVerdict::BeyondDeadline => {
                StopReason::Limited(Failure::RateLimited(response.clone()).describe())
            }
            WaitVerdict::TooLong => StopReason::Error(RunError::RateLimited(format!(
                "the API asks to wait {wait:.0?}, {max_outage:.0?} are allowed (--max-outage){}",
                self.throttle.remedy(wait)
            ))),
        };
        self.drain.stop(reason);
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitVerdict {
    Fits,
    /// It ends after `--until` or `--max-duration`.
    BeyondDeadline,
    /// It is longer than `--max-outage`, or the API would have answered nothing but 429 for that long.
    TooLong,
}

/// Judges a wait after the API has answered nothing but 429 for `limited`, with `left` until the deadline. If it
/// passes both limits the graver one counts, as in the exit code; but if the deadline comes before `--max-outage` is
/// used up, the run never gets that far and the deadline counts.
fn judge_wait(
    wait: Duration,
    limited: Duration,
    left: Option<Duration>,
    max_outage: Duration,
) -> WaitVerdict {
    if wait > max_outage {
        WaitVerdict::TooLong
    } else if left.is_some_and(|left| wait > left) {
        WaitVerdict::BeyondDeadline
    } else if limited + wait > max_outage {
        WaitVerdict::TooLong
    } else {
        WaitVerdict::Fits
    }
}

#[cfg(test)]
mod tests;
