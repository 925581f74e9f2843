//! The request limiter: when the API may be asked next.
//!
//! [`Limiter`] makes tasks wait, first come, first served, and grants a [`Permit`] for one API request; [`policy`]
//! decides how long they wait, and is pure. The rule is the vendor's: 1,000 requests per 60 s for the whole app, in a
//! sliding window (<https://docs.maxcare.ai>, guides/rate-limits). All runs of one user on one machine share one
//! count (`shared`).
//!
//! Always holds: within any window, no more requests leave than `--rate` allows. The limiter sends and retries
//! nothing itself.

mod permit;
pub mod policy;
mod shared;
mod usage;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::permit::Permit;
pub use self::policy::{Decision, Policy, Slot};
use self::shared::Shared;
use self::usage::Usage;
use crate::event::{Event, Events};
use crate::options::{ApiOptions, Rate};
use crate::remote::rate_headers::RateHeaders;

/// A task that waits for answers of other runs samples the shared count twice in the time of one request, but no
/// more often than this: a sample costs a file lock.
const SAMPLE_INTERVAL_MIN: Duration = Duration::from_millis(2);
/// And no less often than this: it would add to the latency of every request.
const SAMPLE_INTERVAL_MAX: Duration = Duration::from_millis(25);
/// A task that waits for a known time checks ten times a window whether other runs' answers bring it forward.
const SAMPLES_PER_WINDOW: u32 = 10;
/// If the disk of the shared count does not answer within this time, the run counts on its own.
const DISK_TIMEOUT: Duration = Duration::from_secs(30);

/// One limiter for all tasks of a run.
#[derive(Debug)]
pub struct Limiter {
    core: Arc<Core>,
    /// Tasks queue here: tokio's lock is fair.
    queue: tokio::sync::Mutex<()>,
}

/// What the limiter and its permits share.
#[derive(Debug)]
struct Core {
    policy: Mutex<Policy>,
    /// Notified whenever an answer may have changed the policy's decision.
    changed: Notify,
    shared: Option<Shared>,
    /// The shared count cannot be used: this run counts its own requests only.
    detached: AtomicBool,
    /// A task that publishes what happened to requests has been spawned and has not begun.
    publishing: AtomicBool,
    usage: Mutex<Usage>,
    events: Events,
}

/// A [`Decision`] whose slot is held by a guard.
enum Attempt {
    Granted(Permit),
    WaitUntil(Instant),
    WaitForAnswer,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // nothing behind these locks has a state that a panic could leave half-done
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Limiter {
    /// A limiter that counts the requests of this run only.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self::with(rate, None, Events::none())
    }

    /// A limiter that shares its count with all runs that use this API with this key. The file is in `folder` and is
    /// created before the first request; if that fails, the run counts on its own, and a warning says so. An
    /// allowance larger than any API grants is not shared and costs nothing.
    #[must_use]
    pub fn shared(rate: Rate, api: &ApiOptions, folder: &Path, events: Events) -> Self {
        let name = shared::file_name(api.url.as_str(), api.key.expose_secret());
        let is_shared = rate.requests <= shared::REQUESTS_MAX;
        let shared = is_shared.then(|| Shared::new(folder.join(name), shared::since_boot));
        Self::with(rate, shared, events)
    }

    fn with(rate: Rate, shared: Option<Shared>, events: Events) -> Self {
        let core = Core {
            policy: Mutex::new(Policy::new(rate, Instant::now())),
            changed: Notify::new(),
            shared,
            detached: AtomicBool::new(false),
            publishing: AtomicBool::new(false),
            usage: Mutex::default(),
            events,
        };
        Self { core: Arc::new(core), queue: tokio::sync::Mutex::new(()) }
    }

    /// Waits until one request may be sent. `left` is the number of requests that the run still needs, as far as it is
    /// known: a job that fits into the free allowance is not slowed.
    pub async fn acquire(&self, left: u64) -> Permit {
        self.acquire_for(|| left).await
    }

    /// As [`Limiter::acquire`], but asks for the number again while it waits: other tasks send requests meanwhile.
    pub async fn acquire_for(&self, left: impl Fn() -> u64 + Send + Sync) -> Permit {
        let _turn = self.queue.lock().await;
        loop {
            let changed = self.core.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let retry_at = match self.try_acquire(left()).await {
                Attempt::Granted(permit) => return permit,
                Attempt::WaitUntil(when) => Some(self.core.next_sample(when)),
                Attempt::WaitForAnswer => {
                    self.core.others_in_flight().then(|| Instant::now() + self.core.sample_interval())
                }
            };
            tokio::select! {
                () = async { sleep_until(retry_at.unwrap_or_else(Instant::now)).await }, if retry_at.is_some() => {}
                () = changed => {}
            }
        }
    }

    /// As [`Limiter::acquire`], but returns `None` if the wait is longer than `timeout`: at once if that is known
    /// beforehand.
    pub async fn acquire_within(&self, left: u64, timeout: Duration) -> Option<Permit> {
        let too_long = async {
            // the first attempt learns what other runs used
            while self.waiting() <= timeout {
                sleep(4 * SAMPLE_INTERVAL_MAX).await;
            }
        };
        tokio::select! {
            biased;
            permit = self.acquire(left) => Some(permit),
            () = too_long => None,
            () = sleep(timeout) => None,
        }
    }

