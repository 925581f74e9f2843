//! A partial download: the bytes of an earlier attempt or run, and what the ledger knows of them.
//!
//! The ledger never describes bytes that are not in the part file. So what it says is taken back, durably, before the
//! file is written anew.

use std::sync::Arc;

use super::Fetcher;
use crate::checksum::Checksum;
use crate::error::Failure;
use crate::item::{Item, Sha256};
use crate::ledger::{PartRecord, Write};
use crate::remote::{ObjectMeta, ResumeFrom};
use crate::store::PartWriter;

/// A download that is cut off is kept for a later run from this size on; below it, fetching it again is cheaper.
const KEEP_MIN: u64 = 64 << 10;

/// The hash of a part is computed only when the part is made durable.
const NOT_HASHED: Sha256 = Sha256([0; 32]);

pub(super) struct Partial {
    bytes: Option<Bytes>,
    /// The ledger knows of a part file.
    recorded: bool,
}

/// Bytes of one version of an object.
struct Bytes {
    /// `None`: in a file that an earlier run made durable.
    writer: Option<PartWriter>,
    record: PartRecord,
    /// What the storage announced with the first of these bytes, which are hashed for it.
    checksums: Vec<Checksum>,
}

impl Bytes {
    fn received(&self) -> u64 {
        self.writer.as_ref().map_or(self.record.durable, PartWriter::received)
    }
}

impl Partial {
    pub fn of_earlier_run(record: Option<PartRecord>) -> Self {
        let recorded = record.is_some();
        let bytes = record.map(|record| Bytes { writer: None, record, checksums: Vec::new() });
        Self { bytes, recorded }
    }

    /// From where a download of `object` can go on, if some of its bytes are here and some are missing.
    pub fn resume_from(&self, object: Sha256) -> Option<ResumeFrom> {
        let Bytes { record, .. } = self.bytes.as_ref()?;
        let from = self.bytes.as_ref().map(Bytes::received)?;
        (record.object == object && (1..record.length).contains(&from)).then(|| ResumeFrom {
            from,
            etag: record.etag.clone(),
            length: record.length,
        })
    }

    /// A writer for a body that begins at byte `from`: behind the bytes that are here, or in a new part file.
    ///
    /// # Errors
    /// [`Failure::PartUnusable`] if the body continues bytes that are not here; the disk's failures.
    pub async fn writer<R>(
        &mut self,
        ctx: &Fetcher<R>,
        item: &Item,
        from: u64,
        meta: &mut ObjectMeta,
    ) -> Result<PartWriter, Failure> {
        let path = ctx.folder.part(&item.part);
        if from == 0 {
            self.discard().await;
            self.take_back(ctx, item).await?;
            return Ok(PartWriter::new(path, &meta.algorithms()));
        }
        match self.bytes.take() {
            Some(Bytes { writer: Some(writer), checksums, .. }) if writer.received() == from => {
                // the same version: what was announced with its first byte covers all of it
                meta.checksums = checksums;
                meta.of_range = false;
                Ok(writer)
            }
            Some(Bytes { writer: None, record, .. }) if record.durable == from => {
                PartWriter::resume(path, from, record.sha256, meta.algorithms()).await
            }
            other => {
                self.bytes = other;
                let what = "the storage continues bytes that are not in the part file";
                Err(Failure::PartUnusable(what.to_owned()))
            }
        }
    }

    /// Holds the bytes of a download that was cut off, if a later attempt can go on from them: that takes a strong
    /// ETag and a known length.
    pub async fn hold(&mut self, mut writer: PartWriter, meta: ObjectMeta, object: Sha256) {
        let length = meta.length.filter(|_| is_strong(&meta.etag));
        // bytes that wait for the next attempt wait on the disk
        match length {
            Some(length) if writer.flush_buffer().await.is_ok() => {
                let record = PartRecord { etag: meta.etag, object, length, durable: 0, sha256: NOT_HASHED };
                // checksums of a range say nothing about the next range
                let checksums = if meta.of_range { Vec::new() } else { meta.checksums };
                self.bytes = Some(Bytes { writer: Some(writer), record, checksums });
            }
            _ => writer.discard().await,
        }
    }

    /// The bytes are of no use in this run.
    pub async fn discard(&mut self) {
        if let Some(Bytes { writer: Some(writer), .. }) = self.bytes.take() {
            writer.discard().await;
        }
    }

    /// The bytes are of no use in a later run either.
    pub async fn forget<R>(&mut self, ctx: &Fetcher<R>, item: &Item) {
        self.discard().await;
        if let Err(failure) = self.take_back(ctx, item).await {
            tracing::debug!("the ledger still lists a part that is gone: {failure:?}");
        }
    }

    /// Takes back, durably, what the ledger says of the part file, and removes the file.
    async fn take_back<R>(&mut self, ctx: &Fetcher<R>, item: &Item) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.recorded, false) {
            return Ok(());
        }
        let written = ctx.ledger.write(vec![Write::Part(Box::new(item.clone()), None)]).await;
        written.map_err(|error| Failure::ledger(&error))?;
        remove_file(ctx, item).await;
        Ok(())
    }

    /// The row ends without its image: keeps a large part for the next run, and removes a small one.
    pub async fn keep<R>(&mut self, ctx: &Fetcher<R>, item: &Item) {
        let kept = match self.bytes.take() {
            Some(Bytes { writer: None, .. }) => return, // as the earlier run left it
            Some(Bytes { writer: Some(writer), record, .. }) if writer.received() >= KEEP_MIN => {
                writer.persist().await.ok().map(|(durable, sha256)| PartRecord { durable, sha256, ..record })
            }
            _ => None,
        };
        if kept.is_none() {
            remove_file(ctx, item).await;
        }
        if let Err(error) = ctx.ledger.post(Write::Part(Box::new(item.clone()), kept)) {
            tracing::debug!("a part is not recorded in the ledger: {error}");
        }
    }
}

/// Removes the row's part file.
pub(super) async fn remove_file<R>(ctx: &Fetcher<R>, item: &Item) {
    let (folder, part) = (Arc::clone(&ctx.folder), item.part.clone());
    let _ = tokio::task::spawn_blocking(move || folder.remove_part(&part)).await;
}

/// Only a strong ETag identifies bytes (RFC 9110, section 8.8.1).
fn is_strong(etag: &str) -> bool {
    etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"')
}
