//! The speed if answers carry `X-RateLimit-Remaining`.
//!
//! *Credit* is the newest Remaining (by order of sending) less what was sent since. As long as the server has counted
//! no more than the own requests explain, credit is spent as it comes; after that, one request follows for each own slot
//! that becomes free. Otherwise another client spends too, or the server still weighs an earlier window: from then on
//! the speed follows from the credit alone, (10/W)·credit, and more if there is plenty. All clients keep the same law,
//! and it remembers nothing, so that all get the same share.

use std::time::Duration;

use tokio::time::Instant;

use super::window::Window;
use super::{Slot, Wait};
use crate::remote::rate_headers::RateHeaders;

/// An eighth of the credit may be in flight in the first window, when it is not known whether other clients spend too,
/// and whenever they may.
const CAUTIOUS_DIVISOR: f64 = 8.0;
/// Half of it after a window in which no other client was seen.
const USUAL_DIVISOR: f64 = 2.0;
/// The law of speed is (10/W)·credit·(1 + 20·credit/N): for a client alone, it is in balance with 5 % of N unspent.
const SPEED_PER_CREDIT: f64 = 10.0;
/// The law's second factor: plenty of credit is spent faster.
const SPEED_GAIN: f64 = 20.0;
/// Faster by this while the own earlier window may explain what was counted: 2.5 % are unspent.
const ALONE_FACTOR: f64 = 2.0;
/// In windows: how long nothing is sent while nothing is left, before the server is asked again.
const DRY_WINDOWS: f64 = 0.4;
/// A slot that is free here is left alone for this much longer, in units of W/N: the server may give slots back only
/// gradually.
const GRACE_SLOTS: f64 = 2.0;
/// In windows: for a small N the grace would cost too much.
const GRACE_WINDOWS_MAX: f64 = 0.1;
/// The server may have counted this many requests, and one per cent, more than the own log explains.
const UNEXPLAINED_MAX: u32 = 2;
/// In windows: how long other clients are remembered.
const MEMORY_WINDOWS: u32 = 2;

#[derive(Debug)]
pub(super) struct Credit {
    window: Duration,
    begin: Instant,
    /// Number and Remaining of the newest request whose answer had one.
    newest: Option<(u64, u32)>,
    /// Number of the last request that was sent before that answer came.
    overlapped: u64,
    last_sent: Option<Instant>,
    /// The server has counted more than the own requests of one window.
    careful: bool,
    /// Until then other clients explain it, since the own requests of two windows do not.
    others: Option<Instant>,
    /// Requests in a row that were admitted with nothing left.
    empty: u32,
    /// How long the newest request took, in seconds.
    latency: f64,
}

/// What the credit says about the next request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advice {
    Go,
    Wait(Wait),
    /// No answer has had a Remaining.
    Unknown,
}

impl Credit {
    pub(super) const fn new(window: Duration, begin: Instant) -> Self {
        Self {
            window,
            begin,
            newest: None,
            overlapped: 0,
            last_sent: None,
            careful: false,
            others: None,
            empty: 0,
            latency: 0.0,
        }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        // other runs' requests may be recorded late
        self.last_sent = self.last_sent.max(Some(now));
    }

    /// Whether `left` requests may go whatever the next answers say; `None` if no answer has said what is left.
    ///
    /// Requests that were in flight together with the newest one may be in its Remaining, and are not counted again: the
    /// own log knows how many they are.
    pub(super) fn fits(&self, left: u64, slots: &Window) -> Option<bool> {
        let (_, remaining) = self.newest?;
        let credit = i64::from(remaining).saturating_sub_unsigned(slots.sent_after(self.overlapped));
        Some(!self.careful && u64::try_from(credit).is_ok_and(|credit| left <= credit))
    }

