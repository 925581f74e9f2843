//! What is odd about a manifest although every row of it can be fetched: traces of spreadsheets and of cut files.
//!
//! Invariant: a warning refuses nothing and changes nothing, and its size does not grow with the file. Lines are named
//! up to a bound, all are counted.

mod invisible;

use serde::Serialize;

use self::invisible::Invisible;
use super::header::Header;
use super::row::{Entry, Row};

/// Lines that one warning names.
const LINES_MAX: usize = 20;

/// Something odd, in one sentence for all its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ManifestWarning {
    /// For programs.
    pub kind: WarningKind,
    /// For people, the lines included.
    pub what: String,
    /// The first lines that it is about, at most 20.
    pub lines: Vec<u64>,
    /// How many lines, rows or columns it is about.
    pub count: u64,
}

/// The kinds of warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// A column that looks like a hash but is not `sha256`.
    HashNotCompared,
    /// An id like `1.23E+15`.
    RoundedId,
    /// An id with a character that cannot be seen, or is easily taken for another.
    InvisibleCharacter,
    /// An id like `="001"`.
    FormulaId,
    /// An id like `NULL`.
    NullId,
    /// As many rows as a spreadsheet holds.
    SpreadsheetLimit,
    /// A last line without its end and with too few fields.
    CutLastLine,
}

/// Lines of one kind.
#[derive(Debug, Default)]
struct Lines {
    count: u64,
    first: Vec<u64>,
}

impl Lines {
    fn add(&mut self, line: u64) {
        self.count += 1;
        if self.first.len() < LINES_MAX {
            self.first.push(line);
        }
    }
}

/// Kinds that are about ids, with what a row of them has and what to ask.
const ID_KINDS: [(WarningKind, &str, &str); 4] = [
    (WarningKind::RoundedId, "an id like 1.23E+15", "did a spreadsheet round it?"),
    (
        WarningKind::InvisibleCharacter,
        // the characters that were found follow
        "an id with an invisible character or a lookalike,",
        "is it meant to be part of the id?",
    ),
    (
        WarningKind::FormulaId,
        "an id like =\"001\"",
        "the sign and the quotes are part of the id, did a spreadsheet add them?",
    ),
    (WarningKind::NullId, "an id like NULL, \\N or #N/A", "is the id missing?"),
];

/// What was noticed while a manifest is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    rows: u64,
    ids: [Lines; ID_KINDS.len()],
    invisible: Invisible,
    cut: Option<u64>,
}

impl Findings {
    /// Takes note of the next row.
    pub(super) fn note(&mut self, entry: &Entry) {
        self.rows += 1;
        if let Entry::Row(row) = entry {
            for ((kind, ..), lines) in ID_KINDS.iter().zip(&mut self.ids) {
                if ids(row).into_iter().any(|id| is_of(*kind, id)) {
                    lines.add(row.line);
                }
            }
            for id in ids(row) {
                self.invisible.note(id);
            }
        }
    }

    /// Takes note that the last line has no end and too few fields.
    pub(super) fn note_cut(&mut self, line: u64) {
        self.cut = Some(line);
    }

    /// One warning for each kind.
    pub(super) fn warnings(&self, header: &Header) -> Vec<ManifestWarning> {
        let ids = ID_KINDS.iter().zip(&self.ids).filter_map(|((kind, has, question), lines)| {
            let has = match kind {
                WarningKind::InvisibleCharacter => format!("{has} {}", self.invisible),
                _ => (*has).to_owned(),
            };
            about_ids(*kind, &has, question, lines)
        });
        hash_not_compared(header)
            .into_iter()
            .chain(ids)
            .chain(spreadsheet_limit(self.rows))
            .chain(self.cut.map(cut_last_line))
            .collect()
    }
}

fn ids(row: &Row) -> [&str; 3] {
    [row.org.as_str(), row.note.as_str(), row.image.as_str()]
}

fn is_of(kind: WarningKind, id: &str) -> bool {
    match kind {
        WarningKind::RoundedId => is_rounded(id),
        WarningKind::InvisibleCharacter => invisible::of(id).next().is_some(),
        WarningKind::FormulaId => id.starts_with("=\"") && id.ends_with('"'),
        WarningKind::NullId => is_null(id),
        _ => false,
    }
}

/// `1.23E+15`: how a spreadsheet saves a long number in a CSV file.
fn is_rounded(id: &str) -> bool {
    let Some((number, power)) = id.split_once(['E', 'e']) else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = |text: &str| match text.split_once(['.', ',']) {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(text),
    };
    power.strip_prefix(['+', '-']).is_some_and(digits) && whole(number)
}

/// What databases, spreadsheets and programs write for a value that is missing.
fn is_null(id: &str) -> bool {
    const NULLS: [&str; 15] = [
        "null",
        "(null)",
        "<null>",
        "[null]",
        "\\n",
        "#n/a",
        "#ref!",
        "#value!",
        "#name?",
        "#div/0!",
        "#num!",
        "#null!",
        "nan",
        "none",
        "undefined",
    ];
    NULLS.iter().any(|null| null.eq_ignore_ascii_case(id))
}

fn about_ids(kind: WarningKind, has: &str, question: &str, lines: &Lines) -> Option<ManifestWarning> {
    let (first, others) = lines.first.split_first()?;
    let rows = if lines.count == 1 { "row has" } else { "rows have" };
    let mut named = format!("the first on line {first}");
    for (index, line) in others.iter().enumerate() {
        named.push_str(if index == 0 { ", then line " } else { ", line " });
        named.push_str(&line.to_string());
    }
    let more = lines.count - lines.first.len() as u64;
    if more > 0 {
        named.push_str(&format!(" and {more} more"));
    }
    let what = format!("{} {rows} {has} ({named}): {question}", lines.count);
    Some(ManifestWarning { kind, what, lines: lines.first.clone(), count: lines.count })
}

fn hash_not_compared(header: &Header) -> Option<ManifestWarning> {
    let columns = header.other_hashes();
    let (column, looks, is) = match columns.len() {
        0 => return None,
        1 => ("column", "looks like a hash", "is"),
        _ => ("columns", "look like hashes", "are"),
    };
    let what =
        format!("{column} {} {looks} and {is} not compared: only a column sha256 is", header.list(&columns));
    let count = columns.len() as u64;
    Some(ManifestWarning { kind: WarningKind::HashNotCompared, what, lines: vec![header.line()], count })
}

/// A sheet has 2^16 (`.xls`) or 2^20 (`.xlsx`) lines, its header included.
fn spreadsheet_limit(rows: u64) -> Option<ManifestWarning> {
    let shown = match rows {
        65_535 => "65,535",
        1_048_575 => "1,048,575",
        _ => return None,
    };
    let what = format!(
        "the manifest has exactly {shown} rows, as many as a spreadsheet holds below its header: were others cut off?"
    );
    Some(ManifestWarning { kind: WarningKind::SpreadsheetLimit, what, lines: Vec::new(), count: rows })
}

fn cut_last_line(line: u64) -> ManifestWarning {
    let what = format!(
        "the last line (line {line}) has no line end, and fewer fields than the header: is the file complete?"
    );
    ManifestWarning { kind: WarningKind::CutLastLine, what, lines: vec![line], count: 1 }
}

#[cfg(test)]
mod tests;
