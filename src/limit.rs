//! The request clock: how soon the API may be asked again.
//!
//! [`Limiter`] makes tasks wait, in the order in which they came; [`policy`] decides for how long, and is pure.
//! The rule is the vendor's: 1,000 requests per 60 s for the whole app, over a sliding window
//! (<https://docs.maxcare.ai>, guides/rate-limits).

pub mod headers;
pub mod policy;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

pub use headers::Hints;
pub use policy::{Decision, Policy, Ticket};

use crate::options::Rate;

/// One clock for all tasks of a run.
#[derive(Debug)]
pub struct Limiter {
    policy: Mutex<Policy>,
    /// Tasks wait in line here: tokio's lock is fair.
    line: tokio::sync::Mutex<()>,
    /// Told whenever an answer may have changed the policy's mind.
    changed: Notify,
}

impl Limiter {
    /// A clock for `rate`.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            policy: Mutex::new(Policy::new(rate, Instant::now())),
            line: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        }
    }

    /// Waits until one request may be sent. `left` is the number of requests that the run still needs, as far
    /// as it is known: a job that fits into what is free is not slowed.
    pub async fn ready(&self, left: u64) -> Ticket {
        let _turn = self.line.lock().await;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let decision = self.policy().ask(Instant::now(), left);
            match decision {
                Decision::Go(ticket) => return ticket,
                Decision::WaitUntil(when) => {
                    tokio::select! {
                        () = sleep_until(when) => {}
                        () = changed => {}
                    }
                }
                Decision::WaitForAnswer => changed.await,
            }
        }
    }

    /// The request's answer is there (or its connection is lost: then without hints).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is good for one request: it is given up here"
    )]
    pub fn answered(&self, ticket: Ticket, hints: &Hints) {
        self.policy().answered(&ticket, Instant::now(), hints);
        self.changed.notify_waiters();
    }

    /// The request was not sent after all.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is good for one request: it is given up here"
    )]
    pub fn unsent(&self, ticket: Ticket) {
        self.policy().unsent(&ticket, Instant::now());
        self.changed.notify_waiters();
    }

    /// How long everybody has to wait now because of a 429; zero where nobody has to.
    #[must_use]
    pub fn closed_for(&self) -> Duration {
        self.policy().closed_until().map_or(Duration::ZERO, |when| when - Instant::now())
    }

    /// How long the next request has to wait, for whatever reason.
    #[must_use]
    pub fn waiting(&self) -> Duration {
        let now = Instant::now();
        self.policy().waiting(now).map_or(Duration::ZERO, |when| when - now)
    }

    fn policy(&self) -> MutexGuard<'_, Policy> {
        // the policy has no state that a panic could leave half-done
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
