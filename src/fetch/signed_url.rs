//! One API call for a signed URL: a permit, the request, and what its answer means for the rest of the run.
//!
//! The answer is reported to the gates (429, 401, 403) before the request's permits are given back, so that no
//! request of another row slips in between.

use tokio::time::Instant;

use super::Fetcher;
use super::queue::{Ask, Place, Turn};
use crate::admission::demand::RowDemand;
use crate::error::{Failure, RunError, Service, StopReason};
use crate::event::Progress;
use crate::ledger::Work;
use crate::remote::{PresignedUrl, Remote, SignedUrlReply};

/// A failed attempt, and what the API's answer meant for more rows than this one.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    pub failure: Failure,
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// The key was refused, and its file held another one.
    KeyRenewed,
    /// This refusal closed the organization.
    OrgClosed,
}

impl From<Failure> for FailedAttempt {
    fn from(failure: Failure) -> Self {
        Self { failure, effect: Effect::None }
    }
}

/// Asks for a signed URL when it is the row's turn. `None` if an outage began while the row waited, and it is not the
/// probe. `started` becomes the time at which the request is sent: the image does not pay for having waited for its turn.
pub(super) async fn request<R: Remote>(
    ctx: &Fetcher<R>,
    work: &Work,
    place: &Place,
    probing: bool,
    demand: &mut RowDemand<'_>,
    started: &mut Instant,
) -> Result<Option<PresignedUrl>, FailedAttempt> {
    let turn = ctx.admission.drain.or_stopped(place.turn(work.org, probing)).await?;
    let Ask { mut permit, in_flight: _in_flight } = match turn {
        Turn::Ask(ask) => ask,
        Turn::Readmit => return Ok(None),
        Turn::Refused(refusal) => return Err(Failure::OrgClosed(refusal).into()),
    };
    if !still_wanted(ctx, work, probing)? {
        return Ok(None);
    }
    *started = Instant::now();
    Progress::add(&ctx.progress.api_requests, 1);
    permit.sent();
    demand.sent();
    let SignedUrlReply { rate_headers, key_version, url } = ctx.remote.signed_url(&work.item).await;
    ctx.queue.answered(started.elapsed());
    permit.answered(&rate_headers);
    match url {
        Ok(url) => {
            accepted(ctx, work, *started);
            Ok(Some(url))
        }
        Err(failure) => Err(refused(ctx, work, key_version, failure)),
    }
}

/// Whether the request is still to be sent now that it is the row's turn: much may have changed while it waited.
fn still_wanted<R>(ctx: &Fetcher<R>, work: &Work, probing: bool) -> Result<bool, Failure> {
    if ctx.admission.drain.is_draining() {
        return Err(Failure::Stopped);
    }
    if let Some(refusal) = ctx.admission.org_refusal(work.org) {
        return Err(Failure::OrgClosed(refusal));
    }
    Ok(probing || !ctx.admission.is_out())
}

fn accepted<R>(ctx: &Fetcher<R>, work: &Work, asked: Instant) {
    ctx.admission.rate_limit_over();
    ctx.admission.answered(work.item.seq, Service::Api, asked);
    ctx.admission.org_accepted(work.org);
}

/// Reports a failure to the gate that it concerns. `key` is the version of the key that was sent.
fn refused<R: Remote>(ctx: &Fetcher<R>, work: &Work, key: u64, failure: Failure) -> FailedAttempt {
    let admission = &ctx.admission;
    if let Failure::RateLimited(response) = &failure {
        Progress::add(&ctx.progress.api_429, 1);
        admission.rate_limited(response);
        return failure.into();
    }
    admission.rate_limit_over();
    let effect = match &failure {
        // while this row holds its slot: no request may start after the first 401
        Failure::Unauthorized(_) if ctx.remote.renew_key(key) => Effect::KeyRenewed,
        Failure::Unauthorized(response) => {
            admission.drain.stop(StopReason::Error(RunError::Unauthorized(response.clone())));
            Effect::None
        }
        // while this row holds its organization's permit: no other request may slip in before this one is counted
        Failure::Forbidden(_) if admission.org_refused(work.org, &failure.describe()) => Effect::OrgClosed,
        _ => Effect::None,
    };
    FailedAttempt { failure, effect }
}
