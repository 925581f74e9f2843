//! Closed by a 429 until the time the API names, then half-open: one request goes alone as a probe. It does not pace.

use std::time::Duration;

use tokio::time::Instant;

use super::{Slot, Wait};
use crate::remote::rate_headers::RateHeaders;

/// First wait after a 429 that names none, doubled each time.
const UNNAMED_WAIT_MIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Whether the API admits requests is not known: one goes alone.
    HalfOpen,
    /// Until the instant; then half-open.
    Closed(Instant),
    /// That one is in flight; all others wait for its answer.
    Probing,
}

#[derive(Debug)]
pub(super) struct Gate {
    state: State,
    /// How often the gate has closed: the 429s of requests sent before it closed are one event with the first one.
    era: u64,
    /// 429s in a row that named no time.
    unnamed: u32,
}

impl Gate {
    pub(super) const fn half_open() -> Self {
        Self { state: State::HalfOpen, era: 0, unnamed: 0 }
    }

    pub(super) const fn era(&self) -> u64 {
        self.era
    }

    /// May a request go through?
    pub(super) fn pass(&self, now: Instant) -> Result<(), Wait> {
        match self.state {
            State::Closed(until) if now < until => Err(Wait::Until(until)),
            State::Open | State::HalfOpen | State::Closed(_) => Ok(()),
            State::Probing => Err(Wait::ForAnswer),
        }
    }

    /// A request is sent at `now`. True if it goes alone. A foreign request that was sent while the gate was closed ends
    /// no wait: its run did not know of the 429.
    pub(super) fn sent(&mut self, now: Instant) -> bool {
        let alone = match self.state {
            State::HalfOpen => true,
            State::Closed(until) => now >= until,
            State::Open | State::Probing => false,
        };
        if alone {
            self.state = State::Probing;
        }
        alone
    }

    /// Anything but a 429 came.
    pub(super) fn answered(&mut self, slot: &Slot) {
        self.unnamed = 0;
        // another answer may have closed it again meanwhile
        if slot.alone && self.state == State::Probing {
            self.state = State::Open;
        }
    }

    /// No answer came, and none will.
    pub(super) fn abandon(&mut self, slot: &Slot) {
        if slot.alone && self.state == State::Probing {
            self.state = State::HalfOpen;
        }
    }

    /// A 429 came.
    pub(super) fn close(&mut self, slot: &Slot, now: Instant, headers: &RateHeaders, window: Duration) {
        let first = slot.era == self.era;
        let named = headers.named_wait();
        let wait = named.unwrap_or_else(|| {
            if first {
                self.unnamed += 1;
            }
            let doubled = UNNAMED_WAIT_MIN.saturating_mul(1 << self.unnamed.saturating_sub(1).min(16));
            doubled.min(window.max(UNNAMED_WAIT_MIN))
        });
        let until = match self.state {
            // a wait that the API named is never cut short by another answer
            State::Closed(until) if named.is_none() => until,
            State::Closed(until) => until.max(now + wait),
            State::Open | State::HalfOpen | State::Probing => now + wait,
        };
        if first {
            self.era += 1;
        }
        // a late 429 of an earlier request must not end a probe in flight
        if self.state != State::Probing || slot.alone || named.is_some() {
            self.state = State::Closed(until);
        }
    }

    pub(super) const fn closed_until(&self) -> Option<Instant> {
        match self.state {
            State::Closed(until) => Some(until),
            State::Open | State::HalfOpen | State::Probing => None,
        }
    }
}
