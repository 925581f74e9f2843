//! Rows in flight: read from the ledger organization by organization, one task each, until none is left or the run
//! drains.
//!
//! The loop waits for one [`Wake`] at a time and handles it; what is recorded of rows that have ended is in
//! [`settle`]. Delivered rows are recorded by the committing thread before they arrive here.

mod blocked;
mod samples;
mod settle;
mod watch;

use std::collections::VecDeque;
use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, Interval, interval, sleep_until};

use self::samples::{Sampler, Totals};
use self::settle::Parked;
use crate::error::{RunError, StopReason};
use crate::event::Progress;
use crate::fetch::{Fetcher, Outcome};
use crate::ledger::{self, Cursor, Pace, RunCounters, Work, Write, sqlite_error};
use crate::options::DRAIN;
use crate::remote::Remote;
use crate::shutdown::StopHandle;

/// Rows read from the ledger at a time.
const CHUNK: u32 = 256;
/// How often the run's counters are recorded.
const COUNTERS_INTERVAL: Duration = Duration::from_secs(2);
/// How often the numbers are sampled that the screen shows.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);
/// How long tasks have to save what they hold once their downloads are cut.
const CUT_TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches `todo` rows. Returns when all have ended or are left; the reason is with the admission's drain.
pub(super) async fn drive<R: Remote>(
    fetcher: &Arc<Fetcher<R>>,
    run: i64,
    todo: u64,
    stop: &StopHandle,
    started: Instant,
) {
    let mut pipeline = Pipeline::new(Arc::clone(fetcher), run, todo, started);
    let asker = async {
        fetcher.hand_out_turns().await;
        pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = pipeline.drive(stop) => ended,
        () = asker => Ok(()),
    };
    if let Err(error) = ended {
        fetcher.admission.drain.stop(StopReason::Error(error));
    }
}

/// What the run has done so far.
pub(super) fn counters<R>(fetcher: &Fetcher<R>, started: Instant) -> RunCounters {
    let progress = &fetcher.progress;
    RunCounters {
        allowance_share: fetcher.admission.limiter.share(),
        seconds: started.elapsed().as_secs_f64(),
        bytes: Progress::get(&progress.bytes),
        api_requests: Progress::get(&progress.api_requests),
        api_429: Progress::get(&progress.api_429),
        retries: Progress::get(&progress.retries),
        pace: Pace::of(progress),
    }
}

struct Pipeline<R> {
    fetcher: Arc<Fetcher<R>>,
    run: i64,
    started: Instant,
    tasks: JoinSet<(Work, Outcome)>,
    /// Read from the ledger, not started.
    ready: VecDeque<Work>,
    cursor: Cursor,
    /// Rows neither read from the ledger nor dropped.
    unread: u64,
    /// Out of attempts, perhaps because of an outage.
    parked: Vec<Parked>,
    /// When the time for what is in flight is up: then it is cut, and a little later dropped.
    time_up: Option<Instant>,
    /// The latest look at the folder.
    watching: Option<JoinHandle<()>>,
    sampler: Sampler,
}

/// What the loop wakes for. The first that is due counts, in this order.
enum Wake {
    /// A second signal.
    Abort,
    /// The first signal; it may come after the run has begun to drain by itself.
    Signal,
    Deadline,
    TimeUp,
    RecordCounters,
    Sample,
    Ended(Box<Result<(Work, Outcome), JoinError>>),
}

impl<R: Remote> Pipeline<R> {
    fn new(fetcher: Arc<Fetcher<R>>, run: i64, todo: u64, started: Instant) -> Self {
        Self {
            fetcher,
            run,
            started,
            tasks: JoinSet::new(),
            ready: VecDeque::new(),
            cursor: Cursor::default(),
            unread: todo,
            parked: Vec::new(),
            time_up: None,
            watching: None,
            sampler: Sampler::new(run),
        }
    }

    async fn drive(&mut self, stop: &StopHandle) -> Result<(), RunError> {
        let mut record = interval(COUNTERS_INTERVAL);
        let mut sample = interval(SAMPLE_INTERVAL);
        while self.refill(stop).await? {
            let wake = self.next_wake(stop, &mut record, &mut sample).await;
            if self.handle(wake, stop).await?.is_break() {
                break;
            }
        }
        self.sample();
        self.record_samples()?;
        self.record_rest()
    }

    /// Starts tasks while there are rows and room. False if nothing is in flight any more.
    async fn refill(&mut self, stop: &StopHandle) -> Result<bool, RunError> {
        loop {
            self.check_stop(stop);
            self.fetcher.admission.set_remaining(self.remaining());
            self.start_rows().await?;
            self.fetcher.admission.set_remaining(self.remaining());
            if !self.tasks.is_empty() {
                return Ok(true);
            }
            if self.parked.is_empty() || self.fetcher.admission.drain.is_draining() {
                return Ok(false);
            }
            // no row is left that could show an outage: each of them has failed by itself
            for row in std::mem::take(&mut self.parked) {
                self.give_up(row)?;
            }
        }
    }

    /// A signal may have come, or the time be up, before the loop could see it.
    fn check_stop(&self, stop: &StopHandle) {
        let drain = &self.fetcher.admission.drain;
        if let Some(signal) = stop.signal() {
            drain.stop(StopReason::Signal(signal));
        } else if drain.is_deadline_past() {
            drain.stop(StopReason::Deadline);
        }
    }

