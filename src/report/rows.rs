//! `report.csv`, one line for every row of the manifest, and `failed.csv`, the rows to do again.
//!
//! Both are written in one pass in the manifest's order. `failed.csv` gives the manifest's own columns back byte
//! for byte, so that it is itself a manifest; bad rows, which were not understood, stand in `report.csv` only.

use std::borrow::Cow;
use std::io::Write;

use rusqlite::{Connection, OptionalExtension, Row};

use super::csv::{Line, said, visible};
use super::{Trouble, bytes, number, text};
use crate::error::ErrorCode;

const REPORT: &[u8] = b"line,org,note,image,state,path,bytes,sha256,content_type,etag,checked_by,attempts,\
    stored_at,error_code,error,trace_id,warning\n";

/// In `failed.csv` behind the manifest's own columns.
const REASON: &[u8] = b",error_code,error,attempts,advice\n";

/// Columns of a ledger that has no manifest loaded.
const PLAIN: &[u8] = b"org,note,image";

/// Advice for a row that nothing is wrong with.
const NOT_REACHED: &str = "run again; this row was not reached";

/// Writes both files. Needs the temporary table `same`.
pub(super) fn write(
    conn: &Connection,
    report: &mut impl Write,
    failed: &mut impl Write,
) -> Result<(), Trouble> {
    report.write_all(REPORT)?;
    let header = conn.query_row("SELECT header FROM manifest", [], |row| row.get(0)).optional()?;
    failed.write_all(header.as_ref().map_or(PLAIN, |header: &Vec<u8>| header))?;
    failed.write_all(REASON)?;

    let mut results = conn.prepare(
        "SELECT v.line, v.org, v.note, v.image, v.state, v.path, v.bytes, v.sha256, v.content_type, v.etag,
             v.checked_by, v.attempts, v.stored_at, v.error_code, v.error, v.trace_id, v.warning,
             s.bytes, s.object, v.raw
         FROM results v LEFT JOIN same s ON s.seq = v.seq
         ORDER BY v.seq",
    )?;
    let mut results = results.query([])?;
    let mut line = Line::default();
    while let Some(row) = results.next()? {
        let state = text(row, 4)?;
        line.number(number(row, 0)?);
        for id in 1..=3 {
            line.field(bytes(row, id)?);
        }
        line.text(state);
        match state {
            "stored" | "skipped" => delivered(row, &mut line)?,
            "duplicate" => duplicate(row, &mut line)?,
            _ => undelivered(row, &mut line)?,
        }
        line.end(report)?;
        if matches!(state, "failed" | "untried") {
            again(row, &mut line, failed)?;
        }
    }
    Ok(())
}

/// The columns of `report.csv` from `path` on. There is no reason why not.
fn delivered(row: &Row<'_>, line: &mut Line) -> rusqlite::Result<()> {
    line.field(bytes(row, 5)?);
    line.number(number(row, 6)?);
    line.hex(bytes(row, 7)?);
    line.text(&said(text(row, 8)?));
    line.text(&visible(text(row, 9)?));
    line.field(bytes(row, 10)?);
    line.number(number(row, 11)?);
    line.field(bytes(row, 12)?);
    line.empty(3);
    line.text(&warning(text(row, 16)?, number(row, 17)?, number(row, 18)?));
    Ok(())
}

/// The delivery is told once, by the first row; here only where it is and what it holds.
fn duplicate(row: &Row<'_>, line: &mut Line) -> rusqlite::Result<()> {
    line.field(bytes(row, 5)?);
    line.empty(1);
    line.hex(bytes(row, 7)?);
    line.empty(3);
    line.number(number(row, 11)?);
    line.empty(5);
    Ok(())
}

/// Nothing is there but the reason.
fn undelivered(row: &Row<'_>, line: &mut Line) -> rusqlite::Result<()> {
    line.empty(6);
    line.number(number(row, 11)?);
    line.empty(1);
    line.field(bytes(row, 13)?);
    line.text(&said(text(row, 14)?));
    line.text(&said(text(row, 15)?));
    line.empty(1);
    Ok(())
}

/// The line of `failed.csv`.
fn again(row: &Row<'_>, line: &mut Line, out: &mut impl Write) -> Result<(), Trouble> {
    let raw = bytes(row, 19)?;
    if raw.is_empty() {
        // a bad row
        return Ok(());
    }
    let code = text(row, 13)?;
    line.raw(raw);
    line.text(code);
    line.text(&said(text(row, 14)?));
    line.number(number(row, 11)?);
    line.text(ErrorCode::parse(code).map_or(NOT_REACHED, ErrorCode::advice));
    Ok(line.end(out)?)
}

/// The warnings of the delivery, then what the manifest's other rows add to them.
fn warning(stored: &str, same_bytes: Option<u64>, same_object: Option<u64>) -> Cow<'_, str> {
    if same_bytes.is_none() && same_object.is_none() {
        return visible(stored);
    }
    let mut warnings = Vec::with_capacity(3);
    if !stored.is_empty() {
        warnings.push(visible(stored).into_owned());
    }
    warnings.extend(same_bytes.map(|line| format!("same bytes as line {line}")));
    warnings.extend(same_object.map(|line| format!("same object in the storage as line {line}")));
    warnings.join("; ").into()
}
