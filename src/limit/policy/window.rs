//! Recent requests, and when they were answered. It counts; it decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// The requests of the last two windows.
#[derive(Debug)]
pub(super) struct Window {
    length: Duration,
    /// Sent and not answered, by number.
    in_flight: BTreeMap<u64, Instant>,
    /// When answers came, oldest first, and whether the request was admitted.
    answered: VecDeque<(Instant, bool)>,
    /// How many at the front of `answered` are older than a window.
    old: usize,
    sent: u64,
}

impl Window {
    pub(super) const fn new(length: Duration) -> Self {
        Self { length, in_flight: BTreeMap::new(), answered: VecDeque::new(), old: 0, sent: 0 }
    }

    /// Forgets what is older than two windows.
    pub(super) fn forget(&mut self, now: Instant) {
        while self.answered.front().is_some_and(|(at, _)| now >= *at + 2 * self.length) {
            self.answered.pop_front();
            self.old = self.old.saturating_sub(1);
        }
        while self.answered.get(self.old).is_some_and(|(at, _)| now >= *at + self.length) {
            self.old += 1;
        }
    }

    pub(super) fn send(&mut self, now: Instant) -> u64 {
        self.sent += 1;
        self.in_flight.insert(self.sent, now);
        self.sent
    }

    pub(super) fn answer(&mut self, id: u64, now: Instant, admitted: bool) {
        if self.in_flight.remove(&id).is_some() {
            // other runs' answers may be recorded late
            let place = self.answered.partition_point(|(at, _)| *at <= now);
            self.answered.insert(place, (now, admitted));
            if place < self.old {
                self.old += 1;
            }
        }
    }

    pub(super) fn release(&mut self, id: u64) {
        self.in_flight.remove(&id);
    }

    /// In flight, or answered within the last window.
    pub(super) fn used(&self) -> u32 {
        count(self.in_flight.len() + self.answered.len() - self.old)
    }

    /// In flight, or answered within the last two windows.
    pub(super) fn used_lately(&self) -> u32 {
        count(self.in_flight.len() + self.answered.len())
    }

    /// In flight, or answered at `then` or later.
    pub(super) fn used_since(&self, then: Instant) -> u32 {
        let earlier = self.answered.partition_point(|(at, _)| *at < then);
        count(self.in_flight.len() + self.answered.len() - earlier)
    }

    /// Answered within the last window, and not with a 429.
    pub(super) fn admitted(&self, now: Instant) -> u32 {
        let since = self.answered.iter().rev().take_while(|(at, _)| *at + self.length > now);
        count(since.filter(|(_, admitted)| *admitted).count())
    }

    /// When the next slot is free; `None` if all are in flight.
    pub(super) fn next_free(&self) -> Option<Instant> {
        self.answered.get(self.old).map(|(at, _)| *at + self.length)
    }

    /// When the first slot after `then` became free, or will.
    pub(super) fn freed_after(&self, then: Instant) -> Option<Instant> {
        let before = self.answered.partition_point(|(at, _)| *at + self.length <= then);
        self.answered.get(before).map(|(at, _)| *at + self.length)
    }

    pub(super) fn in_flight(&self) -> u32 {
        count(self.in_flight.len())
    }

    /// The number of the newest request.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Requests sent after that one.
    pub(super) const fn sent_after(&self, id: u64) -> u64 {
        self.sent - id
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
