//! The table of runs: who ran when, on what, and how it ended.

use rusqlite::{Connection, params};

use super::write::Tally;

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
