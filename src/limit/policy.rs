//! When the next request may be sent: pure, fed with "sent" and "answered", on whatever clock it is given.
//!
//! Three parts, the later never looser than the earlier:
//! - *Ceiling*: requests in flight and requests answered within the last window stay below N. A slot is free one
//!   window after its answer came, so that it is never too early, whatever the latency and wherever in it the
//!   server looked at its clock.
//! - *Pace*: a job larger than what is free is spread by governor with a burst of N/50, at the rate that lets at
//!   most N through in any window. Under a sliding-window counter a faster start would cost 429s.
//! - *Gate*: a 429 closes it for everybody until the API's own time; then one request goes ahead alone.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::headers::Hints;
use crate::options::Rate;

/// First own wait after a 429 that names none, doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Share of the allowance that may be used at once: 2 % cost in pace, room for small bursts.
const BURST_SHARE: u32 = 50;

/// The right to send one request; to be given back with its answer.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket {
    sent: Instant,
    /// Sent through the half-open gate.
    alone: bool,
    /// How often the gate had closed when it was sent.
    era: u64,
}

/// What the policy says.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send it.
    Go(Ticket),
    /// Ask again then.
    WaitUntil(Instant),
    /// Ask again when an answer has come.
    WaitForAnswer,
}

#[derive(Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// Until the instant; then half-open.
    Closed(Instant),
    /// One request is on its way; everybody waits for its answer.
    Probing,
}

/// The state of the clock.
#[derive(Debug)]
pub struct Policy {
    limit: u32,
    window: Duration,
    in_flight: u32,
    /// When the answers came whose slots are still taken, oldest first.
    answered: VecDeque<Instant>,
    pace: Pace,
    gate: Gate,
    /// How often the gate has closed: requests sent before it closed are one event with the one that closed it.
    era: u64,
    /// 429s in a row that named no time.
    unnamed: u32,
}

