//! The commands that look at an export: `verify`, `report`, `status`.

#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help on a terminal, which shows no markdown"
)]

use std::ffi::OsString;

use clap::Args;

use super::{ConfigArgs, LogArgs, ScreenArgs};

/// Which export.
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// Export folder [env: EXPORTER_OUT] [default: export]
    #[arg(value_name = "DIR")]
    pub dir: Option<OsString>,

    /// Folder for ledger and lock, where a run was given one
    #[arg(long, value_name = "DIR", help_heading = "Folders")]
    pub state_dir: Option<OsString>,
}

/// Read every delivered image back and compare it with its SHA-256
///
/// Hashes on all cores and names every file that is missing, changed or foreign (lies in data/ but belongs to no
/// image). Asks the network for nothing. Exit code 0: all is well; 3: something is not.
#[derive(Debug, Args)]
#[command(after_help = "Example: exporter verify export")]
#[command(after_long_help = "\
Examples:
  exporter verify export                 every image
  exporter verify export --oldest 1/7    each night another seventh
  exporter verify export --repair        the next run fetches what is missing or changed
  exporter verify export --adopt         the ledger is lost or damaged")]
pub struct VerifyArgs {
    #[command(flatten)]
    pub folder: FolderArgs,

    /// What is missing or changed becomes undelivered: the next run fetches it
    ///
    /// The exit code is 3 all the same. A changed file stays until it is replaced.
    #[arg(long, help_heading = "What to do")]
    pub repair: bool,

    /// Only that part of the images, checked longest ago (delivery counts as a check); no look for foreign files
    #[arg(long, value_name = "N/M", help_heading = "What to do")]
    pub oldest: Option<OsString>,

    /// Rebuild a ledger that is lost or damaged
    ///
    /// From the files that match manifest-sha256.txt; their ids are taken from report.csv, also that of earlier
    /// runs, else from their paths. A damaged ledger is moved aside. The next run fetches nothing that is right.
    #[arg(long, conflicts_with_all = ["repair", "oldest"], help_heading = "What to do")]
    pub adopt: bool,

    /// Answer in JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub screen: ScreenArgs,
}

/// Write the reports again from the ledger
///
/// The same ledger gives the same bytes, also after a run that was killed. With --runs nothing is written, and the
/// table of all runs is shown: who ran when and where, which version, which manifest, and how it ended.
#[derive(Debug, Args)]
#[command(after_help = "Example: exporter report export")]
#[command(after_long_help = "\
Examples:
  exporter report export
  exporter report export --runs")]
pub struct ReportArgs {
    #[command(flatten)]
    pub folder: FolderArgs,

    /// Show the table of runs instead
    #[arg(long, help_heading = "What to do")]
    pub runs: bool,

    /// With --runs: answer in JSON
    #[arg(long, requires = "runs", help_heading = "Output")]
    pub json: bool,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub log: LogArgs,
}

/// Tell how far a run is, or how the last one ended
///
/// Reads the ledger, also while a run is going on in another terminal: rows by state, speed over the last minute,
/// time left. The speed is that of delivered images; the run's own bar counts rows that failed too.
#[derive(Debug, Args)]
#[command(after_help = "Example: exporter status export --watch")]
#[command(after_long_help = "\
Examples:
  exporter status export
  exporter status export --watch     again every two seconds, until the run ends
  exporter status export --json")]
pub struct StatusArgs {
    #[command(flatten)]
    pub folder: FolderArgs,

    /// Show it again every two seconds until the run ends
    #[arg(long, help_heading = "What to do")]
    pub watch: bool,

    /// Answer in JSON; with --watch one object a line
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub log: LogArgs,
}
