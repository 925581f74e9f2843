//! The sandbox's rate limiter, in the three shapes that the vendor's one sentence ("sliding-window
//! counter", 1,000 a minute) could mean in practice. Pure: every instant is an argument, so that a
//! test can ask about a minute without waiting one. A refused request does not count.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// This window's count plus what is left of the previous one, weighed by time. What the vendor names.
    Counter,
    /// Exact: every admitted instant is kept for one window.
    Log,
    /// A count that falls to zero at each window's end: twice the limit can pass around that point.
    Fixed,
}

/// Which answers carry `X-RateLimit-Limit`, `-Remaining` and `-Reset`: the vendor's page says both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendHeaders {
    Always,
    /// On a 429 only, together with `Retry-After`.
    Only429,
    /// Not even `Retry-After`: what a proxy in front of the API would send.
    Never,
}

/// `limit` requests in any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub limit: u32,
    pub window: Duration,
    pub algorithm: Algorithm,
    pub headers: SendHeaders,
}

impl Rate {
    /// The vendor's kind: a sliding-window counter with headers on every answer.
    pub fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window, algorithm: Algorithm::Counter, headers: SendHeaders::Always }
    }
}

/// The verdict on one request, and what the headers then say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub admitted: bool,
    pub remaining: u32,
    /// Until the window ends (`Log`: until the oldest request leaves it).
    pub reset_in: Duration,
}

/// Counts the requests of one app.
#[derive(Debug)]
pub struct Limiter {
    pub rate: Rate,
    /// When the current window began (`Counter`, `Fixed`).
    window_start: Instant,
    current: u32,
    previous: u32,
    admitted: VecDeque<Instant>,
}

impl Limiter {
    /// `start` is where the first window begins.
    pub fn new(rate: Rate, start: Instant) -> Self {
        Self { rate, window_start: start, current: 0, previous: 0, admitted: VecDeque::new() }
    }

    /// Counts a request that arrives at `now`, or refuses it. Instants must not go backwards.
    pub fn admit(&mut self, now: Instant) -> Decision {
        match self.rate.algorithm {
            Algorithm::Log => self.admit_by_log(now),
            Algorithm::Counter | Algorithm::Fixed => self.admit_by_window(now),
        }
    }

    fn admit_by_log(&mut self, now: Instant) -> Decision {
        let window = self.rate.window;
        while self.admitted.front().is_some_and(|&first| now.duration_since(first) >= window) {
            self.admitted.pop_front();
        }
        let admitted = self.admitted.len() < self.rate.limit as usize;
        if admitted {
            self.admitted.push_back(now);
        }
        let used = u32::try_from(self.admitted.len()).unwrap_or(u32::MAX);
        let oldest = self.admitted.front().copied().unwrap_or(now);
        let reset_in = (oldest + window).saturating_duration_since(now);
        Decision { admitted, remaining: self.rate.limit.saturating_sub(used), reset_in }
    }

    fn admit_by_window(&mut self, now: Instant) -> Decision {
        let window = self.rate.window;
        let passed = now.saturating_duration_since(self.window_start).as_nanos() / window.as_nanos();
        if passed > 0 {
            self.previous = if passed == 1 { self.current } else { 0 };
            self.current = 0;
            self.window_start += window * u32::try_from(passed).unwrap_or(u32::MAX);
        }
        let into = now.saturating_duration_since(self.window_start);
        // In units of request x nanosecond, so that nothing is rounded.
        let carried = match self.rate.algorithm {
            Algorithm::Counter => u128::from(self.previous) * window.saturating_sub(into).as_nanos(),
            Algorithm::Fixed | Algorithm::Log => 0,
        };
        let limit = self.rate.limit;
        let left = |current: u32| {
            let free = i64::from(limit) - i64::from(current);
            u128::try_from(free).ok()?.checked_mul(window.as_nanos())?.checked_sub(carried)
        };
        let admitted = left(self.current + 1).is_some();
        if admitted {
            self.current += 1;
        }
        let remaining = left(self.current).unwrap_or(0) / window.as_nanos();
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
        Decision { admitted, remaining, reset_in: window.saturating_sub(into) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(1);

    fn limiter(algorithm: Algorithm) -> (Limiter, Instant) {
        let start = Instant::now();
        let rate = Rate { limit: 10, window: WINDOW, algorithm, headers: SendHeaders::Always };
        (Limiter::new(rate, start), start)
    }

    /// How many of `asked` requests at `at` get through.
    fn burst(limiter: &mut Limiter, at: Instant, asked: u32) -> usize {
        (0..asked).filter(|_| limiter.admit(at).admitted).count()
    }

    #[test]
    fn every_algorithm_lets_the_limit_through_and_no_more() {
        for algorithm in [Algorithm::Counter, Algorithm::Log, Algorithm::Fixed] {
            let (mut limiter, start) = limiter(algorithm);
            assert_eq!(burst(&mut limiter, start, 15), 10, "{algorithm:?}");
            let refused = limiter.admit(start);
            assert_eq!((refused.admitted, refused.remaining), (false, 0), "{algorithm:?}");
            assert_eq!(refused.reset_in, WINDOW, "{algorithm:?}");
        }
    }

    #[test]
    fn a_fixed_window_forgets_everything_at_its_end() {
        let (mut limiter, start) = limiter(Algorithm::Fixed);
        assert_eq!(burst(&mut limiter, start + Duration::from_secs(59), 15), 10);
        assert_eq!(burst(&mut limiter, start + Duration::from_mins(1), 15), 10);
    }

    #[test]
    fn a_log_frees_a_slot_one_window_after_it_was_taken() {
        let (mut limiter, start) = limiter(Algorithm::Log);
        assert_eq!(burst(&mut limiter, start, 4), 4);
        assert_eq!(burst(&mut limiter, start + Duration::from_secs(30), 15), 6);
        assert_eq!(burst(&mut limiter, start + Duration::from_millis(59_999), 15), 0);
        assert_eq!(burst(&mut limiter, start + Duration::from_mins(1), 15), 4);
    }

    #[test]
    fn a_counter_frees_its_slots_little_by_little_after_the_window() {
        let (mut limiter, start) = limiter(Algorithm::Counter);
        assert_eq!(burst(&mut limiter, start, 10), 10);
        assert_eq!(burst(&mut limiter, start + Duration::from_mins(1), 15), 0, "nothing at the reset");
        assert_eq!(burst(&mut limiter, start + Duration::from_secs(66), 15), 1, "a tenth after a tenth");
        assert_eq!(burst(&mut limiter, start + Duration::from_secs(90), 15), 4, "half after half");
        assert_eq!(burst(&mut limiter, start + Duration::from_mins(3), 15), 10, "all after an idle window");
    }

    #[test]
    fn remaining_counts_down() {
        let (mut limiter, start) = limiter(Algorithm::Counter);
        let left: Vec<u32> = (0..4).map(|_| limiter.admit(start).remaining).collect();
        assert_eq!(left, [9, 8, 7, 6]);
    }
}
