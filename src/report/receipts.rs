//! `receipts.jsonl`: a line for each run, repair, adoption and merge, chained by their hashes.
//!
//! Each line holds the hash of the line before and that of `tagmanifest-sha256.txt`, which leads to every report and
//! image. So a user who kept the hash of one line can tell later whether anything up to it was changed. The file is only
//! ever appended to. A line is first recorded in the ledger: one that a kill or a power cut kept from the file, whole or
//! in part, is completed the next time a line is appended.

mod chain;

use std::io::{self, Write};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;
use rusqlite::Connection;
use rustix::fs::OFlags;
use serde::Serialize;

pub(crate) use self::chain::{Chain, Fault, Hash};
use super::{Counts, ReportError, Summary};
use crate::disk::presence::Presence;
use crate::item::hex;
use crate::ledger::{self, RunRow};
use crate::timestamp;

/// The file's name in the export folder.
pub(crate) const NAME: &str = "receipts.jsonl";
/// Exit code of a repair that marked something, and of an adoption that found something.
const FINDINGS_CODE: u8 = 3;

/// Why reports are written.
#[derive(Clone, Copy, Debug)]
pub enum Occasion<'a> {
    /// A run ends.
    Run,
    /// `verify --repair` made images undelivered; it started at this time.
    Repair {
        /// RFC 3339, UTC.
        started_at: &'a str,
    },
    /// The shards of several machines were merged.
    Merge,
    /// They are written again. That is no event of its own, unless they have other bytes than those of the newest receipt.
    Report,
}

/// A line, in the order of its keys.
#[derive(Clone, Debug, Serialize)]
struct Receipt<'a> {
    seq: u64,
    previous: String,
    what: &'static str,
    started_at: &'a str,
    finished_at: Option<&'a str>,
    version: &'a str,
    manifest_sha256: &'a str,
    tagmanifest_sha256: Option<String>,
    counts: Option<Counts>,
    exit_code: Option<u8>,
}

impl<'a> Receipt<'a> {
    /// The receipt of the newest run, whose reports were written.
    fn of_run(summary: &'a Summary) -> Self {
        Self::of_command("run", &summary.started_at, &summary.finished_at, summary)
    }

    /// The receipt of a run that ended without one: it was killed, or its folder was gone.
    fn of_lost_run(run: &'a RunRow) -> Self {
        Self {
            seq: 0,
            previous: String::new(),
            what: "run",
            started_at: &run.started_at,
            finished_at: run.finished_at.as_deref(),
            version: &run.version,
            manifest_sha256: &run.manifest_sha256,
            tagmanifest_sha256: None,
            counts: None,
            exit_code: run.exit_code,
        }
    }

    fn of_command(
        what: &'static str,
        started_at: &'a str,
        finished_at: &'a str,
        summary: &'a Summary,
    ) -> Self {
        Self {
            seq: 0,
            previous: String::new(),
            what,
            started_at,
            finished_at: Some(finished_at),
            version: &summary.version,
            manifest_sha256: &summary.manifest_sha256,
            tagmanifest_sha256: None,
            counts: Some(summary.counts),
            exit_code: summary.exit_code,
        }
    }
}

/// An adoption that is about to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adoption<'a> {
    pub started_at: &'a str,
    pub manifest_sha256: &'a str,
    /// Whether every listed file was there and unchanged.
    pub is_well: bool,
}

/// Appends the line of an occasion, and those of runs that have none yet. Returns the hash of the newest line, in hex.
/// `tags` is the hash of `tagmanifest-sha256.txt`. The caller holds the export's lock.
///
/// # Errors
/// If the ledger cannot be read or written, or the file cannot be read or appended to: what the ledger knows of it then
/// is appended the next time.
pub(super) fn append(
    conn: &Connection,
    folder: &Path,
    occasion: &Occasion<'_>,
    summary: &Summary,
    tags: Option<Hash>,
) -> Result<Option<String>, ReportError> {
    let Some(newest) = ledger::newest_run(conn)? else { return Ok(None) };
    let chain = mend(conn, folder)?;
    let mut lost = ledger::runs_without_receipt(conn)?;
    let is_owed = lost.last().is_some_and(|run| run.id == newest.id);
    let tags = tags.map(|tags| hex(&tags));
    let now = timestamp::now();
    let mut last = match occasion {
        Occasion::Report if !is_owed && chain.tags() == tags.as_deref() => None,
        Occasion::Report if !is_owed => Some(Receipt {
            version: env!("CARGO_PKG_VERSION"),
            exit_code: Some(0),
            ..Receipt::of_command("report", &now, &now, summary)
        }),
        Occasion::Repair { started_at } => Some(Receipt {
            version: env!("CARGO_PKG_VERSION"),
            exit_code: Some(FINDINGS_CODE),
            ..Receipt::of_command("repair", started_at, &now, summary)
        }),
        Occasion::Merge => {
            lost.pop();
            Some(Receipt::of_command("merge", &summary.started_at, &summary.finished_at, summary))
        }
        Occasion::Run | Occasion::Report => {
            lost.pop();
            Some(Receipt::of_run(summary))
        }
    };
    if let Some(last) = &mut last {
        last.tagmanifest_sha256 = tags;
    }
    let receipts = lost.iter().map(Receipt::of_lost_run).chain(last).collect();
    add(conn, folder, newest.id, chain, receipts)
}

