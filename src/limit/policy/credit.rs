//! The speed where answers carry `X-RateLimit-Remaining`.
//!
//! *Credit* is the newest Remaining (newest by order of sending) less what was sent since. As long as the server has
//! counted no more than the own requests explain, credit is spent as it comes, and then a request for each own slot
//! that is free again. Else somebody spends too, or the server still weighs an earlier window: from then on the
//! speed follows from the credit alone, (10/W)·credit and more where there is plenty. It is the same law for all who
//! keep it, and remembers nothing, so that all get the same.

use std::time::Duration;

use tokio::time::Instant;

use super::window::Window;
use super::{Slot, Wait};
use crate::remote::rate_headers::RateHeaders;

/// The credit's part that may be in flight: little while nobody knows who else is there.
const FIRST_PART: f64 = 8.0;
/// The same after a window in which nobody else was seen.
const PART: f64 = 2.0;
/// The law of speed, (10/W)·credit·(1 + 20·credit/N): alone, it is in balance with 5 % of N unspent.
const LAW: (f64, f64) = (10.0, 20.0);
/// Faster by this while nothing but the own earlier window may be behind what was counted: 2.5 % are unspent.
const ALONE: f64 = 2.0;
/// When nothing is left, so many windows may pass before the server is asked again.
const DRY: f64 = 0.4;
/// A slot that is free here is given to the server so much longer, in parts of W/N: it may give one back only
/// little by little.
const GRACE: f64 = 2.0;
/// In windows: where N is small that would cost too much.
const LONGEST_GRACE: f64 = 0.1;
/// The server may have counted so much more than is known here.
const UNEXPLAINED: u32 = 2;
/// Others are remembered for so many windows.
const MEMORY: u32 = 2;

#[derive(Debug)]
pub(super) struct Credit {
    window: Duration,
    begin: Instant,
    /// Number and Remaining of the newest request that told.
    newest: Option<(u64, u32)>,
    last_sent: Option<Instant>,
    /// The server has counted more than the own requests of one window.
    careful: bool,
    /// Until then it is others' doing, since two windows do not explain it either.
    others: Option<Instant>,
    /// So many in a row were admitted with nothing left.
    empty: u32,
    /// Time of the newest request, in seconds.
    latency: f64,
}

/// What is known of the speed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advice {
    Go,
    Wait(Wait),
    /// No answer has told.
    Unknown,
}

impl Credit {
    pub(super) const fn new(window: Duration, begin: Instant) -> Self {
        Self {
            window,
            begin,
            newest: None,
            last_sent: None,
            careful: false,
            others: None,
            empty: 0,
            latency: 0.0,
        }
    }

    pub(super) fn sent(&mut self, now: Instant) {
        // others' requests may be heard of late
        self.last_sent = self.last_sent.max(Some(now));
    }

    /// Whether so many may go without a look at the answers.
    pub(super) fn fits(&self, left: u64, slots: &Window) -> bool {
        match self.newest {
            None => true,
            Some(newest) => {
                !self.careful && u64::try_from(credit(newest, slots)).is_ok_and(|credit| left <= credit)
            }
        }
    }

    /// May a request go now?
    pub(super) fn advise(&self, now: Instant, limit: u32, slots: &Window) -> Advice {
        let (Some(newest), Some(last)) = (self.newest, self.last_sent) else { return Advice::Unknown };
        let credit = to_f64(credit(newest, slots).max(0));
        // in flight when all of the allowance is used evenly
        let flow = f64::from(limit) * self.latency / self.window.as_secs_f64();
        let first = now < self.begin + self.window;
        let in_flight = match (self.careful, first) {
            (true, _) => (credit / FIRST_PART).max(1.0) + flow / 2.0,
            (false, true) => (credit / FIRST_PART).max(1.0),
            (false, false) => (credit / PART).max(1.0) + flow,
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
        let credit = credit * if others { 1.0 } else { ALONE };
        self.window.div_f64(LAW.0 * credit * (1.0 + LAW.1 * credit / f64::from(limit)))
    }

    /// Shorter from the second on that is admitted all the same: a Remaining that is always 0 tells nothing.
    fn dry(&self, limit: u32) -> Duration {
        let halved = 2_f64.powi(self.empty.saturating_sub(2).min(30).cast_signed());
        self.window.mul_f64((DRY / halved).max(GRACE / f64::from(limit)).min(DRY))
    }

    /// A little after the first own slot that becomes free after `last`.
    fn after_free_slot(&self, last: Instant, limit: u32, slots: &Window) -> Option<Instant> {
        let grace = self.window.mul_f64((GRACE / f64::from(limit)).min(LONGEST_GRACE));
        slots.freed_after(last).map(|free| free.max(last) + grace)
    }

    /// A 429 that came although answers tell: others were faster.
    pub(super) fn refused(&mut self, now: Instant) {
        self.careful = true;
        self.empty = 0;
        self.others = Some(now + MEMORY * self.window);
    }

    /// Takes what an answer tells, where it is newer than what is known.
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
        self.empty = if remaining == 0 { self.empty.saturating_add(1) } else { 0 };
        self.latency = now.saturating_duration_since(slot.sent).as_secs_f64();
        let counted = total - remaining;
        // all that was sent while it was under way may have been counted before it
        let own = slots.used_since(slot.sent.checked_sub(self.window).unwrap_or(slot.sent));
        let unexplained = |own: u32| counted > own.saturating_add(UNEXPLAINED + total / 100);
        if unexplained(own) {
            self.careful = true;
            if unexplained(slots.used_lately()) {
                self.others = Some(now + MEMORY * self.window);
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
