//! How many images may be in flight: a number that the user fixed, or as many as the allowance needs. Pure: it is fed with
//! what was measured, and time is a parameter.
//!
//! The need follows from Little's law: requests that the allowance permits a second, times the seconds that an image takes.
//! More are in flight as soon as they are needed and all that may be are; fewer, slowly. A storage that asks to slow
//! down, a download that stalls, and a growth that brought no more bytes say that more would not help: for a minute the
//! number stays below what it was then.

use std::time::Duration;

use tokio::time::Instant;

use crate::options::Concurrency;

/// Fewer are never worth less memory.
const AUTO_MIN: usize = 8;
/// More than one line or one storage account is served by; each costs a connection and a file.
pub(super) const AUTO_MAX: usize = 256;
/// In flight until the first images were measured: enough for the vendor's allowance if an image takes 1.9 s.
const AUTO_START: usize = 32;
/// Images differ: their number in flight varies around its mean.
const MARGIN: f64 = 1.25;
/// What a growth brings is measured over the time of one image, within these bounds.
const MEASURE_INTERVAL_MIN: Duration = Duration::from_millis(500);
const MEASURE_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// A growth has paid if bytes a second rose by this part of it: the rest is noise.
const PAYING_PART: f64 = 0.25;
/// After a sign that the line is full, so long nothing is tried; then a quarter more at a time.
const CAP_INTERVAL: Duration = Duration::from_mins(1);
/// Between two steps down, each a quarter of the way.
const DOWN_INTERVAL: Duration = Duration::from_secs(10);

/// What was measured since the run began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub now: Instant,
    /// Requests that the allowance permits a second.
    pub allowed_per_second: f64,
    /// Images in flight.
    pub in_flight: usize,
    /// What an image takes from its request to its last byte.
    pub image_time: Duration,
    /// Bytes received in all.
    pub received: u64,
}

#[derive(Debug)]
pub(super) struct Controller {
    /// The number at this moment.
    now: usize,
    /// `None`: the user fixed the number.
    auto: Option<Auto>,
}

#[derive(Debug)]
struct Auto {
    /// What open files and memory permit.
    max: usize,
    /// While there was a sign that the line is full.
    cap: Option<Cap>,
    /// Start of the current measurement, and the bytes received by then.
    measuring: Option<(Instant, u64)>,
    /// The last growth, until it is known whether it has paid.
    growth: Option<Growth>,
    last_down: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Cap {
    number: usize,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Growth {
    from: usize,
    bytes_per_second: f64,
}

impl Controller {
    /// `max` is what open files and memory permit.
    pub(super) fn new(wanted: Concurrency, max: usize) -> Self {
        match wanted {
            Concurrency::Fixed(number) => Self { now: (number.get() as usize).min(max), auto: None },
            Concurrency::Auto => {
                let max = max.min(AUTO_MAX);
                let auto = Auto { max, cap: None, measuring: None, growth: None, last_down: None };
                Self { now: AUTO_START.min(max), auto: Some(auto) }
            }
        }
    }

    /// Images that may be in flight now.
    pub(super) const fn number(&self) -> usize {
        self.now
    }

    /// The most that may ever be.
    pub(super) fn max(&self) -> usize {
        self.auto.as_ref().map_or(self.now, |auto| auto.max)
    }

    /// The storage asked to slow down, or a download stalled, while `in_flight` images were in flight.
    pub(super) fn line_is_full(&mut self, in_flight: usize, now: Instant) {
        let Some(auto) = &mut self.auto else { return };
        // what is in flight at one time meets the same thing
        if auto.cap.is_some_and(|cap| now.duration_since(cap.since) < MEASURE_INTERVAL_MAX) {
            return;
        }
        self.now = auto.cap_at(in_flight.min(self.now) * 3 / 4, now).min(self.now);
    }

    /// An outage is over: what was met in it says nothing of the line.
    pub(super) fn forget_cap(&mut self) {
        if let Some(auto) = &mut self.auto {
            (auto.cap, auto.growth) = (None, None);
        }
    }

    /// Adjusts the number to what was measured.
    pub(super) fn adjust(&mut self, measured: &Measured) {
        if let Some(auto) = &mut self.auto {
            self.now = auto.adjusted(self.now, measured);
        }
    }
}

impl Auto {
    fn adjusted(&mut self, number: usize, measured: &Measured) -> usize {
        self.lift_cap(measured.now);
        let need = self.need(measured);
        if need < number || measured.in_flight < number {
            (self.measuring, self.growth) = (None, None);
            return self.down(number, need, measured.now);
        }
        self.last_down = None;
        let Some(bytes_per_second) = self.measure(measured) else { return number };
        if let Some(growth) = self.growth.take_if(|growth| !growth.has_paid(number, bytes_per_second)) {
            return self.cap_at(growth.from, measured.now).min(number);
        }
        let next = need.min(2 * number);
        self.growth = (next > number).then_some(Growth { from: number, bytes_per_second });
        next
    }

    /// Little's law, within the bounds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative")]
    fn need(&self, measured: &Measured) -> usize {
        let need = (measured.allowed_per_second * measured.image_time.as_secs_f64() * MARGIN).ceil() as usize;
        let max = self.cap.map_or(self.max, |cap| cap.number.min(self.max));
        need.max(AUTO_MIN).min(max)
    }

    /// Bytes a second, once they were measured for long enough with all places in use.
    #[expect(clippy::cast_precision_loss, reason = "a speed")]
    fn measure(&mut self, measured: &Measured) -> Option<f64> {
        let (since, before) = *self.measuring.get_or_insert((measured.now, measured.received));
        let time = measured.now.duration_since(since);
        if time < measured.image_time.clamp(MEASURE_INTERVAL_MIN, MEASURE_INTERVAL_MAX) {
            return None;
        }
        self.measuring = Some((measured.now, measured.received));
        Some(measured.received.saturating_sub(before) as f64 / time.as_secs_f64())
    }

    fn down(&mut self, number: usize, need: usize, now: Instant) -> usize {
        if need >= number {
            self.last_down = None;
            return number;
        }
        let last = *self.last_down.get_or_insert(now);
        if now.duration_since(last) < DOWN_INTERVAL {
            return number;
        }
        self.last_down = Some(now);
        number - (number - need).div_ceil(4)
    }

    /// From now on at most `number`, if that is not too few.
    fn cap_at(&mut self, number: usize, now: Instant) -> usize {
        let number = number.max(AUTO_MIN).min(self.max);
        (self.cap, self.growth, self.measuring) = (Some(Cap { number, since: now }), None, None);
        number
    }

    fn lift_cap(&mut self, now: Instant) {
        if let Some(cap) = &mut self.cap
            && now.duration_since(cap.since) >= CAP_INTERVAL
        {
            *cap = Cap { number: cap.number + cap.number.div_ceil(4), since: now };
        }
        self.cap.take_if(|cap| cap.number >= self.max);
    }
}

impl Growth {
    #[expect(clippy::cast_precision_loss, reason = "a ratio of small numbers")]
    fn has_paid(self, number: usize, bytes_per_second: f64) -> bool {
        let grown_by = number as f64 / self.from.max(1) as f64 - 1.0;
        bytes_per_second >= self.bytes_per_second * (1.0 + grown_by * PAYING_PART)
    }
}

#[cfg(test)]
mod tests;
