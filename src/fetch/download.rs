//! The bytes of one object: from the first one, or on from where an earlier try or run was cut off.
//!
//! Bytes of two versions are never mixed: a download goes on only with If-Match on a strong ETag, only where the
//! answer says the same range and the same ETag, and only for the same object.

use std::sync::Arc;

use futures::StreamExt;
use tokio::time::Instant;

use super::Fetcher;
use super::attempts::Attempts;
use crate::checksum::Checksum;
use crate::error::{Failure, Service};
use crate::event::Progress;
use crate::item::{Item, Sha256};
use crate::ledger::{PartRecord, Write};
use crate::remote::{ObjectBody, ObjectMeta, PresignedUrl, Remote, ResumeFrom};
use crate::store::{Part, PartWriter};

/// A download that is cut is kept for a later run from that size on; below it, it is sooner fetched again.
const KEEP_FROM: u64 = 1 << 20;

/// Until a part is made durable its hash is not asked for.
const NOTHING: Sha256 = Sha256([0; 32]);

/// Bytes of an earlier try, and the version that they belong to.
pub(super) struct Partial {
    /// `None`: in a file that an earlier run made durable.
    writer: Option<PartWriter>,
    record: PartRecord,
    /// What the storage announced with the first of these bytes, which are hashed for it.
    checksums: Vec<Checksum>,
}

impl Partial {
    pub(super) const fn of_earlier_run(record: PartRecord) -> Self {
        Self { writer: None, record, checksums: Vec::new() }
    }

    /// Whether there is something to go on with, and something to go on for.
    fn lacks_some(&self) -> bool {
        (1..self.record.length).contains(&self.bytes())
    }

    fn bytes(&self) -> u64 {
        self.writer.as_ref().map_or(self.record.durable, PartWriter::received)
    }
}

