//! A row on its way: its tries, what they cost, and what it carries from one to the next.

use std::path::Path;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::download::Partial;
use super::{Fetcher, Outcome};
use crate::admission::OrgRefused;
use crate::admission::breaker::Charge;
use crate::error::StopReason;
use crate::error::{ErrorCode, Failure, ItemError, RunError, Service, clean};
use crate::event::{Event, Progress};
use crate::fetch::retry::{Budget, Verdict, verdict};
use crate::fetch::validate::check;
use crate::item::{Item, Sha256};
use crate::layout::without_names;
use crate::ledger::{Delivered, Given, Work};
use crate::remote::{ObjectMeta, PresignedUrl, Remote};
use crate::store::{Delivery, Part, Receipt};
use crate::timestamp;

/// A signed URL is used for another try while it is younger than that: an hour is its life, and the credentials
/// behind it may end earlier.
const URL_FRESH: Duration = Duration::from_mins(20);

#[expect(clippy::struct_excessive_bools, reason = "each is a chance that a row has once")]
pub(super) struct Attempts<'f, R> {
    pub(super) fetcher: &'f Fetcher<R>,
    pub(super) item: &'f Item,
    org: i64,
    budget: Budget,
    url: Option<PresignedUrl>,
    /// Version of the key that the last request was sent with.
    key: u64,
    /// New URLs that were asked for at no charge: after a refusal, and after something that is no image.
    renewed: (bool, bool),
    /// A stale connection was forgiven already.
    stale: bool,
    /// The key was refused, and there was another one in its file.
    key_renewed: bool,
    /// This row's refusal was the one after which its organization is left alone.
    tripped: bool,
    /// The ledger knows of a part file.
    pub(super) recorded: bool,
    /// Bytes of an earlier try.
    pub(super) part: Option<Partial>,
    /// Charged failures that may turn out to be an outage's.
    suspects: Vec<(Service, Instant)>,
    /// When the current try began.
    began: Instant,
    tries: u32,
    last: Option<ItemError>,
}

impl<'f, R: Remote> Attempts<'f, R> {
    pub(super) fn new(fetcher: &'f Fetcher<R>, work: &'f Work) -> Self {
        Self {
            fetcher,
            item: &work.item,
            org: work.org,
            budget: Budget::new(fetcher.max_attempts, fetcher.max_retry_time),
            url: None,
            key: 0,
            renewed: (false, false),
            stale: false,
            key_renewed: false,
            tripped: false,
            recorded: work.part.is_some(),
            part: work.part.clone().map(Partial::of_earlier_run),
            suspects: Vec::new(),
            began: Instant::now(),
            tries: 0,
            last: None,
        }
    }

    /// One try.
    pub(super) async fn attempt(&mut self) -> Result<Receipt, Failure> {
        let (place, url) = loop {
            let (place, probe) = self.place().await?;
            self.began = Instant::now();
            if let Some(url) = self.signed_url(probe).await? {
                break (place, url);
            }
        };
        let object = url.object();
        let (part, meta) = self.download(&url).await?;
        drop(place);
        let delivered = self.deliver(part, meta, object).await;
        if delivered.is_err() {
            self.fetcher.remove_part(self.item).await;
        }
        delivered
    }

    /// Checks a whole part and gives it its final name.
    async fn deliver(&self, part: Part, meta: ObjectMeta, object: Sha256) -> Result<Receipt, Failure> {
        let checked = check(&part, &meta, self.item.wanted)?;
        // the body was whole: whatever the disk does now is not the storage's fault
        self.fetcher.control.answered(self.item.seq, Service::Storage);
        let record = Delivered {
            item: self.item.clone(),
            path: crate::layout::with_extension(&self.item.stem, checked.extension),
            bytes: part.bytes,
            sha256: part.digests.sha256,
            content_type: clean(&meta.content_type),
            etag: meta.etag,
            object,
            checked_by: checked.by.join("+"),
            attempts: self.budget.attempts() + 1,
            stored_at: timestamp::now(),
            warning: checked.warnings.join("; "),
        };
        self.fetcher.committer.deliver(Delivery { part, record }).await
    }

