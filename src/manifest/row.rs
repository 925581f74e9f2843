//! One record → one row, or the reason why it is bad.
//!
//! Invariant: the ids of a [`Row`] can be sent to the API and be part of a path; no reason contains a control
//! character. Whether two rows contradict each other is not known here: the ledger finds that out.

use super::header::Header;
use super::record::{End, RECORD_MAX, Record, is_blank};
use crate::csv_field;
use crate::item::{ImageId, NoteId, OrgId, Sha256};

/// Longest id, in bytes: the longest path segment of common file systems.
pub const MAX_ID: usize = 255;

/// One image that the manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Line on which the row starts (the header is on line 1 if no blank line is before it).
    pub line: u64,
    /// The clinic: visible ASCII.
    pub org: OrgId,
    /// The visit.
    pub note: NoteId,
    /// The image.
    pub image: ImageId,
    /// The hash that the image must have, if the manifest names one.
    pub sha256: Option<Sha256>,
    /// The row's own columns as one comma-separated CSV line without a line end, for the header [`Header::raw`].
    pub raw: Vec<u8>,
}

/// A row that cannot be fetched as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Line on which the row starts.
    pub line: u64,
    /// The organization as far as it could be read, with U+FFFD for bytes that are not UTF-8; empty if missing.
    pub org: String,
    /// The note, likewise.
    pub note: String,
    /// The image, likewise.
    pub image: String,
    /// What is wrong, for a reader: `note is empty`.
    pub reason: String,
}

/// One row of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A row to fetch.
    Row(Row),
    /// A row that is refused.
    Bad(BadRow),
}

pub(super) fn judge(record: &Record<'_>, header: &Header) -> Entry {
    match row(record, header) {
        Ok(row) => Entry::Row(row),
        Err(reason) => {
            let columns = header.columns();
            let text = |index| String::from_utf8_lossy(record.field(index).unwrap_or_default()).into_owned();
            let (org, note, image) = (text(columns.org), text(columns.note), text(columns.image));
            Entry::Bad(BadRow { line: record.line, org, note, image, reason })
        }
    }
}

fn row(record: &Record<'_>, header: &Header) -> Result<Row, String> {
    match record.end {
        End::Whole => {}
        End::TooLarge => {
            return Err(format!("row is longer than {RECORD_MAX} bytes: is a quote not closed?"));
        }
        End::OpenQuote => return Err("row has a quote that is never closed".to_owned()),
    }
    if header.is_repeated_by(record) {
        return Err("row is the header again".to_owned());
    }
    if is_rule(record) {
        return Err("row is a line of dashes".to_owned());
    }
    ensure_width(record, header)?;
    for index in header.columns().all().into_iter().flatten() {
        let field = record.field(index).unwrap_or_default();
        utf8(field).ok_or_else(|| format!("{} is not UTF-8", header.label(index)))?;
    }
    let columns = header.columns();
    let cell = |index| record.field(index).and_then(utf8).unwrap_or_default();
    let id = |index: usize, rule: fn(&str) -> Option<String>| match rule(cell(index)) {
        None => Ok(cell(index)),
        Some(fault) => Err(format!("{} {fault}", header.label(index))),
    };
    let org = OrgId::new(id(columns.org, org_fault)?);
    let note = NoteId::new(id(columns.note, id_fault)?);
    let image = ImageId::new(id(columns.image, id_fault)?);
    let sha256 = match columns.sha256.map(|index| (index, cell(index))) {
        None | Some((_, "")) => None,
        Some((index, digits)) => Some(
            Sha256::from_hex(digits)
                .ok_or_else(|| format!("{} is not 64 hex digits", header.label(index)))?,
        ),
    };
    Ok(Row { line: record.line, org, note, image, sha256, raw: raw(record, header) })
}

/// Spreadsheets leave out empty fields at the end of a row, or add some. What cannot be missing are the columns that
/// have a meaning, and what cannot be added is a value.
fn ensure_width(record: &Record<'_>, header: &Header) -> Result<(), String> {
    let (has, wants) = (record.len(), header.width());
    let is_lacking = has <= header.columns().last();
    let has_surplus = record.fields().skip(wants).any(|field| !is_blank(field));
    if is_lacking || has_surplus {
        let fields = if has == 1 { "field" } else { "fields" };
        return Err(format!("row has {has} {fields}, the header has {wants}"));
    }
    Ok(())
}

/// The row's own columns as a CSV line, as many as the header has.
fn raw(record: &Record<'_>, header: &Header) -> Vec<u8> {
    let own = header.names().len();
    let mut raw = Vec::with_capacity(record.read_so_far().len() + own);
    for index in 0..own {
        if index > 0 {
            raw.push(b',');
        }
        csv_field::push(&mut raw, record.field(index).unwrap_or_default());
    }
    raw
}

/// `-----,----`: what database clients draw between a header and its rows, or around a table.
fn is_rule(record: &Record<'_>) -> bool {
    let is_rule = |field: &[u8]| {
        let Some(text) = utf8(field) else { return false };
        let is_line = |c: char| matches!(c, '-' | '=' | '\u{2013}' | '\u{2014}' | '\u{2500}' | '\u{2501}');
        let lines = text.chars().filter(|c| is_line(*c)).count();
        lines >= 2 && text.chars().all(|c| is_line(c) || matches!(c, '+' | '|' | ':' | ' ' | '\t'))
    };
    record.fields().all(|field| is_blank(field) || is_rule(field))
}

fn utf8(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

/// What is wrong with an id. It becomes part of a URL and, in another spelling, of a path. So `.` and `..` are refused,
/// which a URL would lose, and blanks around it, which are typing errors that cannot be seen.
fn id_fault(id: &str) -> Option<String> {
    if id.is_empty() {
        return Some("is empty".to_owned());
    }
    if id.len() > MAX_ID {
        return Some(format!("has {} bytes, at most {MAX_ID} are allowed", id.len()));
    }
    if matches!(id, "." | "..") {
        return Some(format!("is `{id}`, which is no id"));
    }
    if id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    if let Some(control) = id.chars().find(|c| c.is_control()) {
        return Some(format!("holds a control character (U+{:04X})", u32::from(control)));
    }
    (id.trim() != id).then(|| "begins or ends with a blank".to_owned())
}

/// The same for an organization, which is also sent as an HTTP header.
fn org_fault(id: &str) -> Option<String> {
    let other = || id.chars().find(|c| !c.is_ascii_graphic());
    id_fault(id).or_else(|| {
        other()
            .map(|c| format!("holds U+{:04X}, but must be visible ASCII to stand in a header", u32::from(c)))
    })
}
