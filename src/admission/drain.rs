//! The first gate: a run that drains starts nothing new. It knows why the run drains, and since when in-flight work
//! is cut.
//!
//! A drain is never taken back. Of several reasons the gravest counts, since it decides the exit code.
//!
//! The deadline is a time of the wall clock: the clock of timers stands still while the machine sleeps.

use std::future::pending;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::watched::lock;
use crate::error::{Failure, ItemError, RunError, StopReason};
use crate::event::{Event, Events};

/// How often the wall clock is read: no sleep of the machine and no correction of the clock delays the deadline by more.
const WALL_CLOCK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Drain {
    begun: CancellationToken,
    /// Rows that have their URL do not wait for a place any more.
    halted: CancellationToken,
    cut: CancellationToken,
    reason: Mutex<Option<StopReason>>,
    /// When the run drains by itself.
    deadline: Option<SystemTime>,
    /// The wall clock; tests have another one.
    wall_clock: fn() -> SystemTime,
    events: Events,
}

impl Drain {
    pub(super) fn new(deadline: Option<SystemTime>, events: Events) -> Self {
        Self {
            begun: CancellationToken::new(),
            halted: CancellationToken::new(),
            cut: CancellationToken::new(),
            reason: Mutex::new(None),
            deadline,
            wall_clock: SystemTime::now,
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
            if matches!(why, StopReason::Error(_)) {
                self.halted.cancel();
            }
            *reason = Some(why);
        }
        drop(reason);
        self.begun.cancel();
    }

    /// Cuts the downloads in flight; the bytes they have received are kept for the next run.
    pub(crate) fn cut(&self) {
        self.halted.cancel();
        self.cut.cancel();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.begun.is_cancelled()
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// Time left until the deadline, if there is one.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.duration_since((self.wall_clock)()).unwrap_or_default())
    }

    pub(crate) fn is_deadline_past(&self) -> bool {
        self.time_left().is_some_and(|left| left.is_zero())
    }

    /// Completes when the deadline is past.
    pub(crate) async fn deadline_past(&self) {
        while let Some(left) = self.time_left() {
            if left.is_zero() {
                return;
            }
            sleep(left.min(WALL_CLOCK_INTERVAL)).await;
        }
        pending::<()>().await;
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

    /// Waits for `work` of a row that has its URL. A run that drains gently finishes it, so that no request to the API was
    /// in vain; not after an error, and not once downloads are cut.
    ///
    /// # Errors
    /// [`Failure::Stopped`].
    pub(crate) async fn or_halted<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.halted.cancelled() => Err(Failure::Stopped),
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
            StopReason::Error(error @ (RunError::Outage { .. } | RunError::RateLimited(_))) => error
                .code()
                .map(|code| ItemError { code: Some(code), error: error.cause(), trace_id: String::new() }),
            StopReason::Limited(error) => Some(error.clone()),
            StopReason::Error(_) | StopReason::Signal(_) | StopReason::Deadline => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::UNIX_EPOCH;

    use tokio::time::Instant;

    use super::*;

    /// Seconds by which the wall clock is ahead of the timers.
    static AHEAD: AtomicU64 = AtomicU64::new(0);

    /// Timers and wall clock go on together, until the machine sleeps or the clock is corrected.
    fn wall_clock() -> SystemTime {
        thread_local!(static BEGIN: Instant = Instant::now());
        let ahead = Duration::from_secs(AHEAD.load(Ordering::Relaxed));
        UNIX_EPOCH + BEGIN.with(Instant::elapsed) + ahead
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_is_the_wall_clocks_also_after_the_machine_slept() {
        const HOUR: u64 = 3600;
        let deadline = wall_clock() + Duration::from_secs(8 * HOUR);
        let drain = Drain { wall_clock, ..Drain::new(Some(deadline), Events::none()) };
        let start = Instant::now();
        let passed = drain.deadline_past();
        tokio::pin!(passed);
        assert!(tokio::time::timeout(Duration::from_secs(6 * HOUR), &mut passed).await.is_err(), "not yet");
        assert!(!drain.is_deadline_past());
        AHEAD.store(2 * HOUR, Ordering::Relaxed);
        assert!(drain.is_deadline_past() && drain.time_left() == Some(Duration::ZERO));
        passed.await;
        assert!(start.elapsed() <= Duration::from_secs(6 * HOUR + 1), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_without_a_deadline_has_none() {
        let drain = Drain::new(None, Events::none());
        assert!(tokio::time::timeout(Duration::from_hours(48), drain.deadline_past()).await.is_err());
        assert!(!drain.is_deadline_past());
    }
}