    /// Waits for the way to be open and for a place on it. True where this row is the probe of an outage.
    async fn place(&mut self) -> Result<(SemaphorePermit<'f>, bool), Failure> {
        let control = &self.fetcher.control;
        loop {
            let probe = control.way_open(self.item.seq).await?;
            self.forgive();
            let place = tokio::select! {
                biased;
                () = control.draining() => None,
                place = self.fetcher.places.acquire() => place.ok(),
            };
            match place {
                // an outage may have begun while this one waited
                Some(place) if probe || !control.is_out() => return Ok((place, probe)),
                Some(_) => {}
                None => {
                    control.left_way(self.item.seq);
                    return Err(Failure::Stopped);
                }
            }
        }
    }

    /// The storage took the URL: should it run out before the image is whole, another one is asked for again.
    pub(super) const fn url_taken(&mut self) {
        self.renewed.0 = false;
    }

    /// Gives back the tries that an outage took.
    fn forgive(&mut self) {
        let control = &self.fetcher.control;
        let budget = &mut self.budget;
        self.suspects.retain(|(service, when)| {
            let forgiven = control.forgives(*service, *when);
            if forgiven {
                budget.refund();
            }
            !forgiven
        });
    }

    /// The URL at hand while it is fresh, else a new one. `None` where an outage began while this row waited for its
    /// turn, whose probe it is not.
    async fn signed_url(&mut self, probe: bool) -> Result<Option<PresignedUrl>, Failure> {
        if let Some(url) = &self.url
            && url.issued.elapsed() < URL_FRESH
        {
            return Ok(Some(url.clone()));
        }
        let control = &self.fetcher.control;
        let _pass = match control.org_open(self.org).await {
            Ok(pass) => pass,
            Err(OrgRefused::Stopped) => return Err(Failure::Stopped),
            Err(OrgRefused::Tripped(refusal)) => return Err(Failure::OrgClosed(refusal)),
        };
        let ticket = tokio::select! {
            biased;
            () = control.draining() => return Err(Failure::Stopped),
            ticket = control.limiter.ready(control.left()) => ticket,
        };
        if control.is_draining() {
            control.limiter.unsent(ticket);
            return Err(Failure::Stopped);
        }
        // five refusals may have come while this one waited
        if let Some(refusal) = control.org_refusal(self.org) {
            control.limiter.unsent(ticket);
            return Err(Failure::OrgClosed(refusal));
        }
        if control.is_out() && !probe {
            control.limiter.unsent(ticket);
            return Ok(None);
        }
        // the image does not pay for having waited its turn
        self.began = Instant::now();
        Progress::add(&self.fetcher.progress.api_requests, 1);
        let resolved = self.fetcher.remote.resolve(self.item).await;
        self.key = resolved.key;
        control.limiter.answered(ticket, &resolved.hints);
        match &resolved.url {
            Err(Failure::RateLimited(said)) => {
                Progress::add(&self.fetcher.progress.api_429, 1);
                control.limited(said);
            }
            Ok(_) => {
                control.not_limited();
                control.answered(self.item.seq, Service::Api);
                control.org_answered(self.org, None);
            }
            Err(Failure::Unauthorized(said)) => {
                control.not_limited();
                // while this one still holds its place: no request may start after the first 401
                self.key_renewed = self.fetcher.remote.renew_key(self.key);
                if !self.key_renewed {
                    control.stop(StopReason::Error(RunError::Unauthorized(said.clone())));
                }
            }
            Err(failure @ Failure::Forbidden(_)) => {
                control.not_limited();
                // while this one still holds its place: nobody else may slip in before it is counted
                self.tripped = control.org_answered(self.org, Some(&failure.describe()));
            }
            Err(_) => control.not_limited(),
        }
        let url = resolved.url?;
        self.url = Some(url.clone());
        Ok(Some(url))
    }

