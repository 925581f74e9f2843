//! May this row go ahead? The four gates that every row of a run passes, in the order in which it meets them.
//!
//! 1. [`drain`]: does the run still start anything?
//! 2. [`breaker`]: is a service out? Then one row at a time goes ahead as a probe and the others wait.
//! 3. [`orgs`]: does the API refuse this row's organization?
//! 4. [`throttle`]: may the wait that a 429 asks for be waited out?
//!
//! Beside the gates, [`alike`] stops a run whose rows all fail in the same way.
//!
//! Tasks come here before each attempt and wait if they have to; every wait ends at once when the run drains. An
//! outage, a 401 and a 429 are states of the run and are kept here; they are never failures of an image.
//!
//! Beside the gates, [`disk`] tells the disk's trouble from that of single rows.
//!
//! It does not decide what becomes of a row (that is `fetch`), and it does not count requests (that is `limit`).

mod alike;
pub(crate) mod breaker;
pub(crate) mod demand;
mod disk;
pub(crate) mod drain;
pub(crate) mod orgs;
pub(crate) mod throttle;
mod watched;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use self::alike::{Alike, Blame};
use self::breaker::{Admit, Breaker, Charge, Transition};
use self::demand::Demand;
use self::disk::DiskStreak;
use self::drain::Drain;
use self::orgs::Orgs;
use self::throttle::Throttle;
use self::watched::{Step, Watched, lock};
use crate::error::disk_cause::TOOK_NONE_BETWEEN;
use crate::error::{ErrorCode, Failure, ItemError, RunError, Service, StopReason};
use crate::event::{Event, Events};
use crate::ledger::EndState;
use crate::limit::Limiter;
use crate::options::{MAX_OUTAGE_AT_START, RunOptions};

/// What decides whether a row of this run may go ahead.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) drain: Drain,
    breaker: Watched<Breaker>,
    orgs: Arc<Mutex<Orgs>>,
    throttle: Throttle,
    alike: Mutex<Alike>,
    disk: Mutex<DiskStreak>,
    pub(crate) limiter: Limiter,
    pub(crate) events: Events,
    pub(crate) demand: Demand,
    /// Rows that have not ended.
    remaining: AtomicU64,
}

impl Admission {
    /// All gates open.
    pub(crate) fn new(options: &RunOptions, events: Events) -> Self {
        let limiter = match &options.limiter_dir {
            Some(folder) => Limiter::shared(options.rate, &options.api, folder, events.clone()),
            None => Limiter::new(options.rate),
        };
        let limiter = limiter.with_share(options.rate_share, options.shard);
        Self {
            drain: Drain::new(options.deadline, events.clone()),
            breaker: Watched::new(Breaker::new(options.max_outage, MAX_OUTAGE_AT_START)),
            orgs: Arc::default(),
            throttle: Throttle::new(options.max_outage, options.limiter_dir.clone()),
            alike: Mutex::default(),
            disk: Mutex::default(),
            limiter,
            events,
            demand: Demand::default(),
            remaining: AtomicU64::new(0),
        }
    }

