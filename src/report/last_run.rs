//! What the newest run wrote down of itself.
//!
//! A run that was killed, or is still on, wrote down no end. What is said of it then depends on the ledger
//! alone, never on the clock.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::number;

/// The newest line of the table `runs`; all empty where there is none.
#[derive(Default)]
pub(super) struct LastRun {
    pub started_at: String,
    pub finished_at: String,
    pub seconds: f64,
    pub manifest_sha256: String,
    pub host: String,
    pub user: String,
    pub version: String,
    pub exit_code: Option<u8>,
    pub stop: Option<String>,
    pub bytes: u64,
    pub api_requests: u64,
    pub api_429: u64,
    pub retries: u64,
    pub allowance_share: Option<f64>,
}

impl LastRun {
    pub fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let newest = conn
            .query_row("SELECT * FROM runs ORDER BY id DESC LIMIT 1", [], |row| {
                Ok((row.get("id")?, row.get::<_, Option<String>>("finished_at")?, Self::line(row)?))
            })
            .optional()?;
        let mut run = match newest {
            None => return Ok(Self::default()),
            Some((_, Some(finished_at), run)) => Self { finished_at, ..run },
            Some((id, None, run)) => run.without_end(conn, id)?,
        };
        run.seconds = (run.seconds * 1000.0).round() / 1000.0;
        Ok(run)
    }

    fn line(row: &Row<'_>) -> rusqlite::Result<Self> {
        let count =
            |name| Ok::<_, rusqlite::Error>(number(row, row.as_ref().column_index(name)?)?.unwrap_or(0));
        Ok(Self {
            started_at: row.get("started_at")?,
            finished_at: String::new(),
            seconds: row.get("seconds")?,
            manifest_sha256: row.get("manifest_sha256")?,
            host: row.get("host")?,
            user: row.get("user")?,
            version: row.get("version")?,
            exit_code: row.get("exit_code")?,
            stop: row.get("stop")?,
            bytes: count("bytes")?,
            api_requests: count("api_requests")?,
            api_429: count("api_429")?,
            retries: count("retries")?,
            allowance_share: row.get("allowance_share")?,
        })
    }

    /// A run that was killed wrote down no end: what is known of it is in the images it delivered.
    fn without_end(self, conn: &Connection, id: i64) -> rusqlite::Result<Self> {
        let (newest, bytes): (Option<String>, _) = conn.query_row(
            "SELECT max(stored_at), coalesce(sum(bytes), 0) FROM images WHERE run = ?1 AND delivered = 1",
            [id],
            |row| Ok((row.get(0)?, number(row, 1)?.unwrap_or_default())),
        )?;
        let finished_at = newest.unwrap_or_else(|| self.started_at.clone());
        let seconds = span(&self.started_at, &finished_at).unwrap_or(self.seconds);
        Ok(Self { finished_at, seconds, bytes, exit_code: None, ..self })
    }
}

fn span(from: &str, to: &str) -> Option<f64> {
    let (from, to) = (from.parse::<Timestamp>().ok()?, to.parse::<Timestamp>().ok()?);
    Some(to.duration_since(from).as_secs_f64())
}
