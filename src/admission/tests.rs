//! The options of a run, for tests here and in `fetch`.

use std::num::NonZeroU32;
use std::path::Path;

use crate::manifest::{ManifestOptions, Source};
use crate::options::{self, ApiOptions, Concurrency, OnBadRow, RunOptions};

/// Every option at its default, but one image in flight and three attempts.
pub(crate) fn run_options(out: &Path) -> RunOptions {
    RunOptions {
        source: Source::Stdin,
        manifest: ManifestOptions::default(),
        on_bad_row: OnBadRow::Stop,
        out: out.to_owned(),
        state_dir: None,
        api: ApiOptions {
            url: reqwest::Url::parse(options::API_URL).expect("a URL"),
            key: "key".into(),
            key_file: None,
            allow_http: false,
            storage_hosts: Vec::new(),
            ca_file: None,
        },
        shard: None,
        rate_share: crate::options::RateShare::WHOLE,
        rate: options::RATE,
        limiter_dir: None,
        concurrency: Concurrency::Fixed(NonZeroU32::MIN),
        max_attempts: NonZeroU32::new(3).expect("not zero"),
        stall_timeout: options::STALL_TIMEOUT,
        max_size: options::MAX_SIZE,
        max_retry_time: options::MAX_RETRY_TIME,
        max_outage: options::MAX_OUTAGE,
        min_free: 0,
        deadline: None,
    }
}