    /// Decides what follows from a failure: `None` to try again, else how the row ends.
    pub(super) async fn after(&mut self, failure: Failure) -> Option<Outcome> {
        let control = &self.fetcher.control;
        if matches!(failure, Failure::StaleConnection { .. }) && !std::mem::replace(&mut self.stale, true) {
            // an idle connection may be closed at any time: it says nothing of image or service
            control.left_way(self.item.seq);
            return None;
        }
        if let Some(service) = failure.answering_service() {
            control.answered(self.item.seq, service);
        }
        let charge = control.failed(self.item.seq, &failure);
        let error = failure.describe();
        let decided = verdict(&failure);
        match decided {
            Verdict::Leave => return Some(self.leave()),
            Verdict::Wait => {
                self.last = Some(error);
                return None;
            }
            Verdict::KeyRefused => {
                if self.key_renewed {
                    return None;
                }
                self.budget.charge();
                return Some(self.given(false, error));
            }
            Verdict::StopRun(_) => {
                control.stop(StopReason::Error(run_error(&failure, self.fetcher.folder.root())));
                self.budget.charge();
                return Some(self.given(false, error));
            }
            Verdict::OrgRefused => {
                self.budget.charge();
                let given = self.record(true, error);
                return Some(if self.tripped { Outcome::Tripped(given) } else { Outcome::Given(given) });
            }
            Verdict::OrgClosed => return Some(self.given(true, error)),
            Verdict::GiveUp => {
                // no later run can use the bytes either
                self.drop_part().await;
                self.budget.charge();
                return Some(self.given(true, error));
            }
            Verdict::NewUrl => {
                self.url = None;
                let done = match failure {
                    Failure::Denied(_) => &mut self.renewed.0,
                    _ => &mut self.renewed.1,
                };
                if std::mem::replace(done, true) {
                    self.budget.charge();
                    return Some(self.given(true, error));
                }
                self.told(Duration::ZERO, error);
                return None;
            }
            Verdict::PartUnusable => {
                // without a part this cannot happen again: nothing to charge, nothing to wait for
                self.drop_part().await;
                self.told(Duration::ZERO, error);
                return None;
            }
            Verdict::Again | Verdict::AgainSlowly | Verdict::AtOnce => {}
            Verdict::FromTheStart => self.drop_part().await,
        }
        self.again(&failure, charge, decided == Verdict::AgainSlowly, error).await
    }

    /// Pays for a failure and waits before the next try, or gives up.
    async fn again(
        &mut self,
        failure: &Failure,
        charge: Charge,
        slowly: bool,
        error: ItemError,
    ) -> Option<Outcome> {
        let control = &self.fetcher.control;
        if charge == Charge::Free {
            // an outage is waited out where the way is asked for
            self.told(Duration::ZERO, error);
            return None;
        }
        self.budget.charge();
        let service = failure.silent_service();
        let now = Instant::now();
        if let Some(service) = service {
            self.suspects.push((service, now));
        }
        if self.tries > 0 {
            self.budget.spend(self.began.elapsed());
        }
        self.tries += 1;
        let Some(pause) = self.budget.pause(slowly) else {
            self.last = Some(error.clone());
            let given = self.record(true, error);
            let outage =
                |service| control.undecided(self.item.seq, service) || control.forgives(service, now);
            return Some(match service {
                Some(service) if outage(service) => {
                    // it starts anew, should it turn out to be an outage
                    self.forget_part().await;
                    Outcome::Undecided(given, service, now)
                }
                _ => Outcome::Given(given),
            });
        };
        self.told(pause, error);
        match control.pause(pause).await {
            Ok(()) => None,
            Err(_) => Some(self.leave()),
        }
    }

    /// Another try will follow.
    fn told(&mut self, after: Duration, error: ItemError) {
        Progress::add(&self.fetcher.progress.retries, 1);
        self.fetcher.control.events.send(Event::Retry {
            line: self.item.line,
            attempt: self.budget.attempts(),
            after,
            why: without_names(&error.error, self.fetcher.folder.root()),
        });
        self.last = Some(error);
    }

    /// The run stops: the row is left to the next one.
    fn leave(&self) -> Outcome {
        let nothing = ItemError { code: None, error: String::new(), trace_id: String::new() };
        let error = self.fetcher.control.leave().or_else(|| self.last.clone()).unwrap_or(nothing);
        self.given(false, error)
    }

    fn given(&self, failed: bool, error: ItemError) -> Outcome {
        Outcome::Given(self.record(failed, error))
    }

    fn record(&self, failed: bool, error: ItemError) -> Given {
        Given { seq: self.item.seq, failed, attempts: self.budget.attempts(), error }
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
