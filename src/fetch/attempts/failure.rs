//! What follows from a failed attempt: who pays, what is kept, and whether the row is retried or ends.
//!
//! [`verdict`] decides by the failure alone. Here its verdict meets what the row has left: its chances, its budget,
//! and whether an outage pays.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Attempts;
use crate::admission::breaker::Charge;
use crate::error::{ErrorCode, Failure, ItemError, RunError, StopReason};
use crate::event::{Event, Progress};
use crate::fetch::retry::{Verdict, verdict};
use crate::fetch::signed_url::{Effect, FailedAttempt};
use crate::fetch::{Outcome, Suspect};
use crate::layout::without_names;
use crate::ledger::{EndState, NotDelivered};
use crate::remote::Remote;

/// What the row does next.
pub(super) enum Next {
    /// Makes another attempt after this pause.
    Retry(Duration),
    /// Makes another attempt as soon as the gates let it.
    Now,
    End(Outcome),
}

impl<R: Remote> Attempts<'_, R> {
    pub(super) async fn on_failure(&mut self, failed: FailedAttempt) -> Next {
        let FailedAttempt { failure, effect } = failed;
        let (admission, seq) = (&self.ctx.admission, self.work.item.seq);
        let probe = self.probe.take();
        let stale = matches!(failure, Failure::StaleConnection { .. });
        if stale && !std::mem::replace(&mut self.chances.stale_connection, true) {
            // an idle connection may be closed at any time: it says nothing about the image or the service
            return Next::Now;
        }
        if let Some(service) = failure.answering_service() {
            admission.answered(seq, service, self.started);
        }
        if failure.says_line_is_full() {
            self.ctx.queue.line_is_full();
        }
        let charge = admission.failed(seq, &failure, probe);
        let failure = self.reach(failure).await;
        if self.stops_for_disk(&failure) {
            self.partial.discard().await;
            return self.end_charged(EndState::Untried, failure.describe());
        }
        let verdict = verdict(&failure);
        if verdict.discards_partial() {
            self.partial.discard().await;
        }
        self.next(verdict, &failure, effect, charge).await
    }

    /// What a failure of the disk is once the folder was inspected: every row's trouble if the folder is gone, full or
    /// cannot be written, whatever the error said.
    async fn reach(&self, failure: Failure) -> Failure {
        if !failure.is_of_disk() {
            return failure;
        }
        let folder = Arc::clone(&self.ctx.folder);
        match tokio::task::spawn_blocking(move || folder.inspect()).await {
            Ok(Err(fatal)) => fatal,
            _ => failure,
        }
    }

    /// Whether the disk is at fault by this failure, after those of other rows: then the run stops.
    fn stops_for_disk(&self, failure: &Failure) -> bool {
        failure.is_of_disk() && {
            let shown = without_names(&failure.describe().error, self.ctx.folder.root());
            self.ctx.admission.disk_failed(self.work.item.seq, failure, &shown)
        }
    }

    async fn next(&mut self, verdict: Verdict, failure: &Failure, effect: Effect, charge: Charge) -> Next {
        let error = failure.describe();
        match verdict {
            Verdict::Stopped => Next::End(self.left_untried()),
            Verdict::RateLimited => {
                self.last = Some(error);
                Next::Now
            }
            Verdict::KeyRefused if effect == Effect::KeyRenewed => Next::Now,
            Verdict::KeyRefused => self.end_charged(EndState::Untried, error),
            Verdict::StopRun(_) => {
                let error_of_run = run_error(failure, self.ctx.folder.root());
                self.ctx.admission.drain.stop(StopReason::Error(error_of_run));
                self.end_charged(EndState::Untried, error)
            }
            Verdict::OrgRefused if effect == Effect::OrgClosed => {
                self.budget.charge();
                Next::End(Outcome::OrgRefused(self.ended(EndState::Failed, error)))
            }
            Verdict::OrgRefused | Verdict::GiveUp => self.end_charged(EndState::Failed, error),
            Verdict::Hold => {
                self.budget.charge();
                Next::End(Outcome::Parked(self.ended(EndState::Failed, error), Suspect::Disk))
            }
            Verdict::OrgClosed => self.end(EndState::Failed, error),
            Verdict::NewUrl => self.with_new_url(failure, error),
            // without a partial download this cannot happen again: nothing to charge, nothing to wait for
            Verdict::RestartFree => self.retry_free(error),
            Verdict::Retry | Verdict::RetrySlowly | Verdict::RetryNow | Verdict::Restart => {
                // an outage is waited out at the gates
                if charge == Charge::Outage {
                    return self.retry_free(error);
                }
                self.retry_or_end(failure, verdict == Verdict::RetrySlowly, error).await
            }
        }
    }

    /// Makes one free attempt with a new URL, or ends.
    fn with_new_url(&mut self, failure: &Failure, error: ItemError) -> Next {
        self.url = None;
        self.demand.needs_request();
        let used = match failure {
            Failure::Denied(_) => &mut self.chances.url_after_refusal,
            _ => &mut self.chances.url_after_not_an_image,
        };
        if std::mem::replace(used, true) {
            return self.end_charged(EndState::Failed, error);
        }
        self.retry_free(error)
    }

    fn retry_free(&mut self, error: ItemError) -> Next {
        self.report_retry(Duration::ZERO, error);
        Next::Now
    }

    /// Pays for the failure. Retries after a pause while the budget lasts, else ends.
    async fn retry_or_end(&mut self, failure: &Failure, slowly: bool, error: ItemError) -> Next {
        self.budget.charge();
        let now = Instant::now();
        if let Some(service) = failure.silent_service() {
            self.refundable.push((service, now));
        }
        self.budget.spend_retry(self.started.elapsed());
        match self.budget.pause(slowly, failure.retry_after()) {
            Some(pause) => {
                self.report_retry(pause, error);
                Next::Retry(pause)
            }
            None => Next::End(self.out_of_attempts(failure, error, now).await),
        }
    }

    /// The row has failed, unless that may still turn out to be an outage.
    async fn out_of_attempts(&mut self, failure: &Failure, error: ItemError, now: Instant) -> Outcome {
        let (admission, seq) = (&self.ctx.admission, self.work.item.seq);
        let ended = self.ended(EndState::Failed, error);
        if failure.is_of_disk() {
            return Outcome::Parked(ended, Suspect::Disk);
        }
        match failure.silent_service() {
            Some(service) if admission.may_be_outage(seq, service) || admission.was_outage(service, now) => {
                // if it was an outage, the row starts again from its first byte
                self.partial.forget(self.ctx, &self.work.item).await;
                Outcome::Parked(ended, Suspect::Outage(service, now))
            }
            _ => Outcome::NotDelivered(ended),
        }
    }

    /// Another attempt will follow.
    fn report_retry(&mut self, after: Duration, error: ItemError) {
        Progress::add(&self.ctx.progress.retries, 1);
        self.ctx.admission.events.send(Event::Retry {
            line: self.work.item.line,
            attempt: self.budget.attempts(),
            after,
            why: without_names(&error.error, self.ctx.folder.root()),
        });
        self.last = Some(error);
    }

    /// The run stops: the row is left to the next one.
    pub(super) fn left_untried(&self) -> Outcome {
        let nothing = ItemError { code: None, error: String::new(), trace_id: String::new() };
        let reason = self.ctx.admission.drain.untried_reason();
        let error = reason.or_else(|| self.last.clone()).unwrap_or(nothing);
        Outcome::NotDelivered(self.ended(EndState::Untried, error))
    }

    fn end_charged(&mut self, state: EndState, error: ItemError) -> Next {
        self.budget.charge();
        self.end(state, error)
    }

    fn end(&self, state: EndState, error: ItemError) -> Next {
        Next::End(Outcome::NotDelivered(self.ended(state, error)))
    }

    fn ended(&self, state: EndState, error: ItemError) -> NotDelivered {
        NotDelivered { seq: self.work.item.seq, state, attempts: self.budget.attempts(), error }
    }
}

/// Why no row can go on.
fn run_error(failure: &Failure, root: &Path) -> RunError {
    let described = failure.describe();
    match (described.code, failure) {
        (Some(ErrorCode::Disk), _) => RunError::Disk(without_names(&described.error, root)),
        (_, Failure::Proxy { .. }) => RunError::Proxy(described.error),
        _ => RunError::Tls(described.error),
    }
}
