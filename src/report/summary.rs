//! Counts and `summary.json`: the run in numbers.
//!
//! One pass over the view `results` adds everything up and fills the temporary tables that `notes.csv` and the
//! warnings of `report.csv` are written from. The states always add up to the rows, for the whole and for every
//! organization. What the run itself measured comes from its row in the table of runs.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::details::Details;
use super::gone;
use super::notes::{NoteTotals, Notes};
use super::shared_content::{SameBytes, SharedContent, first_same_bytes};
use crate::ledger::{
    self,
    columns::{bytes, number, text},
};

/// Rows by state: they always add up to `rows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows of the manifest.
    pub rows: u64,
    /// Delivered by this run.
    pub stored: u64,
    /// Delivered by an earlier run and still there.
    pub skipped: u64,
    /// Same image as an earlier row.
    pub duplicate: u64,
    /// Given up, with a reason; includes bad rows.
    pub failed: u64,
    /// The run stopped before it had a result.
    pub untried: u64,
}

impl Counts {
    /// Adds the rows of another part.
    pub(crate) fn add_all(&mut self, other: &Self) {
        self.rows += other.rows;
        self.stored += other.stored;
        self.skipped += other.skipped;
        self.duplicate += other.duplicate;
        self.failed += other.failed;
        self.untried += other.untried;
    }

    fn add(&mut self, state: &str) {
        self.rows += 1;
        *match state {
            "stored" => &mut self.stored,
            "skipped" => &mut self.skipped,
            "duplicate" => &mut self.duplicate,
            "failed" => &mut self.failed,
            _ => &mut self.untried,
        } += 1;
    }
}

/// The newest run in numbers. Serialized it is `summary.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Rows by state.
    #[serde(flatten)]
    pub counts: Counts,
    /// Bytes of images delivered by this run.
    pub bytes: u64,
    /// How long the run took, to the millisecond.
    pub seconds: f64,
    /// Requests to the API, retries included.
    pub api_requests: u64,
    /// 429 answers among them.
    pub api_429: u64,
    /// Attempts beyond the first of each image.
    pub retries: u64,
    /// Share of the API's allowance that the run used, 0 to 1: its requests divided by those that `--rate`, or the
    /// API's own lower limit, allows between the first and the last one (at least one window). `None` without requests.
    pub allowance_share: Option<f64>,
    /// Images that could be in flight at a time when the run ended; `None` if it is not known.
    #[serde(skip)]
    pub concurrency: Option<u64>,
    /// Rows whose bytes an earlier row of another image had.
    pub same_content: u64,
    /// The first of them.
    #[serde(skip)]
    pub same_bytes: Vec<SameBytes>,
    /// Images delivered earlier that this manifest does not ask for.
    pub not_in_manifest: u64,
    /// `None` for a run that is still going on or was killed.
    pub exit_code: Option<u8>,
    /// RFC 3339 in UTC; empty if the ledger has no run.
    pub started_at: String,
    /// RFC 3339 in UTC; for a run that is still going on or was killed the time of its newest image, else its start.
    pub finished_at: String,
    /// SHA-256 of the manifest's file, in hex.
    pub manifest_sha256: String,
    /// Machine the run ran on.
    pub host: String,
    /// User who started it.
    pub user: String,
    /// Version of the program.
    pub version: String,
    /// Why it stopped early; `None` if it did not.
    pub stop: Option<String>,
    /// Failed rows by code: they add up to `failed`. Untried rows are not failures, whatever code they carry.
    pub failures: BTreeMap<String, u64>,
    /// The manifest's organizations, by name.
    pub orgs: Vec<Org>,
    /// The manifest's notes.
    pub notes: Notes,
    /// Rows that `verify --repair` has made untried since the run.
    #[serde(skip)]
    pub repaired: u64,
    /// What only `report.html` shows.
    #[serde(skip)]
    pub details: Details,
}

impl Summary {
    /// Fills in what the newest run recorded about itself.
    pub(super) fn add_run(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let Some(run) = ledger::newest_run(conn)? else { return Ok(()) };
        let run = run.with_inferred_end(conn)?;
        self.bytes = run.bytes;
        self.seconds = (run.seconds * 1000.0).round() / 1000.0;
        self.api_requests = run.api_requests;
        self.api_429 = run.api_429;
        self.retries = run.retries;
        self.allowance_share = run.allowance_share;
        self.concurrency = ledger::pace_of(conn, run.id)?.map(|pace| pace.concurrency);
        self.exit_code = run.exit_code;
        self.started_at = run.started_at;
        self.finished_at = run.finished_at.unwrap_or_default();
        self.host = run.host;
        self.user = run.user;
        self.version = run.version;
        self.stop = run.stop;
        if self.manifest_sha256.is_empty() {
            self.manifest_sha256 = run.manifest_sha256;
        }
        Ok(())
    }
}

/// Rows of one organization: `rows = delivered + failed + untried`. A duplicate counts like its first row; a bad
/// row belongs to no organization, since its ids cannot be trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Org {
    /// Its id, as it stands in the manifest.
    pub org: String,
    /// Rows of the manifest without the bad ones.
    pub rows: u64,
    /// Rows whose images are delivered.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
    /// The run stopped before they had a result.
    pub untried: u64,
    /// All rows are delivered, and no bad row names it.
    pub complete: bool,
}

/// Counts the rows by state, as the newest run left them or has them now. Reads only.
///
/// # Errors
/// If the ledger cannot be read.
pub fn counts(conn: &Connection) -> Result<Counts, rusqlite::Error> {
    let mut counts = Counts::default();
    let mut results = conn.prepare("SELECT state FROM results")?;
    let mut results = results.query([])?;
    while let Some(row) = results.next()? {
        counts.add(text(row, 0)?);
    }
    Ok(counts)
}

