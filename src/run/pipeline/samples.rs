//! What each minute of the run brought, and when the run had to wait: recorded in the ledger for the report.
//!
//! The minute that is going on is recorded again and again, so that a kill takes seconds of it and no more.

use std::time::Duration;

use crate::ledger::{Sample, Span, SpanKind, Write};

/// Adds up the minutes of a run.
#[derive(Debug)]
pub(super) struct Sampler {
    run: i64,
    /// The minute that is going on.
    minute: Sample,
    /// What the run had done before it.
    before: Totals,
    /// The spans that are going on.
    open: Vec<Span>,
    /// What is to be written of minutes and spans that are over.
    over: Vec<Write>,
}

/// What a run has done so far, and how it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub requests: u64,
    pub answers_429: u64,
    pub images: u64,
    pub bytes: u64,
    /// Now.
    pub in_flight: u64,
    /// Requests a minute that are allowed now.
    pub allowance: f64,
    /// Now.
    pub is_out: bool,
    /// Now.
    pub is_told_to_wait: bool,
}

impl Sampler {
    pub fn new(run: i64) -> Self {
        Self { run, minute: Sample::default(), before: Totals::default(), open: Vec::new(), over: Vec::new() }
    }

    /// Looks at the run after `elapsed` since its start.
    pub fn observe(&mut self, elapsed: Duration, totals: &Totals) {
        let minute = elapsed.as_secs() / 60;
        if minute > self.minute.minute {
            self.over.push(Write::Sample(self.run, self.minute));
            self.before = Totals {
                requests: self.before.requests + self.minute.requests,
                answers_429: self.before.answers_429 + self.minute.answers_429,
                images: self.before.images + self.minute.images,
                bytes: self.before.bytes + self.minute.bytes,
                ..*totals
            };
            self.minute = Sample { minute, ..Sample::default() };
        }
        let before = &self.before;
        self.minute = Sample {
            minute,
            requests: totals.requests.saturating_sub(before.requests),
            answers_429: totals.answers_429.saturating_sub(before.answers_429),
            images: totals.images.saturating_sub(before.images),
            bytes: totals.bytes.saturating_sub(before.bytes),
            in_flight: self.minute.in_flight.max(totals.in_flight),
            allowance: totals.allowance,
        };
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.follow(SpanKind::Outage, totals.is_out, now);
        self.follow(SpanKind::Wait, totals.is_told_to_wait, now);
    }

    /// Opens, extends or ends the span of this kind.
    fn follow(&mut self, what: SpanKind, goes_on: bool, now: u64) {
        match self.open.iter().position(|span| span.what == what) {
            Some(at) => {
                self.open[at].ended = now;
                if !goes_on {
                    self.over.push(Write::Span(self.run, self.open.swap_remove(at)));
                }
            }
            None if goes_on => self.open.push(Span { what, began: now, ended: now }),
            None => {}
        }
    }

    /// What is to be written now.
    pub fn record(&mut self) -> Vec<Write> {
        let mut writes = std::mem::take(&mut self.over);
        writes.push(Write::Sample(self.run, self.minute));
        writes.extend(self.open.iter().map(|span| Write::Span(self.run, *span)));
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sampler: &mut Sampler, seconds: u64, images: u64, is_out: bool) {
        let totals =
            Totals { images, requests: 2 * images, in_flight: images % 7, is_out, ..Totals::default() };
        sampler.observe(Duration::from_secs(seconds), &totals);
    }

    #[test]
    fn minutes_add_up_to_the_whole_and_spans_last_as_long_as_they_were_seen() {
        let mut sampler = Sampler::new(5);
        for (seconds, images, is_out) in [(1, 3, false), (59, 10, false), (61, 12, true), (70, 12, true)] {
            at(&mut sampler, seconds, images, is_out);
        }
        let open = Span { what: SpanKind::Outage, began: 61_000, ended: 70_000 };
        let sample = |minute, images, in_flight| Sample {
            minute,
            images,
            requests: 2 * images,
            in_flight,
            ..Sample::default()
        };
        let written = |sampler: &mut Sampler| -> Vec<String> {
            sampler.record().iter().map(|write| format!("{write:?}")).collect()
        };
        let shown =
            |writes: &[Write]| -> Vec<String> { writes.iter().map(|write| format!("{write:?}")).collect() };
        let first =
            [Write::Sample(5, sample(0, 10, 3)), Write::Sample(5, sample(1, 2, 5)), Write::Span(5, open)];
        assert_eq!(written(&mut sampler), shown(&first));
        at(&mut sampler, 75, 12, false);
        // nothing was seen for three minutes
        at(&mut sampler, 260, 20, false);
        let ended = Span { ended: 75_000, ..open };
        let rest =
            [Write::Span(5, ended), Write::Sample(5, sample(1, 2, 5)), Write::Sample(5, sample(4, 8, 6))];
        assert_eq!(written(&mut sampler), shown(&rest));
    }
}
