//! What follows from a failed attempt: one pure decision, and the budget that bounds it.
//!
//! Nothing here waits or acts; [`crate::fetch::attempts`] does what is decided here.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::error::{ErrorCode, Failure};

/// First pause after a failure that may be gone the next moment.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// First pause if the service says that it is overloaded (S3's advice for small requests: 2 s, then 4 s more).
const FIRST_PAUSE_BUSY: Duration = Duration::from_secs(1);
/// Between two attempts at one image.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What to do with the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Retry after a pause, with the same signed URL while it is fresh.
    Retry,
    /// Retry after a longer pause: the service is overloaded.
    RetrySlowly,
    /// Retry at once, the first time at no charge.
    RetryNow,
    /// Retry once with a new signed URL, at no charge; the second time the row has failed.
    NewUrl,
    /// Retry from the first byte.
    Restart,
    /// Retry from the first byte at once, at no charge: only the partial download was of no use.
    RestartFree,
    /// The row has failed: another attempt cannot help.
    GiveUp,
    /// The row has failed, unless the disk turns out to be at fault.
    Hold,
    /// The API asks all requests to wait. Not an attempt.
    RateLimited,
    /// The API refuses the key: no row can go on.
    KeyRefused,
    /// The API refuses the organization: it may refuse all of its rows.
    OrgRefused,
    /// The organization was refused before, so this row was not tried.
    OrgClosed,
    /// No row can go on, for the reason that the code names.
    StopRun(ErrorCode),
    /// The run is draining; the row stays untried.
    Stopped,
}

impl Verdict {
    /// Whether the bytes received so far are of no use: they are the wrong ones, or no attempt follows.
    pub(super) const fn discards_partial(self) -> bool {
        matches!(self, Self::Restart | Self::RestartFree | Self::GiveUp | Self::Hold)
    }
}

/// Decides what follows from `failure`.
pub(crate) const fn verdict(failure: &Failure) -> Verdict {
    match failure {
        Failure::Unauthorized(_) => Verdict::KeyRefused,
        Failure::Forbidden(_) => Verdict::OrgRefused,
        Failure::RateLimited(_) => Verdict::RateLimited,
        Failure::BadRequest(_)
        | Failure::NotFound(_)
        | Failure::ApiRejected(_)
        | Failure::UrlRefused(_)
        | Failure::UrlNotVerbatim(_)
        | Failure::Missing(_)
        | Failure::Archived(_)
        | Failure::Obstacle(_)
        | Failure::TooLarge { .. } => Verdict::GiveUp,
        Failure::FileHeld(_) => Verdict::Hold,
        // no status of the storage that has no meaning of its own is final: what sent it may be gone the next moment
        Failure::StorageRefused(_)
        | Failure::ApiDown(_)
        | Failure::ForeignAnswer { .. }
        | Failure::ApiMalformed(_)
        | Failure::Connect { .. }
        | Failure::Broken { .. }
        | Failure::Timeout { .. } => Verdict::Retry,
        Failure::StaleConnection { .. } => Verdict::RetryNow,
        Failure::StorageDown(_) => Verdict::RetrySlowly,
        Failure::Denied(_) | Failure::Redirected(_) | Failure::NotAnImage(_) => Verdict::NewUrl,
        Failure::PartUnusable(_) => Verdict::RestartFree,
        Failure::Corrupt(_) | Failure::Disk(_) => Verdict::Restart,
        Failure::OrgClosed(_) => Verdict::OrgClosed,
        Failure::Tls { .. } | Failure::Proxy { .. } => Verdict::StopRun(ErrorCode::Network),
        Failure::DiskFatal { .. } => Verdict::StopRun(ErrorCode::Disk),
        Failure::Stopped => Verdict::Stopped,
    }
}

/// What one image may cost: attempts that count, and time spent on retries.
#[derive(Debug)]
pub(crate) struct Budget {
    max_attempts: u32,
    max_time: Duration,
    attempts: u32,
    spent: Duration,
    retrying: bool,
    soon: ExponentialBackoff,
    slow: ExponentialBackoff,
}

impl Budget {
    pub(crate) fn new(max_attempts: u32, max_time: Duration) -> Self {
        let pauses = |first| {
            ExponentialBuilder::default()
                .with_min_delay(first)
                .with_max_delay(PAUSE_MAX)
                .without_max_times()
                .with_jitter()
                .build()
        };
        Self {
            max_attempts,
            max_time,
            attempts: 0,
            spent: Duration::ZERO,
            retrying: false,
            soon: pauses(FIRST_PAUSE),
            slow: pauses(FIRST_PAUSE_BUSY),
        }
    }

