//! The limiter and the shared count: exchanges on the request clock's thread, and what happens while they fail.
//!
//! Trouble with the shared file passes. While it lasts the run keeps to a part of the allowance, so that all runs
//! together hold the rate although they do not hear of each other; when it is over each learns what it has missed. If the
//! file must not be written at all, the run has always counted on its own, and has all of the allowance.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::shared::{Shared, Table, TableError};
use super::{Attempt, Core, SAMPLE_INTERVAL_MAX, SAMPLE_INTERVAL_MIN, SAMPLES_PER_WINDOW, lock};
use crate::event::Event;

/// An exchange takes less than a millisecond, and 2 s if the lock is held. If it takes longer than this, its disk hangs.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Runs that divide the allowance between them while they do not hear of each other, at least.
const PARTS_MIN: u32 = 2;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
enum Trouble<'e> {
    #[error("its disk does not answer")]
    Hangs,
    #[error("no thread can be started for it: {0}")]
    NoThread(&'e io::Error),
    #[error("{0}")]
    Table(&'e TableError),
}

impl Core {
    /// Asks for a permit in an exchange with the other runs; `None` if this run has to decide alone.
    pub(super) async fn ask_shared(self: &Arc<Self>, left: u64) -> Option<Attempt> {
        let shared = self.shared.as_ref()?;
        if !shared.link().is_attached() {
            self.retry_if_due(shared);
            return None;
        }
        let (reply, attempt) = oneshot::channel();
        let core = Arc::clone(self);
        let job = shared.run(move |table| {
            // a task that is gone needs no permit
            let ask = (!reply.is_closed()).then_some(left);
            // if it has gone by now, the permit is dropped with the reply and the slot is free again
            let _ = reply.send(core.exchange(table, ask));
        });
        if let Err(error) = job {
            self.detach(shared, &Trouble::NoThread(&error));
            return None;
        }
        tokio::select! {
            biased;
            attempt = attempt => attempt.ok().flatten(),
            () = sleep(EXCHANGE_TIMEOUT) => {
                self.detach(shared, &Trouble::Hangs);
                None
            }
        }
    }

    /// One exchange of messages. With `ask` it tries to acquire a permit as well; `None` without, or if it failed before
    /// the policy was asked.
    fn exchange(self: &Arc<Self>, table: &mut Option<Table>, ask: Option<u64>) -> Option<Attempt> {
        let shared = self.shared.as_ref()?;
        let (decision, written) = match shared.sync(table, &self.policy, ask) {
            Ok((decision, written)) => (decision, written),
            Err(error) => (None, Err(error)),
        };
        match written {
            Ok(()) => self.attach(shared),
            Err(error) => self.detach(shared, &Trouble::Table(&error)),
        }
        if ask.is_none() {
            // other runs' answers may let a waiting task go
            self.changed.notify_waiters();
        }
        self.report_lower_limit();
        decision.map(|decision| self.attempt(decision))
    }

    /// Wakes this run's tasks, and lets the other runs know.
    pub(super) fn publish(self: &Arc<Self>, add: impl FnOnce(&Shared)) {
        self.changed.notify_waiters();
        let Some(shared) = &self.shared else { return };
        add(shared);
        if !shared.link().is_attached() {
            return self.retry_if_due(shared);
        }
        // one exchange publishes all that has gathered
        if !self.publishing.swap(true, Ordering::AcqRel) {
            self.exchange_soon(shared);
        }
    }

    fn retry_if_due(self: &Arc<Self>, shared: &Shared) {
        if shared.link().take_retry(Instant::now()) {
            self.exchange_soon(shared);
        }
    }

    /// An exchange that no task waits for.
    fn exchange_soon(self: &Arc<Self>, shared: &Shared) {
        let core = Arc::clone(self);
        let job = shared.run(move |table| {
            core.publishing.store(false, Ordering::Release);
            core.exchange(table, None);
        });
        if let Err(error) = job {
            self.publishing.store(false, Ordering::Release);
            self.detach(shared, &Trouble::NoThread(&error));
        }
    }

    /// The shared count works. A little later this run has all of the allowance again: then the others are back, too.
    fn attach(&self, shared: &Shared) {
        let now = Instant::now();
        let report = shared.link().works(now);
        if shared.link().take_whole(now) {
            lock(&self.policy).divide(1, now);
            self.changed.notify_waiters();
        }
        if report {
            let what =
                format!("the request clock {} is shared with other runs again", shared.path().display());
            self.events.send(Event::Notice { what });
        }
    }

    /// For now this run counts on its own.
    fn detach(&self, shared: &Shared, trouble: &Trouble<'_>) {
        let (now, why) = (Instant::now(), trouble.to_string());
        let (is_new, was_used) = {
            let mut link = shared.link();
            let is_new = match trouble {
                Trouble::Hangs => link.hangs(&why, now),
                Trouble::NoThread(_) | Trouble::Table(_) => link.failed(&why, now),
            };
            (is_new, link.was_used())
        };
        // if the file must not be written, the other runs of this user cannot write it either
        let alone = !was_used && matches!(trouble, Trouble::Table(error) if error.is_refusal());
        let parts = if alone { 1 } else { shared.runs().max(PARTS_MIN) };
        lock(&self.policy).divide(parts, now);
        if is_new {
            let meanwhile = if alone {
                "this run counts its own requests only"
            } else {
                "until that is over this run counts its own requests only and keeps to half of the allowance, or less \
                 if more runs share it"
            };
            let path = shared.path().display();
            let what =
                format!("the request clock {path} cannot be shared with other runs: {why}; {meanwhile}");
            self.events.send(Event::Warning { line: None, what });
        }
        shared.abandon_others(&self.policy);
        self.changed.notify_waiters();
    }

    /// When to ask again if the policy says `when`: other runs' answers may bring it forward, unless a 429 has set it, and
    /// so may the end of a trouble.
    pub(super) fn next_sample(&self, when: Instant) -> Instant {
        let Some(shared) = &self.shared else { return when };
        if let Some(retry_at) = shared.link().retry_at() {
            return when.min(retry_at);
        }
        let policy = lock(&self.policy);
        if policy.closed_until().is_some() {
            return when;
        }
        when.min(Instant::now() + (policy.window() / SAMPLES_PER_WINDOW).max(SAMPLE_INTERVAL_MAX))
    }

    /// When to ask again while answers are waited for; `None` if they are all this run's.
    pub(super) fn next_sample_of_others(&self) -> Option<Instant> {
        let shared = self.shared.as_ref()?;
        let retry_at = shared.link().retry_at();
        if retry_at.is_some() {
            return retry_at;
        }
        shared.others_in_flight().then(|| Instant::now() + self.sample_interval())
    }

    fn sample_interval(&self) -> Duration {
        (lock(&self.policy).interval() / 2).clamp(SAMPLE_INTERVAL_MIN, SAMPLE_INTERVAL_MAX)
    }
}