/// The newest run in numbers. `conn` must not be in a transaction; temporary tables are used and dropped.
///
/// # Errors
/// If the ledger cannot be read.
pub fn summary(conn: &Connection) -> Result<Summary, rusqlite::Error> {
    let snapshot = conn.unchecked_transaction()?;
    let mut summary = collect(&snapshot)?;
    summary.add_run(&snapshot)?;
    Ok(summary)
}

/// Everything but what the run recorded about itself. Works inside a transaction of the caller, which gets the
/// temporary tables `note_totals`, `bad_images`, `same` and `gone` with it.
pub(super) fn collect(conn: &Connection) -> rusqlite::Result<Summary> {
    let mut shared = SharedContent::begin(conn)?;
    let mut notes = NoteTotals::begin(conn)?;
    let Totals { counts, failures, orgs, details } = add_up(conn, &mut shared, &mut notes)?;
    let same_content = shared.finish(conn)?;
    // the manifest of the rows: a run that was killed before it was recorded may have loaded another than the
    // newest run's
    let loaded: Option<String> =
        conn.query_row("SELECT sha256 FROM manifest", [], |row| row.get(0)).optional()?;
    let notes = notes.finish(conn)?;
    Ok(Summary {
        counts,
        same_content,
        same_bytes: if same_content > 0 { first_same_bytes(conn)? } else { Vec::new() },
        not_in_manifest: gone::collect(conn)?,
        manifest_sha256: loaded.unwrap_or_default(),
        failures,
        details,
        orgs: with_names(conn, orgs)?,
        notes,
        repaired: if counts.untried > 0 { ledger::repaired(conn)? } else { 0 },
        ..Summary::default()
    })
}

/// The pass over all rows.
fn add_up(
    conn: &Connection,
    shared: &mut SharedContent<'_>,
    notes: &mut NoteTotals<'_>,
) -> rusqlite::Result<Totals> {
    let mut totals = Totals::default();
    // a duplicate of a row that is not delivered has to ask for the state of that one
    let mut state_of = conn.prepare("SELECT state FROM results WHERE seq = ?1")?;
    let mut results = conn.prepare(
        "SELECT state, seq, line, note_id, org_id, first, error_code, sha256, object, error, bytes, checked_by
         FROM results ORDER BY seq",
    )?;
    let mut results = results.query([])?;
    while let Some(row) = results.next()? {
        let state = text(row, 0)?;
        let seq = row.get(1)?;
        let sha256 = bytes(row, 7)?;
        let delivered = !sha256.is_empty();
        totals.counts.add(state);
        if state == "failed" {
            totals.fail(text(row, 6)?);
            totals.details.add_failure(text(row, 6)?, number(row, 2)?.unwrap_or_default(), text(row, 9)?);
        }
        let (Some(note), Some(org)) = (row.get(3)?, row.get(4)?) else { continue };
        match row.get::<_, Option<i64>>(5)? {
            Some(_) if delivered => totals.org(org, "duplicate"),
            Some(first) => state_of.query_row([first], |row| {
                totals.org(org, text(row, 0)?);
                Ok(())
            })?,
            None => {
                totals.org(org, state);
                notes.count(seq, note, delivered)?;
                if delivered {
                    shared.row(seq, row.get(2)?, sha256, bytes(row, 8)?)?;
                    totals.details.add_image(number(row, 10)?.unwrap_or_default(), text(row, 11)?);
                }
            }
        }
    }
    Ok(totals)
}

/// Writes `summary.json`.
pub(super) fn write(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, summary)?;
    out.write_all(b"\n")
}

/// Sums kept in memory: they grow with error codes and organizations, not with rows.
#[derive(Default)]
struct Totals {
    counts: Counts,
    failures: BTreeMap<String, u64>,
    orgs: HashMap<i64, Org>,
    details: Details,
}

impl Totals {
    fn fail(&mut self, code: &str) {
        match self.failures.get_mut(code) {
            Some(rows) => *rows += 1,
            None => drop(self.failures.insert(code.to_owned(), 1)),
        }
    }

    fn org(&mut self, id: i64, state: &str) {
        let org = self.orgs.entry(id).or_default();
        org.rows += 1;
        *match state {
            "stored" | "skipped" | "duplicate" => &mut org.delivered,
            "failed" => &mut org.failed,
            _ => &mut org.untried,
        } += 1;
    }
}

fn with_names(conn: &Connection, orgs: HashMap<i64, Org>) -> rusqlite::Result<Vec<Org>> {
    let mut name = conn.prepare("SELECT name FROM orgs WHERE id = ?1")?;
    let mut orgs = orgs
        .into_iter()
        .map(|(id, org)| {
            let complete = org.delivered == org.rows;
            Ok(Org { org: name.query_row([id], |row| row.get(0))?, complete, ..org })
        })
        .collect::<rusqlite::Result<Vec<_>>>()?;
    orgs.sort_unstable_by(|a, b| a.org.cmp(&b.org));
    // the ids of bad rows may be as many as the rows: they are not kept
    let mut bad = conn.prepare("SELECT DISTINCT org FROM bad_rows")?;
    let mut bad = bad.query([])?;
    while let Some(row) = bad.next()? {
        let name = text(row, 0)?;
        if let Ok(at) = orgs.binary_search_by(|org| (*org.org).cmp(name)) {
            orgs[at].complete = false;
        }
    }
    Ok(orgs)
}