    /// Attempts that count.
    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) const fn charge(&mut self) {
        self.attempts += 1;
    }

    /// Gives back an attempt that failed through no fault of the image.
    pub(crate) const fn refund(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// The pause before the next attempt, `None` if the budget is spent. `slowly` asks for a longer one; the server
    /// may have asked for one of at least `retry_after`.
    pub(crate) fn pause(&mut self, slowly: bool, retry_after: Option<Duration>) -> Option<Duration> {
        if self.attempts >= self.max_attempts {
            return None;
        }
        // jitter adds up to the pause itself
        let pause = if slowly { self.slow.next() } else { self.soon.next() }?.min(PAUSE_MAX);
        let pause = pause.max(retry_after.unwrap_or_default());
        if self.spent + pause > self.max_time {
            return None;
        }
        self.spent += pause;
        Some(pause)
    }

    /// Adds the time that a failed attempt took, but not that of the first one, which is no retry.
    pub(crate) fn spend_retry(&mut self, time: Duration) {
        if std::mem::replace(&mut self.retrying, true) {
            self.spent += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorResponse, Service};

    /// What the disk, the network below HTTP and the run itself meet; `remote::http` has the table of every status.
    #[test]
    fn each_failure_without_an_answer_has_its_verdict() {
        let what = String::new;
        let service = Service::Storage;
        for (failure, expected, discards) in [
            (Failure::Connect { service, what: what() }, Verdict::Retry, false),
            (Failure::Broken { service, what: what() }, Verdict::Retry, false),
            (Failure::Timeout { service, what: what() }, Verdict::Retry, false),
            (Failure::StaleConnection { service, what: what() }, Verdict::RetryNow, false),
            (Failure::Tls { service, what: what() }, Verdict::StopRun(ErrorCode::Network), false),
            (Failure::Proxy { service, what: what() }, Verdict::StopRun(ErrorCode::Network), false),
            (Failure::Corrupt(what()), Verdict::Restart, true),
            (Failure::PartUnusable(what()), Verdict::RestartFree, true),
            (Failure::TooLarge { bytes: 2, limit: 1 }, Verdict::GiveUp, true),
            (Failure::StorageRefused(ErrorResponse::default()), Verdict::Retry, false),
            (Failure::Disk(what()), Verdict::Restart, true),
            (Failure::Obstacle(what()), Verdict::GiveUp, true),
            (Failure::FileHeld(what()), Verdict::Hold, true),
            (Failure::DiskFatal { what: what() }, Verdict::StopRun(ErrorCode::Disk), false),
            (Failure::Stopped, Verdict::Stopped, false),
        ] {
            let verdict = verdict(&failure);
            assert_eq!((verdict, verdict.discards_partial()), (expected, discards), "{failure:?}");
        }
    }

    #[test]
    fn pauses_grow_and_end_with_the_attempts() {
        let mut budget = Budget::new(4, Duration::from_secs(60));
        let mut pauses = Vec::new();
        loop {
            budget.charge();
            match budget.pause(false, None) {
                Some(pause) => pauses.push(pause),
                None => break,
            }
        }
        assert_eq!(pauses.len(), 3);
        for (n, pause) in pauses.iter().enumerate() {
            let least = FIRST_PAUSE * 2_u32.pow(u32::try_from(n).expect("small"));
            assert!(*pause >= least && *pause <= least * 2, "pause {n} was {pause:?}");
        }
    }

    #[test]
    fn time_ends_the_budget_before_the_attempts_do() {
        let mut budget = Budget::new(1000, Duration::from_secs(3));
        let total: Duration = std::iter::from_fn(|| budget.pause(false, None)).sum();
        assert!(total <= Duration::from_secs(3));
        let mut budget = Budget::new(1000, Duration::from_secs(3));
        budget.spend_retry(Duration::from_secs(4));
        assert!(budget.pause(false, None).is_some(), "the first attempt is no retry");
        budget.spend_retry(Duration::from_secs(4));
        assert_eq!(budget.pause(false, None), None);
    }

    #[test]
    fn the_servers_own_pause_is_never_cut_short() {
        let asked = Duration::from_secs(40);
        let mut budget = Budget::new(9, Duration::from_secs(60));
        assert_eq!(budget.pause(false, Some(asked)), Some(asked));
        assert_eq!(budget.pause(false, Some(asked)), None, "it is the row's time, too");
    }

    #[test]
    fn a_refunded_attempt_can_be_spent_again() {
        let mut budget = Budget::new(1, Duration::from_secs(60));
        budget.charge();
        assert_eq!(budget.attempts(), 1);
        assert_eq!(budget.pause(false, None), None);
        budget.refund();
        assert_eq!(budget.attempts(), 0);
        assert!(budget.pause(false, None).is_some());
    }

    #[test]
    fn a_busy_service_is_asked_less_often() {
        let mut budget = Budget::new(9, Duration::from_secs(60));
        assert!(budget.pause(true, None).expect("within the budget") >= FIRST_PAUSE_BUSY);
    }
}
