//! What this run knows of the other runs, and what follows from it: whose requests are in flight, and whether another
//! run should go first. No I/O but a look for the processes of overdue requests.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::boot::Process;
use super::message::{Message, Stake, Step};
use super::{Decision, Part, Policy, Slot};

/// Once another run's answer is overdue by this much, its process is checked.
const ANSWER_DUE: Duration = Duration::from_secs(1);
/// No request takes longer: connecting has 10 s, the answer 30 s.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(40);
/// In windows: how far back messages count. One more than the policy remembers, so that nothing it hears of later is
/// unexplained.
pub(super) const MEMORY_WINDOWS: u32 = 3;
/// In windows: how long a Remaining counts.
const REMAINING_WINDOWS: u32 = 2;
/// In windows: how long a run's demand counts without a new message.
const DEMAND_WINDOWS: u32 = 2;
/// A waiting run announces its demand this many times a window.
const ANNOUNCEMENTS_PER_WINDOW: u32 = 4;

/// What other runs have published, as far as it still matters.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Other runs' requests in flight, by run and number of the request.
    in_flight: HashMap<(u32, u32), (Slot, Process)>,
    /// How many requests each run still needs, and when it said so.
    demand: HashMap<u32, (Instant, u32)>,
    /// What each other run brings into the count, and when it was heard last.
    stakes: HashMap<u32, (Instant, Process, Stake)>,
    /// Which run sent when, within the last window, this run included.
    sent: VecDeque<(Instant, u32)>,
    /// Until then this run lets others go first.
    yields_until: Option<Instant>,
    /// When this run last announced that it waits.
    announced: Option<Instant>,
}

impl Peers {
    pub(super) fn any_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Other runs that need requests.
    pub(super) fn others(&self) -> usize {
        self.demand.len()
    }

    pub(super) fn take_in_flight(&mut self) -> Vec<Slot> {
        self.in_flight.drain().map(|(_, (slot, _))| slot).collect()
    }

    /// Asks the policy for a slot, unless another run should go first. `own` is the number of requests that this run
    /// still needs.
    pub(super) fn decide(&mut self, run: u32, policy: &mut Policy, now: Instant, own: u64) -> Decision {
        if policy.waiting(now).is_none() && self.is_ahead(run) {
            let until = *self.yields_until.get_or_insert(now + policy.interval());
            if now < until {
                return Decision::WaitUntil(until);
            }
        }
        let others: u64 = self.demand.values().map(|(_, left)| u64::from(*left)).sum();
        policy.try_acquire(now, own.saturating_add(others))
    }

    /// What the other runs have to know of a decision: the request's number and what happens to it.
    pub(super) fn announcement(
        &mut self,
        run: u32,
        policy: &Policy,
        now: Instant,
        own: u64,
        decision: &Decision,
    ) -> Option<(u64, Step)> {
        let left = u32::try_from(own).unwrap_or(u32::MAX);
        if let Decision::Go(slot) = decision {
            self.yields_until = None;
            self.sent.push_back((now, run));
            return Some((slot.id, Step::Granted { left }));
        }
        let pause = policy.window() / ANNOUNCEMENTS_PER_WINDOW;
        if self.announced.is_some_and(|at| now.saturating_duration_since(at) <= pause) {
            return None;
        }
        self.announced = Some(now);
        Some((0, Step::Waiting { left }))
    }

    /// Whether this run has sent more than its equal part of what all runs with demand sent. It then lets another run
    /// go first, for the time of one request: if none does, little is lost.
    fn is_ahead(&self, run: u32) -> bool {
        let own = self.sent.iter().filter(|(_, sender)| *sender == run).count();
        let others = self.sent.iter().filter(|(_, sender)| self.demand.contains_key(sender)).count();
        let runs = self.demand.len();
        own * runs > others + runs * (2 + own / 8)
    }
}

/// Replays other runs' messages into this run's policy.
pub(super) struct Replay<'s> {
    pub policy: &'s mut Policy,
    pub peers: &'s mut Peers,
    pub now: Instant,
}

impl Replay<'_> {
    /// `boot_time` is the time since the boot at `self.now`.
    pub(super) fn apply_all(&mut self, messages: Vec<Message>, boot_time: Duration) {
        for message in messages {
            self.apply(message, boot_time);
        }
    }

    fn apply(&mut self, message: Message, boot_time: Duration) {
        let age = boot_time.saturating_sub(message.at);
        let Some(at) = self.now.checked_sub(age) else { return };
        let key = (message.run, message.request);
        let is_old = age > MEMORY_WINDOWS * self.policy.window();
        if !is_old {
            self.peers.stakes.insert(message.run, (at, message.process, message.stake));
        }
        match message.step {
            Step::Waiting { .. } | Step::Granted { .. } if is_old => {}
            Step::Waiting { left } => {
                self.peers.demand.insert(message.run, (at, left));
            }
            Step::Granted { left } => {
                self.peers.yields_until = None;
                self.peers.demand.insert(message.run, (at, left));
                self.peers.sent.push_back((at, message.run));
                let slot = self.policy.record_foreign(at);
                self.peers.in_flight.insert(key, (slot, message.process));
            }
            Step::Answered(mut headers) => {
                headers.remaining =
                    headers.remaining.filter(|_| age <= REMAINING_WINDOWS * self.policy.window());
                let slot = match self.peers.in_flight.remove(&key) {
                    Some((slot, _)) => slot,
                    // a 429 may close the gate for longer than messages count
                    None if !is_old || headers.limited => self.policy.record_foreign(at),
                    None => return,
                };
                self.policy.answered(&slot, at, &headers);
            }
            Step::Released => {
                if let Some((slot, _)) = self.peers.in_flight.remove(&key) {
                    self.policy.release(&slot);
                }
            }
            Step::Abandoned => {
                if let Some((slot, _)) = self.peers.in_flight.remove(&key) {
                    self.policy.abandon(&slot, at);
                }
            }
        }
    }

    /// Tells the policy which part of the allowance the other runs have. That of a run that has ended counts as long as its
    /// requests do; a shard that was started again has one part.
    pub(super) fn share(&mut self, own: Stake) {
        let (now, window) = (self.now, self.policy.window());
        self.peers.stakes.retain(|_, (at, process, _)| {
            let silent = now.saturating_duration_since(*at);
            silent < window || silent < DEMAND_WINDOWS * window && process.is_alive()
        });
        let mut shards = HashSet::from([own.shard]);
        let others =
            self.peers.stakes.values().filter(|(_, _, stake)| stake.shard == 0 || shards.insert(stake.shard));
        let others = others.fold(Part::NONE, |sum, (_, _, stake)| sum.plus(stake.part));
        self.policy.share_with(others, now);
    }

    /// Abandons requests that will get no answer, and forgets demand and requests that count no more.
    pub(super) fn expire_dead(&mut self) {
        let (policy, now) = (&mut *self.policy, self.now);
        let window = policy.window();
        self.peers.in_flight.retain(|_, (slot, process)| {
            let age = now.saturating_duration_since(slot.sent);
            let is_dead = age > REQUEST_TIME_MAX || age > ANSWER_DUE && !process.is_alive();
            if is_dead {
                policy.abandon(slot, now);
            }
            !is_dead
        });
        let is_current = |at: Instant, windows: u32| now.saturating_duration_since(at) < windows * window;
        self.peers.demand.retain(|_, (at, left)| *left > 1 && is_current(*at, DEMAND_WINDOWS));
        while self.peers.sent.front().is_some_and(|(at, _)| !is_current(*at, 1)) {
            self.peers.sent.pop_front();
        }
    }
}
