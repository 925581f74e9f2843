//! `exporter run`: the manifest, the export folder, and all the groups of settings.

#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help on a terminal, which shows no markdown"
)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{ApiArgs, ConfigArgs, PaceArgs, ScreenArgs};

/// Fetch every image of the manifest that is not delivered yet
///
/// Checks the whole manifest first, then fetches what is missing, and writes the reports: report.csv (every
/// row), failed.csv (a manifest of what is left to do), notes.csv, summary.json and the checksums. Give the
/// same command again to go on after an interruption; what was delivered is not fetched again.
///
/// The API key is read from a file (--api-key-file) or from the environment variable MAXAI_API_KEY, never from
/// the command line, where others could see it.
#[derive(Debug, Args)]
#[command(override_usage = "exporter run [OPTIONS] <MANIFEST>")]
#[command(after_help = "Example: exporter run manifest.csv --api-key-file key.txt -o export")]
#[command(after_long_help = "\
Example: four hours a night, until all is there
  exporter run manifest.csv --api-key-file key.txt -o /srv/export --max-duration 4h

Durations are written 90s, 15m, 1h30m or 500ms, sizes 500M or 5G (powers of 1024).")]
pub struct RunArgs {
    /// CSV file with the columns org, note and image; `-` reads standard input
    #[arg(required_unless_present = "show_settings")]
    pub manifest: Option<PathBuf>,

    #[command(flatten)]
    pub config: ConfigArgs,

    /// Export folder: images, checksums and reports
    #[arg(short, long, value_name = "DIR", help_heading = "Folders")]
    pub out: Option<OsString>,

    /// Folder for ledger and lock, on a local disk
    ///
    /// Where the export folder is on NFS or SMB, give a folder on a local disk: the ledger is a database and
    /// needs locks that network disks do not keep. Part files stay beside the data.
    #[arg(long, value_name = "DIR", help_heading = "Folders")]
    pub state_dir: Option<OsString>,

    /// Free space that is left on the disk: below it the run stops
    #[arg(long, value_name = "SIZE", help_heading = "Folders")]
    pub min_free: Option<OsString>,

    #[command(flatten)]
    pub columns: ManifestArgs,
    #[command(flatten)]
    pub api: ApiArgs,
    #[command(flatten)]
    pub pace: PaceArgs,
    #[command(flatten)]
    pub screen: ScreenArgs,

    /// Write metrics in Prometheus' text format to that file, every 10 seconds and at the end
    ///
    /// The file is replaced as a whole and readable by all, as node_exporter's textfile collector wants it, which
    /// reads files whose names end in .prom.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub metrics_file: Option<OsString>,
}

/// How the manifest is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Manifest")]
pub struct ManifestArgs {
    /// Header names to use instead of the known ones: org=A,note=B,image=C
    ///
    /// One or two may be given, the others are found by their known names: org, org_id, organization,
    /// organization_id, x_organization_id; note, note_id, noteid; image, image_id, imageid, file_id.
    #[arg(long, value_name = "ROLE=HEADER,…")]
    pub columns: Option<OsString>,

    /// Character between fields; `tab` for a tab [default: a tab for .tsv, else a comma]
    #[arg(long, value_name = "CHAR", allow_hyphen_values = true)]
    pub delimiter: Option<OsString>,

    /// A bad row: refuse the whole manifest before any request, or count it as failed and go on
    #[arg(long, value_name = "stop|skip")]
    pub on_bad_row: Option<OsString>,
}
