//! Files that could not be renamed because of a permission error. A virus scanner or an indexer may hold a file for a
//! moment: its rename is attempted again in the batches that follow, and delays none of them.

use std::time::{Duration, Instant};

/// How long a rename is attempted.
const HELD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the second attempt; doubled after each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The attempts at one rename so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldSince {
    since: Instant,
    pause: Duration,
    due: Instant,
}

impl HeldSince {
    /// After another attempt that failed at `now`; `None` if it was the last one.
    pub(super) fn after_attempt(earlier: Option<Self>, now: Instant) -> Option<Self> {
        let (since, pause) = match earlier {
            Some(held) => (held.since, (held.pause * 2).min(PAUSE_MAX)),
            None => (now, FIRST_PAUSE),
        };
        (now < since + HELD_TIMEOUT).then(|| Self {
            since,
            pause,
            due: (now + pause).min(since + HELD_TIMEOUT),
        })
    }

    /// When the next attempt is due.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_is_attempted_for_ten_seconds_at_growing_pauses() {
        let start = Instant::now();
        let (mut now, mut held, mut attempts) = (start, None, 0);
        while let Some(next) = HeldSince::after_attempt(held, now) {
            attempts += 1;
            (now, held) = (next.due(), Some(next));
        }
        assert_eq!(now - start, HELD_TIMEOUT);
        assert!((10..30).contains(&attempts), "{attempts}");
    }
}
