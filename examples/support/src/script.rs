//! The script of what goes wrong. Each request takes at most one fault: the first that waits for its
//! image, else the first that waits for its server, else a standing one. Faults of the API take effect
//! behind key and rate limit, so a faulty answer costs a slot as a real one does.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use crate::faults::{ApiFault, StorageFault};
use crate::log::Server;

/// The faults of one server that still wait.
#[derive(Debug)]
struct Queue<F> {
    by_image: HashMap<String, VecDeque<F>>,
    next: VecDeque<F>,
    standing: Option<F>,
}

impl<F> Default for Queue<F> {
    fn default() -> Self {
        Self { by_image: HashMap::new(), next: VecDeque::new(), standing: None }
    }
}

impl<F: Clone> Queue<F> {
    fn take(&mut self, image: &str) -> Option<F> {
        let own = self.by_image.get_mut(image).and_then(VecDeque::pop_front);
        own.or_else(|| self.next.pop_front()).or_else(|| self.standing.clone())
    }

    fn len(&self) -> usize {
        self.by_image.values().map(VecDeque::len).sum::<usize>() + self.next.len()
    }
}

/// Everything that is going to go wrong.
#[derive(Debug, Default)]
pub struct Script {
    api: Mutex<Queue<ApiFault>>,
    storage: Mutex<Queue<StorageFault>>,
}

impl Script {
    /// The next API request for `image` (behind those scripted already) meets this.
    pub fn api(&self, image: &str, fault: ApiFault) {
        locked(&self.api).by_image.entry(image.to_owned()).or_default().push_back(fault);
    }

    /// The next API request for whatever image meets this.
    pub fn api_next(&self, fault: ApiFault) {
        locked(&self.api).next.push_back(fault);
    }

    /// Every API request meets this until `None` is set: an outage.
    pub fn api_always(&self, fault: Option<ApiFault>) {
        locked(&self.api).standing = fault;
    }

    /// The next GET of `image` (behind those scripted already) meets this.
    pub fn storage(&self, image: &str, fault: StorageFault) {
        locked(&self.storage).by_image.entry(image.to_owned()).or_default().push_back(fault);
    }

    /// The next GET of whatever image meets this.
    pub fn storage_next(&self, fault: StorageFault) {
        locked(&self.storage).next.push_back(fault);
    }

    /// Every GET meets this until `None` is set.
    pub fn storage_always(&self, fault: Option<StorageFault>) {
        locked(&self.storage).standing = fault;
    }

    /// Forgets all that waits and all that stands.
    pub fn clear(&self) {
        *locked(&self.api) = Queue::default();
        *locked(&self.storage) = Queue::default();
    }

    /// Faults that no request has met yet (standing ones apart).
    pub fn waiting(&self, server: Server) -> usize {
        match server {
            Server::Api => locked(&self.api).len(),
            Server::Storage => locked(&self.storage).len(),
        }
    }

    pub(super) fn take_api(&self, image: &str) -> Option<ApiFault> {
        locked(&self.api).take(image)
    }

    pub(super) fn take_storage(&self, image: &str) -> Option<StorageFault> {
        locked(&self.storage).take(image)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(fault: Option<&ApiFault>) -> u16 {
        match fault {
            Some(ApiFault::Answer { status, .. }) => *status,
            _ => 0,
        }
    }

    #[test]
    fn own_faults_come_first_then_the_next_then_the_standing_one() {
        let script = Script::default();
        script.api("a", ApiFault::status(500));
        script.api("a", ApiFault::status(502));
        script.api_next(ApiFault::status(401));
        script.api_always(Some(ApiFault::status(503)));
        assert_eq!(script.waiting(Server::Api), 3);
        let met: Vec<u16> =
            ["a", "a", "a", "a", "b"].map(|image| status(script.take_api(image).as_ref())).into();
        assert_eq!(met, [500, 502, 401, 503, 503]);
        script.api_always(None);
        assert_eq!(status(script.take_api("a").as_ref()), 0);
    }
}
