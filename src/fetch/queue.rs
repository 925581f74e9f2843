//! The queue of a run's rows, as they use it: they wait here for their turn to ask the API and for a place among the
//! images in flight.
//!
//! [`rows`] decides who is next, [`concurrency`] how many images may be in flight; both are pure. What a row gets is a
//! guard. One task, the asker, hands out the turns: it takes a permit of the request limiter first and then the row that is
//! the first in the ledger's order at that moment. So no row holds a slot or a URL while it waits for the allowance.

mod ahead;
mod concurrency;
mod guards;
mod rows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::ahead::{ASKS_MAX, Ahead, URLS_AHEAD_MAX, mean};
use self::concurrency::{Controller, Measured};
pub(crate) use self::guards::{Ask, DownloadSlot, FilePlace, Place, Turn};
use self::guards::{Asking, WaitingAsker, WaitingDownloader};
pub(crate) use self::rows::QueueCounts;
use self::rows::{AskKey, Asker, Bounds, DownloadKey, Order, Rows};
use super::room::Room;
use crate::admission::Admission;
use crate::admission::orgs::OrgAnswer;
use crate::limit::Permit;
use crate::options::Concurrency;

/// Rows that wait to ask: enough for the asker to find one whatever becomes of some.
const WAITING_MAX: usize = 256;

type AskSender = oneshot::Sender<Turn>;
type DownloadSender = oneshot::Sender<DownloadSlot>;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Wakes the asker, the only task that waits for it.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    rows: Rows<AskSender, DownloadSender>,
    controller: Controller,
    /// The next row's position.
    order: Order,
    /// Mean time of an image, from its request to its last byte.
    image_time: Option<Duration>,
    ahead: Ahead,
    was_out: bool,
}

/// What the run knows beside the queue that decides how many images are in flight, and how far ahead is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// Requests that the allowance permits a second.
    pub allowed_per_second: f64,
    /// Bytes received in all.
    pub received: u64,
    /// A service is out.
    pub is_out: bool,
    /// Images come, and nothing says that the next ones will not.
    pub is_sound: bool,
    /// Time left until the deadline, if there is one.
    pub time_left: Option<Duration>,
}

