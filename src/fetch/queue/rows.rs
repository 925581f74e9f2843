//! Which row asks the API next, and which one downloads next. Pure.
//!
//! One queue, one order: rows that need a URL ask in the order of the ledger; rows that have one download in the order of
//! their URLs' age, the oldest first. Rows with a URL are never behind rows without one: only they take places among the
//! images in flight. The probe of an outage goes before all others. A row that waits for anything else (a pause between
//! attempts, an outage, the committing thread) is not in the queue and holds no place.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

/// A row's position in the order of the ledger.
pub(super) type Order = u64;

/// A row that waits for its turn to ask. The probe of an outage comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AskKey {
    is_no_probe: bool,
    pub order: Order,
}

/// A row that waits for a place among the images in flight. The oldest URL comes first: it is the first to expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DownloadKey {
    is_no_probe: bool,
    issued: Instant,
    order: Order,
}

impl AskKey {
    pub(super) const fn new(order: Order, probing: bool) -> Self {
        Self { is_no_probe: !probing, order }
    }

    pub(super) const fn is_probe(self) -> bool {
        !self.is_no_probe
    }
}

impl DownloadKey {
    pub(super) const fn new(order: Order, issued: Instant, probing: bool) -> Self {
        Self { is_no_probe: !probing, issued, order }
    }
}

/// A row that needs a URL.
#[derive(Debug)]
pub(super) struct Asker<T> {
    pub org: i64,
    pub wake: T,
}

/// A row that has a URL.
#[derive(Debug)]
struct Downloader<T> {
    /// It holds a place for its part file already.
    has_file: bool,
    wake: T,
}

/// The rows that are in the queue, asking or downloading; `A` and `D` wake them.
#[derive(Debug)]
pub(super) struct Rows<A, D> {
    /// Started, and on their way to the queue.
    coming: BTreeSet<Order>,
    waiting: BTreeMap<AskKey, Asker<A>>,
    asking: usize,
    ready: BTreeMap<DownloadKey, Downloader<D>>,
    /// Since when each of them downloads.
    downloading: BTreeMap<Order, Instant>,
    /// Rows that hold a place for a part file, from their first download to their end.
    files: usize,
    pub bounds: Bounds,
}

/// How many rows may do what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Images in flight.
    pub downloads: usize,
    /// Requests to the API without an answer.
    pub asks: usize,
    /// URLs beyond those that there is a place for.
    pub ahead: usize,
    /// Rows that have begun a download and not ended.
    pub files: usize,
}

/// How many rows do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    /// Need a URL and are not asked for yet.
    pub waiting: usize,
    /// Wait for the API's answer.
    pub asking: usize,
    /// Have a URL and wait for a place.
    pub ready: usize,
    pub downloading: usize,
}

impl<A, D> Rows<A, D> {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self {
            coming: BTreeSet::new(),
            waiting: BTreeMap::new(),
            asking: 0,
            ready: BTreeMap::new(),
            downloading: BTreeMap::new(),
            files: 0,
            bounds,
        }
    }

    pub(super) fn counts(&self) -> QueueCounts {
        QueueCounts {
            waiting: self.coming.len() + self.waiting.len(),
            asking: self.asking,
            ready: self.ready.len(),
            downloading: self.downloading.len(),
        }
    }

    /// A row is started: rows behind it do not ask before it has come to the queue.
    pub(super) fn enter(&mut self, order: Order) {
        self.coming.insert(order);
    }

    /// A row has ended, or does not need a URL at this time.
    pub(super) fn leave(&mut self, order: Order) {
        self.coming.remove(&order);
    }

    pub(super) fn wait_to_ask(&mut self, key: AskKey, asker: Asker<A>) {
        self.coming.remove(&key.order);
        self.waiting.insert(key, asker);
    }

    pub(super) fn remove_asker(&mut self, key: AskKey) -> Option<Asker<A>> {
        self.waiting.remove(&key)
    }

    /// Whether one more row may ask: never further ahead than the bound.
    pub(super) fn may_ask(&self) -> bool {
        let free = self.bounds.downloads.saturating_sub(self.downloading.len());
        self.asking < self.bounds.asks && self.asking + self.ready.len() < free + self.bounds.ahead
    }

    /// The row that asks next: the first one for which `admits` holds. `None` while rows before it are still coming.
    pub(super) fn next_asker(&self, mut admits: impl FnMut(AskKey, &Asker<A>) -> bool) -> Option<AskKey> {
        let may_ask = self.may_ask();
        let first_coming = self.coming.first().copied().unwrap_or(Order::MAX);
        let candidates =
            self.waiting.iter().filter(|(key, _)| key.is_probe() || may_ask && key.order < first_coming);
        candidates.into_iter().find(|(key, asker)| admits(**key, asker)).map(|(key, _)| *key)
    }

    /// The row has a permit and asks.
    pub(super) fn start_asking(&mut self, key: AskKey) -> Option<Asker<A>> {
        let asker = self.waiting.remove(&key)?;
        self.asking += 1;
        Some(asker)
    }

    pub(super) const fn end_asking(&mut self) {
        self.asking -= 1;
    }

    /// Takes all rows out of the queue for which `which` holds.
    pub(super) fn take_askers(
        &mut self,
        which: impl Fn(AskKey, &Asker<A>) -> bool,
    ) -> Vec<(AskKey, Asker<A>)> {
        self.waiting.extract_if(.., |key, asker| which(*key, asker)).collect()
    }

    pub(super) fn wait_to_download(&mut self, key: DownloadKey, has_file: bool, wake: D) {
        self.ready.insert(key, Downloader { has_file, wake });
    }

    pub(super) fn remove_downloader(&mut self, key: DownloadKey) {
        self.ready.remove(&key);
    }

    /// The next row that may download, if there is a place: what wakes it, and whether it got a place for its file.
    pub(super) fn start_downloading(&mut self, now: Instant) -> Option<StartedDownload<D>> {
        if self.downloading.len() >= self.bounds.downloads {
            return None;
        }
        let has_room = self.files < self.bounds.files;
        let may_start = |key: &DownloadKey, row: &Downloader<D>| row.has_file || has_room || !key.is_no_probe;
        let key = *self.ready.iter().find(|(key, row)| may_start(key, row))?.0;
        let Downloader { has_file, wake } = self.ready.remove(&key)?;
        self.downloading.insert(key.order, now);
        if !has_file {
            self.files += 1;
        }
        Some(StartedDownload { order: key.order, wake, gets_file: !has_file })
    }

    /// A download has ended: since when it went on.
    pub(super) fn end_downloading(&mut self, order: Order) -> Option<Instant> {
        self.downloading.remove(&order)
    }

    pub(super) const fn release_file(&mut self) {
        self.files -= 1;
    }

    /// Mean age of the downloads.
    pub(super) fn mean_age(&self, now: Instant) -> std::time::Duration {
        let total: std::time::Duration =
            self.downloading.values().map(|since| now.saturating_duration_since(*since)).sum();
        total / u32::try_from(self.downloading.len()).unwrap_or(u32::MAX).max(1)
    }
}

/// A row that may download now.
pub(super) struct StartedDownload<D> {
    pub order: Order,
    pub wake: D,
    pub gets_file: bool,
}
