//! State that tasks wait for: a mutex, and a signal to those who wait whenever it has changed.
//!
//! Unlike `tokio::sync::watch` a task may change the state at the moment in which it stops waiting, so that of many
//! tasks exactly one takes what has become free.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

#[derive(Debug, Default)]
pub(super) struct Watched<T> {
    state: Mutex<T>,
    changed: Notify,
}

/// What a task that inspects the state concludes.
pub(super) enum Step<R> {
    Done(R),
    /// Inspect it again after the next change, or at that time.
    Wait(Option<Instant>),
}

impl<T> Watched<T> {
    pub(super) fn new(state: T) -> Self {
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// For reading, and for changes that no task waits for.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.state)
    }

    /// Changes the state and wakes those who wait.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.wake();
        result
    }

    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Inspects the state until the answer is [`Step::Done`].
    pub(super) async fn decide<R>(&self, mut inspect: impl FnMut(&mut T) -> Step<R>) -> R {
        loop {
            // registered before the inspection: a change right after it is not missed
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let step = inspect(&mut self.lock());
            let until = match step {
                Step::Done(result) => return result,
                Step::Wait(until) => until,
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // every section is a few assignments: a panic elsewhere leaves nothing half-done
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
