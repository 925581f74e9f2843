//! The commands that look ahead of a run: `plan`, `doctor`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{ApiArgs, ConfigArgs, LogArgs, ManifestArgs};

/// Tell what a run would do, without asking the network
///
/// Reads the manifest and the export folder: rows, bad rows, duplicates, what is delivered already, the API requests
/// that are left, the shortest time for them, and what is free on the disk. Needs no key and makes no folder.
/// Exit code 2 where a run would refuse the manifest.
#[derive(Debug, Args)]
#[command(override_usage = "exporter plan [OPTIONS] <MANIFEST>")]
#[command(after_help = "Example: exporter plan manifest.csv -o export")]
#[command(after_long_help = "\
Example:
  exporter plan manifest.csv -o export --rate 500/60s")]
pub struct PlanArgs {
    /// CSV file with the columns org, note and image; `-` reads standard input
    #[arg(required_unless_present = "show_settings")]
    pub manifest: Option<PathBuf>,

    /// Export folder; it need not be there
    #[arg(short, long, value_name = "DIR", help_heading = "Folders")]
    pub out: Option<OsString>,

    /// Folder for ledger and lock, where the run is given one
    #[arg(long, value_name = "DIR", help_heading = "Folders")]
    pub state_dir: Option<OsString>,

    #[command(flatten)]
    pub columns: ManifestArgs,

    /// API requests that may be made in any window of that length
    #[arg(long, value_name = "N/DURATION", help_heading = "Pace")]
    pub rate: Option<OsString>,

    /// Answer in JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub log: LogArgs,
}

/// Check key, network and folder before a long run
///
/// Asks the API who the key belongs to (one request, with --org two), and tries on the export folder's own disk all
/// that a run needs; nothing is left behind there. The requests count towards the allowance that runs with this key
/// share. One line a check: ok, warning, or problem with the remedy. Exit code 1 where there is a problem.
#[derive(Debug, Args)]
#[command(after_help = "Example: exporter doctor --org 7e2c8cfe --api-key-file key.txt -o export")]
#[command(after_long_help = "\
Example:
  exporter doctor --org 7e2c8cfe-b7a9-4deb-986d-e7012589e72b --api-key-file key.txt -o /srv/export")]
pub struct DoctorArgs {
    /// Organization (clinic) for which the key is to be checked
    #[arg(long, value_name = "ORG")]
    pub org: Option<OsString>,

    /// Export folder; where it is not there, the folder that it would be made in is checked
    #[arg(short, long, value_name = "DIR", help_heading = "Folders")]
    pub out: Option<OsString>,

    /// Folder for ledger and lock, where the run is given one
    #[arg(long, value_name = "DIR", help_heading = "Folders")]
    pub state_dir: Option<OsString>,

    /// Free space that a run leaves on the disk
    #[arg(long, value_name = "SIZE", help_heading = "Folders")]
    pub min_free: Option<OsString>,

    #[command(flatten)]
    pub api: ApiArgs,

    /// Answer in JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub log: LogArgs,
}
