//! What a run is asked to do, checked. Every default stands here once, as a documented constant.
//!
//! Reading flags, environment and files is the binary's business.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

use crate::manifest::{ManifestOptions, Source};
use crate::shard::Shard;

/// Base address of the API: the `servers` entry of the vendor's OpenAPI file.
pub const API_URL: &str = "https://api.maxcare.ai/v2";
/// Export folder.
pub const OUT: &str = "export";
/// Requests the vendor allows an app a minute ("Maximum 1000 requests per 60 seconds").
pub const RATE: Rate = Rate { requests: 1000, window: Duration::from_secs(60) };
/// Images in flight: a fixed number that fills the vendor's allowance (17 a second) if an image takes two seconds is too
/// low for three, and too high for a line that is full with ten.
pub const CONCURRENCY: Concurrency = Concurrency::Auto;
/// Highest number of images in flight: each holds a connection and two files.
pub const CONCURRENCY_MAX: u32 = 1024;
/// Tries for one image.
pub const MAX_ATTEMPTS: u32 = 8;
/// No byte moved for so long: the try is given up.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest image.
pub const MAX_SIZE: u64 = 5 << 30;
/// Longest time that one image may spend on retries.
pub const MAX_RETRY_TIME: Duration = Duration::from_mins(15);
/// Longest outage that is waited out.
pub const MAX_OUTAGE: Duration = Duration::from_hours(1);
/// Longest outage that is waited out before the first answer of a run: a wrong address should not hold a night.
pub const MAX_OUTAGE_AT_START: Duration = Duration::from_mins(2);
/// Free space that is left on the disk.
pub const MIN_FREE: u64 = 100 << 20;
/// Connecting has so long, name lookup and TLS handshake included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A whole API answer has so long.
pub const API_TIMEOUT: Duration = Duration::from_secs(30);
/// What is in flight has so long to end after the first signal.
pub const DRAIN: Duration = Duration::from_secs(30);

/// An allowance: at most `requests` in any window of this length.
///
/// ```
/// use std::time::Duration;
///
/// use exporter::options::{RATE, Rate};
///
/// let rate = Rate { requests: 1000, window: Duration::from_secs(60) };
/// assert_eq!(rate, RATE, "what the vendor allows");
/// // the first thousand may go at once, and the last request is 64 windows behind the first
/// assert_eq!(rate.shortest(65_000), Duration::from_secs(64 * 60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// From 1.
    pub requests: u32,
    /// More than zero.
    pub window: Duration,
}

impl Rate {
    /// The shortest time for this many requests, in whole seconds, rounded down: no run is faster. The first N may go at
    /// once, and of any N + 1 requests the last is a whole window behind the first.
    #[must_use]
    pub fn shortest(self, requests: u64) -> Duration {
        let windows = requests.saturating_sub(1) / u64::from(self.requests.max(1));
        let millis = u128::from(windows) * self.window.as_millis();
        Duration::from_secs((millis / 1000).try_into().unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.requests, self.window.as_secs_f64())
    }
}

/// The part of the allowance that a run may use while no answer of the API says what is left of it: `part` of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateShare {
    /// From 1 to `of`.
    pub part: u32,
    /// At least 1.
    pub of: u32,
}

impl RateShare {
    /// The whole allowance.
    pub const WHOLE: Self = Self { part: 1, of: 1 };
}

impl Default for RateShare {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for RateShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

/// How many images are in flight at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as the allowance needs, measured: 8 to 256, within open files and memory.
    Auto,
    /// This number, within open files.
    Fixed(NonZeroU32),
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Fixed(number) => write!(f, "{number}"),
        }
    }
}

/// What becomes of a manifest with bad rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRow {
    /// The whole manifest is refused before any request.
    #[default]
    Stop,
    /// They count as failed, the others are fetched.
    Skip,
}

/// The API's address and how it may be reached.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Base address with its version path, without a trailing slash.
    pub url: reqwest::Url,
    /// The key.
    pub key: SecretString,
    /// File the key came from, read again when the API refuses the key.
    pub key_file: Option<PathBuf>,
    /// Plain `http` is allowed to other hosts than loopback.
    pub allow_http: bool,
    /// Hosts that a signed URL may name; empty: any public one. A leading `*.` stands for any subdomain.
    pub storage_hosts: Vec<String>,
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The manifest.
    pub source: Source,
    /// How to read it.
    pub manifest: ManifestOptions,
    /// What becomes of bad rows.
    pub on_bad_row: OnBadRow,
    /// The export folder.
    pub out: PathBuf,
    /// Folder for ledger and lock, where it is not `.exporter` in the export folder.
    pub state_dir: Option<PathBuf>,
    /// The API.
    pub api: ApiOptions,
    /// The shard whose rows are fetched; `None`: all rows.
    pub shard: Option<Shard>,
    /// The allowance of the whole app.
    pub rate: Rate,
    /// This run's part of it.
    pub rate_share: RateShare,
    /// Folder of the count of requests that the user's runs share; `None`: the run counts on its own.
    pub limiter_dir: Option<PathBuf>,
    /// Images in flight.
    pub concurrency: Concurrency,
    /// Tries for one image.
    pub max_attempts: NonZeroU32,
    /// No byte moved for so long: the try is given up.
    pub stall_timeout: Duration,
    /// Largest image, in bytes.
    pub max_size: u64,
    /// Longest time that one image may spend on retries.
    pub max_retry_time: Duration,
    /// Longest outage that is waited out.
    pub max_outage: Duration,
    /// Free space that is left on the disk, in bytes.
    pub min_free: u64,
    /// Nothing new is started after that time of the wall clock, which goes on while the machine sleeps.
    pub deadline: Option<SystemTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_time_is_that_of_the_windows_that_must_pass() {
        for (requests, seconds) in
            [(0, 0), (1, 0), (1000, 0), (1001, 60), (2000, 60), (2001, 120), (40_000, 2340), (50_000, 2940)]
        {
            assert_eq!(RATE.shortest(requests), Duration::from_secs(seconds), "{requests}");
        }
        let slow = Rate { requests: 1, window: Duration::from_millis(1500) };
        assert_eq!(slow.shortest(3), Duration::from_secs(3));
        assert_eq!(slow.shortest(4), Duration::from_secs(4), "never more than it takes");
    }
}
