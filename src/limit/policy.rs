//! When the next request may be sent. Pure: it is fed with what was sent and answered, and time is a parameter.
//!
//! Three parts, each of which can delay a request:
//! - *Gate* (`gate`): a 429 closes it for all requests until the time the API names; then one request goes alone as a
//!   probe, as at the start.
//! - *Ceiling* (`window`): requests in flight and requests answered within the last window stay below N. A slot is free
//!   one window after its answer came: never too early, whatever the latency, and whenever in it the server counted.
//! - *Speed* below the ceiling: by `X-RateLimit-Remaining` if answers carry it (`credit`), otherwise a pace that is safe
//!   without it (`pace`). A job that surely fits into what is free needs neither.

mod credit;
mod gate;
mod pace;
mod share;
mod window;

use std::time::Duration;

use tokio::time::Instant;

use self::credit::{Advice, Credit};
use self::gate::Gate;
use self::pace::Pace;
pub use self::share::Part;
use self::window::Window;
use crate::options::Rate;
use crate::remote::rate_headers::RateHeaders;

/// One request's place in the count, from its grant until its answer or its release.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Slot {
    /// Counted up in the order of sending.
    pub(super) id: u64,
    pub(super) sent: Instant,
    /// The probe of the half-open gate.
    alone: bool,
    /// How often the gate had closed by then.
    era: u64,
}

/// Whether a request may be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Go(Slot),
    /// Not before then, unless an answer comes first.
    WaitUntil(Instant),
    /// Not before an answer has come.
    WaitForAnswer,
}

/// Why a request may not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Until(Instant),
    ForAnswer,
}

/// The state of the limiter.
#[derive(Debug)]
pub struct Policy {
    /// `--rate`'s N.
    most: u32,
    /// `--rate`'s N, or the server's newest if that is lower.
    allowance: u32,
    /// How many runs divide the allowance between them without hearing of each other.
    parts: u32,
    /// This run's part of the allowance, which other machines use too.
    own: Part,
    /// The part of all runs that share this count.
    shared: Part,
    /// N of all runs that share this count, as long as no answer says what is left.
    limit: u32,
    /// The newest answer said what is left: it is no matter who has used the rest.
    is_told: bool,
    window: Duration,
    log: Window,
    gate: Gate,
    pace: Pace,
    credit: Credit,
    /// Until when the last attempt has to wait.
    waiting: Option<Instant>,
}