impl<R: Remote> Attempts<'_, R> {
    /// Downloads the whole object.
    pub(super) async fn download(&mut self, url: &PresignedUrl) -> Result<(Part, ObjectMeta), Failure> {
        let object = url.object();
        let resume =
            self.part.as_ref().filter(|part| part.record.object == object && part.lacks_some()).map(|part| {
                ResumeFrom { from: part.bytes(), etag: part.record.etag.clone(), length: part.record.length }
            });
        let opened = self.fetcher.remote.open(url, resume.as_ref()).await?;
        self.url_taken();
        self.fits(&opened)?;
        let ObjectBody { mut meta, from, body } = opened;
        let mut writer = self.writer(from, &mut meta).await?;
        match self.receive(body, meta.length, &mut writer).await {
            Ok(()) => Ok((writer.finish().await?, meta)),
            Err(failure) => {
                match (is_strong(&meta.etag), meta.length) {
                    // bytes that wait for the next try wait on the disk
                    (true, Some(length)) if writer.flush_buffer().await.is_ok() => {
                        let record =
                            PartRecord { etag: meta.etag, object, length, durable: 0, sha256: NOTHING };
                        // those of a range say nothing of the next one
                        let checksums = if meta.of_range { Vec::new() } else { meta.checksums };
                        self.part = Some(Partial { writer: Some(writer), record, checksums });
                    }
                    _ => writer.discard().await,
                }
                Err(failure)
            }
        }
    }

    /// The bytes at hand are of no use, for a later run neither.
    pub(super) async fn forget_part(&mut self) {
        self.drop_part().await;
        if std::mem::replace(&mut self.recorded, false)
            && let Err(failure) = self.fetcher.forget_part(self.item).await
        {
            tracing::debug!("a part is not forgotten: {failure:?}");
        }
    }

    /// The bytes at hand are of no use.
    pub(super) async fn drop_part(&mut self) {
        if let Some(Partial { writer: Some(writer), .. }) = self.part.take() {
            writer.discard().await;
        }
    }

    /// Refuses what is announced to be too large, before a byte of it is written.
    fn fits(&self, opened: &ObjectBody) -> Result<(), Failure> {
        let Some(length) = opened.meta.length else { return Ok(()) };
        if length > self.fetcher.max_size {
            return Err(Failure::TooLarge { bytes: length, limit: self.fetcher.max_size });
        }
        // a small image hardly changes what is free; that is asked at every delivery
        if length > KEEP_FROM {
            self.fetcher.folder.ensure_free(length.saturating_sub(opened.from))
        } else {
            Ok(())
        }
    }

    /// The part that the body goes into: the one at hand where the body goes on from it, else a new one.
    async fn writer(&mut self, from: u64, meta: &mut ObjectMeta) -> Result<PartWriter, Failure> {
        let path = self.fetcher.folder.part(&self.item.part);
        if from == 0 {
            self.drop_part().await;
            if std::mem::replace(&mut self.recorded, false) {
                // what the ledger says of the file must not outlive the bytes that it speaks of
                self.fetcher.forget_part(self.item).await?;
            }
            return Ok(PartWriter::new(path, &meta.algorithms()));
        }
        match self.part.take() {
            Some(Partial { writer: Some(writer), checksums, .. }) if writer.received() == from => {
                // the same version: what was announced with its first byte is about all of it
                meta.checksums = checksums;
                meta.of_range = false;
                Ok(writer)
            }
            Some(Partial { writer: None, record, .. }) if record.durable == from => {
                PartWriter::resume(path, from, record.sha256, meta.algorithms()).await
            }
            other => {
                self.part = other;
                Err(Failure::PartUnusable("the storage continues what is not at hand".to_owned()))
            }
        }
    }

    async fn receive(
        &self,
        mut body: futures::stream::BoxStream<'static, Result<bytes::Bytes, Failure>>,
        length: Option<u64>,
        writer: &mut PartWriter,
    ) -> Result<(), Failure> {
        let fetcher = self.fetcher;
        let from = writer.received();
        let mut moves = false;
        loop {
            let asked = Instant::now();
            let piece = tokio::select! {
                biased;
                () = fetcher.control.cutting() => return Err(Failure::Stopped),
                piece = tokio::time::timeout(fetcher.stall, body.next()) => piece,
            };
            let piece = match piece {
                Ok(Some(piece)) => piece?,
                Ok(None) => return Ok(()),
                // so late a clock was not watched: this process was stopped, not the body
                Err(_) if asked.elapsed() > fetcher.stall * 2 => continue,
                Err(_) => {
                    let what = format!("no byte of the image for {} s", fetcher.stall.as_secs_f64());
                    return Err(Failure::Timeout { service: Service::Storage, what });
                }
            };
            Progress::add(&fetcher.progress.received, piece.len() as u64);
            writer.push(piece).await?;
            if !moves && writer.received() - from >= KEEP_FROM {
                // a large image need not be whole to show that an outage is over
                moves = true;
                fetcher.control.moves(self.item.seq, Service::Storage);
            }
            if let Some(length) = length.filter(|length| writer.received() > *length) {
                return Err(Failure::Corrupt(format!("more than the {length} bytes came that there are")));
            }
            if writer.received() > fetcher.max_size {
                return Err(Failure::TooLarge { bytes: writer.received(), limit: fetcher.max_size });
            }
        }
    }

    /// The row ends without its image: what is at hand is kept for the next run where that is worth it.
    pub(super) async fn end(&mut self) {
        let item = Box::new(self.item.clone());
        let kept = match self.part.take() {
            Some(Partial { writer: None, .. }) => return, // as the earlier run left it
            Some(Partial { writer: Some(writer), record, .. }) if writer.received() >= KEEP_FROM => {
                writer.persist().await.ok().map(|(durable, sha256)| PartRecord { durable, sha256, ..record })
            }
            _ => None,
        };
        if kept.is_none() {
            self.fetcher.remove_part(self.item).await;
        }
        if let Err(error) = self.fetcher.ledger.post(Write::Part(item, kept)) {
            tracing::debug!("a part is not remembered: {error}");
        }
    }
}

impl<R> Fetcher<R> {
    /// Takes back, durably, what the ledger says of a part file, and removes it.
    pub(super) async fn forget_part(&self, item: &Item) -> Result<(), Failure> {
        let forgotten = self.ledger.write(vec![Write::Part(Box::new(item.clone()), None)]).await;
        forgotten.map_err(|error| Failure::ledger(&error))?;
        self.remove_part(item).await;
        Ok(())
    }

    /// Removes the row's part file.
    pub(super) async fn remove_part(&self, item: &Item) {
        let (folder, part) = (Arc::clone(&self.folder), item.part.clone());
        let _ = tokio::task::spawn_blocking(move || folder.remove_part(&part)).await;
    }
}

/// Only a strong ETag names bytes (RFC 9110, section 8.8.1).
fn is_strong(etag: &str) -> bool {
    etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"')
}