/// Appends the line of an adoption to the file and to the new ledger, which is not in its place yet.
///
/// # Errors
/// As [`append`].
pub(crate) fn append_adoption(
    conn: &Connection,
    folder: &Path,
    adoption: &Adoption<'_>,
) -> Result<(), crate::error::RunError> {
    let append = || -> Result<(), ReportError> {
        let Some(newest) = ledger::newest_run(conn)? else { return Ok(()) };
        let chain = mend(conn, folder)?;
        let now = timestamp::now();
        let receipt = Receipt {
            seq: 0,
            previous: String::new(),
            what: "adoption",
            started_at: adoption.started_at,
            finished_at: Some(&now),
            version: env!("CARGO_PKG_VERSION"),
            manifest_sha256: adoption.manifest_sha256,
            tagmanifest_sha256: present_tags(folder)?,
            counts: Some(super::counts(conn)?),
            exit_code: Some(if adoption.is_well { 0 } else { FINDINGS_CODE }),
        };
        add(conn, folder, newest.id, chain, vec![receipt]).map(drop)
    };
    append().map_err(Into::into)
}

/// The hash of the `tagmanifest-sha256.txt` that is there, in hex.
pub(crate) fn present_tags(folder: &Path) -> io::Result<Option<String>> {
    let hash = super::replace::hash(&folder.join(super::TAGS))?;
    Ok(hash.map(|hash| hex(&hash)))
}

/// Chains the receipts, records them in the ledger and appends them. Returns the newest hash.
fn add(
    conn: &Connection,
    folder: &Path,
    run: i64,
    mut chain: Chain,
    receipts: Vec<Receipt<'_>>,
) -> Result<Option<String>, ReportError> {
    let mut lines = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        let chained = Receipt { seq: chain.seq() + 1, previous: hex(&chain.head()), ..receipt };
        let line = serde_json::to_string(&chained).map_err(io::Error::from)?;
        chain.extend(line.as_bytes());
        lines.push(line);
    }
    if !lines.is_empty() {
        ledger::add_receipts(conn, run, &lines)?;
        write(folder, &lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    }
    Ok((chain.seq() > 0).then(|| hex(&chain.head())))
}

/// Appends what the ledger knows and the file lacks, and ends a torn line. Returns the chain as it is then.
fn mend(conn: &Connection, folder: &Path) -> Result<Chain, ReportError> {
    let path = folder.join(NAME);
    let chain = Chain::read(&path)?.unwrap_or_default();
    let known = ledger::receipt_lines(conn)?;
    let missing = chain.lacks(&known);
    let is_next = missing.first().is_some_and(|line| chain.is_followed_by(line.as_bytes()));
    let mut text = String::new();
    if is_next {
        let first = missing[0].as_bytes();
        // the beginning of the line is there
        let begun = if first.starts_with(chain.torn_end()) { chain.torn_end().len() } else { 0 };
        if begun == 0 && !chain.torn_end().is_empty() {
            text.push('\n');
        }
        text.push_str(missing[0].get(begun..).unwrap_or(&missing[0]));
        text.push('\n');
        text.extend(missing[1..].iter().map(|line| format!("{line}\n")));
        tracing::warn!(
            "{NAME} lacked its last lines, or a part of the last one, as after a kill or a power cut: they are appended \
             from the ledger"
        );
    } else if !chain.torn_end().is_empty() {
        text.push('\n');
        tracing::warn!(
            "{NAME} ends in a torn line that the ledger does not know, as after a power cut: the line stays, and the chain \
             goes on from the line before it"
        );
    }
    if !missing.is_empty() && !is_next {
        tracing::warn!(
            "{NAME} is not the file that the ledger knows; the chain goes on from its last line. See `exporter verify \
             --receipts`"
        );
    }
    if text.is_empty() {
        return Ok(chain);
    }
    write(folder, &text)?;
    Ok(Chain::read(&path)?.unwrap_or_default())
}

/// Appends, durably.
fn write(folder: &Path, text: &str) -> io::Result<()> {
    let path = folder.join(NAME);
    let is_new = matches!(Presence::of(&path)?, Presence::Absent);
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = fs_err::OpenOptions::new();
    let mut file = options.append(true).create(true).mode(0o600).custom_flags(no_follow).open(&path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    if is_new {
        fs_err::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
