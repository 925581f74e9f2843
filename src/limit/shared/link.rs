//! Whether the shared count can be used at the moment. No I/O.
//!
//! Trouble with it passes: from time to time another attempt is due, and one that succeeds ends the trouble. Each cause
//! is reported once a run. For a little while after it, other runs may still be without the count.

use std::time::Duration;

use tokio::time::Instant;

/// How long after a failure the next attempt is due.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(3);
/// How long after the end of a trouble the last run has noticed it, too.
const RETURN_TIME: Duration = Duration::from_secs(4);
/// An attempt that takes longer hangs. It goes on by itself; another one is made only in case its thread has died.
const HUNG_INTERVAL: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(in crate::limit) struct Link {
    /// While it is in trouble: when the next attempt is due.
    retry_at: Option<Instant>,
    /// After a trouble: when all runs are back.
    whole_at: Option<Instant>,
    /// It has been used at least once.
    was_used: bool,
    /// Causes that were reported.
    reported: Vec<String>,
    /// The end of a trouble was reported.
    end_reported: bool,
}

impl Link {
    pub(in crate::limit) const fn is_attached(&self) -> bool {
        self.retry_at.is_none()
    }

    pub(in crate::limit) const fn was_used(&self) -> bool {
        self.was_used
    }

    /// When the next attempt is due; `None` if there is no trouble.
    pub(in crate::limit) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether an attempt is due now, and to be made by the caller.
    pub(in crate::limit) fn take_retry(&mut self, now: Instant) -> bool {
        let is_due = self.retry_at.is_some_and(|at| at <= now);
        if is_due {
            self.retry_at = Some(now + HUNG_INTERVAL);
        }
        is_due
    }

    /// It failed. True if this cause has not been reported.
    pub(in crate::limit) fn failed(&mut self, why: &str, now: Instant) -> bool {
        self.retry_at = Some(now + RETRY_INTERVAL);
        self.whole_at = None;
        let is_new = !self.reported.iter().any(|reported| reported == why);
        if is_new {
            self.reported.push(why.to_owned());
        }
        is_new
    }

    /// It does not answer: the attempt that is under way may yet succeed.
    pub(in crate::limit) fn hangs(&mut self, why: &str, now: Instant) -> bool {
        let is_new = self.failed(why, now);
        self.retry_at = Some(now + HUNG_INTERVAL);
        is_new
    }

    /// It works. True if that ends a trouble for the first time.
    pub(in crate::limit) fn works(&mut self, now: Instant) -> bool {
        self.was_used = true;
        let ended = self.retry_at.take().is_some();
        if ended {
            self.whole_at = Some(now + RETURN_TIME);
        }
        ended && !std::mem::replace(&mut self.end_reported, true)
    }

    /// Whether by now all runs are back after a trouble. True once.
    pub(in crate::limit) fn take_whole(&mut self, now: Instant) -> bool {
        self.whole_at.take_if(|at| *at <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_reported_once_a_cause_and_ends_with_an_attempt_that_succeeds() {
        let now = Instant::now();
        let mut link = Link::default();
        assert!(!link.works(now));
        assert!(link.failed("locked", now));
        assert!(!link.is_attached());
        assert!(!link.failed("locked", now), "the same once more");
        assert!(link.failed("full", now), "another cause");
        assert!(link.works(now));
        assert!(!link.failed("full", now));
        assert!(!link.works(now), "the end is reported once, too");
        assert!(link.is_attached());
        assert!(!link.take_whole(now), "others may need longer");
        assert!(link.take_whole(now + RETURN_TIME) && !link.take_whole(now + RETURN_TIME), "once");
    }

    #[test]
    fn one_attempt_is_due_after_a_failure_and_none_while_one_hangs() {
        let now = Instant::now();
        let mut link = Link::default();
        assert!(!link.take_retry(now), "no trouble");
        link.failed("locked", now);
        assert!(!link.take_retry(now + RETRY_INTERVAL / 2));
        assert!(link.take_retry(now + RETRY_INTERVAL));
        assert!(!link.take_retry(now + RETRY_INTERVAL), "it is under way");
        link.hangs("frozen", now);
        assert!(!link.take_retry(now + 3 * RETRY_INTERVAL));
        assert!(link.take_retry(now + HUNG_INTERVAL), "its thread may have died");
    }
}
