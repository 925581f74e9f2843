//! What both servers share.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::limiter::{Decision, Limiter, Rate};
use crate::log::Log;
use crate::presign::{Signer, object_path};
use crate::registry::Registry;
use crate::script::Script;
use crate::storage::{BUCKET, Storage};

/// The sandbox behind its two servers.
pub struct State {
    pub keys: Mutex<Vec<String>>,
    pub refused: Mutex<HashSet<String>>,
    pub limiter: Mutex<Option<Limiter>>,
    pub url_lifetime: Duration,
    pub api_latency: Duration,
    pub storage_latency: Duration,
    pub storage_scheme: &'static str,
    pub storage_host: String,
    pub script: Script,
    pub log: Arc<Log>,
    pub registry: Registry,
    pub signer: Signer,
    pub storage: Storage,
}

impl State {
    pub fn admit(&self, now: Instant) -> Option<(Rate, Decision)> {
        let mut limiter = self.limiter.lock().expect("no holder panics");
        limiter.as_mut().map(|limiter| (limiter.rate, limiter.admit(now)))
    }

    pub fn knows_key(&self, key: &str) -> bool {
        self.keys.lock().expect("no holder panics").iter().any(|known| known == key)
    }

    pub fn refuses(&self, org: &str) -> bool {
        self.refused.lock().expect("no holder panics").contains(org)
    }

    pub fn url_of(&self, key: &str, lifetime: Duration) -> String {
        self.url_signed(key, SystemTime::now(), lifetime)
    }

    pub fn url_signed(&self, key: &str, at: SystemTime, lifetime: Duration) -> String {
        let at = jiff::Timestamp::try_from(at).expect("a time of this age");
        let target = self.signer.target(&self.storage_host, &object_path(BUCKET, key), at, lifetime);
        format!("{}://{}{target}", self.storage_scheme, self.storage_host)
    }
}

/// An added latency.
pub async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
