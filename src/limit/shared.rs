//! One count for all runs of a user on this machine.
//!
//! Each run publishes what happens to its requests in a [`Table`] that all share, and replays what the others
//! published into its own policy before it asks that policy. So all policies see the same requests in the same order,
//! and each keeps the N of its own `--rate`.
//!
//! A dead run is detected by its process; its requests in flight then count as answered. While the table cannot be used
//! ([`Link`]), messages wait in the [`Outbox`], and with the next exchange each run learns what it has missed.

mod boot;
mod link;
mod message;
mod outbox;
mod peers;
mod table;
mod thread;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use self::boot::Process;
pub(super) use self::boot::{machine, since_boot};
use self::link::Link;
pub(super) use self::message::Stake;
use self::message::{Message, Step};
use self::outbox::Outbox;
use self::peers::{MEMORY_WINDOWS, Peers, Replay};
use self::table::{Memory, Now};
pub(super) use self::table::{Table, TableError};
use self::thread::Thread;
use super::{Decision, Part, Policy, Rate, RateHeaders, Slot, lock};

/// A higher speed than this is no allowance that needs to be shared: all runs of a machine together do not reach it.
/// Requests a second.
const SHARED_SPEED_MAX: f64 = 10_000.0;

/// Whether runs share this allowance.
pub(super) fn is_shared(rate: Rate) -> bool {
    f64::from(rate.requests) <= SHARED_SPEED_MAX * rate.window.as_secs_f64()
}

/// The name says which API, key and machine the file is for, and cannot be turned back into them. A folder that several
/// machines mount has a file for each, since the time since the boot means nothing elsewhere.
pub(super) fn file_name(address: &str, key: &str, machine: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["exporter request clock", address, key, machine] {
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
    stake: Stake,
    memory: Memory,
    /// What the next exchange publishes.
    outbox: Mutex<Outbox>,
    /// Locked for moments only, like all locks here.
    peers: Mutex<Peers>,
    others_in_flight: AtomicBool,
    link: Mutex<Link>,
    thread: Thread,
}

impl Shared {
    pub(super) fn new(path: PathBuf, now: Now, rate: Rate) -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            path,
            now,
            run: u32::try_from(random >> 32).unwrap_or_default(),
            process: Process::current(),
            stake: Stake::WHOLE,
            memory: Memory::new(MEMORY_WINDOWS * rate.window, rate.requests),
            outbox: Mutex::new(Outbox::new(MEMORY_WINDOWS * rate.window)),
            peers: Mutex::default(),
            others_in_flight: AtomicBool::new(false),
            link: Mutex::default(),
            thread: Thread::default(),
        }
    }

    /// Publishes this part of the allowance with every message.
    pub(super) const fn set_stake(&mut self, stake: Stake) {
        self.stake = stake;
    }

    /// Gives a job to the request clock's thread.
    ///
    /// # Errors
    /// If that cannot be started.
    pub(super) fn run(&self, job: impl FnOnce(&mut Option<Table>) + Send + 'static) -> io::Result<()> {
        self.thread.run(job)
    }

    pub(super) fn link(&self) -> MutexGuard<'_, Link> {
        lock(&self.link)
    }

    /// A slot that was granted without an exchange.
    pub(super) fn granted(&self, slot: &Slot, left: u64) {
        self.post(slot, Step::Granted { left: u32::try_from(left).unwrap_or(u32::MAX) });
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
        Message { at, run: self.run, process: self.process, stake: self.stake, request, step }
    }

    /// Exchanges messages with the other runs. With `ask`, the number of requests that this run still needs, the policy
    /// is asked as well. Takes a few system calls, and at most the time-out of the table's lock, unless the disk hangs.
    ///
    /// # Errors
    /// As [`Table::sync`]: a decision counts even if it could not be published.
    pub(super) fn sync(
        &self,
        table: &mut Option<Table>,
        policy: &Mutex<Policy>,
        ask: Option<u64>,
    ) -> Result<(Option<Decision>, Result<(), TableError>), TableError> {
        let table = match table {
            Some(table) => table,
            none => none.insert(Table::open(&self.path, self.now, self.memory)?),
        };
        let was_used = self.link().was_used();
        let missed = was_used && !self.link().is_attached();
        let (exchanged, written) = table.sync(|boot_time, mut news| {
            news.retain(|message| message.run != self.run);
            if missed {
                // own answers are newer
                news.iter_mut().for_each(Message::forget_remaining);
            }
            let mut peers = lock(&self.peers);
            let mut policy = lock(policy);
            let now = Instant::now();
            let mut replay = Replay { policy: &mut policy, peers: &mut peers, now };
            replay.apply_all(news, boot_time);
            replay.expire_dead();
            replay.share(self.stake);
            self.others_in_flight.store(peers.any_in_flight(), Ordering::Relaxed);
            let mut outbox = lock(&self.outbox);
            let decision = ask.map(|own| {
                let decision = peers.decide(self.run, &mut policy, now, own);
                let news = peers.announcement(self.run, &policy, now, own, &decision);
                if let Some((id, step)) = news {
                    outbox.push(self.message(boot_time, id, step));
                }
                decision
            });
            let (outgoing, mark) = outbox.messages();
            ((decision, mark), outgoing)
        })?;
        let (decision, mark) = exchanged;
        if written.is_ok() {
            lock(&self.outbox).written(mark);
        }
        Ok((decision, written))
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

    /// How many runs share the count, as far as this one has heard of them; itself included.
    pub(super) fn runs(&self) -> u32 {
        1 + u32::try_from(lock(&self.peers).others()).unwrap_or(u32::MAX - 1)
    }

    /// Whether other runs have requests in flight.
    pub(super) fn others_in_flight(&self) -> bool {
        self.others_in_flight.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
