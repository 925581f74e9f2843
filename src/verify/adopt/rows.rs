//! Runs and rows of a rebuilt ledger, from the reports: what the last run left failed or untried is known again, and
//! the table of runs has its lines.

use std::path::Path;

use rusqlite::Connection;

use super::owners::{Line, Lines};
use crate::error::RunError;
use crate::item::{ImageId, NoteId, OrgId, Sha256};
use crate::ledger::{self, Loading, RowEnd, RunRow, sqlite_error};
use crate::manifest::{BadRow, Entry, Row};

/// How the manifest was read: it was not, and the next run reads its own.
const READING: &str = "adopted";
/// The columns of the restored rows.
const HEADER: &[u8] = b"org,note,image";

/// The run of a `summary.json`; `None` if there is no summary that can be read.
pub(super) fn summarized_run(path: &Path) -> Option<RunRow> {
    // a pipe of that name would block
    let text = std::fs::symlink_metadata(path).ok()?.is_file().then(|| std::fs::read(path).ok())??;
    let mut run: RunRow = serde_json::from_slice(&text).ok()?;
    if run.exit_code.is_none() {
        // a run that was killed has no end; its summary names the time of its newest image
        run.finished_at = None;
    }
    (!run.started_at.is_empty()).then_some(run)
}

/// Loads the rows of `report.csv` as a manifest is loaded, linked to the images that are in the ledger already, and
/// records why rows failed, as of run `run`. Returns their number.
pub(super) fn rows(
    connection: &mut Connection,
    report: &Path,
    manifest_sha256: &str,
    run: i64,
) -> Result<u64, RunError> {
    let Some(lines) = Lines::open(report)? else { return Ok(0) };
    let entries = lines.map(|line| {
        let line = line.map_err(std::io::Error::other)?;
        Ok(if line.get("error_code") == "bad_row" { Entry::Bad(bad(&line)) } else { Entry::Row(row(&line)?) })
    });
    let loading = Loading {
        sha256: Sha256::from_hex(manifest_sha256),
        reading: READING.to_owned(),
        header: HEADER.to_vec(),
        warnings: Vec::new(),
        entries,
        skip_bad: true,
        shard: None,
        run: None,
    };
    let loaded = ledger::load(connection, loading, |_| Ok(()))?;
    reasons(connection, report, run)?;
    Ok(loaded.rows)
}

/// Records why a report names rows as failed or untried; they were loaded in its order.
fn reasons(connection: &Connection, report: &Path, run: i64) -> Result<(), RunError> {
    let transaction = connection.unchecked_transaction().map_err(sqlite_error)?;
    for (line, seq) in Lines::open(report)?.into_iter().flatten().zip(1..) {
        let line = line?;
        let (state, code) = (line.get("state"), line.get("error_code"));
        if code == "bad_row" || !matches!(state, "failed" | "untried") {
            continue;
        }
        let end = RowEnd {
            seq,
            failed: state == "failed",
            attempts: line.number("attempts"),
            code,
            error: line.get("error"),
            trace_id: line.get("trace_id"),
        };
        ledger::end_row(&transaction, run, &end).map_err(sqlite_error)?;
    }
    transaction.commit().map_err(sqlite_error)
}

fn row(line: &Line) -> std::io::Result<Row> {
    let ids = [line.get("org"), line.get("note"), line.get("image")];
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(ids)?;
    let mut raw = writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?;
    raw.pop(); // the line end
    Ok(Row {
        line: line.get("line").parse().unwrap_or_default(),
        org: OrgId::new(ids[0]),
        note: NoteId::new(ids[1]),
        image: ImageId::new(ids[2]),
        sha256: None,
        raw,
    })
}

fn bad(line: &Line) -> BadRow {
    BadRow {
        line: line.get("line").parse().unwrap_or_default(),
        org: line.get("org").to_owned(),
        note: line.get("note").to_owned(),
        image: line.get("image").to_owned(),
        reason: line.get("error").to_owned(),
    }
}
