//! One count for all runs of a user on this machine.
//!
//! Each run publishes what happens to its requests in a [`Table`] that all share, and replays what the others
//! published into its own policy before it asks that policy. So all policies see the same requests in the same order,
//! and each keeps the N of its own `--rate`.
//!
//! A dead run is detected by its process; its requests in flight then count as answered.

mod boot;
mod message;
mod peers;
mod table;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use self::boot::Process;
pub(super) use self::boot::since_boot;
use self::message::{Message, Step};
use self::peers::{Peers, Replay};
pub(super) use self::table::REQUESTS_MAX;
use self::table::{Now, Table, TableError};
use super::{Decision, Policy, RateHeaders, Slot, lock};

/// The name says which API and key the file is for, and cannot be turned back into them.
pub(super) fn file_name(address: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["exporter request clock", address, key] {
        hash.update(part);
        hash.update([0]);
    }
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}.sqlite")
}

/// This run's part in the shared count.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    now: Now,
    /// A random number: the pid is not enough, since a run may come after another one under the same pid.
    run: u32,
    process: Process,
    /// What the next exchange publishes.
    outbox: Mutex<Vec<Message>>,
    /// Locked during an exchange, and so for as long as the disk takes.
    table: Mutex<Option<Table>>,
    /// Locked for moments only.
    peers: Mutex<Peers>,
    others_in_flight: AtomicBool,
}

impl Shared {
    pub(super) fn new(path: PathBuf, now: Now) -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            path,
            now,
            run: u32::try_from(random >> 32).unwrap_or_default(),
            process: Process::current(),
            outbox: Mutex::default(),
            table: Mutex::default(),
            peers: Mutex::default(),
            others_in_flight: AtomicBool::new(false),
        }
    }

    pub(super) fn answered(&self, slot: &Slot, headers: &RateHeaders) {
        self.post(slot, Step::Answered(headers.clone()));
    }

    pub(super) fn released(&self, slot: &Slot) {
        self.post(slot, Step::Released);
    }

    pub(super) fn abandoned(&self, slot: &Slot) {
        self.post(slot, Step::Abandoned);
    }

    fn post(&self, slot: &Slot, step: Step) {
        // if the clock cannot be read, the next exchange fails and says so
        let at = (self.now)().unwrap_or_default();
        lock(&self.outbox).push(self.message(at, slot.id, step));
    }

    fn message(&self, at: Duration, id: u64, step: Step) -> Message {
        let request = u32::try_from(id & u64::from(u32::MAX)).unwrap_or_default();
        Message { at, run: self.run, process: self.process, request, step }
    }

    /// Exchanges messages with the other runs. With `ask`, the number of requests that this run still needs, the policy
    /// is asked as well. Blocks for the time of a few system calls, and at most for the time-out of the table's lock.
    ///
    /// # Errors
    /// As [`Table::sync`]: a decision counts even if it could not be published.
    pub(super) fn sync(
        &self,
        policy: &Mutex<Policy>,
        ask: Option<u64>,
    ) -> Result<(Option<Decision>, Result<(), TableError>), TableError> {
        let mut table = lock(&self.table);
        let table = match &mut *table {
            Some(table) => table,
            none => none.insert(Table::open(&self.path, self.now)?),
        };
        table.sync(|boot_time, mut news| {
            news.retain(|message| message.run != self.run);
            let mut peers = lock(&self.peers);
            let mut policy = lock(policy);
            let now = Instant::now();
            let mut replay = Replay { policy: &mut policy, peers: &mut peers, now };
            replay.apply_all(news, boot_time);
            replay.expire_dead();
            self.others_in_flight.store(peers.any_in_flight(), Ordering::Relaxed);
            let mut outgoing = std::mem::take(&mut *lock(&self.outbox));
            let decision = ask.map(|own| {
                let decision = peers.decide(self.run, &mut policy, now, own);
                let news = peers.announcement(self.run, &policy, now, own, &decision);
                outgoing.extend(news.map(|(id, step)| self.message(boot_time, id, step)));
                decision
            });
            (decision, outgoing)
        })
    }

    /// The other runs are not heard any more: their requests in flight count as answered now.
    pub(super) fn abandon_others(&self, policy: &Mutex<Policy>) {
        let in_flight = lock(&self.peers).take_in_flight();
        self.others_in_flight.store(false, Ordering::Relaxed);
        let now = Instant::now();
        let mut policy = lock(policy);
        for slot in in_flight {
            policy.abandon(&slot, now);
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether other runs have requests in flight.
    pub(super) fn others_in_flight(&self) -> bool {
        self.others_in_flight.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
