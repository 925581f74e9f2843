//! What follows from a failed attempt: one pure decision, and the budget that bounds it.
//!
//! Nothing here waits or counts by itself; [`crate::fetch`] acts on what is said here.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::error::{ErrorCode, Failure};

/// First wait after a failure that may be gone the next moment.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// First wait where a service says that it is overloaded (S3's advice for small requests: 2 s, then 4 s more).
const FIRST_WAIT_BUSY: Duration = Duration::from_secs(1);
/// Longest wait between two tries of one image.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What to do with the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after a pause, with the signed URL at hand while it is fresh.
    Again,
    /// Try again after a longer pause: the service asked for mercy.
    AgainSlowly,
    /// Try once more with a new signed URL, at no charge; give up where that was done already.
    NewUrl,
    /// Try again at once, the first time at no charge.
    AtOnce,
    /// Try again from the first byte.
    FromTheStart,
    /// Try again from the first byte at once, at no charge: only the bytes at hand were of no use.
    PartUnusable,
    /// Give up; another try cannot help.
    GiveUp,
    /// The API asks everybody to wait. Not a try.
    Wait,
    /// The key is refused: no row can go on.
    KeyRefused,
    /// The organization is refused: its rows may all be.
    OrgRefused,
    /// The organization was refused so often that this row was not tried.
    OrgClosed,
    /// No row can go on, for the reason that the code names.
    StopRun(ErrorCode),
    /// The run stops already; the row stays untried.
    Leave,
}

/// Decides what follows from `failure`.
#[must_use]
pub const fn verdict(failure: &Failure) -> Verdict {
    match failure {
        Failure::Unauthorized(_) => Verdict::KeyRefused,
        Failure::Forbidden(_) => Verdict::OrgRefused,
        Failure::RateLimited(_) => Verdict::Wait,
        Failure::BadRequest(_)
        | Failure::NotFound(_)
        | Failure::ApiRejected(_)
        | Failure::UrlRefused(_)
        | Failure::UrlNotVerbatim(_)
        | Failure::Missing(_)
        | Failure::Archived(_)
        | Failure::StorageRefused(_)
        | Failure::TooLarge { .. } => Verdict::GiveUp,
        Failure::ApiDown(_)
        | Failure::ApiMalformed(_)
        | Failure::Connect { .. }
        | Failure::Broken { .. }
        | Failure::Timeout { .. } => Verdict::Again,
        Failure::StaleConnection { .. } => Verdict::AtOnce,
        Failure::StorageDown(_) => Verdict::AgainSlowly,
        Failure::Denied(_) | Failure::Redirected(_) | Failure::NotAnImage(_) => Verdict::NewUrl,
        Failure::PartUnusable(_) => Verdict::PartUnusable,
        Failure::Corrupt(_) | Failure::Disk(_) => Verdict::FromTheStart,
        Failure::OrgClosed(_) => Verdict::OrgClosed,
        Failure::Tls { .. } | Failure::Proxy { .. } => Verdict::StopRun(ErrorCode::Network),
        Failure::DiskFatal { .. } => Verdict::StopRun(ErrorCode::Disk),
        Failure::Stopped => Verdict::Leave,
    }
}

/// How much one image may cost: tries that were counted, and time.
#[derive(Debug)]
pub struct Budget {
    max_attempts: u32,
    max_time: Duration,
    attempts: u32,
    spent: Duration,
    soon: ExponentialBackoff,
    slow: ExponentialBackoff,
}

impl Budget {
    /// A whole budget.
    #[must_use]
    pub fn new(max_attempts: u32, max_time: Duration) -> Self {
        let waits = |first| {
            ExponentialBuilder::default()
                .with_min_delay(first)
                .with_max_delay(LONGEST_WAIT)
                .without_max_times()
                .with_jitter()
                .build()
        };
        Self {
            max_attempts,
            max_time,
            attempts: 0,
            spent: Duration::ZERO,
            soon: waits(FIRST_WAIT),
            slow: waits(FIRST_WAIT_BUSY),
        }
    }

    /// Tries that were counted.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Counts a try.
    pub const fn charge(&mut self) {
        self.attempts += 1;
    }

    /// Gives a try back that was not the image's fault.
    pub const fn refund(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// The pause before the next try, or `None` where the budget is spent. `slowly` asks for a longer one.
    pub fn pause(&mut self, slowly: bool) -> Option<Duration> {
        if self.attempts >= self.max_attempts {
            return None;
        }
        // jitter adds up to the wait itself
        let wait = if slowly { self.slow.next() } else { self.soon.next() }?.min(LONGEST_WAIT);
        if self.spent + wait > self.max_time {
            return None;
        }
        self.spent += wait;
        Some(wait)
    }

    /// Adds the time that a failed try took.
    pub fn spend(&mut self, time: Duration) {
        self.spent += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_the_attempts() {
        let mut budget = Budget::new(4, Duration::from_secs(60));
        let mut pauses = Vec::new();
        loop {
            budget.charge();
            match budget.pause(false) {
                Some(pause) => pauses.push(pause),
                None => break,
            }
        }
        assert_eq!(pauses.len(), 3);
        for (n, pause) in pauses.iter().enumerate() {
            let least = FIRST_WAIT * 2_u32.pow(u32::try_from(n).expect("small"));
            assert!(*pause >= least && *pause <= least * 2, "pause {n} was {pause:?}");
        }
    }

    #[test]
    fn time_ends_the_budget_before_the_attempts_do() {
        let mut budget = Budget::new(1000, Duration::from_secs(3));
        let total: Duration = std::iter::from_fn(|| budget.pause(false)).sum();
        assert!(total <= Duration::from_secs(3));
        let mut budget = Budget::new(1000, Duration::from_secs(3));
        budget.spend(Duration::from_secs(4));
        assert_eq!(budget.pause(false), None);
    }

    #[test]
    fn a_refunded_try_can_be_spent_again() {
        let mut budget = Budget::new(1, Duration::from_secs(60));
        budget.charge();
        assert_eq!(budget.pause(false), None);
        budget.refund();
        assert!(budget.pause(false).is_some());
    }

    #[test]
    fn a_busy_service_is_asked_less_often() {
        let mut budget = Budget::new(9, Duration::from_secs(60));
        assert!(budget.pause(true).expect("within the budget") >= FIRST_WAIT_BUSY);
    }
}
