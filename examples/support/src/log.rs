//! What the sandbox saw: one entry a request (bounded, or off for benchmarks), and counters that are
//! always on. A test asks it what was really sent, in what order and how many at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hyper::http::request::Parts;

/// The two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    Api,
    Storage,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Entry {
    pub server: Server,
    pub method: String,
    /// Path and query byte for byte as they came: for the storage this is a signed URL.
    pub target: String,
    /// Ids, empty where the request names none that is known.
    pub org: String,
    pub note: String,
    pub image: String,
    /// 0: the connection was closed without an answer.
    pub status: u16,
    /// When the request had arrived, and when the head of its answer was ready.
    pub at: Instant,
    pub answered: Instant,
    pub headers: Vec<(String, String)>,
}

impl Entry {
    /// The first value of a request header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Counters of one server.
#[derive(Debug, Default)]
struct Gauge {
    requests: AtomicU64,
    in_flight: AtomicU64,
    peak: AtomicU64,
    limited: AtomicU64,
    failed: AtomicU64,
}

/// A reading of one server's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    /// Answers whose last byte is not sent yet.
    pub in_flight: u64,
    /// The most that were in flight at once.
    pub peak_in_flight: u64,
    /// Answers 429, be they scripted or the limiter's.
    pub limited: u64,
    /// Answers 4xx and 5xx (429 too), and none.
    pub failed: u64,
}

/// The log and the counters.
#[derive(Debug)]
pub struct Log {
    capacity: usize,
    entries: Mutex<VecDeque<Entry>>,
    gauges: [Gauge; 2],
}

impl Log {
    /// Keeps the newest `capacity` entries; 0 keeps none.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default(), gauges: Default::default() }
    }

    /// Opens the ticket of a request that has just arrived.
    pub fn arrived(self: &Arc<Self>, server: Server, request: &Parts) -> Ticket {
        let gauge = &self.gauges[server as usize];
        gauge.requests.fetch_add(1, Relaxed);
        gauge.peak.fetch_max(gauge.in_flight.fetch_add(1, Relaxed) + 1, Relaxed);
        let at = Instant::now();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let entry = (self.capacity > 0).then(|| Entry {
            server,
            method: request.method.to_string(),
            target: request.uri.to_string(),
            org: String::new(),
            note: String::new(),
            image: String::new(),
            status: 0,
            at,
            answered: at,
            headers: request.headers.iter().map(|(k, v)| (k.to_string(), text(v.as_bytes()))).collect(),
        });
        Ticket { log: Arc::clone(self), server, entry, status: 0 }
    }

    /// A copy of the entries in order of arrival.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self.entries.lock().expect("no holder panics").iter().cloned().collect();
        entries.sort_by_key(|entry| entry.at);
        entries
    }

    pub fn clear(&self) {
        self.entries.lock().expect("no holder panics").clear();
    }

    pub fn counts(&self, server: Server) -> Counts {
        let gauge = &self.gauges[server as usize];
        Counts {
            requests: gauge.requests.load(Relaxed),
            in_flight: gauge.in_flight.load(Relaxed),
            peak_in_flight: gauge.peak.load(Relaxed),
            limited: gauge.limited.load(Relaxed),
            failed: gauge.failed.load(Relaxed),
        }
    }
}

/// One request in flight: lives as long as its answer's body. An entry is written when the answer is
/// ready, or on drop where none came, since a client that is killed takes its handler with it.
#[derive(Debug)]
pub struct Ticket {
    log: Arc<Log>,
    server: Server,
    entry: Option<Entry>,
    status: u16,
}

impl Ticket {
    /// Names what the request is about.
    pub fn about(&mut self, org: &str, note: &str, image: &str) {
        if let Some(entry) = &mut self.entry {
            (entry.org, entry.note, entry.image) = (org.to_owned(), note.to_owned(), image.to_owned());
        }
    }

    /// The answer is ready.
    pub fn answered(&mut self, status: u16) {
        self.status = status;
        self.write();
    }

    fn write(&mut self) {
        let Some(mut entry) = self.entry.take() else { return };
        (entry.status, entry.answered) = (self.status, Instant::now());
        let mut entries = self.log.entries.lock().expect("no holder panics");
        if entries.len() == self.log.capacity {
            entries.pop_front();
        }
        entries.push_back(entry);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.write();
        let gauge = &self.log.gauges[self.server as usize];
        gauge.in_flight.fetch_sub(1, Relaxed);
        gauge.limited.fetch_add(u64::from(self.status == 429), Relaxed);
        gauge.failed.fetch_add(u64::from(self.status == 0 || self.status >= 400), Relaxed);
    }
}
