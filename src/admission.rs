//! What all rows of a run have in common: whether it goes on, whether the way is open, who is refused.
//!
//! Tasks come here before each try and wait where they have to; every wait ends at once when the run drains.
//! 429, 401 and an outage are states of the run, kept here, and never failures of an image.

pub mod breaker;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::admission::breaker::{Breaker, Change, Charge, Entry};
use crate::error::StopReason;
use crate::error::{ErrorResponse, Failure, ItemError, RunError, Service};
use crate::event::{Event, Events};
use crate::limit::Limiter;
use crate::options::{MAX_OUTAGE_AT_START, RunOptions};

/// 403s in succession after which an organization is left alone.
const REFUSALS: u32 = 5;
/// Organizations remembered; those with nothing to remember are forgotten beyond that.
const REMEMBERED: usize = 10_000;

#[derive(Debug, Default)]
struct Org {
    in_flight: u32,
    refused: u32,
    accepted: bool,
    tripped: Option<ItemError>,
}

/// What is known of each organization.
#[derive(Debug)]
struct Orgs {
    known: HashMap<i64, Org>,
    /// With more than that, those with nothing to remember are forgotten.
    most: usize,
}

impl Orgs {
    fn of(&mut self, org: i64) -> &mut Org {
        if self.known.len() > self.most {
            self.known.retain(|_, org| org.in_flight > 0 || org.refused > 0);
            // where all have something, not before as many have come again: each look is at all of them
            self.most = REMEMBERED.max(2 * self.known.len());
        }
        self.known.entry(org).or_default()
    }
}

