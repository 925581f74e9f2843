//! The second gate: a circuit breaker. Is one image failing, or the service?
//!
//! Pure: the caller reports what each attempt met, and passes the time in. An outage opens the breaker: a connection
//! cannot be made, or five different rows in succession get no whole answer from a service. While it is open, one
//! probe at a time goes out and no image pays for its attempts; any whole answer closes it. [`crate::admission`]
//! makes the tasks wait.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Failure, ItemError, Service};

/// Different rows in succession without a whole answer that are an outage.
const ROWS: usize = 5;
/// Once this many rows have failed to connect while others got through, a refused connection no longer opens the
/// breaker: many rows lead to dead hosts, and one more is no sign of an outage.
const SUSPECTS_MAX: usize = 5;
/// Pause before the first probe; doubled after each.
const FIRST_PROBE_PAUSE: Duration = Duration::from_millis(500);
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Time in which any row may probe but the one that opened the breaker.
const OTHERS_HEAD_START: Duration = Duration::from_millis(100);

/// What a row that wants to make an attempt has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Go ahead.
    Go,
    /// Go ahead as the probe of an outage.
    Probe,
    /// Ask again at that time, or after a change.
    WaitUntil(Instant),
    /// Ask again after a change: a probe is in flight.
    WaitForProbe,
    /// The outage has lasted too long.
    Over,
}

/// Who pays for a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    /// It counts against the image.
    Image,
    /// It belongs to an outage and costs the image nothing.
    Outage,
}

/// A change of the breaker that is shown to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// An outage began, for this reason.
    Opened(String),
    /// The outage is over; it lasted this long.
    Closed(Duration),
}

#[derive(Debug)]
struct Outage {
    service: Service,
    since: Instant,
    /// The row whose probe is in flight.
    probe: Option<i64>,
    next_probe: Instant,
    pause: Duration,
    /// The row that opened the breaker.
    first: i64,
    /// No other row has met the outage so far.
    alone: bool,
    last: ItemError,
}

impl Outage {
    /// Row `seq` met it too. The failure of a probe postpones the next one, and so does a `Retry-After`.
    fn met_by(&mut self, seq: i64, probing: bool, failure: &Failure, now: Instant) {
        self.alone &= self.first == seq;
        if let Some(wait) = failure.retry_after() {
            self.next_probe = self.next_probe.max(now + wait);
        }
        if probing {
            self.pause = (self.pause * 2).min(PROBE_PAUSE_MAX);
            self.next_probe = self.next_probe.max(now + self.pause);
            self.last = failure.describe();
        }
    }
}

/// Rows in succession that got no whole answer from a service.
#[derive(Debug, Default)]
struct Streak {
    rows: Vec<i64>,
    since: Option<Instant>,
}

/// The time of an outage, from the first failure that led to it; without an end while it lasts.
#[derive(Clone, Copy, Debug)]
struct OutageSpan {
    service: Service,
    from: Instant,
    until: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    max_outage: Duration,
    /// Holds until the first answer of the run.
    max_outage_at_start: Duration,
    answered: bool,
    streaks: [Streak; 2],
    outage: Option<Outage>,
    /// Rows that opened the breaker which another row's answer closed: the fault may be theirs, so the next time
    /// they pay for themselves.
    suspects: HashSet<i64>,
    /// Failures within it are refunded.
    outage_span: Option<OutageSpan>,
}

const fn index(service: Service) -> usize {
    match service {
        Service::Api => 0,
        Service::Storage => 1,
    }
}

impl Breaker {
    /// Closed. An outage is waited out for `max_outage`, before the first answer of a run for `max_outage_at_start`.
    pub(crate) fn new(max_outage: Duration, max_outage_at_start: Duration) -> Self {
        Self {
            max_outage,
            max_outage_at_start: max_outage_at_start.min(max_outage),
            answered: false,
            streaks: [Streak::default(), Streak::default()],
            outage: None,
            suspects: HashSet::new(),
            outage_span: None,
        }
    }

