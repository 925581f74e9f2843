//! The loop of one row: attempt, classify the failure, retry or end.
//!
//! Here stands what the row carries from one attempt to the next and what its attempts cost. An attempt that an
//! outage took is refunded; one that a gate kept back was none.

mod failure;

use std::time::Duration;

use tokio::time::Instant;

use self::failure::Next;
use super::partial::{self, Partial};
use super::queue::{DownloadSlot, FilePlace, Place};
use super::retry::Budget;
use super::signed_url::{self, FailedAttempt};
use super::validate::validate;
use super::{Fetcher, Outcome, download};
use crate::admission::Probe;
use crate::admission::demand::RowDemand;
use crate::error::{Failure, ItemError, Service, clean};
use crate::item::Sha256;
use crate::layout::with_extension;
use crate::ledger::{Delivered, EndState, Work};
use crate::remote::{ObjectMeta, PresignedUrl, Remote};
use crate::store::{Delivery, Part, Receipt};
use crate::timestamp;

/// A signed URL is used for further attempts until this age. It lives for an hour, but the credentials behind it may
/// expire earlier.
const URL_AGE_MAX: Duration = Duration::from_mins(20);

/// What a row carries from one attempt to the next.
struct Attempts<'f, R> {
    ctx: &'f Fetcher<R>,
    work: &'f Work,
    /// The row's position among all rows.
    place: Place,
    budget: Budget,
    chances: Chances,
    url: Option<PresignedUrl>,
    /// What the row still needs of the allowance.
    demand: RowDemand<'f>,
    partial: Partial,
    /// The right to a part file, once a download has begun.
    file: Option<FilePlace>,
    /// The row probes an outage.
    probe: Option<Probe<'f>>,
    /// Charged failures that may turn out to be part of an outage.
    refundable: Vec<(Service, Instant)>,
    /// When the current attempt began.
    started: Instant,
    last: Option<ItemError>,
}

/// What a row may do once at no charge, and has done.
#[derive(Debug, Default)]
struct Chances {
    /// Asked for a new URL after the storage refused one.
    url_after_refusal: bool,
    /// Asked for a new URL after something came that is no image.
    url_after_not_an_image: bool,
    /// Retried after a stale connection.
    stale_connection: bool,
}

impl<R: Remote> Fetcher<R> {
    /// Fetches one image, or says why not.
    pub(crate) async fn fetch(&self, work: &Work, place: Place) -> Outcome {
        let mut attempts = Attempts::new(self, work, place);
        let outcome = loop {
            let failed = match attempts.attempt().await {
                Ok(receipt) => {
                    self.admission.disk_delivered();
                    return Outcome::Stored(receipt);
                }
                Err(failed) => failed,
            };
            match attempts.on_failure(failed).await {
                Next::Now => {}
                Next::Retry(pause) => {
                    if self.admission.drain.or_stopped(tokio::time::sleep(pause)).await.is_err() {
                        break attempts.left_untried();
                    }
                }
                Next::End(outcome) => break outcome,
            }
        };
        // at once, in the order in which rows end: the pipeline hears of them only when the ledger has time for it
        if let Outcome::NotDelivered(ended) | Outcome::OrgRefused(ended) = &outcome
            && ended.state == EndState::Failed
        {
            self.admission.row_failed(&ended.error);
        }
        attempts.partial.keep(self, &work.item).await;
        outcome
    }
}

impl<'f, R: Remote> Attempts<'f, R> {
    fn new(ctx: &'f Fetcher<R>, work: &'f Work, place: Place) -> Self {
        Self {
            ctx,
            work,
            place,
            budget: Budget::new(ctx.max_attempts, ctx.max_retry_time),
            chances: Chances::default(),
            url: None,
            demand: ctx.admission.demand.start(),
            partial: Partial::of_earlier_run(work.part.clone()),
            file: None,
            probe: None,
            refundable: Vec::new(),
            started: Instant::now(),
            last: None,
        }
    }

    async fn attempt(&mut self) -> Result<Receipt, FailedAttempt> {
        let (url, slot) = self.url_and_slot().await?;
        let (ctx, item, object) = (self.ctx, &self.work.item, url.object());
        let opened = download::open(ctx, &url, &self.partial).await?;
        // should it expire before the image is whole, the row may ask for another one again
        self.chances.url_after_refusal = false;
        let (part, meta) =
            download::receive(ctx, item, object, opened, &mut self.partial, self.started).await?;
        slot.image_received();
        let delivered = self.deliver(part, meta, object).await;
        if delivered.is_err() {
            // the next attempt may create its part elsewhere
            partial::remove_file(ctx, item).await;
        }
        Ok(delivered?)
    }

    /// Waits until the row is admitted, has a fresh URL, and may download.
    async fn url_and_slot(&mut self) -> Result<(PresignedUrl, DownloadSlot), FailedAttempt> {
        let admission = &self.ctx.admission;
        loop {
            self.probe = admission.admit(self.work.item.seq).await?;
            self.refund_outage();
            let Some(url) = self.signed_url().await? else { continue };
            let slot = self.place.slot(url.issued, self.probe.is_some(), self.file.as_ref());
            let Some(mut slot) = admission.drain.or_halted(slot).await? else { continue };
            self.file = self.file.take().or_else(|| slot.take_file());
            // while the row waited its URL may have become too old, or an outage begun
            if is_fresh(&url) && (self.probe.is_some() || !admission.is_out()) {
                self.started = Instant::now();
                return Ok((url, slot));
            }
        }
    }

    /// Gives back the attempts that an outage took.
    fn refund_outage(&mut self) {
        let Self { ctx, budget, refundable, .. } = self;
        refundable.retain(|(service, when)| {
            let refunded = ctx.admission.was_outage(*service, *when);
            if refunded {
                budget.refund();
            }
            !refunded
        });
    }

    /// The URL of an earlier attempt while it is fresh, else a new one. `None` if the row has to be admitted again.
    async fn signed_url(&mut self) -> Result<Option<PresignedUrl>, FailedAttempt> {
        if let Some(url) = self.url.as_ref().filter(|url| is_fresh(url)) {
            return Ok(Some(url.clone()));
        }
        self.demand.needs_request();
        let probing = self.probe.is_some();
        let Self { ctx, work, place, demand, started, .. } = self;
        let Some(url) = signed_url::request(ctx, work, place, probing, demand, started).await? else {
            return Ok(None);
        };
        self.url = Some(url.clone());
        Ok(Some(url))
    }

    /// Validates a whole part and delivers it under its final name.
    async fn deliver(&self, part: Part, meta: ObjectMeta, object: Sha256) -> Result<Receipt, Failure> {
        let item = &self.work.item;
        let validated = validate(&part, &meta, item.wanted)?;
        // the body was whole: whatever the disk does now is not the storage's fault
        self.ctx.admission.answered(item.seq, Service::Storage, self.started);
        self.ctx.admission.image_received();
        let record = Delivered {
            item: item.clone(),
            path: with_extension(&item.stem, validated.extension),
            bytes: part.bytes,
            sha256: part.digests.sha256,
            content_type: clean(&meta.content_type),
            etag: meta.etag,
            object,
            checked_by: validated.by.join("+"),
            attempts: self.budget.attempts() + 1,
            stored_at: timestamp::now(),
            warning: validated.warnings.join("; "),
        };
        self.ctx.committer.deliver(Delivery { part, record }).await
    }
}

fn is_fresh(url: &PresignedUrl) -> bool {
    url.issued.elapsed() < URL_AGE_MAX
}