/// The shared state of a run.
#[derive(Debug)]
pub struct Admission {
    /// The request clock.
    pub limiter: Limiter,
    /// Where people are told.
    pub events: Events,
    drain: CancellationToken,
    cut: CancellationToken,
    reason: Mutex<Option<StopReason>>,
    health: Mutex<Breaker>,
    orgs: Mutex<Orgs>,
    limited_since: Mutex<Option<Instant>>,
    changed: Notify,
    deadline: Option<Instant>,
    max_outage: Duration,
    left: std::sync::atomic::AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // every section is a few assignments: a panic elsewhere leaves nothing half-done
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Admission {
    /// A run that has not begun.
    #[must_use]
    pub fn new(options: &RunOptions, events: Events) -> Self {
        let limiter = match &options.clock_dir {
            Some(folder) => Limiter::shared(options.rate, &options.api, folder, events.clone()),
            None => Limiter::new(options.rate),
        };
        Self {
            limiter,
            events,
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
            reason: Mutex::new(None),
            health: Mutex::new(Breaker::new(options.max_outage, MAX_OUTAGE_AT_START)),
            orgs: Mutex::new(Orgs { known: HashMap::new(), most: REMEMBERED }),
            limited_since: Mutex::new(None),
            changed: Notify::new(),
            deadline: options.deadline,
            max_outage: options.max_outage,
            left: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// Takes nothing new from now on. The gravest reason counts, and the first of those.
    pub fn stop(&self, why: StopReason) {
        let mut reason = lock(&self.reason);
        if reason.as_ref().is_none_or(|first| first.gravity() < why.gravity()) {
            if !matches!(why, StopReason::Signal(_)) {
                self.events.send(Event::Draining { why: why.to_string() });
            }
            *reason = Some(why);
        }
        drop(reason);
        self.drain.cancel();
    }

    /// Cuts what is in flight: bytes at hand are kept for the next run.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// Whether nothing new is taken any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether what is in flight was cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// When nothing new is taken any more.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends when nothing new is taken any more.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Ends when what is in flight is cut.
    pub async fn cutting(&self) {
        self.cut.cancelled().await;
    }

    /// Why the run stops.
    pub fn take_reason(&self) -> Option<StopReason> {
        lock(&self.reason).take()
    }

    /// Code and words for a row that is left because the run stops.
    #[must_use]
    pub fn leave(&self) -> Option<ItemError> {
        match lock(&self.reason).as_ref()? {
            // rows that waited for this; what made the run stop otherwise was met by one row only
            StopReason::Error(error @ (RunError::Outage { .. } | RunError::RateLimited(_))) => {
                error.code().map(|code| ItemError {
                    code: Some(code),
                    error: error.to_string(),
                    trace_id: String::new(),
                })
            }
            StopReason::Limited(error) => Some(error.clone()),
            StopReason::Error(_) | StopReason::Signal(_) | StopReason::Deadline => None,
        }
    }

    /// Rows that are not at their end.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Tells how many rows are not at their end.
    pub fn set_left(&self, rows: u64) {
        self.left.store(rows, std::sync::atomic::Ordering::Relaxed);
    }

    /// Waits for `pause`.
    ///
    /// # Errors
    /// [`Failure::Stopped`] as soon as the run drains.
    pub async fn pause(&self, pause: Duration) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.draining() => Err(Failure::Stopped),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Waits until row `seq` may try. True where it is the probe of an outage.
    ///
    /// # Errors
    /// [`Failure::Stopped`] where the run stops, also because the outage lasted too long.
    pub async fn way_open(&self, seq: i64) -> Result<bool, Failure> {
        loop {
            if self.is_draining() {
                return Err(Failure::Stopped);
            }
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let entry = lock(&self.health).enter(seq, Instant::now());
            let until = match entry {
                Entry::Go => return Ok(false),
                Entry::Probe => return Ok(true),
                Entry::Over => {
                    self.outage_too_long();
                    return Err(Failure::Stopped);
                }
                Entry::WaitUntil(until) => Some(until),
                Entry::WaitForProbe => None,
            };
            tokio::select! {
                biased;
                () = self.draining() => return Err(Failure::Stopped),
                () = changed => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    fn outage_too_long(&self) {
        let outage = lock(&self.health)
            .outage(Instant::now())
            .map(|(service, waited, last)| (service, waited, last.clone()));
        if let Some((service, waited, last)) = outage {
            self.stop(StopReason::Error(RunError::Outage {
                service,
                waited,
                code: last.code.unwrap_or(crate::error::ErrorCode::Network),
                what: last.error,
            }));
        }
    }

    /// A service gave row `seq` a whole answer.
    pub fn answered(&self, seq: i64, service: Service) {
        let change = lock(&self.health).answered(seq, service, Instant::now());
        self.tell(change);
    }

    /// A large image of row `seq` moves, which is as good as a whole answer to end an outage.
    pub fn moves(&self, seq: i64, service: Service) {
        if self.is_out() {
            self.answered(seq, service);
        }
    }

    /// Row `seq`'s try met `failure`. Says whether it counts against the image.
    pub fn failed(&self, seq: i64, failure: &Failure) -> Charge {
        let (charge, change) = lock(&self.health).failed(seq, failure, self.left(), Instant::now());
        self.tell(change);
        // a probe that failed makes room for the next one
        self.changed.notify_waiters();
        charge
    }

    /// Row `seq` leaves without having met anything.
    pub fn left_way(&self, seq: i64) {
        lock(&self.health).left(seq);
        self.changed.notify_waiters();
    }

    /// Whether a failure of `service` at `when` belongs to an outage after all.
    #[must_use]
    pub fn forgives(&self, service: Service, when: Instant) -> bool {
        lock(&self.health).forgives(service, when)
    }

    /// Whether nobody can tell yet if row `seq` is sick alone.
    #[must_use]
    pub fn undecided(&self, seq: i64, service: Service) -> bool {
        lock(&self.health).undecided(seq, service)
    }

    /// Whether an outage is on.
    #[must_use]
    pub fn is_out(&self) -> bool {
        lock(&self.health).outage(Instant::now()).is_some()
    }

    fn tell(&self, change: Option<Change>) {
        match change {
            Some(Change::Down(why)) => self.events.send(Event::Outage { why }),
            Some(Change::Up(after)) => self.events.send(Event::Recovered { after }),
            None => return,
        }
        self.changed.notify_waiters();
    }

    /// Waits until an organization may be asked for: one that has not accepted the key yet is asked for a few rows
    /// at a time, so that a refused one costs no more than that.
    ///
    /// # Errors
    /// The refusal, where the organization is left alone; [`Failure::Stopped`] where the run drains.
    pub async fn org_open(&self, org: i64) -> Result<OrgPermit<'_>, OrgRefused> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut orgs = lock(&self.orgs);
                let state = orgs.of(org);
                if let Some(refusal) = &state.tripped {
                    return Err(OrgRefused::Tripped(refusal.clone()));
                }
                if state.accepted || state.in_flight + state.refused < REFUSALS {
                    state.in_flight += 1;
                    return Ok(OrgPermit { control: self, org });
                }
            }
            tokio::select! {
                biased;
                () = self.draining() => return Err(OrgRefused::Stopped),
                () = changed => {}
            }
        }
    }

    /// The words with which an organization was refused that is left alone.
    #[must_use]
    pub fn org_refusal(&self, org: i64) -> Option<ItemError> {
        lock(&self.orgs).known.get(&org)?.tripped.clone()
    }

    /// The API accepted the organization, or refused it. True where it is left alone from now on.
    pub fn org_answered(&self, org: i64, refusal: Option<&ItemError>) -> bool {
        let mut orgs = lock(&self.orgs);
        let state = orgs.of(org);
        match refusal {
            None => {
                state.accepted = true;
                state.refused = 0;
                drop(orgs);
                self.changed.notify_waiters();
                false
            }
            Some(refusal) => {
                state.refused += 1;
                let trips = state.refused >= REFUSALS && state.tripped.is_none();
                if trips {
                    state.tripped = Some(refusal.clone());
                }
                drop(orgs);
                self.changed.notify_waiters();
                trips
            }
        }
    }

    /// The API answered 429: the limiter knows how long to wait; whether so long may be waited is decided here.
    pub fn limited(&self, said: &ErrorResponse) {
        let now = Instant::now();
        let since = *lock(&self.limited_since).get_or_insert(now);
        let wait = self.limiter.closed_for();
        if !self.may_wait(wait, since, said) {
            return;
        }
        self.events.send(Event::RateLimited { wait });
    }

    /// Looks whether another run, or one before this, was told to wait for longer than this one may. That is nothing
    /// to rows which have their answer.
    pub fn closed(&self) {
        if !self.limiter.is_waited_for() {
            return;
        }
        let wait = self.limiter.closed_for();
        if wait > Duration::ZERO && !self.is_draining() {
            let message = "another run with this key was told to wait".to_owned();
            let said = ErrorResponse { status: 429, message, ..ErrorResponse::default() };
            let since = lock(&self.limited_since).unwrap_or_else(Instant::now);
            self.may_wait(wait, since, &said);
        }
    }

    /// Stops the run where it may not wait for so long.
    fn may_wait(&self, wait: Duration, since: Instant, said: &ErrorResponse) -> bool {
        let now = Instant::now();
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(now));
        match longest(wait, now.saturating_duration_since(since), left, self.max_outage) {
            Longest::Waits => return true,
            Longest::Deadline => {
                self.stop(StopReason::Limited(Failure::RateLimited(said.clone()).describe()))
            }
            Longest::Outage => self.stop(StopReason::Error(RunError::RateLimited(format!(
                "the API asks to wait {:.0?}, {:.0?} are allowed (--max-outage)",
                wait, self.max_outage
            )))),
        }
        false
    }

    /// The API answered something else than 429.
    pub fn not_limited(&self) {
        *lock(&self.limited_since) = None;
    }
}

/// Whether a wait may be waited out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Longest {
    Waits,
    /// It ends beyond `--until` or `--max-duration`.
    Deadline,
    /// It is longer than `--max-outage`, or there would be nothing but 429 for that long.
    Outage,
}

/// Judges a wait after so long of nothing but 429, with so much time `left` until the deadline. Where both limits
/// are passed the graver one counts, as in the exit code; but time that the deadline ends first is never waited.
fn longest(wait: Duration, limited: Duration, left: Option<Duration>, max_outage: Duration) -> Longest {
    if wait > max_outage {
        Longest::Outage
    } else if left.is_some_and(|left| wait > left) {
        Longest::Deadline
    } else if limited + wait > max_outage {
        Longest::Outage
    } else {
        Longest::Waits
    }
}

/// An organization's place in flight, given back when dropped.
#[derive(Debug)]
pub struct OrgPermit<'c> {
    control: &'c Admission,
    org: i64,
}

impl Drop for OrgPermit<'_> {
    fn drop(&mut self) {
        if let Some(org) = lock(&self.control.orgs).known.get_mut(&self.org) {
            org.in_flight = org.in_flight.saturating_sub(1);
        }
        self.control.changed.notify_waiters();
    }
}

/// Why an organization may not be asked for.
#[derive(Debug)]
pub enum OrgRefused {
    /// It was refused five times in succession.
    Tripped(ItemError),
    /// The run stops.
    Stopped,
}

#[cfg(test)]
mod tests;
