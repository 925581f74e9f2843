//! The table of runs: who ran when, on what, and how it ended.

use rusqlite::{Connection, params};

use super::write::Tally;
use crate::timestamp;

/// What is known of a run when it begins.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// RFC 3339, UTC.
    pub started_at: String,
    /// Hex digits.
    pub manifest_sha256: String,
    /// Machine.
    pub host: String,
    /// Login name.
    pub user: String,
    /// Of the program.
    pub version: String,
}

impl RunRecord {
    /// A run that starts now, by this user on this machine, with the manifest of that hash (hex digits).
    #[must_use]
    pub fn starting(manifest_sha256: String) -> Self {
        Self {
            started_at: timestamp::now(),
            manifest_sha256,
            host: host(),
            user: user(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The machine's name.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The login name, else the number.
fn user() -> String {
    let named =
        ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// Writes the run down and returns its number.
///
/// # Errors
/// Where the ledger cannot be written.
pub fn begin_run(connection: &Connection, run: &RunRecord) -> rusqlite::Result<i64> {
    connection.execute(
        "INSERT INTO runs (started_at, manifest_sha256, host, user, version) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![run.started_at, run.manifest_sha256, run.host, run.user, run.version],
    )?;
    Ok(connection.last_insert_rowid())
}

/// Writes down how the run ended. `stop` is why rows were left untried, with its error code or an empty text.
///
/// # Errors
/// Where the ledger cannot be written.
pub fn end_run(
    connection: &Connection,
    run: i64,
    finished_at: &str,
    exit_code: u8,
    stop: Option<(&str, &str)>,
    tally: &Tally,
) -> rusqlite::Result<()> {
    tally.write(connection, run)?;
    let (code, why) = stop.map_or(("", None), |(code, why)| (code, Some(why)));
    connection.execute(
        "UPDATE runs SET finished_at = ?2, exit_code = ?3, stop_code = ?4, stop = ?5 WHERE id = ?1",
        params![run, finished_at, exit_code, code, why],
    )?;
    Ok(())
}
