//! The first gate: a run that drains starts nothing new. It knows why the run drains, and since when in-flight work
//! is cut.
//!
//! A drain is never taken back. Of several reasons the gravest counts, since it decides the exit code.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::watched::lock;
use crate::error::{Failure, ItemError, RunError, StopReason};
use crate::event::{Event, Events};

#[derive(Debug)]
pub(crate) struct Drain {
    begun: CancellationToken,
    cut: CancellationToken,
    reason: Mutex<Option<StopReason>>,
    /// When the run drains by itself.
    deadline: Option<Instant>,
    events: Events,
}

impl Drain {
    pub(super) fn new(deadline: Option<Instant>, events: Events) -> Self {
        Self {
            begun: CancellationToken::new(),
            cut: CancellationToken::new(),
            reason: Mutex::new(None),
            deadline,
            events,
        }
    }

    /// Drains the run from now on. Of several reasons the gravest counts, and the first of equals.
    pub(crate) fn stop(&self, why: StopReason) {
        let mut reason = lock(&self.reason);
        if reason.as_ref().is_none_or(|first| first.gravity() < why.gravity()) {
            // the user knows of a signal that they have sent
            if !matches!(why, StopReason::Signal(_)) {
                self.events.send(Event::Draining { why: why.to_string() });
            }
            *reason = Some(why);
        }
        drop(reason);
        self.begun.cancel();
    }

    /// Cuts the downloads in flight; the bytes they have received are kept for the next run.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.begun.is_cancelled()
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Time left until the deadline, if there is one.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Completes when the run drains.
    pub(crate) async fn draining(&self) {
        self.begun.cancelled().await;
    }

    /// Completes when downloads are cut.
    pub(crate) async fn cutting(&self) {
        self.cut.cancelled().await;
    }

    /// Waits for `work`, but not beyond the beginning of a drain.
    ///
    /// # Errors
    /// [`Failure::Stopped`] as soon as the run drains.
    pub(crate) async fn or_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.draining() => Err(Failure::Stopped),
            done = work => Ok(done),
        }
    }

    pub(crate) fn take_reason(&self) -> Option<StopReason> {
        lock(&self.reason).take()
    }

    /// The error under which rows stay untried because the run stops; `None` if the reason says nothing about them.
    pub(crate) fn untried_reason(&self) -> Option<ItemError> {
        match lock(&self.reason).as_ref()? {
            // all rows waited for this; any other error was met by one row only
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
}
