//! `report.csv`, one line for every row of the manifest, `failed.csv`, the rows to export again, and `index.csv`.
//!
//! All are written in one pass in the manifest's order. `failed.csv` repeats the manifest's own columns byte for
//! byte, so that it is itself a manifest; bad rows, which could not be parsed, are in `report.csv` only.

use std::borrow::Cow;
use std::io::Write;

use rusqlite::{Connection, OptionalExtension, Row};

use super::ReportError;
use super::csv::{Line, from_server, visible};
use super::index::{Delivery, Index};
use crate::error::{ErrorCode, advice};
use crate::ledger::columns::{bytes, number, text};

const REPORT_HEADER: &[u8] =
    b"line,org,note,image,state,path,bytes,sha256,content_type,etag,checked_by,attempts,\
    stored_at,error_code,error,trace_id,warning\n";

/// Follows the manifest's own columns in the header of `failed.csv`.
const REASON_HEADER: &[u8] = b",error_code,error,attempts,advice\n";

/// The manifest's own columns if the ledger has no manifest loaded.
const DEFAULT_HEADER: &[u8] = b"org,note,image";

/// Writes the files. Needs the temporary table `same`.
pub(super) fn write(
    conn: &Connection,
    report: &mut impl Write,
    failed: &mut impl Write,
    index: &mut impl Write,
) -> Result<(), ReportError> {
    report.write_all(REPORT_HEADER)?;
    let header = conn.query_row("SELECT header FROM manifest", [], |row| row.get(0)).optional()?;
    let header = header.as_ref().map_or(DEFAULT_HEADER, |header: &Vec<u8>| header);
    failed.write_all(header)?;
    failed.write_all(REASON_HEADER)?;
    let mut index = Index::begin(header, index)?;

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
        match state {
            "stored" | "skipped" => index.add(bytes(row, 19)?, &delivery(row)?, &mut line)?,
            "failed" | "untried" => write_failed(row, &mut line, failed)?,
            _ => {}
        }
    }
    Ok(())
}

/// The columns of `report.csv` from `path` on, without a reason.
fn delivered(row: &Row<'_>, line: &mut Line) -> rusqlite::Result<()> {
    line.field(bytes(row, 5)?);
    line.number(number(row, 6)?);
    line.hex(bytes(row, 7)?);
    line.text(&from_server(text(row, 8)?));
    line.text(&visible(text(row, 9)?));
    line.field(bytes(row, 10)?);
    line.number(number(row, 11)?);
    line.field(bytes(row, 12)?);
    line.empty(3);
    line.text(&warning(text(row, 16)?, number(row, 17)?, number(row, 18)?));
    Ok(())
}

/// Only the path and hash of the image: the first row has the rest.
fn duplicate(row: &Row<'_>, line: &mut Line) -> rusqlite::Result<()> {
    line.field(bytes(row, 5)?);
    line.empty(1);
    line.hex(bytes(row, 7)?);
    line.empty(3);
    line.number(number(row, 11)?);
    line.empty(5);
    Ok(())
}

/// Only the attempts and the reason.
fn undelivered(row: &Row<'_>, line: &mut Line) -> rusqlite::Result<()> {
    line.empty(6);
    line.number(number(row, 11)?);
    line.empty(1);
    line.field(bytes(row, 13)?);
    line.text(&from_server(text(row, 14)?));
    line.text(&from_server(text(row, 15)?));
    line.empty(1);
    Ok(())
}

/// The image for the index.
fn delivery<'row>(row: &'row Row<'_>) -> rusqlite::Result<Delivery<'row>> {
    Ok(Delivery {
        path: bytes(row, 5)?,
        bytes: number(row, 6)?,
        sha256: bytes(row, 7)?,
        content_type: text(row, 8)?,
        stored_at: bytes(row, 12)?,
    })
}

/// Writes the line of `failed.csv`; a bad row has none.
fn write_failed(row: &Row<'_>, line: &mut Line, out: &mut impl Write) -> Result<(), ReportError> {
    let raw = bytes(row, 19)?;
    if raw.is_empty() {
        return Ok(());
    }
    let code = text(row, 13)?;
    line.raw(raw);
    line.text(code);
    line.text(&from_server(text(row, 14)?));
    line.number(number(row, 11)?);
    // our own words around names that are clean already; as a server's, they would lose the form of a proxy's URL
    line.text(&visible(&advice::of(ErrorCode::parse(code), text(row, 14)?)));
    Ok(line.end(out)?)
}

/// The warnings of the delivery, then those from other rows of the manifest.
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
