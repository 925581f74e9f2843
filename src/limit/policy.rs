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

use self::credit::{Credit, Say};
use self::gate::Gate;
use self::pace::Pace;
use self::window::Window;
use crate::options::Rate;
use crate::remote::rate_headers::RateHeaders;

/// The right to send one request; to be given back with its answer.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket {
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
    Go(Ticket),
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
    slots: Window,
    gate: Gate,
    pace: Pace,
    guide: Credit,
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
            slots: Window::new(rate.window),
            gate: Gate::half_open(),
            pace: Pace::new(rate.requests, rate.window, now),
            guide: Credit::new(rate.window, now),
            waiting: None,
        }
    }

    /// May a request be sent now? `left` is how many the run still needs, this one included.
    pub fn ask(&mut self, now: Instant, left: u64) -> Decision {
        self.slots.forget(now);
        match self.judge(now, left) {
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

    fn judge(&mut self, now: Instant, left: u64) -> Result<(), Wait> {
        self.gate.pass(now)?;
        let used = self.slots.used();
        if used >= self.limit {
            return Err(self.slots.next_free().map_or(Wait::ForAnswer, Wait::Until));
        }
        if self.fits(left) {
            return Ok(());
        }
        match self.guide.say(now, self.limit, &self.slots) {
            Say::Go => Ok(()),
            Say::Wait(wait) => Err(wait),
            Say::Unknown => self.pace.check(now).map_err(Wait::Until),
        }
    }

    /// Whether all that is left is surely free. A server that counts by windows may still weigh what was sent two
    /// windows ago.
    fn fits(&self, left: u64) -> bool {
        let free = u64::from(self.limit.saturating_sub(self.slots.used_lately()));
        left <= free && self.pace.is_full() && self.guide.fits(left, &self.slots)
    }

    /// Somebody else who keeps the same clock has sent a request.
    pub fn heard(&mut self, at: Instant) -> Ticket {
        // it took its part of the pace, also where that is not known to have had one
        let _ = self.pace.check(at);
        self.sent(at)
    }

    fn sent(&mut self, now: Instant) -> Ticket {
        self.slots.forget(now);
        let id = self.slots.send(now);
        let alone = self.gate.sent(now);
        self.guide.sent(now);
        Ticket { id, sent: now, alone, era: self.gate.era() }
    }

    /// An answer has come, or its connection is lost.
    pub fn answered(&mut self, ticket: &Ticket, now: Instant, hints: &RateHeaders) {
        self.slots.forget(now);
        self.slots.answer(ticket.id, now, !hints.limited);
        // a Limit that was nonsense is corrected by the next one
        let limit = hints.limit.map_or(self.limit, |limit| limit.min(self.most));
        if limit != self.limit {
            self.limit = limit;
            self.pace = Pace::new(limit, self.window, now);
        }
        if hints.limited {
            self.gate.close(ticket, now, hints, self.window);
            let admitted = self.slots.admitted(now);
            self.pace.refused(admitted, ticket.era, self.gate.era(), now);
            self.guide.refused(now);
        } else {
            self.gate.answered(ticket);
            self.guide.observe(ticket, now, hints, self.limit, &self.slots);
        }
    }

    /// The request was not sent after all.
    pub fn unsent(&mut self, ticket: &Ticket) {
        self.slots.unsend(ticket.id);
        self.gate.lost(ticket);
    }

    /// Nobody will tell any more what was answered.
    pub fn lost(&mut self, ticket: &Ticket, now: Instant) {
        self.slots.answer(ticket.id, now, true);
        self.gate.lost(ticket);
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
    pub fn turn(&self) -> Duration {
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