    /// May row `seq` make an attempt now?
    pub(crate) fn admit(&mut self, seq: i64, now: Instant) -> Admit {
        let limit = if self.answered { self.max_outage } else { self.max_outage_at_start };
        let Some(outage) = &mut self.outage else { return Admit::Go };
        let end = outage.since + limit;
        if outage.probe.is_some() {
            // its result decides; the attempt has time limits of its own
            return Admit::WaitForProbe;
        }
        if now >= end {
            return Admit::Over;
        }
        // the row that opened the breaker may be the only one that is ill: any other makes the better probe
        let head_start = if outage.first == seq { OTHERS_HEAD_START } else { Duration::ZERO };
        let next_probe = outage.next_probe + head_start;
        if now < next_probe {
            return Admit::WaitUntil(next_probe.min(end));
        }
        outage.probe = Some(seq);
        Admit::Probe
    }

    /// A service gave a whole answer, whatever it said, to an attempt of row `seq` that began at `started`. Only one that
    /// began in the outage ends it: an earlier one was under way when the service failed, and its answer is no news.
    pub(crate) fn answered(
        &mut self,
        seq: i64,
        service: Service,
        started: Instant,
        now: Instant,
    ) -> Option<Transition> {
        self.answered = true;
        self.streaks[index(service)] = Streak::default();
        let outage = self.outage.take_if(|outage| outage.service == service && started >= outage.since)?;
        if outage.first != seq {
            self.suspects.insert(outage.first);
        }
        if outage.alone && outage.first != seq {
            // it was that row's own trouble, not an outage
            self.outage_span = None;
        } else if let Some(span) = &mut self.outage_span {
            span.until = Some(now);
        }
        Some(Transition::Closed(now - outage.since))
    }

    /// Row `seq`'s attempt met `failure`; `remaining` rows, this one included, have not ended.
    pub(crate) fn failed(
        &mut self,
        seq: i64,
        failure: &Failure,
        remaining: u64,
        now: Instant,
    ) -> (Charge, Option<Transition>) {
        let probing =
            self.outage.as_mut().is_some_and(|outage| outage.probe.take_if(|row| *row == seq).is_some());
        let Some(service) = failure.silent_service() else { return (Charge::Image, None) };
        if let Some(outage) = &mut self.outage {
            outage.met_by(seq, probing, failure, now);
            return (Charge::Outage, None);
        }
        let streak = &mut self.streaks[index(service)];
        streak.since.get_or_insert(now);
        if !streak.rows.contains(&seq) {
            streak.rows.push(seq);
        }
        let no_connection = matches!(failure, Failure::Connect { .. })
            && !self.suspects.contains(&seq)
            && self.suspects.len() < SUSPECTS_MAX;
        let many = streak.rows.len() >= ROWS && remaining >= ROWS as u64;
        if !no_connection && !many {
            return (Charge::Image, None);
        }
        (Charge::Outage, Some(self.open(seq, service, failure, now)))
    }

    fn open(&mut self, seq: i64, service: Service, failure: &Failure, now: Instant) -> Transition {
        let (last, retry_after) = (failure.describe(), failure.retry_after());
        let streak = &self.streaks[index(service)];
        let transition = Transition::Opened(last.error.clone());
        let first_probe = FIRST_PROBE_PAUSE.max(retry_after.unwrap_or_default());
        self.outage_span = Some(OutageSpan { service, from: streak.since.unwrap_or(now), until: None });
        self.outage = Some(Outage {
            service,
            since: now,
            probe: None,
            next_probe: now + first_probe,
            pause: FIRST_PROBE_PAUSE,
            first: seq,
            alone: streak.rows.len() == 1,
            last,
        });
        transition
    }

    /// If row `seq` is the probe, another row may be it now.
    pub(crate) fn release_probe(&mut self, seq: i64) {
        if let Some(outage) = &mut self.outage {
            outage.probe.take_if(|row| *row == seq);
        }
    }

    /// Whether a failure of `service` at `when` turned out to be part of an outage.
    pub(crate) fn was_outage(&self, service: Service, when: Instant) -> bool {
        self.outage_span.is_some_and(|span| {
            span.service == service && when >= span.from && span.until.is_none_or(|until| when <= until)
        })
    }

    /// Whether row `seq`'s last failure may yet turn out to be the beginning of an outage.
    pub(crate) fn may_be_outage(&self, seq: i64, service: Service) -> bool {
        self.outage.is_none() && self.streaks[index(service)].rows.contains(&seq)
    }

    /// The outage, if there is one: the service, its duration so far, and the last failure.
    pub(crate) fn outage(&self, now: Instant) -> Option<(Service, Duration, &ItemError)> {
        self.outage.as_ref().map(|outage| (outage.service, now - outage.since, &outage.last))
    }
}

#[cfg(test)]
mod tests;
