//! The request clock: how soon the API may be asked again.
//!
//! [`Limiter`] makes tasks wait, in the order in which they came; [`policy`] decides for how long, and is pure.
//! The rule is the vendor's: 1,000 requests per 60 s for the whole app, over a sliding window
//! (<https://docs.maxcare.ai>, guides/rate-limits). Runs of one user on one machine keep one clock between them.

mod journal;
pub mod policy;
mod shared;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use crate::remote::rate_headers::RateHeaders;
pub use policy::{Decision, Policy, Ticket};

use self::shared::Shared;
use crate::event::{Event, Events};
use crate::options::{ApiOptions, Rate};

/// What others have in flight is looked at twice in the time of one request, within these bounds, while it is
/// waited for.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(25));
/// A disk that does not answer for so long is done without.
const DISK: Duration = Duration::from_secs(30);

/// One clock for all tasks of a run.
#[derive(Debug)]
pub struct Limiter {
    core: Arc<Core>,
    /// Tasks wait in line here: tokio's lock is fair.
    line: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Core {
    policy: Mutex<Policy>,
    /// Told whenever an answer may have changed the policy's mind.
    changed: Notify,
    shared: Option<Shared>,
    /// The shared clock cannot be used: this run keeps its own.
    alone: AtomicBool,
    /// A visit to the shared clock is on its way.
    telling: AtomicBool,
    used: Mutex<Used>,
    events: Events,
}

/// What this run has used.
#[derive(Debug, Default)]
struct Used {
    requests: u64,
    /// When the first and the last one were sent.
    span: Option<(Instant, Instant)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // nothing that is locked here has a state that a panic could leave half-done
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Limiter {
    /// A clock of its own for `rate`.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self::with(rate, None, Events::none())
    }

    /// The clock that all runs share which use this API with this key. Its file is in `folder`, and is made before
    /// the first request; where that fails the run keeps a clock of its own, and says so. An allowance as large as
    /// no API has one is not shared, and costs nothing.
    #[must_use]
    pub fn shared(rate: Rate, api: &ApiOptions, folder: &Path, events: Events) -> Self {
        let name = journal::file_name(api.url.as_str(), api.key.expose_secret());
        let shared =
            (rate.requests <= journal::LARGEST).then(|| Shared::new(folder.join(name), journal::since_boot));
        Self::with(rate, shared, events)
    }

    fn with(rate: Rate, shared: Option<Shared>, events: Events) -> Self {
        Self {
            core: Arc::new(Core {
                policy: Mutex::new(Policy::new(rate, Instant::now())),
                changed: Notify::new(),
                shared,
                alone: AtomicBool::new(false),
                telling: AtomicBool::new(false),
                used: Mutex::default(),
                events,
            }),
            line: tokio::sync::Mutex::new(()),
        }
    }

    /// Waits until one request may be sent. `left` is the number of requests that the run still needs, as far
    /// as it is known: a job that fits into what is free is not slowed.
    pub async fn ready(&self, left: u64) -> Ticket {
        let _turn = self.line.lock().await;
        loop {
            let changed = self.core.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let until = match self.ask(left).await {
                Decision::Go(ticket) => {
                    lock(&self.core.used).add(Instant::now());
                    return ticket;
                }
                Decision::WaitUntil(when) => Some(self.core.look_again(when)),
                Decision::WaitForAnswer => self.core.others_owe().then(|| Instant::now() + self.core.look()),
            };
            tokio::select! {
                () = async { sleep_until(until.unwrap_or_else(Instant::now)).await }, if until.is_some() => {}
                () = changed => {}
            }
        }
    }

    /// As [`Limiter::ready`], for whoever has no run to do: `None` where it takes longer than `patience`, at once where
    /// that is known before.
    pub async fn ready_within(&self, left: u64, patience: Duration) -> Option<Ticket> {
        let known = async {
            // the first question tells what others used
            while self.waiting() <= patience {
                sleep(4 * LOOK.1).await;
            }
        };
        tokio::select! {
            biased;
            ticket = self.ready(left) => Some(ticket),
            () = known => None,
            () = sleep(patience) => None,
        }
    }

    async fn ask(&self, left: u64) -> Decision {
        if self.core.sharing().is_some() {
            let mut asked = Asked::new(&self.core, left);
            tokio::select! {
                answer = &mut asked.answer => if let Ok(Some(decision)) = answer {
                    return decision;
                },
                () = sleep(DISK) => self.core.give_up(&"its disk does not answer"),
            }
        }
        lock(&self.core.policy).ask(Instant::now(), left)
    }

