//! Reports on demand: written again from the ledger, and the table of runs.

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use super::{Summary, number, remove_leftovers, write_all};
use crate::error::RunError;
use crate::ledger::{self, sqlite_error};

/// Writes all reports of an export again. Takes its lock; a ledger that is damaged is refused before any file is
/// replaced.
///
/// # Errors
/// [`RunError::NoExport`], [`RunError::Ledger`], [`RunError::InUse`], and those of [`write_all`].
pub fn again(out: &Path, state_dir: Option<&Path>) -> Result<Summary, RunError> {
    let state = ledger::open_locked(out, state_dir, "report")?;
    ledger::check_sound(&state.connection, out, state_dir)?;
    remove_leftovers(out)?;
    write_all(&state.connection, out)
}

/// A line of the table of runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunLine {
    /// Its number.
    pub run: i64,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// `None`: it is still on, or was killed.
    pub finished_at: Option<String>,
    /// How long it took; of a run without an end what it wrote down last.
    pub seconds: f64,
    /// How it ended; `None` as above.
    pub exit_code: Option<u8>,
    /// Why it stopped early, if it did.
    pub stop: Option<String>,
    /// Login name.
    pub user: String,
    /// Machine.
    pub host: String,
    /// Of the program.
    pub version: String,
    /// Of the manifest's file, in hex.
    pub manifest_sha256: String,
    /// Of images delivered by it.
    pub bytes: u64,
    /// Requests to the API.
    pub api_requests: u64,
    /// 429 answers among them.
    pub api_429: u64,
    /// Tries beyond the first.
    pub retries: u64,
}

/// All runs that were ever begun on the export, the first one first.
///
/// # Errors
/// Where the ledger cannot be read.
pub fn runs(connection: &Connection) -> Result<Vec<RunLine>, RunError> {
    let read = || {
        let mut runs = connection.prepare("SELECT * FROM runs ORDER BY id")?;
        let lines = runs.query_map([], |row| {
            let count =
                |name| Ok::<_, rusqlite::Error>(number(row, row.as_ref().column_index(name)?)?.unwrap_or(0));
            Ok(RunLine {
                run: row.get("id")?,
                started_at: row.get("started_at")?,
                finished_at: row.get("finished_at")?,
                seconds: row.get("seconds")?,
                exit_code: row.get("exit_code")?,
                stop: row.get("stop")?,
                user: row.get("user")?,
                host: row.get("host")?,
                version: row.get("version")?,
                manifest_sha256: row.get("manifest_sha256")?,
                bytes: count("bytes")?,
                api_requests: count("api_requests")?,
                api_429: count("api_429")?,
                retries: count("retries")?,
            })
        })?;
        lines.collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(sqlite_error)
}
