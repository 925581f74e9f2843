//! [`RunError`]: what stops a run, or keeps it from starting.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ErrorCode, ErrorResponse, ItemError, Service, advice, disk_cause};
use crate::manifest::{BadRow, ManifestError};
use crate::shard::Shard;
use crate::shutdown::Signal;

/// Why a ledger cannot be used. The advice depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerState {
    /// It is damaged, or not a ledger.
    Damaged,
    /// There is none, but there are images.
    Missing,
    /// A newer version of the program wrote it.
    Newer,
}

impl LedgerState {
    /// What to do about it. `ledger`: the path of the ledger.
    #[must_use]
    pub fn advice(self, ledger: &Path) -> String {
        if let Some(folder) = shard_folder(ledger) {
            return match self {
                Self::Newer => "Use one version of exporter for all shards and for the merge".to_owned(),
                Self::Damaged | Self::Missing => format!(
                    "Remove {} and run that shard again: it fetches anew what was not merged before",
                    folder.display()
                ),
            };
        }
        let adopt = adopt_command(ledger);
        match self {
            Self::Damaged => {
                format!("`{adopt}` rebuilds a ledger from the files that match manifest-sha256.txt")
            }
            // a second ledger would not know what the first one knows
            Self::Missing => format!(
                "If the run was given --state-dir (EXPORTER_STATE_DIR), name it here too; only if it was not, \
                 `{adopt}` rebuilds a ledger from the files that match manifest-sha256.txt"
            ),
            Self::Newer => format!(
                "Install that exporter to work with it; `{adopt}` is for a ledger that is lost or damaged"
            ),
        }
    }
}

/// The command that rebuilds a ledger, with the export folder if its path says which one that is.
fn adopt_command(ledger: &Path) -> String {
    let state = ledger.parent().unwrap_or(Path::new("."));
    match state.parent() {
        Some(out) if state.ends_with(STATE_FOLDER) => {
            let out = if out.as_os_str().is_empty() { Path::new(".") } else { out };
            format!("exporter verify --adopt {}", out.display())
        }
        _ => format!("exporter verify --adopt DIR --state-dir {}", state.display()),
    }
}

/// The folder of a shard's ledger; `None` if it is that of an export.
fn shard_folder(ledger: &Path) -> Option<&Path> {
    let folder = ledger.parent()?;
    Shard::from_folder_name(folder.file_name()?.to_str()?).map(|_| folder)
}

/// Folder of the ledger in the export folder.
const STATE_FOLDER: &str = ".exporter";