    /// Rows that have not ended.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining.load(Ordering::Relaxed)
    }

    pub(crate) fn set_remaining(&self, rows: u64) {
        self.remaining.store(rows, Ordering::Relaxed);
    }

    /// Waits until row `seq` may make an attempt. During an outage the attempt is a probe, and the guard is its
    /// right to be one.
    ///
    /// # Errors
    /// [`Failure::Stopped`] if the run drains, also because the outage has lasted too long.
    pub(crate) async fn admit(&self, seq: i64) -> Result<Option<Probe<'_>>, Failure> {
        let decision = self.breaker.decide(|breaker| match breaker.admit(seq, Instant::now()) {
            Admit::WaitUntil(when) => Step::Wait(Some(when)),
            Admit::WaitForProbe => Step::Wait(None),
            decided => Step::Done(decided),
        });
        match self.drain.or_stopped(decision).await? {
            Admit::Probe => Ok(Some(Probe { breaker: &self.breaker, seq })),
            Admit::Over => {
                self.stop_for_outage();
                Err(Failure::Stopped)
            }
            _ => Ok(None),
        }
    }

    fn stop_for_outage(&self) {
        let outage =
            self.breaker.lock().outage(Instant::now()).map(|(service, waited, last)| RunError::Outage {
                service,
                waited,
                code: last.code.unwrap_or(ErrorCode::Network),
                what: last.error.clone(),
            });
        if let Some(error) = outage {
            self.drain.stop(StopReason::Error(error));
        }
    }

    /// All bytes of an image have come, and they are what they should be.
    pub(crate) fn image_received(&self) {
        lock(&self.alike).image_received();
    }

    /// Whether images come, and no row has failed since the last one: then the next rows will probably need what is asked
    /// for them ahead.
    pub(crate) fn is_sound(&self) -> bool {
        lock(&self.alike).is_sound() && !self.drain.is_draining()
    }

    /// A row has ended with this error. Many in succession with the same one stop the run; those that were in flight
    /// then have not failed.
    pub(crate) fn row_failed(&self, error: &ItemError) -> EndState {
        let blame = lock(&self.alike).row_failed(error.code);
        if let Blame::TooMany(rows) = blame {
            self.drain.stop(StopReason::Error(RunError::Alike { rows, error: error.clone() }));
        }
        if blame == Blame::Common { EndState::Untried } else { EndState::Failed }
    }

    /// A service gave a whole answer to an attempt of row `seq` that began at `started`.
    pub(crate) fn answered(&self, seq: i64, service: Service, started: Instant) {
        let transition = self.breaker.lock().answered(seq, service, started, Instant::now());
        self.publish(transition);
    }

    /// Row `seq` is receiving a large image, which ends an outage as a whole answer does.
    pub(crate) fn progressing(&self, seq: i64, service: Service, started: Instant) {
        if self.is_out() {
            self.answered(seq, service, started);
        }
    }

    /// Row `seq`'s attempt met `failure`, perhaps as the `probe` of an outage. Says who pays for the attempt.
    pub(crate) fn failed(&self, seq: i64, failure: &Failure, probe: Option<Probe<'_>>) -> Charge {
        let remaining = self.remaining();
        let (charge, transition) =
            self.breaker.change(|breaker| breaker.failed(seq, failure, remaining, Instant::now()));
        self.publish(transition);
        // its result is in: the next row may probe
        drop(probe);
        charge
    }

    /// Whether a failure of `service` at `when` turned out to be part of an outage.
    pub(crate) fn was_outage(&self, service: Service, when: Instant) -> bool {
        self.breaker.lock().was_outage(service, when)
    }

    /// Whether row `seq`'s last failure may yet turn out to be the beginning of an outage.
    pub(crate) fn may_be_outage(&self, seq: i64, service: Service) -> bool {
        self.breaker.lock().may_be_outage(seq, service)
    }

    /// An image was delivered: the disk works.
    pub(crate) fn disk_delivered(&self) {
        lock(&self.disk).delivered();
    }

    /// The disk failed an attempt of row `seq`; `shown` is the error without names. Returns whether the disk is at
    /// fault, which stops the run.
    pub(crate) fn disk_failed(&self, seq: i64, failure: &Failure, shown: &str) -> bool {
        let Some(rows) = lock(&self.disk).failed(seq, matches!(failure, Failure::FileHeld(_))) else {
            return false;
        };
        let what = format!("the disk failed for {rows} images in succession and {TOOK_NONE_BETWEEN}{shown}");
        self.drain.stop(StopReason::Error(RunError::Disk(what)));
        true
    }

    /// Whether row `seq`'s last failure may yet turn out to be the disk's.
    pub(crate) fn may_be_disk(&self, seq: i64) -> bool {
        lock(&self.disk).suspects(seq)
    }

    /// Whether a service is out.
    pub(crate) fn is_out(&self) -> bool {
        self.breaker.lock().outage(Instant::now()).is_some()
    }

    fn publish(&self, transition: Option<Transition>) {
        match transition {
            Some(Transition::Opened(why)) => self.events.send(Event::Outage { why }),
            Some(Transition::Closed(after)) => self.events.send(Event::Recovered { after }),
            None => return,
        }
        self.breaker.wake();
    }
}

/// A row's right to be the one probe of an outage; dropped, the next row may probe.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    breaker: &'a Watched<Breaker>,
    seq: i64,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.breaker.change(|breaker| breaker.release_probe(self.seq));
    }
}

#[cfg(test)]
pub(crate) mod tests;
