//! One clock for all runs of a user on this machine: each plays what the others tell in the journal into its own
//! policy, before it asks it. So all policies see the same requests in the same order, and each keeps its own N.
//!
//! Whoever dies is found out by his process, and what he had in flight counts as answered then.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use tokio::time::Instant;

use super::journal::{Entry, Fact, Journal, Now};
use super::{Decision, Hints, Policy, Ticket, lock};

/// An answer that others owe for so long is asked after.
const OWED: Duration = Duration::from_secs(1);
/// No request takes so long: connecting has 10 s, the answer 30 s.
const LONGEST: Duration = Duration::from_mins(1);

/// This run's part of the clock that all keep.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    now: Now,
    client: u32,
    /// What is to be told at the next visit.
    pending: Mutex<Vec<Entry>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    journal: Option<Journal>,
    /// What others have in flight, by run and number: the policy's ticket, and whose it is.
    others: HashMap<(u32, u32), (Ticket, u32)>,
    /// How many requests others still need, and when they said so.
    left: HashMap<u32, (Instant, u32)>,
}

impl Shared {
    pub(super) fn new(path: PathBuf, now: Now) -> Self {
        let client = RandomState::new().hash_one(std::process::id());
        Self {
            path,
            now,
            client: u32::try_from(client >> 32).unwrap_or_default(),
            pending: Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// Remembers what became of a request, to be told at the next visit.
    pub(super) fn tell(&self, ticket: &Ticket, answer: Option<&Hints>) {
        let fact = answer.map_or(Fact::Unsent, |hints| Fact::Answered(hints.clone()));
        // where the clock cannot be read the next visit fails, and says so
        let at = (self.now)().unwrap_or_default();
        lock(&self.pending).push(self.entry(at, ticket, fact));
    }

    fn entry(&self, at: Duration, ticket: &Ticket, fact: Fact) -> Entry {
        let number = u32::try_from(ticket.id & u64::from(u32::MAX)).unwrap_or_default();
        Entry { at, client: self.client, pid: std::process::id(), number, fact }
    }

    /// Tells and hears. With `ask`, which is how many requests the run still needs, the policy is asked too.
    /// Blocks for the time of a few system calls, 2 s at most.
    pub(super) fn visit(&self, policy: &Mutex<Policy>, ask: Option<u64>) -> io::Result<Option<Decision>> {
        let mut state = lock(&self.state);
        let State { journal, others, left } = &mut *state;
        let journal = match journal {
            Some(journal) => journal,
            None => journal.insert(Journal::open(self.path.clone(), self.now)?),
        };
        journal.visit(|boot, news| {
            let mut policy = lock(policy);
            let now = Instant::now();
            let mut ears = Ears { policy: &mut policy, others, left, now };
            for entry in news.into_iter().filter(|entry| entry.client != self.client) {
                let age = boot.saturating_sub(entry.at);
                ears.hear(entry, age);
            }
            ears.bury();
            let wanted = left.values().map(|(_, left)| u64::from(*left)).sum::<u64>();
            let decision = ask.map(|own| policy.ask(now, own.saturating_add(wanted)));
            let mut told = std::mem::take(&mut *lock(&self.pending));
            if let (Some(Decision::Go(ticket)), Some(own)) = (&decision, ask) {
                let left = u32::try_from(own).unwrap_or(u32::MAX);
                told.push(self.entry(boot, ticket, Fact::Sent { left }));
            }
            (decision, told)
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether others have something in flight.
    pub(super) fn others_owe(&self) -> bool {
        !lock(&self.state).others.is_empty()
    }
}

/// What it takes to hear.
struct Ears<'s> {
    policy: &'s mut Policy,
    others: &'s mut HashMap<(u32, u32), (Ticket, u32)>,
    left: &'s mut HashMap<u32, (Instant, u32)>,
    now: Instant,
}

impl Ears<'_> {
    fn hear(&mut self, entry: Entry, age: Duration) {
        let Some(at) = self.now.checked_sub(age) else { return };
        let key = (entry.client, entry.number);
        let old = age > 2 * self.policy.window();
        match entry.fact {
            Fact::Sent { .. } if old => {}
            Fact::Sent { left } => {
                self.left.insert(entry.client, (at, left));
                self.others.insert(key, (self.policy.heard(at), entry.pid));
            }
            Fact::Answered(hints) => {
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
                    self.policy.unsent(&ticket, at);
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
        self.left.retain(|_, (at, _)| now.saturating_duration_since(*at) < 2 * window);
    }
}

/// Whether there is such a process; one that may not be asked is one.
fn lives(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}