    async fn try_acquire(&self, left: u64) -> Attempt {
        if self.core.attached().is_some() {
            let core = Arc::clone(&self.core);
            // if nothing waits for the result any more, its permit is dropped with it and the slot is free again
            let attempt = spawn_blocking(move || core.sync(Some(left)));
            tokio::select! {
                attempt = attempt => if let Ok(Some(attempt)) = attempt {
                    return attempt;
                },
                () = sleep(DISK_TIMEOUT) => self.core.detach(&"its disk does not answer"),
            }
        }
        let decision = lock(&self.core.policy).try_acquire(Instant::now(), left);
        self.core.attempt(decision)
    }

    /// The part of the allowance that this run has used, 0 to 1: its requests divided by those allowed in the time from
    /// the first to the last one, at least in one window. `None` before the first.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let (limit, window) = {
            let policy = lock(&self.core.policy);
            (policy.allowance(), policy.window())
        };
        lock(&self.core.usage).share(limit, window)
    }

    /// Whether a task waits for a permit.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        // the first task in the queue holds the lock
        self.queue.try_lock().is_err()
    }

    /// How long all requests have to wait now because of a 429; zero if none has to.
    #[must_use]
    pub fn closed_for(&self) -> Duration {
        let closed = lock(&self.core.policy).closed_until();
        closed.map_or(Duration::ZERO, |when| when.saturating_duration_since(Instant::now()))
    }

    /// How long the next request has to wait, for whatever reason.
    #[must_use]
    pub fn waiting(&self) -> Duration {
        let now = Instant::now();
        lock(&self.core.policy).waiting(now).map_or(Duration::ZERO, |when| when - now)
    }
}

impl Core {
    /// The shared count, as long as it can be used.
    fn attached(&self) -> Option<&Shared> {
        self.shared.as_ref().filter(|_| !self.detached.load(Ordering::Acquire))
    }

    fn attempt(self: &Arc<Self>, decision: Decision) -> Attempt {
        match decision {
            Decision::Go(slot) => Attempt::Granted(Permit::new(Arc::clone(self), slot)),
            Decision::WaitUntil(when) => Attempt::WaitUntil(when),
            Decision::WaitForAnswer => Attempt::WaitForAnswer,
        }
    }

    /// Exchanges messages with the other runs and, with `ask`, tries to acquire a permit. `None` if nothing was asked
    /// or the shared count cannot be used.
    fn sync(self: &Arc<Self>, ask: Option<u64>) -> Option<Attempt> {
        let (decision, written) = match self.attached()?.sync(&self.policy, ask) {
            Ok((decision, written)) => (decision, written),
            Err(error) => (None, Err(error)),
        };
        match written {
            Err(error) => self.detach(&error),
            // detached meanwhile: what this exchange has just recorded of others is abandoned, too
            Ok(()) if self.detached.load(Ordering::Acquire) => self.abandon_others(),
            // other runs' answers may let a waiting task go
            Ok(()) if ask.is_none() => self.changed.notify_waiters(),
            Ok(()) => {}
        }
        decision.map(|decision| self.attempt(decision))
    }

    fn answered(self: &Arc<Self>, slot: &Slot, headers: &RateHeaders) {
        lock(&self.policy).answered(slot, Instant::now(), headers);
        self.publish(|shared| shared.answered(slot, headers));
    }

    fn release(self: &Arc<Self>, slot: &Slot) {
        lock(&self.policy).release(slot);
        self.publish(|shared| shared.released(slot));
    }

    fn abandon(self: &Arc<Self>, slot: &Slot) {
        lock(&self.policy).abandon(slot, Instant::now());
        self.publish(|shared| shared.abandoned(slot));
    }

    /// Wakes this run's tasks, and lets the other runs know.
    fn publish(self: &Arc<Self>, add: impl FnOnce(&Shared)) {
        self.changed.notify_waiters();
        let Some(shared) = self.attached() else { return };
        add(shared);
        // one exchange publishes all that has gathered
        if self.publishing.swap(true, Ordering::AcqRel) {
            return;
        }
        let core = Arc::clone(self);
        let sync = move || {
            core.publishing.store(false, Ordering::Release);
            core.sync(None);
        };
        // without a runtime the process is ending: the other runs notice that
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(sync);
        }
    }

    /// From now on this run counts its own requests only.
    fn detach(&self, why: &dyn std::fmt::Display) {
        if !self.detached.swap(true, Ordering::AcqRel) {
            let path =
                self.shared.as_ref().map(|shared| shared.path().display().to_string()).unwrap_or_default();
            let what = format!(
                "the request clock {path} cannot be shared with other runs: {why}; this run counts its own requests only"
            );
            self.events.send(Event::Warning { line: None, what });
        }
        self.abandon_others();
    }

    fn abandon_others(&self) {
        if let Some(shared) = &self.shared {
            shared.abandon_others(&self.policy);
        }
        self.changed.notify_waiters();
    }

    /// When to try again if the policy says `when`: other runs' answers may bring it forward, unless a 429 has set it.
    fn next_sample(&self, when: Instant) -> Instant {
        let policy = lock(&self.policy);
        if policy.closed_until().is_some() || self.attached().is_none() {
            return when;
        }
        when.min(Instant::now() + (policy.window() / SAMPLES_PER_WINDOW).max(SAMPLE_INTERVAL_MAX))
    }

    fn sample_interval(&self) -> Duration {
        (lock(&self.policy).interval() / 2).clamp(SAMPLE_INTERVAL_MIN, SAMPLE_INTERVAL_MAX)
    }

    fn others_in_flight(&self) -> bool {
        self.attached().is_some_and(Shared::others_in_flight)
    }
}

#[cfg(test)]
mod tests;
