//! Rows in flight: taken from the ledger org by org, one task each, until none is left or the run drains.
//!
//! This loop is the only one that decides what is written of a row that is not delivered; delivered rows are
//! written by the committing thread before anybody hears of them.

use std::collections::VecDeque;
use std::future::{poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinSet, unconstrained};
use tokio::time::{Instant, sleep_until};

use crate::error::StopReason;
use crate::error::{ErrorCode, ItemError, RunError, Service};
use crate::event::{Event, Progress};
use crate::fetch::{Fetcher, Outcome, open_files};
use crate::layout::without_names;
use crate::ledger::{self, Cursor, Given, RunCounters, Work, Write, sqlite_error};
use crate::options::DRAIN;
use crate::remote::Remote;
use crate::shutdown::StopHandle;

/// Rows taken from the ledger at a time.
const CHUNK: u32 = 256;
/// Tasks beyond the images in flight: they sleep, or wait for the disk. Each may hold an open file.
const WAITING: usize = 256;
/// Rows refused by the storage in succession after which the storage refuses everybody.
const DENIED: u32 = 20;
/// How often the run's counters are written down.
const TALLY: Duration = Duration::from_secs(2);
/// How often the screen's "waiting" is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// After the time to drain, tasks have so long to put away what they hold.
const PUT_AWAY: Duration = Duration::from_secs(5);

/// A row that ran out of tries then, because of that service.
struct Undecided {
    work: Work,
    given: Given,
    service: Service,
    when: Instant,
}

struct Pipeline<R> {
    fetcher: Arc<Fetcher<R>>,
    run: i64,
    tasks: JoinSet<(Work, Outcome)>,
    ready: VecDeque<Work>,
    cursor: Cursor,
    /// Rows neither taken from the ledger nor dropped.
    unread: u64,
    /// Rows that ran out of tries while nobody can tell whether it was their fault.
    undecided: Vec<Undecided>,
    /// Rows refused by the storage since the last success.
    denied: u32,
    limit: usize,
}

/// Fetches `todo` rows. Returns when all are at their end, or left; why is with the fetcher's control.
pub(super) async fn drive<R: Remote>(
    fetcher: &Arc<Fetcher<R>>,
    run: i64,
    todo: u64,
    stop: &StopHandle,
    began: Instant,
) {
    let mut pipeline = Pipeline {
        fetcher: Arc::clone(fetcher),
        run,
        tasks: JoinSet::new(),
        ready: VecDeque::new(),
        cursor: Cursor::default(),
        unread: todo,
        undecided: Vec::new(),
        denied: 0,
        limit: task_limit(fetcher.concurrency),
    };
    if let Err(error) = pipeline.drive(stop, began).await {
        fetcher.control.stop(StopReason::Error(error));
    }
}

/// A task may hold a part file and a connection: a low limit of open files means fewer tasks, not failed rows.
fn task_limit(concurrency: usize) -> usize {
    let spare = open_files().saturating_sub(2 * concurrency as u64);
    concurrency + usize::try_from(spare).unwrap_or(WAITING).min(WAITING)
}

/// What the run has done so far.
pub(super) fn tally<R>(fetcher: &Fetcher<R>, began: Instant) -> RunCounters {
    let progress = &fetcher.progress;
    RunCounters {
        allowance_share: fetcher.control.limiter.share(),
        seconds: began.elapsed().as_secs_f64(),
        bytes: Progress::get(&progress.bytes),
        api_requests: Progress::get(&progress.api_requests),
        api_429: Progress::get(&progress.api_429),
        retries: Progress::get(&progress.retries),
    }
}