    async fn next_wake(&mut self, stop: &StopHandle, record: &mut Interval, sample: &mut Interval) -> Wake {
        let drain = &self.fetcher.admission.drain;
        tokio::select! {
            biased;
            () = stop.aborted() => Wake::Abort,
            () = stop.drained(), if self.time_up.is_none() => Wake::Signal,
            () = drain.deadline_past(), if !drain.is_draining() => Wake::Deadline,
            () = sleep_until_any(self.time_up) => Wake::TimeUp,
            _ = record.tick() => Wake::RecordCounters,
            _ = sample.tick() => Wake::Sample,
            Some(ended) = self.tasks.join_next() => Wake::Ended(Box::new(ended)),
        }
    }

    async fn handle(&mut self, wake: Wake, stop: &StopHandle) -> Result<ControlFlow<()>, RunError> {
        let admission = &self.fetcher.admission;
        match wake {
            Wake::Abort => {
                self.check_stop(stop);
                self.tasks.abort_all();
                return Ok(ControlFlow::Break(()));
            }
            Wake::Signal => self.time_up = Some(Instant::now() + DRAIN),
            // seen before the next row is started
            Wake::Deadline => {}
            Wake::TimeUp if admission.drain.is_cut() => {
                self.tasks.abort_all();
                return Ok(ControlFlow::Break(()));
            }
            Wake::TimeUp => {
                admission.drain.cut();
                self.time_up = Some(Instant::now() + CUT_TIMEOUT);
            }
            Wake::RecordCounters => {
                self.watch_folder();
                let counters = counters(&self.fetcher, self.started);
                self.fetcher.ledger.post(Write::Counters(self.run, counters))?;
                self.record_samples()?;
            }
            Wake::Sample => {
                admission.check_announced_wait();
                self.fetcher.adjust();
                if admission.drain.is_cut() {
                    // the watch has cut what is in flight: whatever does not end by itself is dropped
                    self.time_up.get_or_insert_with(|| Instant::now() + CUT_TIMEOUT);
                }
                self.sample();
            }
            Wake::Ended(ended) => {
                let (work, outcome) = (*ended).map_err(|error| RunError::Internal(error.to_string()))?;
                self.settle(work, outcome).await?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Rows that have not ended.
    fn remaining(&self) -> u64 {
        self.unread + (self.ready.len() + self.tasks.len() + self.parked.len()) as u64
    }

    /// Rows that have not been started, or may be again.
    fn waiting(&self) -> u64 {
        self.unread + (self.ready.len() + self.parked.len()) as u64
    }

    async fn start_rows(&mut self) -> Result<(), RunError> {
        while self.has_room() && !self.fetcher.admission.drain.is_draining() {
            // every row of a chunk may be blocked
            while self.ready.is_empty() && self.unread > 0 && !self.fetcher.admission.drain.is_draining() {
                self.read_chunk().await?;
            }
            if self.fetcher.admission.drain.is_draining() {
                break;
            }
            let Some(work) = self.ready.pop_front() else { break };
            // the row may ask as soon as it is started
            self.fetcher.admission.demand.set_waiting(self.waiting());
            self.start(work);
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.tasks.len() < self.fetcher.rows_max && !self.fetcher.queue.is_full()
    }

    async fn read_chunk(&mut self) -> Result<(), RunError> {
        let mut cursor = self.cursor;
        let (chunk, cursor) = self
            .fetcher
            .ledger
            .ask(move |connection| {
                let chunk = ledger::next_items(connection, &mut cursor, CHUNK).map_err(sqlite_error)?;
                Ok((chunk, cursor))
            })
            .await?;
        self.cursor = cursor;
        self.unread = if chunk.is_empty() { 0 } else { self.unread.saturating_sub(chunk.len() as u64) };
        self.accept(chunk).await
    }

    /// Starts a row. Its place in the queue is taken before its task runs, so rows ask in the ledger's order.
    fn start(&mut self, work: Work) {
        let fetcher = Arc::clone(&self.fetcher);
        let place = fetcher.queue.enter();
        self.tasks.spawn(async move {
            let outcome = fetcher.fetch(&work, place).await;
            (work, outcome)
        });
    }

    fn record_samples(&mut self) -> Result<(), RunError> {
        self.sampler.record().into_iter().try_for_each(|write| self.fetcher.ledger.post(write))
    }

    /// Samples the numbers that the screen and the report show.
    fn sample(&mut self) {
        let Fetcher { admission, progress, queue, .. } = &*self.fetcher;
        let waiting = u64::try_from(admission.limiter.waiting().as_millis()).unwrap_or(u64::MAX);
        progress.waiting_ms.store(waiting, Relaxed);
        let share = admission.limiter.share().unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share is between 0 and 1"
        )]
        progress.allowance_permille.store((1000.0 * share).round() as u64, Relaxed);
        let counts = queue.counts();
        let (waiting, queued) =
            if admission.limiter.is_waited_for() { (counts.waiting, 0) } else { (0, counts.waiting) };
        for (shown, number) in [
            (&progress.concurrency, queue.concurrency()),
            (&progress.downloading, counts.downloading),
            (&progress.asking, counts.asking),
            (&progress.waiting, waiting),
            (&progress.queued, queued),
            (&progress.ready, counts.ready),
        ] {
            shown.store(number as u64, Relaxed);
        }
        let totals = Totals {
            requests: Progress::get(&progress.api_requests),
            answers_429: Progress::get(&progress.api_429),
            images: Progress::get(&progress.stored),
            bytes: Progress::get(&progress.bytes),
            in_flight: counts.downloading as u64,
            allowance: 60.0 * admission.limiter.allowed_per_second(),
            is_out: admission.is_out(),
            is_told_to_wait: admission.limiter.closed_for() > Duration::ZERO,
        };
        self.sampler.observe(self.started.elapsed(), &totals);
    }
}

async fn sleep_until_any(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}
