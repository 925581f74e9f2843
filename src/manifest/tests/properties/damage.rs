//! Manifests as spreadsheets and people damage them: whatever they add around the data, every row of data comes out
//! with its ids and its line.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::super::*;
use super::{read, record};

/// What stands between two rows of data.
#[derive(Clone, Debug)]
enum Between {
    Nothing,
    BlankLine,
    /// A row of empty fields, as a spreadsheet saves an empty one.
    EmptyRow,
    /// A row of more empty fields than the header has.
    WideEmptyRow,
}

/// What is done to a row of data.
#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    /// Empty fields behind the last column.
    Padded(usize),
    /// Without the fields of the last columns, which have no meaning here.
    Short,
    /// The other column in a code page that is not UTF-8.
    CodePage,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        4 => Just(Between::Nothing),
        1 => Just(Between::BlankLine),
        1 => Just(Between::EmptyRow),
        1 => Just(Between::WideEmptyRow),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => Just(Damage::None),
        2 => (1..4_usize).prop_map(Damage::Padded),
        1 => Just(Damage::Short),
        1 => Just(Damage::CodePage),
    ]
}

/// The line of the byte after `before`; every line ends in `\n` here.
fn line_behind(before: &[u8]) -> u64 {
    1 + before.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).count() as u64
}

fn separated(fields: &[&[u8]], delimiter: u8, end: &[u8]) -> Vec<u8> {
    let mut line = fields.join(&delimiter);
    line.extend_from_slice(end);
    line
}

/// A row of data with its damage, and the fields of its columns as `failed.csv` gets them back.
fn damaged(ids: &[&str; 3], damage: Damage, delimiter: u8, end: &[u8]) -> (Vec<u8>, Vec<u8>) {
    const WARD: &[u8] = b"ward";
    const BEYOND_UTF8: &[u8] = b"st\xe4tion";
    let [org, note, image] = ids.map(str::as_bytes);
    let ward = match damage {
        Damage::CodePage => BEYOND_UTF8,
        Damage::Short => b"",
        Damage::None | Damage::Padded(_) => WARD,
    };
    let mut fields = vec![org, note, image];
    if !matches!(damage, Damage::Short) {
        fields.push(ward);
    }
    if let Damage::Padded(more) = damage {
        fields.extend(std::iter::repeat_n(&b""[..], more));
    }
    (separated(&fields, delimiter, end), [org, note, image, ward].join(&b','))
}

proptest! {
    #[test]
    fn every_row_of_data_comes_out_of_a_damaged_manifest(
        rows in vec(("[a-z]{1,6}", "[a-z0-9]{1,6}", "[a-z0-9-]{0,4}[a-z]", damage(), between()), 0..12),
        delimiter in prop::sample::select(vec![b',', b';', b'\t']),
        end in prop::sample::select(vec!["\n", "\r\n"]),
        mark in any::<bool>(),
        names_separator in any::<bool>(),
        blank_first in any::<bool>(),
        wide_header in any::<bool>(),
    ) {
        let end = end.as_bytes();
        let mut text = if mark { "\u{feff}".into() } else { Vec::new() };
        if names_separator {
            text.extend([&b"sep="[..], &[delimiter], end].concat());
        } else if blank_first {
            text.extend(end);
        }
        let mut header: Vec<&[u8]> = vec![b"org", b"note", b"image", b"ward"];
        if wide_header {
            header.extend([&b""[..], b""]);
        }
        text.extend(separated(&header, delimiter, end));
        let mut wanted = Vec::new();
        for (org, note, image, damage, between) in &rows {
            match between {
                Between::Nothing => {}
                Between::BlankLine => text.extend(end),
                Between::EmptyRow => text.extend(separated(&[b"", b"", b"", b""], delimiter, end)),
                Between::WideEmptyRow => text.extend(separated(&[&b""[..]; 9], delimiter, end)),
            }
            let line = line_behind(&text);
            let (bytes, raw) = damaged(&[org, note, image], *damage, delimiter, end);
            text.extend(bytes);
            wanted.push((line, raw));
        }
        // the first line may name the delimiter; otherwise the user does
        let options = ManifestOptions {
            delimiter: (!names_separator).then_some(delimiter),
            ..ManifestOptions::default()
        };
        let (entries, _) = read(&text, 64, &options);
        prop_assert_eq!(entries.len(), rows.len());
        for ((entry, (line, raw)), (org, note, image, ..)) in entries.iter().zip(wanted).zip(&rows) {
            let Entry::Row(row) = entry else { return Err(TestCaseError::fail(format!("{entry:?}"))) };
            prop_assert_eq!(row.line, line);
            prop_assert_eq!((row.org.as_str(), row.note.as_str()), (org.as_str(), note.as_str()));
            prop_assert_eq!(row.image.as_str(), image.as_str());
            prop_assert_eq!(row.raw.get(..raw.len()), Some(&raw[..]), "its own columns, byte for byte");
        }
    }

    #[test]
    fn a_header_or_a_rule_among_the_rows_is_a_bad_row_by_name(
        before in 0..5_usize,
        repeated in any::<bool>(),
        dashes in 2..9_usize,
    ) {
        let row = record(b',', csv::Terminator::Any(b'\n'), &["o", "n", "i"]);
        let odd = if repeated { "org,note,image\n".to_owned() } else {
            format!("{0},{0},{0}\n", "-".repeat(dashes))
        };
        let text = [&b"org,note,image\n"[..], &row.repeat(before), odd.as_bytes(), &row].concat();
        let (entries, _) = read(&text, 64, &ManifestOptions::default());
        prop_assert_eq!(entries.len(), before + 2);
        let Entry::Bad(bad) = &entries[before] else { return Err(TestCaseError::fail("no bad row")) };
        prop_assert_eq!(bad.line, before as u64 + 2);
        let words = if repeated { "the header again" } else { "a line of dashes" };
        prop_assert!(bad.reason.contains(words), "{}", bad.reason);
    }
}