impl Policy {
    /// A clock that has seen no request.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self {
            limit: rate.requests,
            window: rate.window,
            in_flight: 0,
            answered: VecDeque::new(),
            pace: Pace::new(rate.requests, rate.window, now),
            gate: Gate::Open,
            era: 0,
            unnamed: 0,
        }
    }

    /// May a request be sent now? `left` is how many the run still needs, this one included.
    pub fn ask(&mut self, now: Instant, left: u64) -> Decision {
        self.forget(now);
        let alone = match self.gate {
            Gate::Open => false,
            Gate::Closed(until) if now < until => return Decision::WaitUntil(until),
            Gate::Closed(_) => true,
            Gate::Probing => return Decision::WaitForAnswer,
        };
        let used = self.used();
        if used >= self.limit {
            return match self.answered.front() {
                Some(oldest) => Decision::WaitUntil(*oldest + self.window),
                None => Decision::WaitForAnswer,
            };
        }
        let free = u64::from(self.limit - used);
        if left > free
            && let Err(until) = self.pace.check(now)
        {
            return Decision::WaitUntil(until);
        }
        if alone {
            self.gate = Gate::Probing;
        }
        self.in_flight += 1;
        Decision::Go(Ticket { sent: now, alone, era: self.era })
    }

    /// An answer has come, or its connection is lost.
    pub fn answered(&mut self, ticket: &Ticket, now: Instant, hints: &Hints) {
        self.in_flight -= 1;
        self.answered.push_back(now);
        if let Some(limit) = hints.limit
            && limit < self.limit
        {
            self.limit = limit;
            self.pace = Pace::new(limit, self.window, now);
        }
        if hints.limited {
            self.close(ticket, now, hints);
        } else {
            self.unnamed = 0;
            // another answer may have closed it again meanwhile
            if ticket.alone && self.gate == Gate::Probing {
                self.gate = Gate::Open;
            }
        }
    }

    /// The request was not sent after all.
    pub fn unsent(&mut self, ticket: &Ticket, now: Instant) {
        self.in_flight -= 1;
        if ticket.alone && self.gate == Gate::Probing {
            self.gate = Gate::Closed(now);
        }
    }

    fn close(&mut self, ticket: &Ticket, now: Instant, hints: &Hints) {
        let first = ticket.era == self.era;
        let named = hints.retry_after.or(hints.reset);
        let wait = named.unwrap_or_else(|| {
            if first {
                self.unnamed += 1;
            }
            let doubled = FIRST_WAIT.saturating_mul(1 << self.unnamed.saturating_sub(1).min(16));
            doubled.min(self.window.max(FIRST_WAIT))
        });
        let until = match self.gate {
            // what the API asked for is never cut short by another answer
            Gate::Closed(until) if named.is_none() => until,
            Gate::Closed(until) => until.max(now + wait),
            Gate::Open | Gate::Probing => now + wait,
        };
        if first {
            self.era += 1;
        }
        // a late 429 of before must not end a probe that is on its way
        if self.gate != Gate::Probing || ticket.alone || named.is_some() {
            self.gate = Gate::Closed(until);
        }
    }

    /// When the API may be asked again after a 429; `None` where nothing is closed.
    #[must_use]
    pub const fn closed_until(&self) -> Option<Instant> {
        match self.gate {
            Gate::Closed(until) => Some(until),
            Gate::Open | Gate::Probing => None,
        }
    }

    /// When [`Policy::ask`] would say go, without asking; `None` for now or for an answer's sake.
    #[must_use]
    pub fn peek(&self, now: Instant, left: u64) -> Option<Instant> {
        if let Gate::Closed(until) = self.gate {
            return Some(until);
        }
        let used = self.used();
        if used >= self.limit {
            return self.answered.front().map(|oldest| *oldest + self.window);
        }
        (left > u64::from(self.limit - used)).then(|| self.pace.next(now)).flatten()
    }

    fn used(&self) -> u32 {
        self.in_flight.saturating_add(u32::try_from(self.answered.len()).unwrap_or(u32::MAX))
    }

    fn forget(&mut self, now: Instant) {
        while self.answered.front().is_some_and(|oldest| now >= *oldest + self.window) {
            self.answered.pop_front();
        }
    }
}

/// governor's GCRA on a clock that is told the time.
struct Pace {
    limiter: RateLimiter<NotKeyed, InMemoryState, Told, NoOpMiddleware<Duration>>,
    told: Arc<AtomicU64>,
    start: Instant,
    last: Option<Instant>,
}

impl Pace {
    fn new(limit: u32, window: Duration, now: Instant) -> Self {
        let burst = NonZeroU32::new(limit / BURST_SHARE).unwrap_or(NonZeroU32::MIN);
        // burst + rate · window = limit: no window ever holds more
        let rest = limit.saturating_sub(burst.get()).max(1);
        let period = (window / rest).max(Duration::from_nanos(1));
        let quota =
            Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
        let told = Arc::new(AtomicU64::new(0));
        Self {
            limiter: RateLimiter::direct_with_clock(quota, Told(Arc::clone(&told))),
            told,
            start: now,
            last: None,
        }
    }

    fn check(&mut self, now: Instant) -> Result<(), Instant> {
        let since = now.saturating_duration_since(self.start);
        self.told.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        match self.limiter.check() {
            Ok(()) => {
                self.last = None;
                Ok(())
            }
            Err(not_until) => {
                let until = self.start + not_until.earliest_possible();
                self.last = Some(until);
                Err(until)
            }
        }
    }

    /// The wait that was said last, if it is still to come.
    fn next(&self, now: Instant) -> Option<Instant> {
        self.last.filter(|until| *until > now)
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace").field("last", &self.last).finish_non_exhaustive()
    }
}

/// A clock that shows what it was told, as time since the policy began.
#[derive(Clone, Debug)]
struct Told(Arc<AtomicU64>);

impl Clock for Told {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