impl Queue {
    /// With as many images in flight as were wanted, within what open files and memory permit.
    pub fn new(wanted: Concurrency, room: Room) -> Self {
        let controller = Controller::new(wanted, room.downloads);
        let files = room.files_beside(controller.max());
        // a number that the user fixed bounds the requests in flight, too
        let connections = if wanted == Concurrency::Auto { room.downloads } else { 0 };
        let downloads = controller.number();
        let bounds = Bounds { downloads, asks: downloads, ahead: 0, files };
        let state = State {
            rows: Rows::new(bounds),
            ahead: Ahead::new(connections),
            controller,
            order: 0,
            image_time: None,
            was_out: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // every section is a few assignments: a panic elsewhere leaves nothing half-done
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most rows that are ever worth starting: those that wait to ask, ask, have a URL or have begun a download.
    pub fn rows_max(&self) -> usize {
        let state = self.lock();
        WAITING_MAX + ASKS_MAX + URLS_AHEAD_MAX + state.controller.max() + state.rows.bounds.files
    }

    /// Whether enough rows wait to ask: more would only take memory.
    pub fn is_full(&self) -> bool {
        self.lock().rows.counts().waiting >= WAITING_MAX
    }

    /// A row is started; rows are started in the ledger's order.
    pub fn enter(self: &Arc<Self>) -> Place {
        let order = {
            let mut state = self.lock();
            state.order += 1;
            let order = state.order;
            state.rows.enter(order);
            order
        };
        Place::new(Arc::clone(self), order)
    }

    pub fn counts(&self) -> QueueCounts {
        self.lock().rows.counts()
    }

    /// Images that may be in flight now.
    pub fn concurrency(&self) -> usize {
        self.lock().controller.number()
    }

    /// The storage asked to slow down, or a download stalled.
    pub fn line_is_full(&self) {
        let mut state = self.lock();
        let in_flight = state.rows.counts().downloading;
        state.controller.line_is_full(in_flight, Instant::now());
        state.rows.bounds.downloads = state.controller.number();
    }

    /// Adjusts to what was measured how many images are in flight, and how far ahead is asked.
    pub fn adjust(self: &Arc<Self>, circumstances: &Circumstances) {
        self.lock().adjust(circumstances, Instant::now());
        self.start_downloads();
    }

    /// Gives free places to the rows that are next.
    fn start_downloads(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            let Some(started) = state.rows.start_downloading(Instant::now()) else { break };
            state.ahead.url_used();
            drop(state);
            let file = started.gets_file.then(|| FilePlace::new(Arc::clone(self)));
            // if the row is gone, dropping the slot frees the place again
            let _ = started.wake.send(DownloadSlot::new(Arc::clone(self), started.order, file));
        }
        self.changed.notify_one();
    }

    /// Completes when a row may ask; in an outage only its probe may. Rows whose organization is refused are told so.
    pub async fn until_one_may_ask(&self, admission: &Admission) {
        while !self.one_may_ask(admission) {
            self.changed.notified().await;
        }
    }

    fn one_may_ask(&self, admission: &Admission) -> bool {
        if admission.is_out() {
            self.readmit();
        }
        loop {
            let mut state = self.lock();
            let mut refusal = None;
            let next = state.rows.next_asker(|_, asker| match admission.org_answer(asker.org) {
                OrgAnswer::Admits => true,
                OrgAnswer::Waits => false,
                OrgAnswer::Refuses(why) => {
                    refusal = Some(why);
                    true
                }
            });
            let (Some(key), Some(why)) = (next, refusal) else { return next.is_some() };
            let asker = state.rows.remove_asker(key);
            drop(state);
            if let Some(asker) = asker {
                let _ = asker.wake.send(Turn::Refused(why));
            }
        }
    }

    /// An outage has begun: all rows but the probe pass the gates again.
    fn readmit(&self) {
        let mut state = self.lock();
        let askers = state.rows.take_askers(|key, _| !key.is_probe());
        for (key, _) in &askers {
            state.rows.enter(key.order);
        }
        drop(state);
        for (_, asker) in askers {
            let _ = asker.wake.send(Turn::Readmit);
        }
    }

    /// Gives the permit to the row that is next. If none may ask any more, it is free again.
    pub fn hand_out(self: &Arc<Self>, permit: Permit, admission: &Admission) {
        let mut state = self.lock();
        let mut entered = None;
        let next = state.rows.next_asker(|_, asker| {
            entered = admission.try_enter_org(asker.org);
            entered.is_some()
        });
        let asker = next.and_then(|key| state.rows.start_asking(key));
        drop(state);
        if let (Some(asker), Some(org)) = (asker, entered) {
            let ask = Ask::new(permit, org, Asking::new(Arc::clone(self)));
            let _ = asker.wake.send(Turn::Ask(ask));
        }
    }

    /// Waits for the row's turn to ask the API.
    async fn turn(&self, order: Order, org: i64, probing: bool) -> Turn {
        let key = AskKey::new(order, probing);
        let (wake, turn) = oneshot::channel();
        self.lock().rows.wait_to_ask(key, Asker { org, wake });
        let _waiting = WaitingAsker { queue: self, key };
        self.changed.notify_one();
        // the sender is dropped only with the row's entry
        turn.await.unwrap_or(Turn::Readmit)
    }

    /// Waits for a place among the images in flight, for a URL that was issued at that time.
    async fn slot(
        self: &Arc<Self>,
        order: Order,
        issued: Instant,
        probing: bool,
        has_file: bool,
    ) -> Option<DownloadSlot> {
        let key = DownloadKey::new(order, issued, probing);
        let (wake, slot) = oneshot::channel();
        self.lock().rows.wait_to_download(key, has_file, wake);
        let _waiting = WaitingDownloader { queue: self, key };
        self.start_downloads();
        slot.await.ok()
    }

    /// The API has answered after this time.
    pub fn answered(&self, time: Duration) {
        self.lock().ahead.answered(time);
    }
}

impl State {
    fn adjust(&mut self, circumstances: &Circumstances, now: Instant) {
        if std::mem::replace(&mut self.was_out, circumstances.is_out) && !circumstances.is_out {
            self.controller.forget_cap();
        }
        let image_time = self.image_time.unwrap_or_default().max(self.rows.mean_age(now));
        self.controller.adjust(&Measured {
            now,
            allowed_per_second: circumstances.allowed_per_second,
            in_flight: self.rows.counts().downloading,
            image_time,
            received: circumstances.received,
        });
        self.ahead.update(now);
        let downloads = self.controller.number();
        let urls = if circumstances.is_sound { self.ahead.urls(circumstances.time_left) } else { 0 };
        self.rows.bounds = Bounds {
            downloads,
            asks: self.ahead.asks(downloads, image_time),
            ahead: urls,
            ..self.rows.bounds
        };
    }
}

#[cfg(test)]
mod tests;
