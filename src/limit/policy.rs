//! When the next request may be sent: pure, fed with "sent" and "answered", on whatever clock it is given.
//!
//! Three parts, each able to say "wait":
//! - *Gate*: a 429 closes it for everybody until the API's own time; then one request goes ahead alone, as at the
//!   start.
//! - *Ceiling*: requests in flight and requests answered within the last window stay below N. A slot is free one
//!   window after its answer came, so that it is never too early, whatever the latency and wherever in it the
//!   server looked at its clock.
//! - *Speed* below the ceiling: told by `X-RateLimit-Remaining` where the answers have it (`guide`), else a pace
//!   that is safe without being told (`pace`). A job that surely fits into what is free needs neither.

mod credit;
mod gate;
mod pace;
mod window;

use std::time::Duration;

use tokio::time::Instant;

use self::credit::{Advice, Credit};
use self::gate::Gate;
use self::pace::Pace;
use self::window::Window;
use crate::options::Rate;
use crate::remote::rate_headers::RateHeaders;

/// The right to send one request; to be given back with its answer.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Slot {
    /// Counted up in the order of sending.
    pub(super) id: u64,
    pub(super) sent: Instant,
    /// Sent through the half-open gate.
    alone: bool,
    /// How often the gate had closed when it was sent.
    era: u64,
}

/// What the policy says.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send it.
    Go(Slot),
    /// Ask again then, or when an answer has come.
    WaitUntil(Instant),
    /// Ask again when an answer has come.
    WaitForAnswer,
}

/// Why a request may not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Until(Instant),
    ForAnswer,
}

/// The state of the clock.
#[derive(Debug)]
pub struct Policy {
    /// `--rate`'s N.
    most: u32,
    /// N: `--rate`'s, or the server's newest where that is lower.
    limit: u32,
    window: Duration,
    log: Window,
    gate: Gate,
    pace: Pace,
    credit: Credit,
    /// Until when the last question had to wait.
    waiting: Option<Instant>,
}

impl Policy {
    /// A clock that has seen no request.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self {
            most: rate.requests,
            limit: rate.requests,
            window: rate.window,
            log: Window::new(rate.window),
            gate: Gate::half_open(),
            pace: Pace::new(rate.requests, rate.window, now),
            credit: Credit::new(rate.window, now),
            waiting: None,
        }
    }

    /// May a request be sent now? `left` is how many the run still needs, this one included.
    pub fn try_acquire(&mut self, now: Instant, left: u64) -> Decision {
        self.log.forget(now);
        match self.check(now, left) {
            Ok(()) => {
                self.waiting = None;
                Decision::Go(self.sent(now))
            }
            Err(Wait::Until(until)) => {
                self.waiting = Some(until);
                Decision::WaitUntil(until)
            }
            Err(Wait::ForAnswer) => Decision::WaitForAnswer,
        }
    }

    fn check(&mut self, now: Instant, left: u64) -> Result<(), Wait> {
        self.gate.pass(now)?;
        let used = self.log.used();
        if used >= self.limit {
            return Err(self.log.next_free().map_or(Wait::ForAnswer, Wait::Until));
        }
        if self.fits(left) {
            return Ok(());
        }
        match self.credit.advise(now, self.limit, &self.log) {
            Advice::Go => Ok(()),
            Advice::Wait(wait) => Err(wait),
            Advice::Unknown => self.pace.check(now).map_err(Wait::Until),
        }
    }

    /// Whether all that is left is surely free. A server that counts by windows may still weigh what was sent two
    /// windows ago.
    fn fits(&self, left: u64) -> bool {
        let free = u64::from(self.limit.saturating_sub(self.log.used_lately()));
        left <= free && self.pace.is_full() && self.credit.fits(left, &self.log)
    }

    /// Somebody else who keeps the same clock has sent a request.
    pub fn record_foreign(&mut self, at: Instant) -> Slot {
        // it took its part of the pace, also where that is not known to have had one
        let _ = self.pace.check(at);
        self.sent(at)
    }

    fn sent(&mut self, now: Instant) -> Slot {
        self.log.forget(now);
        let id = self.log.send(now);
        let alone = self.gate.sent(now);
        self.credit.sent(now);
        Slot { id, sent: now, alone, era: self.gate.era() }
    }

    /// An answer has come, or its connection is lost.
    pub fn answered(&mut self, slot: &Slot, now: Instant, headers: &RateHeaders) {
        self.log.forget(now);
        self.log.answer(slot.id, now, !headers.limited);
        // a Limit that was nonsense is corrected by the next one
        let limit = headers.limit.map_or(self.limit, |limit| limit.min(self.most));
        if limit != self.limit {
            self.limit = limit;
            self.pace = Pace::new(limit, self.window, now);
        }
        if headers.limited {
            self.gate.close(slot, now, headers, self.window);
            let admitted = self.log.admitted(now);
            self.pace.refused(admitted, slot.era, self.gate.era(), now);
            self.credit.refused(now);
        } else {
            self.gate.answered(slot);
            self.credit.observe(slot, now, headers, self.limit, &self.log);
        }
    }

    /// The request was not sent after all.
    pub fn release(&mut self, slot: &Slot) {
        self.log.release(slot.id);
        self.gate.abandon(slot);
    }

    /// Nobody will tell any more what was answered.
    pub fn abandon(&mut self, slot: &Slot, now: Instant) {
        self.log.answer(slot.id, now, true);
        self.gate.abandon(slot);
    }

    /// The window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// N: `--rate`'s, or the server's where that is lower.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The time of one request where the allowance is used evenly.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.window / self.limit.max(1)
    }

    /// When the API may be asked again after a 429; `None` where nothing is closed.
    #[must_use]
    pub const fn closed_until(&self) -> Option<Instant> {
        self.gate.closed_until()
    }

    /// Until when the last question had to wait; `None` where it went ahead or waits for an answer.
    #[must_use]
    pub fn waiting(&self, now: Instant) -> Option<Instant> {
        self.closed_until().or(self.waiting).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests;