    /// The request's answer is there (or its connection is lost: then without hints).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is good for one request: it is given up here"
    )]
    pub fn answered(&self, ticket: Ticket, hints: &RateHeaders) {
        lock(&self.core.policy).answered(&ticket, Instant::now(), hints);
        self.core.tell(&ticket, Some(hints));
    }

    /// The request was not sent after all.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is good for one request: it is given up here"
    )]
    pub fn unsent(&self, ticket: Ticket) {
        let mut used = lock(&self.core.used);
        used.requests = used.requests.saturating_sub(1);
        drop(used);
        self.core.unsent(&ticket);
    }

    /// The part of the allowance that this run has used, 0 to 1: its requests by those that are allowed in the
    /// time from the first to the last one, at least in one window. `None` before the first.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let (limit, window) = {
            let policy = lock(&self.core.policy);
            (policy.limit(), policy.window())
        };
        lock(&self.core.used).share(limit, window)
    }

    /// Whether somebody waits to send a request.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        // whoever is first in line holds it
        self.line.try_lock().is_err()
    }

    /// How long everybody has to wait now because of a 429; zero where nobody has to.
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

/// A question on its way to the shared clock. A request that is granted when nobody waits for the answer any more is
/// given back: it would be waited for without end.
struct Asked {
    core: Arc<Core>,
    answer: oneshot::Receiver<Option<Decision>>,
}

impl Asked {
    fn new(core: &Arc<Core>, left: u64) -> Self {
        let (sender, answer) = oneshot::channel();
        let asked = Arc::clone(core);
        tokio::task::spawn_blocking(move || {
            if let Err(Some(Decision::Go(ticket))) = sender.send(asked.visit(Some(left))) {
                asked.unsent(&ticket);
            }
        });
        Self { core: Arc::clone(core), answer }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Some(Decision::Go(ticket))) = self.answer.try_recv() {
            self.core.unsent(&ticket);
        }
    }
}

impl Used {
    fn add(&mut self, now: Instant) {
        self.requests += 1;
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
    }

    /// Requests by those that N a window allow from the first to the last one, at least in one window.
    #[expect(clippy::cast_precision_loss, reason = "a share to three digits")]
    fn share(&self, limit: u32, window: Duration) -> Option<f64> {
        let (first, last) = self.span.filter(|_| self.requests > 0)?;
        let windows = ((last - first).as_secs_f64() / window.as_secs_f64()).max(1.0);
        let share = self.requests as f64 / (f64::from(limit) * windows);
        Some((share.min(1.0) * 1000.0).round() / 1000.0)
    }
}

impl Core {
    fn sharing(&self) -> Option<&Shared> {
        self.shared.as_ref().filter(|_| !self.alone.load(Ordering::Acquire))
    }

    /// `None` where the shared clock cannot be used.
    fn visit(&self, ask: Option<u64>) -> Option<Decision> {
        let shared = self.sharing()?;
        let (decision, told) = match shared.visit(&self.policy, ask) {
            Ok((decision, told)) => (decision, told),
            Err(error) => (None, Err(error)),
        };
        match told {
            Err(error) => self.give_up(&error),
            // given up while this visit was under way: what it heard is of no use any more
            Ok(()) if self.alone.load(Ordering::Acquire) => self.part(),
            // what others told may let a task go that waits
            Ok(()) if ask.is_none() => self.changed.notify_waiters(),
            Ok(()) => {}
        }
        decision
    }

    fn unsent(self: &Arc<Self>, ticket: &Ticket) {
        lock(&self.policy).unsent(ticket);
        self.tell(ticket, None);
    }

    fn tell(self: &Arc<Self>, ticket: &Ticket, answer: Option<&RateHeaders>) {
        self.changed.notify_waiters();
        let Some(shared) = self.sharing() else { return };
        shared.tell(ticket, answer);
        // one visit tells all that has gathered
        if !self.telling.swap(true, Ordering::AcqRel) {
            let core = Arc::clone(self);
            let visit = move || {
                core.telling.store(false, Ordering::Release);
                core.visit(None);
            };
            // where the runtime is gone the others find out by the end of the process
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn_blocking(visit);
            }
        }
    }

    fn part(&self) {
        if let Some(shared) = &self.shared {
            shared.part(&self.policy);
        }
        self.changed.notify_waiters();
    }

    fn give_up(&self, why: &dyn std::fmt::Display) {
        if !self.alone.swap(true, Ordering::AcqRel) {
            let path =
                self.shared.as_ref().map(|shared| shared.path().display().to_string()).unwrap_or_default();
            let what = format!(
                "the request clock {path} cannot be shared with other runs: {why}; this run counts its own requests only"
            );
            self.events.send(Event::Warning { line: None, what });
        }
        self.part();
    }

    /// When to ask again where the policy says `when`: others' answers may bring it forward, but for a 429's end.
    fn look_again(&self, when: Instant) -> Instant {
        let policy = lock(&self.policy);
        match policy.closed_until() {
            None if self.sharing().is_some() => when.min(Instant::now() + (policy.window() / 10).max(LOOK.1)),
            _ => when,
        }
    }

    fn look(&self) -> Duration {
        (lock(&self.policy).turn() / 2).clamp(LOOK.0, LOOK.1)
    }

    fn others_owe(&self) -> bool {
        self.sharing().is_some_and(Shared::others_owe)
    }
}

#[cfg(test)]
mod tests;