/// Why the run could not go on, or did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A setting is out of range or contradicts another. Nothing was attempted.
    #[error("{0}")]
    Settings(String),
    /// The manifest cannot be used. Nothing was attempted.
    #[error("manifest {}", path.display())]
    Manifest {
        /// The manifest, `-` for standard input.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ManifestError>,
    },
    /// The manifest has bad rows. Nothing was attempted.
    #[error(
        "manifest {} has {bad} bad {}; nothing was fetched. Correct {}, or use --on-bad-row skip to fetch the others",
        path.display(), if *bad == 1 { "row" } else { "rows" }, if *bad == 1 { "it" } else { "them" }
    )]
    BadRows {
        /// The manifest, `-` for standard input.
        path: PathBuf,
        /// Number of bad rows.
        bad: u64,
        /// The first of them.
        first: Vec<BadRow>,
    },
    /// Another process holds the folder's lock.
    #[error("{} is in use by {}{}; wait for it to end", folder.display(),
        if matches!(&**command, "" | "run") { "another run".to_owned() } else { format!("`exporter {command}`") },
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The export folder.
        folder: PathBuf,
        /// The other process, if its number can be read.
        pid: Option<u32>,
        /// Its command, if that can be read.
        command: String,
    },
    /// Another machine or process works on the same shard.
    #[error("shard {shard} of {} is in use on {host}{}; wait for it to end", folder.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    ShardInUse {
        /// The export folder.
        folder: PathBuf,
        /// The shard.
        shard: Shard,
        /// The other machine, if its name is known.
        host: String,
        /// The other process, if its number can be read.
        pid: Option<u32>,
    },
    /// The folder is not an export.
    #[error("{} is not an export folder (no ledger in it)", .0.display())]
    NoExport(PathBuf),
    /// The ledger is damaged, newer or missing beside data.
    #[error("ledger {}: {what}; nothing was touched. {}", path.display(), kind.advice(path))]
    Ledger {
        /// The ledger file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// Which advice applies.
        kind: LedgerState,
    },
    /// The ledger could not be read or written.
    #[error("ledger")]
    Sqlite(#[from] rusqlite::Error),
    /// A file or folder could not be read or written.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Path and reason.
        source: io::Error,
    },
    /// Reports could not be replaced; the others are new.
    #[error(
        "{names} could not be replaced: {why}. What stood there before is still there, all other reports are new; \
         {}, then run `exporter report {}`", disk_cause::reports_remedy(why), folder.display()
    )]
    Reports {
        /// Their names, joined by commas.
        names: String,
        /// The first error, with its path.
        why: String,
        /// The export folder.
        folder: PathBuf,
    },
    /// The API refuses the key.
    #[error("the API refuses the key: {0}. Check MAXAI_API_KEY or --api-key-file and run again")]
    Unauthorized(ErrorResponse),
    /// The disk is full, read-only or gone, or something in the export folder may not be used.
    #[error("{0}{next}", next = disk_cause::tail(.0))]
    Disk(String),
    /// An outage lasted longer than `--max-outage`.
    #[error("{}. {}", not_reached(*service, *waited, what), advice::sentence(Some(*code), what))]
    Outage {
        /// The service that could not be reached.
        service: Service,
        /// Since the first failure.
        waited: Duration,
        /// Code of the last failure.
        code: ErrorCode,
        /// The last failure.
        what: String,
    },
    /// The API asks for a longer wait than is allowed.
    #[error("the API's allowance is spent: {0}. Run again later")]
    RateLimited(String),
    /// A certificate is not trusted.
    #[error("{0}. {next}", next = advice::sentence(Some(ErrorCode::Network), .0))]
    Tls(String),
    /// The proxy asks for a user and a password, or does not let the request through.
    #[error("{0}. {next}", next = advice::sentence(Some(ErrorCode::Network), .0))]
    Proxy(String),
    /// Too many rows in succession failed in the same way, and no image was received between.
    #[error(
        "{rows} rows in succession failed with {}, and no image was received between: {}. {}",
        error.code.map(ErrorCode::as_str).unwrap_or_default(), error.error, advice::sentence(error.code, &error.error)
    )]
    Alike {
        /// Number of rows in succession.
        rows: u32,
        /// The last one's error.
        error: ItemError,
    },
    /// A signal came before the first request, or a second one before the reports were written.
    #[error("stopped by {} before the reports were written; what is delivered is safe. Run again to go on", .0.name())]
    Interrupted(Signal),
    /// A part of the program failed. Never expected.
    #[error("internal error: {0}; this is a defect of the program, please report it")]
    Internal(String),
}

fn not_reached(service: Service, waited: Duration, what: &str) -> String {
    format!("{service}{}{waited:.0?}: {what}", advice::NOT_REACHED_FOR)
}

impl RunError {
    /// Whether the command was refused before anything was attempted (exit code 2).
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Settings(_) | Self::Manifest { .. } | Self::BadRows { .. } | Self::NoExport(_))
    }

    /// The code of the rows that this stop leaves untried; `None` if it says nothing about them.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Unauthorized(_) => Some(ErrorCode::Unauthorized),
            Self::Disk(_) => Some(ErrorCode::Disk),
            Self::Outage { code, .. } => Some(*code),
            Self::RateLimited(_) => Some(ErrorCode::RateLimited),
            Self::Tls(_) | Self::Proxy(_) => Some(ErrorCode::Network),
            Self::Alike { error, .. } => error.code,
            _ => None,
        }
    }

    /// What a run says as it begins to stop. The whole error, with its advice, follows once, at the end.
    pub(crate) fn brief(&self) -> String {
        match self {
            Self::Unauthorized(_) => "the API refuses the key".to_owned(),
            Self::Disk(_) => "the disk is in trouble".to_owned(),
            Self::Outage { service, .. } => format!("{service} cannot be reached"),
            Self::RateLimited(_) => "the API's allowance is spent".to_owned(),
            Self::Tls(_) => "a secure connection is refused".to_owned(),
            Self::Proxy(_) => "the proxy refuses to connect".to_owned(),
            Self::Alike { error, .. } => {
                format!("row after row fails with {}", error.code.map(ErrorCode::as_str).unwrap_or_default())
            }
            other => other.to_string(),
        }
    }

    /// What the reports say of the rows that wait for what stopped the run: the cause, without its advice.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::Outage { service, waited, what, .. } => not_reached(*service, *waited, what),
            Self::RateLimited(what) => format!("the API's allowance is spent: {what}"),
            other => other.to_string(),
        }
    }

    /// Wraps an I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
