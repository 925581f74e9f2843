//! One clock for all runs of a user on this machine: each plays what the others tell in the journal into its own
//! policy, before it asks it. So all policies see the same requests in the same order, and each keeps its own N.
//!
//! Whoever dies is found out by his process, and what he had in flight counts as answered then.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use tokio::time::Instant;

use super::journal::{Entry, Fact, Journal, Now};
use super::{Decision, Policy, RateHeaders, Ticket, lock};

/// An answer that others owe for so long is asked after.
const OWED: Duration = Duration::from_secs(1);
/// No request takes so long: connecting has 10 s, the answer 30 s.
const LONGEST: Duration = Duration::from_secs(40);

/// This run's part of the clock that all keep.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    now: Now,
    client: u32,
    /// What is to be told at the next visit.
    pending: Mutex<Vec<Entry>>,
    /// Held for the time of a visit, and so as long as the disk likes.
    journal: Mutex<Option<Journal>>,
    /// Held for moments only.
    heard: Mutex<Heard>,
    /// Whether others have something in flight.
    owed: AtomicBool,
}

/// What others told, and what follows from it.
#[derive(Debug, Default)]
struct Heard {
    /// What others have in flight, by run and number: the policy's ticket, and whose it is.
    others: HashMap<(u32, u32), (Ticket, u32)>,
    /// How many requests others still need, and when they said so.
    left: HashMap<u32, (Instant, u32)>,
    /// Who sent within the last window, and when.
    sent: VecDeque<(Instant, u32)>,
    /// This run lets others go first until then, unless somebody goes.
    yields: Option<Instant>,
    /// When it last told that it waits.
    wants: Option<Instant>,
}

impl Shared {
    pub(super) fn new(path: PathBuf, now: Now) -> Self {
        let client = RandomState::new().hash_one(std::process::id());
        Self {
            path,
            now,
            client: u32::try_from(client >> 32).unwrap_or_default(),
            pending: Mutex::default(),
            journal: Mutex::default(),
            heard: Mutex::default(),
            owed: AtomicBool::new(false),
        }
    }

    /// Remembers what became of a request, to be told at the next visit.
    pub(super) fn tell(&self, ticket: &Ticket, answer: Option<&RateHeaders>) {
        let fact = answer.map_or(Fact::Unsent, |hints| Fact::Answered(hints.clone()));
        // where the clock cannot be read the next visit fails, and says so
        let at = (self.now)().unwrap_or_default();
        lock(&self.pending).push(self.entry(at, ticket.id, fact));
    }

    fn entry(&self, at: Duration, id: u64, fact: Fact) -> Entry {
        let number = u32::try_from(id & u64::from(u32::MAX)).unwrap_or_default();
        Entry { at, client: self.client, pid: std::process::id(), number, fact }
    }

    /// Tells and hears. With `ask`, which is how many requests the run still needs, the policy is asked too.
    /// Blocks for the time of a few system calls, 2 s at most.
    ///
    /// # Errors
    /// As [`Journal::visit`]: what was decided counts also where others cannot be told.
    pub(super) fn visit(
        &self,
        policy: &Mutex<Policy>,
        ask: Option<u64>,
    ) -> io::Result<(Option<Decision>, io::Result<()>)> {
        let mut journal = lock(&self.journal);
        let journal = match &mut *journal {
            Some(journal) => journal,
            none => none.insert(Journal::open(self.path.clone(), self.now)?),
        };
        journal.visit(|boot, news| {
            let mut heard = lock(&self.heard);
            let Heard { others, left, sent, yields, wants } = &mut *heard;
            let mut policy = lock(policy);
            let now = Instant::now();
            let mut ears = Ears { policy: &mut policy, others, left, sent, now };
            for entry in news.into_iter().filter(|entry| entry.client != self.client) {
                if matches!(entry.fact, Fact::Sent { .. }) {
                    *yields = None;
                }
                let age = boot.saturating_sub(entry.at);
                ears.hear(entry, age);
            }
            ears.bury();
            self.owed.store(!others.is_empty(), Ordering::Relaxed);
            let wanted = left.values().map(|(_, left)| u64::from(*left)).sum::<u64>();
            let decision = ask.map(|own| {
                if policy.waiting(now).is_none() && is_ahead(self.client, left, sent) {
                    let until = *yields.get_or_insert(now + policy.turn());
                    if now < until {
                        return Decision::WaitUntil(until);
                    }
                }
                policy.ask(now, own.saturating_add(wanted))
            });
            let mut told = std::mem::take(&mut *lock(&self.pending));
            if let (Some(decision), Some(own)) = (&decision, ask) {
                let own = u32::try_from(own).unwrap_or(u32::MAX);
                if let Decision::Go(ticket) = decision {
                    *yields = None;
                    sent.push_back((now, self.client));
                    told.push(self.entry(boot, ticket.id, Fact::Sent { left: own }));
                } else if wants.is_none_or(|at| now.saturating_duration_since(at) > policy.window() / 4) {
                    *wants = Some(now);
                    told.push(self.entry(boot, 0, Fact::Wants { left: own }));
                }
            }
            (decision, told)
        })
    }

