//! The speed if answers do not say what is left: governor's GCRA, on a clock that is set from outside.
//!
//! A burst of b and a rate of r let at most b + r·W through in any window. With b = N/50 and r = (N - b)/W that is N,
//! also for a server that weighs the previous window or counts in fixed ones: safe without rate-limit headers.
//!
//! After a 429 that the own speed has caused, N is what got through in the window before it, less a little, and grows
//! slowly from there: other clients use the rest, or the server's limit is lower. The own speed is the cause if this pace
//! held requests back, and either at least half of it got through, or this is the second 429 in little time; if the
//! server names its limit, most of that must have got through instead of half of the pace. A run that meets a window
//! which others have just used up is not the cause: from the next window on it has all of it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// A fiftieth of the allowance may be used at once: room for small bursts, at the cost of 2 % of the pace.
const BURST_DIVISOR: u32 = 50;
/// The pace after a 429, in per cent of what got through in the window before it.
const KEPT_PERCENT: u32 = 96;
/// A run that gets less through than this of a limit that the server names is not alone.
const ALONE_PERCENT: u32 = 90;
/// Nor is one that gets less through than this of its own pace, if the server names none.
const ALONE_UNNAMED_PERCENT: u32 = 50;
/// In windows, from when requests are sent again: a second 429 in this time is no accident.
const SUSPICION_WINDOWS: u32 = 2;

pub(super) struct Pace {
    limiter: RateLimiter<NotKeyed, InMemoryState, ElapsedClock, NoOpMiddleware<Duration>>,
    elapsed: Arc<AtomicU64>,
    start: Instant,
    limit: u32,
    window: Duration,
    /// Requests a window; `limit` as long as none was refused.
    share: u32,
    /// When the share grows next, and by how many per cent of the limit.
    grows: (Instant, u32),
    /// When a request was last held back.
    held: Option<Instant>,
    /// Another 429 until then lowers the share, however little got through.
    suspected: Option<Instant>,
}

impl Pace {
    pub(super) fn new(limit: u32, window: Duration, now: Instant) -> Self {
        let elapsed = Arc::new(AtomicU64::new(0));
        let limiter = limiter(limit, window, &elapsed);
        let grows = (now, 0);
        Self { limiter, elapsed, start: now, limit, window, share: limit, grows, held: None, suspected: None }
    }

    /// Sets the N that counts while no request is refused. A share that a 429 has lowered stays.
    pub(super) fn set_limit(&mut self, limit: u32, now: Instant) {
        let share = if self.is_full() { limit } else { self.share.min(limit) };
        let rises = limit > self.limit;
        self.limit = limit;
        self.set(share, now);
        if rises {
            // the burst is there once: runs that join one after the other must not each bring another one
            while self.limiter.check().is_ok() {}
        }
    }

    /// Whether the pace has not been lowered by a 429, or has recovered.
    pub(super) const fn is_full(&self) -> bool {
        self.share >= self.limit
    }

    /// Takes one request from the pace, or says when the next one fits.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), Instant> {
        let result = self.ask(now);
        if result.is_err() {
            self.held = Some(now);
        }
        result
    }

    /// Takes another run's request from the pace, even if it has none left.
    pub(super) fn take(&mut self, at: Instant) {
        let _ = self.ask(at);
    }

    fn ask(&mut self, now: Instant) -> Result<(), Instant> {
        self.grow(now);
        let since = now.saturating_duration_since(self.start);
        self.elapsed.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.limiter.check().map_err(|not_until| self.start + not_until.earliest_possible())
    }

    /// A 429 came after `admitted` requests got through in the last window; `is_named`: it named the server's limit.
    /// Nothing is sent until `reopens`.
    pub(super) fn refused(&mut self, admitted: u32, is_named: bool, reopens: Instant, now: Instant) {
        let was_held = self.held.is_some_and(|at| now < at + self.window);
        let percent = if is_named { ALONE_PERCENT } else { ALONE_UNNAMED_PERCENT };
        let is_alone = u64::from(admitted) * 100 >= u64::from(self.share) * u64::from(percent);
        if was_held && (is_alone || self.is_suspected(now)) {
            self.lower(admitted, now);
        } else if was_held {
            self.suspected = Some(reopens + SUSPICION_WINDOWS * self.window);
        }
        self.grows = (now + self.window, 1);
    }

    /// Another 429 of the same event came, or one for a probe.
    pub(super) fn still_refused(&mut self, reopens: Instant, now: Instant) {
        if self.is_suspected(now) {
            self.suspected = Some(reopens + SUSPICION_WINDOWS * self.window);
        }
        self.grows = (now + self.window, 1);
    }

    fn is_suspected(&self, now: Instant) -> bool {
        self.suspected.is_some_and(|until| now < until)
    }

    fn lower(&mut self, admitted: u32, now: Instant) {
        let kept = u64::from(admitted) * u64::from(KEPT_PERCENT) / 100;
        let least = (self.limit / 50).max(1);
        let share = u32::try_from(kept).unwrap_or(self.limit).clamp(least, self.limit);
        self.suspected = None;
        self.set(share, now);
    }

    fn grow(&mut self, now: Instant) {
        if self.is_full() || now < self.grows.0 {
            return;
        }
        let step = (self.limit * self.grows.1).div_ceil(100);
        let share = self.share.saturating_add(step).min(self.limit);
        self.set(share, now);
        self.grows = (now + self.window, self.grows.1 * 2);
    }

    fn set(&mut self, share: u32, now: Instant) {
        self.share = share;
        self.start = now;
        self.limiter = limiter(share, self.window, &self.elapsed);
    }
}

fn limiter(
    limit: u32,
    window: Duration,
    elapsed: &Arc<AtomicU64>,
) -> RateLimiter<NotKeyed, InMemoryState, ElapsedClock, NoOpMiddleware<Duration>> {
    let burst = NonZeroU32::new(limit / BURST_DIVISOR).unwrap_or(NonZeroU32::MIN);
    let rest = limit.saturating_sub(burst.get()).max(1);
    let period = (window / rest).max(Duration::from_nanos(1));
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
    elapsed.store(0, Ordering::Relaxed);
    RateLimiter::direct_with_clock(quota, ElapsedClock(Arc::clone(elapsed)))
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").field("share", &self.share).field("grows", &self.grows).finish_non_exhaustive()
    }
}

/// A clock that is set from outside, as time since the pace began.
#[derive(Clone, Debug)]
struct ElapsedClock(Arc<AtomicU64>);

impl Clock for ElapsedClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
