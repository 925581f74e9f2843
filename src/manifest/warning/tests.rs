//! Each kind of warning, and what is none.

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
    for c in "\u{feff}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2060}\u{ad}\u{2011}\u{a0}\u{202e}".chars() {
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
    let (kind, lines, count, what) = only("\norg,note,image,MD5,sha256,Check-Sum,fileHash\no,n,i,1,,2,3\n");
    assert_eq!((kind, lines, count), (WarningKind::HashNotCompared, vec![2], 3));
    assert_eq!(
        what,
        "columns `MD5`, `Check-Sum`, `fileHash` look like hashes and are not compared: only a column sha256 is"
    );
    for name in ["md5", "sha1", "SHA-1", "sha512", "checksum", "hash", "md5sum", "image_md5", "SHA256 hex"] {
        assert_eq!(only(&format!("org,note,image,{name}\n")).0, WarningKind::HashNotCompared, "{name}");
    }
    for name in ["has_history", "shape", "hashtags", "metagroup", "MD", "sum", "SHA-256", "sha256sum"] {
        assert_eq!(warnings(&format!("org,note,image,{name}\n")), [], "{name}");
    }
}
