//! What one permit costs, from `acquire` to `answered`, with the count that all runs share. No server, no waits: the jobs
//! fit into the allowance.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use exporter::event::Events;
use exporter::limit::Limiter;
use exporter::options::{ApiOptions, Rate};
use exporter::remote::rate_headers::RateHeaders;

/// The allowances, and how many requests are measured. The first one is too large to be shared.
const CASES: [(Rate, u32); 3] = [
    (Rate { requests: 1_000_000, window: Duration::from_secs(1) }, 200_000),
    (Rate { requests: 1000, window: Duration::from_secs(60) }, 900),
    (Rate { requests: 4000, window: Duration::from_secs(60) }, 3900),
];

pub fn print() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // not in /tmp, which may be memory
    let folder = tempfile::tempdir_in(".")?;
    for (case, (rate, count)) in CASES.into_iter().enumerate() {
        let cost = runtime.block_on(cost(rate, count, &folder.path().join(case.to_string())));
        println!("{rate}: {cost:?} a permit");
    }
    Ok(())
}

async fn cost(rate: Rate, count: u32, folder: &Path) -> Duration {
    let limiter = Limiter::shared(rate, &api(), folder, Events::none());
    // the first request creates the file
    request(&limiter, count).await;
    let start = Instant::now();
    for left in (1..count).rev() {
        request(&limiter, left).await;
    }
    start.elapsed() / count
}

async fn request(limiter: &Limiter, left: u32) {
    let mut permit = limiter.acquire(left.into()).await;
    permit.sent();
    permit.answered(&RateHeaders::default());
}

/// Only its address and key count, as a name for the file.
fn api() -> ApiOptions {
    ApiOptions {
        url: "http://127.0.0.1:9".parse().expect("an address"),
        key: "key".to_owned().into(),
        key_file: None,
        allow_http: true,
        storage_hosts: Vec::new(),
        ca_file: None,
    }
}
