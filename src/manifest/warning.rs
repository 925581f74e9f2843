//! What is odd about a manifest although every row of it can be fetched: traces of spreadsheets and of cut files.
//!
//! Invariant: a warning refuses nothing and changes nothing, and its size does not grow with the file. Lines are named
//! up to a bound, all are counted.

use std::collections::BTreeSet;

use serde::Serialize;

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
    /// Those of [`is_invisible`] that ids have; there are not many more than 50.
    invisible: BTreeSet<char>,
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
            let characters = ids(row).into_iter().filter(|id| !id.is_ascii()).flat_map(str::chars);
            self.invisible.extend(characters.filter(|c| is_invisible(*c)));
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
                WarningKind::InvisibleCharacter => format!("{has} {}", self.invisible()),
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

impl Findings {
    /// `U+00A0 (no-break space), U+2062`.
    fn invisible(&self) -> String {
        let names = self.invisible.iter().map(|c| {
            let name = character_name(*c).map_or_else(String::new, |name| format!(" ({name})"));
            format!("U+{:04X}{name}", u32::from(*c))
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

/// What those characters are called that editors and spreadsheets leave in a file.
fn character_name(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{a0}' => "no-break space",
        '\u{ad}' => "soft hyphen",
        '\u{200b}' => "zero width space",
        '\u{200c}' => "zero width non-joiner",
        '\u{200d}' => "zero width joiner",
        '\u{200e}' => "left-to-right mark",
        '\u{200f}' => "right-to-left mark",
        '\u{2010}' => "hyphen, not the one on the keyboard",
        '\u{2011}' => "non-breaking hyphen",
        '\u{202f}' => "narrow no-break space",
        '\u{2060}' => "word joiner",
        '\u{3000}' => "ideographic space",
        '\u{feff}' => "byte order mark",
        _ => return None,
    })
}

fn ids(row: &Row) -> [&str; 3] {
    [row.org.as_str(), row.note.as_str(), row.image.as_str()]
}

fn is_of(kind: WarningKind, id: &str) -> bool {
    match kind {
        WarningKind::RoundedId => is_rounded(id),
        WarningKind::InvisibleCharacter => !id.is_ascii() && id.chars().any(is_invisible),
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

/// Characters without a shape of their own, and blanks and hyphens that are easily taken for the ASCII ones.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{2000}'..='\u{2011}' | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
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
mod tests {
    use super::*;
    use crate::manifest::{ManifestOptions, check};

    fn warnings(text: &str) -> Vec<ManifestWarning> {
        check(text.as_bytes(), &ManifestOptions::default()).expect("a manifest").warnings
    }

    fn only(text: &str) -> (WarningKind, Vec<u64>, u64, String) {
        let mut found = warnings(text);
        assert_eq!(found.len(), 1, "{found:?}");
        let one = found.remove(0);
        (one.kind, one.lines, one.count, one.what)
    }

    #[test]
    fn ids_that_a_spreadsheet_rounded_are_counted_and_their_lines_named() {
        let text = "org,note,image\no,n,i\no,1.23E+15,i\no,n,2E+10\no,1e5,0xE+1\no,E+1,1.E+1\no,n,5,5E+07\n";
        let (kind, lines, count, what) = only(text);
        assert_eq!((kind, lines, count), (WarningKind::RoundedId, vec![3, 4], 2));
        assert_eq!(
            what,
            "2 rows have an id like 1.23E+15 (the first on line 3, then line 4): did a spreadsheet round it?"
        );
    }

    #[test]
    fn twenty_lines_are_named_and_the_others_counted() {
        let (_, lines, count, what) = only(&format!("org,note,image\n{}", "o,n,NULL\n".repeat(23)));
        assert_eq!((lines, count), ((2..=21).collect(), 23));
        assert!(what.contains("line 20, line 21 and 3 more)"), "{what}");
    }

    #[test]
    fn what_cannot_be_seen_in_an_id_is_a_warning() {
        for c in
            "\u{feff}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2060}\u{ad}\u{2011}\u{a0}\u{202e}".chars()
        {
            let (kind, lines, ..) = only(&format!("org,note,image\no,n,i\no,n,a{c}b\n"));
            assert_eq!((kind, lines), (WarningKind::InvisibleCharacter, vec![3]), "{c:?}");
        }
        let (.., what) = only("org,note,image\no,a\u{2011}b,c\u{2062}\no,n,a\u{2011}\u{a0}b\n");
        assert_eq!(
            what,
            "2 rows have an id with an invisible character or a lookalike, U+00A0 (no-break space), U+2011 \
             (non-breaking hyphen), U+2062 (the first on line 2, then line 3): is it meant to be part of the id?"
        );
        assert_eq!(warnings("org,note,image\no,é n,ü-1\u{2013}2\n"), []);
    }

    #[test]
    fn formulas_and_missing_values_are_warnings() {
        for id in ["=\"001\"", "\"=\"\"001\"\"\""] {
            let (kind, lines, ..) = only(&format!("org,note,image\no,n,{id}\n"));
            assert_eq!((kind, lines), (WarningKind::FormulaId, vec![2]), "{id}");
        }
        for id in ["NULL", "null", "\\N", "#N/A", "#REF!", "NaN"] {
            let (kind, lines, ..) = only(&format!("org,note,image\no,{id},i\n"));
            assert_eq!((kind, lines), (WarningKind::NullId, vec![2]), "{id}");
        }
        assert_eq!(warnings("org,note,image\no,nullable,=1\n"), []);
    }

    #[test]
    fn exactly_as_many_rows_as_a_sheet_holds_is_a_warning() {
        for (rows, warned) in [(65_534, false), (65_535, true), (65_536, false), (1_048_575, true)] {
            assert_eq!(spreadsheet_limit(rows).is_some(), warned, "{rows}");
        }
        let (kind, lines, count, what) = only(&format!("org,note,image\n{}", "o,n,i\n".repeat(65_535)));
        assert_eq!((kind, lines, count), (WarningKind::SpreadsheetLimit, vec![], 65_535));
        assert!(what.contains("65,535"), "{what}");
    }

    #[test]
    fn a_last_line_that_ends_too_early_is_a_warning() {
        let (kind, lines, ..) = only("org,note,image,ward\no,n,i,w\no,n,j");
        assert_eq!((kind, lines), (WarningKind::CutLastLine, vec![3]));
        let (kind, lines, ..) = only("org,note,image,ward\no,n,i,w\no,n");
        assert_eq!((kind, lines), (WarningKind::CutLastLine, vec![3]), "although its row is bad");
        for whole in ["o,n,j\n", "o,n,j\r", "o,n,j,", ""] {
            assert_eq!(warnings(&format!("org,note,image,ward\no,n,i,w\n{whole}")), [], "{whole:?}");
        }
    }

    #[test]
    fn a_column_that_looks_like_another_hash_is_named_once() {
        let (kind, lines, count, what) =
            only("\norg,note,image,MD5,sha256,Check-Sum,fileHash\no,n,i,1,,2,3\n");
        assert_eq!((kind, lines, count), (WarningKind::HashNotCompared, vec![2], 3));
        assert_eq!(
            what,
            "columns `MD5`, `Check-Sum`, `fileHash` look like hashes and are not compared: only a column sha256 is"
        );
        for name in
            ["md5", "sha1", "SHA-1", "sha512", "checksum", "hash", "md5sum", "image_md5", "SHA256 hex"]
        {
            assert_eq!(only(&format!("org,note,image,{name}\n")).0, WarningKind::HashNotCompared, "{name}");
        }
        for name in ["has_history", "shape", "hashtags", "metagroup", "MD", "sum", "SHA-256", "sha256sum"] {
            assert_eq!(warnings(&format!("org,note,image,{name}\n")), [], "{name}");
        }
    }
}