    /// May a request go now?
    pub(super) fn advise(&self, now: Instant, limit: u32, slots: &Window) -> Advice {
        let (Some(newest), Some(last)) = (self.newest, self.last_sent) else { return Advice::Unknown };
        let credit = to_f64(credit(newest, slots).max(0));
        // in flight when all of the allowance is used evenly
        let flow = f64::from(limit) * self.latency / self.window.as_secs_f64();
        let first = now < self.begin + self.window;
        let in_flight = match (self.careful, first) {
            (true, _) => (credit / CAUTIOUS_DIVISOR).max(1.0) + flow / 2.0,
            (false, true) => (credit / CAUTIOUS_DIVISOR).max(1.0),
            (false, false) => (credit / USUAL_DIVISOR).max(1.0) + flow,
        };
        if f64::from(slots.in_flight()) >= in_flight {
            return Advice::Wait(Wait::ForAnswer);
        }
        let next = match (self.careful, credit) {
            (false, 1.0..) => now,
            (false, _) => self.after_free_slot(last, limit, slots).unwrap_or(last),
            (true, 2.0..) => last + self.gap(now, credit, limit),
            (true, _) => {
                let dry = last + self.dry(limit);
                self.after_free_slot(last, limit, slots).map_or(dry, |free| free.min(dry))
            }
        };
        if now >= next { Advice::Go } else { Advice::Wait(Wait::Until(next)) }
    }

    fn gap(&self, now: Instant, credit: f64, limit: u32) -> Duration {
        let others = self.others.is_some_and(|until| now < until);
        let credit = credit * if others { 1.0 } else { ALONE_FACTOR };
        self.window.div_f64(SPEED_PER_CREDIT * credit * (1.0 + SPEED_GAIN * credit / f64::from(limit)))
    }

    /// Shorter from the second request on that is admitted all the same: a Remaining that is always 0 says nothing.
    fn dry(&self, limit: u32) -> Duration {
        let halved = 2_f64.powi(self.empty.saturating_sub(2).min(30).cast_signed());
        self.window.mul_f64((DRY_WINDOWS / halved).max(GRACE_SLOTS / f64::from(limit)).min(DRY_WINDOWS))
    }

    /// A little after the first own slot that becomes free after `last`.
    fn after_free_slot(&self, last: Instant, limit: u32, slots: &Window) -> Option<Instant> {
        let grace = self.window.mul_f64((GRACE_SLOTS / f64::from(limit)).min(GRACE_WINDOWS_MAX));
        slots.freed_after(last).map(|free| free.max(last) + grace)
    }

    /// A 429 came although answers say what is left: other clients were faster.
    pub(super) fn refused(&mut self, now: Instant) {
        self.careful = true;
        self.empty = 0;
        self.others = Some(now + MEMORY_WINDOWS * self.window);
    }

    /// Records what an answer says, if its request is newer than the newest so far.
    pub(super) fn observe(
        &mut self,
        slot: &Slot,
        now: Instant,
        headers: &RateHeaders,
        limit: u32,
        slots: &Window,
    ) {
        let (Some(remaining), total) = (headers.remaining, headers.limit.unwrap_or(limit)) else { return };
        if remaining > total || self.newest.is_some_and(|(id, _)| id > slot.id) {
            return;
        }
        self.newest = Some((slot.id, remaining));
        self.overlapped = slots.sent();
        self.empty = if remaining == 0 { self.empty.saturating_add(1) } else { 0 };
        self.latency = now.saturating_duration_since(slot.sent).as_secs_f64();
        let counted = total - remaining;
        // all that was sent while it was under way may have been counted before it
        let own = slots.used_since(slot.sent.checked_sub(self.window).unwrap_or(slot.sent));
        let unexplained = |own: u32| counted > own.saturating_add(UNEXPLAINED_MAX + total / 100);
        if unexplained(own) {
            self.careful = true;
            if unexplained(slots.used_lately()) {
                self.others = Some(now + MEMORY_WINDOWS * self.window);
            }
        }
    }
}

fn credit((id, remaining): (u64, u32), slots: &Window) -> i64 {
    i64::from(remaining).saturating_sub_unsigned(slots.sent_after(id))
}

#[expect(clippy::cast_precision_loss, reason = "a credit is at most 2^32")]
const fn to_f64(number: i64) -> f64 {
    number as f64
}
