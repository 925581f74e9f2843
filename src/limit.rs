//! The request limiter: when the API may be asked next.
//!
//! [`Limiter`] makes tasks wait, first come, first served, and grants a [`Permit`] for one API request; [`policy`]
//! decides how long they wait, and is pure. The rule is the vendor's: 1,000 requests per 60 s for the whole app, in a
//! sliding window (<https://docs.maxcare.ai>, guides/rate-limits). All runs of one user on one machine share one
//! count (`shared`).
//!
//! Always holds: within any window, no more requests leave than `--rate` allows. The limiter sends and retries
//! nothing itself.

mod exchange;
mod permit;
pub mod policy;
mod shared;
mod usage;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::permit::Permit;
pub use self::policy::{Decision, Part, Policy, Slot};
use self::shared::{Shared, Stake};
use self::usage::Usage;
use crate::event::{Event, Events};
use crate::options::{ApiOptions, Rate, RateShare};
use crate::remote::rate_headers::RateHeaders;
use crate::shard::Shard;

/// A task that waits for answers of other runs samples the shared count twice in the time of one request, but no
/// more often than this: a sample costs a file lock.
const SAMPLE_INTERVAL_MIN: Duration = Duration::from_millis(2);
/// And no less often than this: it would add to the latency of every request.
const SAMPLE_INTERVAL_MAX: Duration = Duration::from_millis(25);
/// A task that waits for a known time checks ten times a window whether other runs' answers bring it forward.
const SAMPLES_PER_WINDOW: u32 = 10;
/// An API that names more different limits than this is not to be taken at its word.
const LOWER_LIMITS_MAX: usize = 8;

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
    /// A job that publishes what happened to requests waits for the request clock's thread.
    publishing: AtomicBool,
    usage: Mutex<Usage>,
    /// Limits of the API below `--rate` that were reported.
    lower_limits: Mutex<Vec<u32>>,
    rate: Rate,
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

    /// A limiter that shares its count with all runs of this machine that use this API with this key. The file is in
    /// `folder` and is created before the first request. While it cannot be used, the run keeps to a part of the
    /// allowance, and a warning says so. An allowance above 10,000 requests a second is not shared and costs nothing.
    #[must_use]
    pub fn shared(rate: Rate, api: &ApiOptions, folder: &Path, events: Events) -> Self {
        let name = shared::file_name(api.url.as_str(), api.key.expose_secret(), &shared::machine());
        let new = || Shared::new(folder.join(name), shared::since_boot, rate);
        Self::with(rate, shared::is_shared(rate).then(new), events)
    }

    fn with(rate: Rate, shared: Option<Shared>, events: Events) -> Self {
        let core = Core {
            policy: Mutex::new(Policy::new(rate, Instant::now())),
            changed: Notify::new(),
            shared,
            publishing: AtomicBool::new(false),
            usage: Mutex::default(),
            lower_limits: Mutex::default(),
            rate,
            events,
        };
        Self { core: Arc::new(core), queue: tokio::sync::Mutex::new(()) }
    }

    /// The same for a run that has only a part of the allowance, since other machines use the rest at the same time. Runs
    /// that share a count add up their parts; `shard` is the run's, whose part counts once however often it is started.
    #[must_use]
    pub fn with_share(self, share: RateShare, shard: Option<Shard>) -> Self {
        let part = Part::from(share);
        self.with_stake(Stake { part, shard: shard.map_or(0, Shard::number) }, part)
    }

    fn with_stake(self, stake: Stake, own: Part) -> Self {
        let Self { core, queue } = self;
        // nothing else holds it yet
        let core = Arc::try_unwrap(core).map(|mut core| {
            if let Some(shared) = &mut core.shared {
                shared.set_stake(stake);
            }
            lock(&core.policy).set_own(own, Instant::now());
            Arc::new(core)
        });
        Self { core: core.unwrap_or_else(|core| core), queue }
    }

    /// The same for a command that sends a few requests beside the runs of this machine, and brings no part of the
    /// allowance into their count.
    #[must_use]
    pub fn as_guest(self) -> Self {
        self.with_stake(Stake { part: Part::NONE, shard: 0 }, Part::WHOLE)
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
                Attempt::WaitForAnswer => self.core.next_sample_of_others(),
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
        if let Some(attempt) = self.core.ask_shared(left).await {
            return attempt;
        }
        let decision = lock(&self.core.policy).try_acquire(Instant::now(), left);
        if let (Decision::Go(slot), Some(shared)) = (&decision, &self.core.shared) {
            shared.granted(slot, left);
        }
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

    /// Requests that the allowance of this run permits a second.
    #[must_use]
    pub fn allowed_per_second(&self) -> f64 {
        let policy = lock(&self.core.policy);
        f64::from(policy.limit()) / policy.window().as_secs_f64()
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
    fn attempt(self: &Arc<Self>, decision: Decision) -> Attempt {
        match decision {
            Decision::Go(slot) => Attempt::Granted(Permit::new(Arc::clone(self), slot)),
            Decision::WaitUntil(when) => Attempt::WaitUntil(when),
            Decision::WaitForAnswer => Attempt::WaitForAnswer,
        }
    }

    fn answered(self: &Arc<Self>, slot: &Slot, headers: &RateHeaders) {
        lock(&self.policy).answered(slot, Instant::now(), headers);
        self.report_lower_limit();
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

    /// Reports a limit of the API below that of `--rate`, once a value.
    fn report_lower_limit(&self) {
        let allowance = lock(&self.policy).allowance();
        if allowance >= self.rate.requests {
            return;
        }
        let mut reported = lock(&self.lower_limits);
        if reported.contains(&allowance) || reported.len() == LOWER_LIMITS_MAX {
            return;
        }
        reported.push(allowance);
        drop(reported);
        let (rate, seconds) = (self.rate, self.rate.window.as_secs_f64());
        let what = format!(
            "the API's answers name a limit of {allowance} requests (X-RateLimit-Limit), below --rate {rate}: the run sends \
             at most {allowance} in {seconds} s from now on"
        );
        self.events.send(Event::Warning { line: None, what });
    }
}

#[cfg(test)]
mod tests;
