//! What a row holds of the queue, as guards: whatever becomes of the row, others can have it afterwards.

use std::sync::Arc;

use tokio::time::Instant;

use super::rows::{AskKey, DownloadKey, Order};
use super::{Queue, mean};
use crate::admission::orgs::OrgPermit;
use crate::error::ItemError;
use crate::limit::Permit;

/// A started row's position in the queue, until it ends.
#[derive(Debug)]
pub(crate) struct Place {
    queue: Arc<Queue>,
    order: Order,
}

impl Place {
    pub(super) const fn new(queue: Arc<Queue>, order: Order) -> Self {
        Self { queue, order }
    }

    /// Waits for the row's turn to ask the API for a URL.
    pub async fn turn(&self, org: i64, probing: bool) -> Turn {
        self.queue.turn(self.order, org, probing).await
    }

    /// Waits for a place among the images in flight; `file` is the row's place for a part file, if it has one. `None`
    /// only at the end of the queue.
    pub async fn slot(
        &self,
        issued: Instant,
        probing: bool,
        file: Option<&FilePlace>,
    ) -> Option<DownloadSlot> {
        // a row that asks for a place needs no URL: those behind it do not wait for it
        self.not_coming();
        self.queue.slot(self.order, issued, probing, file.is_some()).await
    }

    #[cfg(test)]
    pub(super) const fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// The rows behind this one need not wait for it to ask.
    pub fn not_coming(&self) {
        self.queue.lock().rows.leave(self.order);
        self.queue.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.not_coming();
    }
}

/// What a row that waited for its turn to ask is told.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It may send one request.
    Ask(Ask),
    /// An outage began: it has to pass the gates again.
    Readmit,
    /// Its organization is refused.
    Refused(ItemError),
}

/// The right to send one request to the API for a row. The organization's permit and the count of requests end after the
/// answer was reported to the gates, so that no request of another row slips in between.
#[derive(Debug)]
pub(crate) struct Ask {
    pub permit: Permit,
    pub in_flight: AskInFlight,
}

/// A request to the API that has no answer yet.
#[derive(Debug)]
pub(crate) struct AskInFlight {
    // in this order: the asker looks at the organization once the count has changed
    _org: OrgPermit,
    _asking: Asking,
}

impl Ask {
    pub(super) const fn new(permit: Permit, org: OrgPermit, asking: Asking) -> Self {
        Self { permit, in_flight: AskInFlight { _org: org, _asking: asking } }
    }
}

#[derive(Debug)]
pub(super) struct Asking {
    queue: Arc<Queue>,
}

impl Asking {
    pub(super) const fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.queue.lock().rows.end_asking();
        self.queue.changed.notify_one();
    }
}

/// A place among the images in flight: held while bytes move, and for nothing else.
#[derive(Debug)]
pub(crate) struct DownloadSlot {
    queue: Arc<Queue>,
    order: Order,
    /// The row's place for a part file, if it had none.
    file: Option<FilePlace>,
}

impl DownloadSlot {
    pub(super) const fn new(queue: Arc<Queue>, order: Order, file: Option<FilePlace>) -> Self {
        Self { queue, order, file }
    }

    pub const fn take_file(&mut self) -> Option<FilePlace> {
        self.file.take()
    }

    /// All bytes have come: gives the place back.
    pub fn image_received(self) {
        let mut state = self.queue.lock();
        if let Some(since) = state.rows.end_downloading(self.order) {
            state.image_time = Some(mean(state.image_time, since.elapsed()));
        }
    }
}

impl Drop for DownloadSlot {
    fn drop(&mut self) {
        self.queue.lock().rows.end_downloading(self.order);
        self.queue.start_downloads();
    }
}

/// A row's place for a part file, from its first download to its end.
#[derive(Debug)]
pub(crate) struct FilePlace {
    queue: Arc<Queue>,
}

impl FilePlace {
    pub(super) const fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }
}

impl Drop for FilePlace {
    fn drop(&mut self) {
        self.queue.lock().rows.release_file();
        self.queue.start_downloads();
    }
}

/// A row that waits for its turn; dropped, it waits no more.
pub(super) struct WaitingAsker<'q> {
    pub queue: &'q Queue,
    pub key: AskKey,
}

impl Drop for WaitingAsker<'_> {
    fn drop(&mut self) {
        // out of the lock: a sender that is dropped drops what it holds
        let _removed = self.queue.lock().rows.remove_asker(self.key);
    }
}

/// A row that waits for a place; dropped, it waits no more.
pub(super) struct WaitingDownloader<'q> {
    pub queue: &'q Queue,
    pub key: DownloadKey,
}

impl Drop for WaitingDownloader<'_> {
    fn drop(&mut self) {
        self.queue.lock().rows.remove_downloader(self.key);
    }
}
