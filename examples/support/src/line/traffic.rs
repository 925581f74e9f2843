//! What passes over a line to one server: seen from outside, so it works behind TLS, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub struct Traffic(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    /// Connections so far.
    opened: u64,
    /// When a byte last moved on each connection that is open.
    moved: HashMap<u64, Instant>,
}

impl Traffic {
    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.locked().opened
    }

    /// Open connections on which a byte moved within the last `time`.
    pub fn busy(&self, time: Duration) -> usize {
        self.locked().moved.values().filter(|at| at.elapsed() <= time).count()
    }

    pub(super) fn opened(self: &Arc<Self>) -> Counted {
        let mut open = self.locked();
        open.opened += 1;
        let number = open.opened;
        open.moved.insert(number, Instant::now());
        Counted { traffic: Arc::clone(self), number }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().expect("no holder panics")
    }
}

/// A connection, counted until this is dropped.
pub(super) struct Counted {
    traffic: Arc<Traffic>,
    number: u64,
}

impl Counted {
    pub(super) fn moved(&self) {
        self.traffic.locked().moved.insert(self.number, Instant::now());
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.traffic.locked().moved.remove(&self.number);
    }
}
