//! Rows that have ended: what is recorded of each, and what its end means for others.
//!
//! Only here is it decided what is recorded of a row that was not delivered.

use std::sync::Arc;

use super::Pipeline;
use crate::error::{ItemError, RunError};
use crate::event::{Event, Progress};
use crate::fetch::{Outcome, Suspect};
use crate::layout::without_names;
use crate::ledger::{self, EndState, NotDelivered, Work, Write, sqlite_error};
use crate::remote::Remote;
use crate::store::Receipt;

/// A row that is out of attempts: it waits until it is clear what is to blame.
pub(super) struct Parked {
    pub work: Work,
    pub ended: NotDelivered,
    suspect: Suspect,
}

impl<R: Remote> Pipeline<R> {
    pub(super) async fn settle(&mut self, work: Work, outcome: Outcome) -> Result<(), RunError> {
        match outcome {
            Outcome::Stored(receipt) => self.count_stored(&work, &receipt),
            Outcome::NotDelivered(ended) => self.record(&work, ended)?,
            Outcome::OrgRefused(ended) => {
                let refusal = ended.error.clone();
                self.record(&work, ended)?;
                self.drop_org(&work, refusal).await?;
            }
            Outcome::Parked(ended, suspect) => self.parked.push(Parked { work, ended, suspect }),
        }
        self.resolve_parked()
    }

    fn count_stored(&mut self, work: &Work, receipt: &Receipt) {
        let progress = &self.fetcher.progress;
        Progress::add(&progress.stored, 1);
        Progress::add(&progress.bytes, receipt.bytes);
        if !receipt.warning.is_empty() {
            let line = Some(work.item.line);
            let what = without_names(&receipt.warning, self.fetcher.folder.root());
            self.fetcher.admission.events.send(Event::Warning { line, what });
        }
    }

    /// Settles parked rows once it is clear what was to blame.
    fn resolve_parked(&mut self) -> Result<(), RunError> {
        for row in std::mem::take(&mut self.parked) {
            let (admission, seq) = (&self.fetcher.admission, row.work.item.seq);
            let (acquitted, open) = match row.suspect {
                Suspect::Outage(service, when) => {
                    (admission.was_outage(service, when), admission.may_be_outage(seq, service))
                }
                Suspect::Disk => (false, admission.may_be_disk(seq)),
            };
            if acquitted {
                // the row starts again, from its first byte
                self.ready.push_front(Work { part: None, ..row.work });
            } else if open {
                self.parked.push(row);
            } else {
                self.give_up(row)?;
            }
        }
        Ok(())
    }

    /// A parked row has failed by itself.
    pub(super) fn give_up(&mut self, row: Parked) -> Result<(), RunError> {
        let state = self.fetcher.admission.row_failed(&row.ended.error);
        self.record(&row.work, NotDelivered { state, ..row.ended })
    }

    /// Records a row that was not delivered.
    pub(super) fn record(&mut self, work: &Work, ended: NotDelivered) -> Result<(), RunError> {
        match ended.state {
            EndState::Failed => self.count_failed(work, &ended.error),
            // never reached: the run itself says why
            EndState::Untried if ended.error.code.is_none() => return Ok(()),
            EndState::Untried => {}
        }
        self.fetcher.ledger.post(Write::NotDelivered(self.run, ended))
    }

    fn count_failed(&mut self, work: &Work, failed: &ItemError) {
        let fetcher = Arc::clone(&self.fetcher);
        Progress::add(&fetcher.progress.failed, 1);
        let error =
            ItemError { error: without_names(&failed.error, fetcher.folder.root()), ..failed.clone() };
        fetcher.admission.events.send(Event::Failed { line: work.item.line, error });
    }

    /// An organization is refused: its other rows fail without a request.
    async fn drop_org(&mut self, work: &Work, refusal: ItemError) -> Result<(), RunError> {
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
        self.fetcher.admission.events.send(Event::OrgRefused {
            org: work.item.org.to_string(),
            rows,
            why: refusal.error,
        });
        Ok(())
    }

    /// Records the rows that are left at the end of the run.
    pub(super) fn record_rest(&mut self) -> Result<(), RunError> {
        // the run stops before it was clear what was to blame: the next one tries them again
        for row in std::mem::take(&mut self.parked) {
            self.record(&row.work, NotDelivered { state: EndState::Untried, ..row.ended })?;
        }
        // rows that were read waited for the same thing as those in flight
        if let Some(error) = self.fetcher.admission.drain.untried_reason() {
            for work in std::mem::take(&mut self.ready) {
                let (seq, error) = (work.item.seq, error.clone());
                self.record(&work, NotDelivered { seq, state: EndState::Untried, attempts: 0, error })?;
            }
        }
        Ok(())
    }
}