    /// Others are not heard any more: what they had in flight counts as answered now, since nobody will tell.
    pub(super) fn part(&self, policy: &Mutex<Policy>) {
        let others = std::mem::take(&mut lock(&self.heard).others);
        self.owed.store(false, Ordering::Relaxed);
        let now = Instant::now();
        let mut policy = lock(policy);
        for (ticket, _) in others.values() {
            policy.lost(ticket, now);
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether others have something in flight.
    pub(super) fn others_owe(&self) -> bool {
        self.owed.load(Ordering::Relaxed)
    }
}

/// What it takes to hear.
struct Ears<'s> {
    policy: &'s mut Policy,
    others: &'s mut HashMap<(u32, u32), (Ticket, u32)>,
    left: &'s mut HashMap<u32, (Instant, u32)>,
    sent: &'s mut VecDeque<(Instant, u32)>,
    now: Instant,
}

impl Ears<'_> {
    fn hear(&mut self, entry: Entry, age: Duration) {
        let Some(at) = self.now.checked_sub(age) else { return };
        let key = (entry.client, entry.number);
        // one window more than the policy remembers, so that nothing which it is told of later is unexplained
        let old = age > 3 * self.policy.window();
        match entry.fact {
            Fact::Sent { .. } | Fact::Wants { .. } if old => {}
            Fact::Wants { left } => {
                self.left.insert(entry.client, (at, left));
            }
            Fact::Sent { left } => {
                self.left.insert(entry.client, (at, left));
                self.sent.push_back((at, entry.client));
                self.others.insert(key, (self.policy.heard(at), entry.pid));
            }
            Fact::Answered(mut hints) => {
                hints.remaining = hints.remaining.filter(|_| age <= 2 * self.policy.window());
                let ticket = match self.others.remove(&key) {
                    Some((ticket, _)) => ticket,
                    // a gate that was closed for longer is still closed
                    None if !old || hints.limited => self.policy.heard(at),
                    None => return,
                };
                self.policy.answered(&ticket, at, &hints);
            }
            Fact::Unsent => {
                if let Some((ticket, _)) = self.others.remove(&key) {
                    self.policy.unsent(&ticket);
                }
            }
        }
    }

    /// Ends what nobody will answer any more.
    fn bury(&mut self) {
        let (policy, now) = (&mut *self.policy, self.now);
        let window = policy.window();
        self.others.retain(|_, (ticket, pid)| {
            let owed = now.saturating_duration_since(ticket.sent);
            let lost = owed > LONGEST || owed > OWED && !lives(*pid);
            if lost {
                policy.lost(ticket, now);
            }
            !lost
        });
        self.left.retain(|_, (at, left)| *left > 1 && now.saturating_duration_since(*at) < 2 * window);
        while self.sent.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= window) {
            self.sent.pop_front();
        }
    }
}

/// Whether this run has sent more than its equal part of what all did that still need something. It then lets
/// another one go first, for the time of one request: where nobody comes, nothing is lost.
fn is_ahead(client: u32, left: &HashMap<u32, (Instant, u32)>, sent: &VecDeque<(Instant, u32)>) -> bool {
    let own = sent.iter().filter(|(_, who)| *who == client).count();
    let others = sent.iter().filter(|(_, who)| left.contains_key(who)).count();
    own * left.len() > others + left.len() * (2 + own / 8)
}

/// Whether there is such a process; one that may not be asked is one.
fn lives(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests;