impl Policy {
    /// A limiter that has seen no request.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self {
            most: rate.requests,
            allowance: rate.requests,
            parts: 1,
            own: Part::WHOLE,
            shared: Part::WHOLE,
            limit: rate.requests,
            is_told: false,
            window: rate.window,
            log: Window::new(rate.window),
            gate: Gate::half_open(),
            pace: Pace::new(rate.requests, rate.window, now),
            credit: Credit::new(rate.window, now),
            waiting: None,
        }
    }

    /// Takes a slot, if a request may be sent now. `left` is how many the run still needs, this one included.
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
        if used >= self.ceiling() {
            return Err(self.log.next_free().map_or(Wait::ForAnswer, Wait::Until));
        }
        if self.fits(left) {
            return Ok(());
        }
        match self.credit.advise(now, self.ceiling(), &self.log) {
            Advice::Go => Ok(()),
            Advice::Wait(wait) => Err(wait),
            Advice::Unknown => self.pace.check(now).map_err(Wait::Until),
        }
    }

    /// Whether all that is left is surely free. If the server does not say what is left, it may still weigh what was sent
    /// two windows ago.
    fn fits(&self, left: u64) -> bool {
        let used = match self.credit.fits(left, &self.log) {
            Some(false) => return false,
            Some(true) => self.log.used(),
            None => self.log.used_lately(),
        };
        left <= u64::from(self.ceiling().saturating_sub(used)) && self.pace.is_full()
    }

    /// N of all runs that share this count. If the answers say what is left, it is all of N: what other machines leave is
    /// there for this one.
    const fn ceiling(&self) -> u32 {
        if self.is_told && self.parts <= 1 { self.allowance } else { self.limit }
    }

    /// Another run that shares the count has sent a request.
    pub fn record_foreign(&mut self, at: Instant) -> Slot {
        self.pace.take(at);
        self.sent(at)
    }

    fn sent(&mut self, now: Instant) -> Slot {
        self.log.forget(now);
        let id = self.log.send(now);
        let alone = self.gate.sent(now);
        self.credit.sent(now);
        Slot { id, sent: now, alone, era: self.gate.era() }
    }

    /// An answer has come, or the connection is lost.
    pub fn answered(&mut self, slot: &Slot, now: Instant, headers: &RateHeaders) {
        self.log.forget(now);
        self.log.answer(slot.id, now, !headers.limited);
        // an absurd Limit is corrected by the next one
        self.allowance = headers.limit.map_or(self.allowance, |limit| limit.min(self.most));
        self.set_limit(now);
        if headers.limited {
            let is_first = slot.era == self.gate.era();
            self.gate.close(slot, now, headers, self.window);
            self.refused(slot, is_first, headers.limit.is_some(), now);
            self.credit.refused(now);
        } else {
            self.gate.answered(slot);
            self.is_told = headers.remaining.is_some();
            self.credit.observe(slot, now, headers, self.ceiling(), &self.log);
        }
    }

    /// A 429 came. It says something about the own speed if it is the first of its event, and its request no probe:
    /// before a probe nothing was sent.
    fn refused(&mut self, slot: &Slot, is_first: bool, is_named: bool, now: Instant) {
        let reopens = self.gate.closed_until().unwrap_or(now);
        if is_first && !slot.alone {
            self.pace.refused(self.log.admitted(now), is_named, reopens, now);
        } else {
            self.pace.still_refused(reopens, now);
        }
    }

    /// From now on this run keeps to one of `parts` equal parts of the allowance: that many runs do not hear of each
    /// other.
    pub fn divide(&mut self, parts: u32, now: Instant) {
        self.parts = parts;
        self.set_limit(now);
    }

    /// This run has only a part of the allowance: other machines use the rest.
    pub fn set_own(&mut self, own: Part, now: Instant) {
        (self.own, self.shared) = (own, own);
        self.set_limit(now);
    }

    /// The other runs that share this count have these parts of the allowance together.
    pub fn share_with(&mut self, others: Part, now: Instant) {
        self.shared = self.own.plus(others);
        self.set_limit(now);
    }

    fn set_limit(&mut self, now: Instant) {
        // runs that do not hear of each other keep to their own parts
        let limit = match self.parts {
            0 | 1 => self.shared.of(self.allowance),
            parts => self.own.of(self.allowance).min((self.allowance / parts).max(1)),
        };
        if limit != self.limit {
            self.limit = limit;
            self.pace.set_limit(limit, now);
        }
    }

    /// The request was not sent after all: its slot is free.
    pub fn release(&mut self, slot: &Slot) {
        self.log.release(slot.id);
        self.gate.abandon(slot);
    }

    /// The answer will never be known: the request counts as answered now.
    pub fn abandon(&mut self, slot: &Slot, now: Instant) {
        self.log.answer(slot.id, now, true);
        self.gate.abandon(slot);
    }

    /// The window.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// N of the whole app: `--rate`'s, or the server's if that is lower.
    #[must_use]
    pub const fn allowance(&self) -> u32 {
        self.allowance
    }

    /// N of all runs that share this count, as long as no answer says what is left.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The time between two requests if the allowance is used evenly.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.window / self.limit.max(1)
    }

    /// When the API may be asked again after a 429; `None` if the gate is not closed.
    #[must_use]
    pub const fn closed_until(&self) -> Option<Instant> {
        self.gate.closed_until()
    }

    /// Until when the last attempt has to wait; `None` if it got a slot or waits for an answer.
    #[must_use]
    pub fn waiting(&self, now: Instant) -> Option<Instant> {
        self.closed_until().or(self.waiting).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests;