impl<R: Remote> Pipeline<R> {
    async fn drive(&mut self, stop: &StopHandle, began: Instant) -> Result<(), RunError> {
        let control_of = Arc::clone(&self.fetcher);
        let control = &control_of.control;
        let mut tallied = tokio::time::interval(TALLY);
        let mut looked = tokio::time::interval(LOOK);
        let mut end = None;
        loop {
            // a signal may have come, or the time be up, before there was a loop to see it
            if let Some(signal) = stop.signal() {
                control.stop(StopReason::Signal(signal));
            } else if control.deadline().is_some_and(|deadline| Instant::now() >= deadline) {
                control.stop(StopReason::Deadline);
            }
            // a row asks the request clock as soon as it is begun
            control.set_left(self.left());
            self.fill().await?;
            control.set_left(self.left());
            if self.tasks.is_empty() {
                if self.undecided.is_empty() || control.is_draining() {
                    break;
                }
                // nobody is left to tell: each was sick alone
                for row in std::mem::take(&mut self.undecided) {
                    self.give(&row.work, row.given)?;
                }
                continue;
            }
            let deadline = self.fetcher.control.deadline();
            let at = |when: Option<Instant>| async move {
                match when {
                    Some(when) => sleep_until(when).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.aborted() => {
                    if let Some(signal) = stop.signal() {
                        control.stop(StopReason::Signal(signal));
                    }
                    self.tasks.abort_all();
                    break;
                }
                // also where the run drains already: what is in flight has only so long from now on
                () = stop.drained(), if end.is_none() => {
                    end = Some(Instant::now() + DRAIN);
                }
                () = at(deadline), if !control.is_draining() => {}
                () = at(end) => {
                    if control.is_cut() {
                        self.tasks.abort_all();
                        break;
                    }
                    control.cut();
                    end = Some(Instant::now() + PUT_AWAY);
                }
                _ = tallied.tick() => {
                    self.fetcher.ledger.post(Write::Counters(self.run, tally(&self.fetcher, began)))?;
                }
                _ = looked.tick() => {
                    control.closed();
                    self.look();
                }
                Some(joined) = self.tasks.join_next() => {
                    let (work, outcome) = joined.map_err(|error| RunError::Internal(error.to_string()))?;
                    self.take(work, outcome).await?;
                }
            }
        }
        self.look();
        // the run stops before anybody could tell whose fault it was: the next one will try them again
        for row in std::mem::take(&mut self.undecided) {
            self.give(&row.work, Given { failed: false, ..row.given })?;
        }
        // rows that were taken waited for the same thing as those in flight
        if let Some(error) = control.leave() {
            for work in std::mem::take(&mut self.ready) {
                let given = Given { seq: work.item.seq, failed: false, attempts: 0, error: error.clone() };
                self.give(&work, given)?;
            }
        }
        Ok(())
    }

    /// Rows that are not at their end.
    fn left(&self) -> u64 {
        self.unread + (self.ready.len() + self.tasks.len() + self.undecided.len()) as u64
    }

    async fn fill(&mut self) -> Result<(), RunError> {
        while self.tasks.len() < self.limit && !self.fetcher.control.is_draining() {
            if self.ready.is_empty() && self.unread > 0 {
                let mut cursor = self.cursor;
                let (chunk, cursor) = self
                    .fetcher
                    .ledger
                    .ask(move |connection| {
                        let chunk =
                            ledger::next_items(connection, &mut cursor, CHUNK).map_err(sqlite_error)?;
                        Ok((chunk, cursor))
                    })
                    .await?;
                self.cursor = cursor;
                self.unread =
                    if chunk.is_empty() { 0 } else { self.unread.saturating_sub(chunk.len() as u64) };
                self.ready.extend(chunk);
            }
            let Some(work) = self.ready.pop_front() else { break };
            self.begin(work).await;
        }
        Ok(())
    }

    /// Begins a row, up to where it first waits: so rows take their places in line in the ledger's order. As tasks
    /// they would in the order in which the threads get to them.
    async fn begin(&mut self, work: Work) {
        let fetcher = Arc::clone(&self.fetcher);
        let mut row = Box::pin(async move {
            let outcome = fetcher.fetch(&work).await;
            (work, outcome)
        });
        // tokio lets nobody do much at a time, unless he says so: the row would wait without a place
        let begun = poll_fn(|context| {
            let begin = AssertUnwindSafe(|| pin!(unconstrained(row.as_mut())).poll(context));
            Poll::Ready(catch_unwind(begin))
        });
        match begun.await {
            Ok(Poll::Pending) => self.tasks.spawn(row),
            Ok(Poll::Ready(ended)) => self.tasks.spawn(ready(ended)),
            // the run ends as after a panic in a task: with its reports
            Err(panic) => self.tasks.spawn(async move { resume_unwind(panic) }),
        };
    }

    async fn take(&mut self, work: Work, outcome: Outcome) -> Result<(), RunError> {
        let progress = Arc::clone(&self.fetcher.progress);
        match outcome {
            Outcome::Stored(receipt) => {
                Progress::add(&progress.stored, 1);
                Progress::add(&progress.bytes, receipt.bytes);
                self.denied = 0;
                if !receipt.warning.is_empty() {
                    let (line, what) = (Some(work.item.line), receipt.warning);
                    self.fetcher.control.events.send(Event::Warning { line, what });
                }
            }
            Outcome::Given(given) => self.give(&work, given)?,
            Outcome::Tripped(given) => {
                let refusal = given.error.clone();
                self.give(&work, given)?;
                self.trip(&work, refusal).await?;
            }
            Outcome::Undecided(given, service, when) => {
                self.undecided.push(Undecided { work, given, service, when });
            }
        }
        self.decide()
    }

    /// Looks whether it is clear by now whose fault it was that rows ran out of tries.
    fn decide(&mut self) -> Result<(), RunError> {
        for row in std::mem::take(&mut self.undecided) {
            let control = &self.fetcher.control;
            if control.forgives(row.service, row.when) {
                // it was an outage: the row starts anew, and from its first byte
                self.ready.push_front(Work { part: None, ..row.work });
            } else if control.undecided(row.work.item.seq, row.service) {
                self.undecided.push(row);
            } else {
                self.give(&row.work, row.given)?;
            }
        }
        Ok(())
    }

    fn give(&mut self, work: &Work, given: Given) -> Result<(), RunError> {
        let control = &self.fetcher.control;
        if given.failed {
            Progress::add(&self.fetcher.progress.failed, 1);
            let error = without_names(&given.error.error, self.fetcher.folder.root());
            let error = ItemError { error, ..given.error.clone() };
            control.events.send(Event::Failed { line: work.item.line, error });
            if given.error.code == Some(ErrorCode::StorageDenied) {
                self.denied += 1;
                if self.denied == DENIED {
                    control.stop(StopReason::Error(RunError::StorageDenied {
                        rows: DENIED,
                        said: given.error.error.clone(),
                    }));
                }
            }
        } else if given.error.code.is_none() {
            return Ok(()); // never reached: the run itself says why
        }
        self.fetcher.ledger.post(Write::Given(self.run, given))
    }

    /// An organization is refused: its other rows are given up without a request.
    async fn trip(&mut self, work: &Work, refusal: crate::error::ItemError) -> Result<(), RunError> {
        let (run, org, cursor, error) = (self.run, work.org, self.cursor, refusal.clone());
        let rows = self
            .fetcher
            .ledger
            .ask(move |connection| {
                ledger::drop_org(connection, run, org, cursor, &error).map_err(sqlite_error)
            })
            .await?;
        self.unread = self.unread.saturating_sub(rows);
        Progress::add(&self.fetcher.progress.failed, rows);
        self.fetcher.control.events.send(Event::Tripped {
            org: work.item.org.to_string(),
            rows,
            why: refusal.error,
        });
        Ok(())
    }

    fn look(&self) {
        let wait = self.fetcher.control.limiter.waiting();
        let waiting = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.fetcher.progress.waiting_ms.store(waiting, Relaxed);
        let share = self.fetcher.control.limiter.share().unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share is between 0 and 1"
        )]
        self.fetcher.progress.allowance_permille.store((1000.0 * share).round() as u64, Relaxed);
        let places = self.fetcher.places.available_permits();
        let in_flight = self.fetcher.concurrency.saturating_sub(places);
        self.fetcher.progress.in_flight.store(in_flight as u64, Relaxed);
    }
}
