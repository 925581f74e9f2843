//! The bytes of one object: from the first one, or on from where an earlier attempt or run was cut off.
//!
//! Bytes of two versions are never mixed: a download goes on only with If-Match on a strong ETag, only if the answer
//! names the same range and the same ETag, and only for the same object.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::Instant;

use super::Fetcher;
use super::partial::Partial;
use crate::error::{Failure, Service};
use crate::event::Progress;
use crate::item::{Item, Sha256};
use crate::remote::{ObjectBody, ObjectMeta, PresignedUrl, Remote};
use crate::store::{Part, PartWriter};

/// Bytes of an attempt from which on its image counts as large.
const PROGRESS_MIN: u64 = 1 << 20;

type Body = BoxStream<'static, Result<bytes::Bytes, Failure>>;

/// Asks the storage for the bytes that are missing.
pub(super) async fn open<R: Remote>(
    ctx: &Fetcher<R>,
    url: &PresignedUrl,
    partial: &Partial,
) -> Result<ObjectBody, Failure> {
    ctx.remote.get_object(url, partial.resume_from(url.object()).as_ref()).await
}

/// Receives the rest of the object. If it is cut off, `partial` holds what has come. The attempt began at `started`.
pub(super) async fn receive<R>(
    ctx: &Fetcher<R>,
    item: &Item,
    object: Sha256,
    opened: ObjectBody,
    partial: &mut Partial,
    started: Instant,
) -> Result<(Part, ObjectMeta), Failure> {
    ensure_fits(ctx, opened.meta.length, opened.from).await?;
    let ObjectBody { mut meta, from, body } = opened;
    let mut writer = partial.writer(ctx, item, from, &mut meta).await?;
    match copy(ctx, item, body, meta.length, &mut writer, started).await {
        Ok(()) => Ok((writer.finish().await?, meta)),
        Err(failure) => {
            partial.hold(writer, meta, object).await;
            Err(failure)
        }
    }
}

/// Refuses an object that is announced to be too large, before a byte of it is written. `from`: the byte with which its
/// body begins.
async fn ensure_fits<R>(ctx: &Fetcher<R>, length: Option<u64>, from: u64) -> Result<(), Failure> {
    let Some(length) = length else { return Ok(()) };
    if length > ctx.max_size {
        return Err(Failure::TooLarge { bytes: length, limit: ctx.max_size });
    }
    // a small image hardly changes the free space, which is checked at every delivery
    if length <= PROGRESS_MIN {
        return Ok(());
    }
    // a disk that hangs answers this no sooner than a write
    let folder = Arc::clone(&ctx.folder);
    let checked = tokio::task::spawn_blocking(move || folder.ensure_free(length.saturating_sub(from))).await;
    checked.map_err(|_| Failure::Disk("the free space could not be determined".to_owned()))?
}

/// Copies the body into the part file, up to the length and the size that are allowed.
async fn copy<R>(
    ctx: &Fetcher<R>,
    item: &Item,
    mut body: Body,
    length: Option<u64>,
    writer: &mut PartWriter,
    started: Instant,
) -> Result<(), Failure> {
    let from = writer.received();
    let mut progressing = false;
    while let Some(piece) = next_piece(ctx, &mut body).await? {
        Progress::add(&ctx.progress.received, piece.len() as u64);
        writer.push(piece).await?;
        let received = writer.received();
        if !progressing && received - from >= PROGRESS_MIN {
            // a large image need not be whole to show that an outage is over
            progressing = true;
            ctx.admission.progressing(item.seq, Service::Storage, started);
        }
        if let Some(length) = length.filter(|length| received > *length) {
            return Err(Failure::Corrupt(format!("more bytes came than the {length} that were announced")));
        }
        if received > ctx.max_size {
            return Err(Failure::TooLarge { bytes: received, limit: ctx.max_size });
        }
    }
    Ok(())
}

/// The next piece of the body; `None` at its end.
async fn next_piece<R>(ctx: &Fetcher<R>, body: &mut Body) -> Result<Option<bytes::Bytes>, Failure> {
    loop {
        let asked = Instant::now();
        let piece = tokio::select! {
            biased;
            () = ctx.admission.drain.cutting() => return Err(Failure::Stopped),
            piece = tokio::time::timeout(ctx.stall_timeout, body.next()) => piece,
        };
        match piece {
            Ok(piece) => return piece.transpose(),
            // this late, the timer was not served either: the process was suspended, the body did not stall
            Err(_) if asked.elapsed() > ctx.stall_timeout * 2 => {}
            Err(_) => {
                let what = format!("no byte of the image for {} s", ctx.stall_timeout.as_secs_f64());
                return Err(Failure::Timeout { service: Service::Storage, what });
            }
        }
    }
}
