//! How fast, how patient, how long.

use std::ffi::OsString;

use clap::Args;

/// Pace and patience.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pace and patience")]
pub struct PaceArgs {
    /// API requests that may be made in any window of that length
    ///
    /// The vendor allows an app 1000 requests a minute. Give less if other jobs use the same key on other
    /// machines.
    #[arg(long, value_name = "N/DURATION")]
    pub rate: Option<OsString>,

    /// Images in flight at a time, 1 to 1024
    #[arg(long, value_name = "N")]
    pub concurrency: Option<OsString>,

    /// Tries for one image before its row counts as failed
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<OsString>,

    /// A try is given up when no byte has moved for so long
    #[arg(long, value_name = "DURATION")]
    pub stall_timeout: Option<OsString>,

    /// Longest time that one image may spend on retries
    #[arg(long, value_name = "DURATION")]
    pub max_retry_time: Option<OsString>,

    /// Longest outage that is waited out before the run stops
    ///
    /// Before the first answer of a run it is 2 minutes at most: a wrong address should not hold a night.
    #[arg(long, value_name = "DURATION")]
    pub max_outage: Option<OsString>,

    /// Largest image; a larger one fails
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<OsString>,

    /// Take nothing new after that local time (its next occurrence), finish what is in flight
    #[arg(long, value_name = "HH:MM")]
    pub until: Option<OsString>,

    /// Take nothing new after so long, finish what is in flight
    ///
    /// With --until too, the earlier of the two counts.
    #[arg(long, value_name = "DURATION")]
    pub max_duration: Option<OsString>,
}
