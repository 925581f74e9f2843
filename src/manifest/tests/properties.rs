//! What holds for every manifest, tested with random ones.

mod spreadsheet;

use std::io::BufReader;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;

/// Any text, rich in characters that CSV treats specially.
const TEXT: &str = "([,\"\r\n a]|(?s:.)){0,12}";

/// A row as written: org, note, image, another column, and the number of blank lines after it.
type Written = (String, String, String, String, usize);

fn written() -> impl Strategy<Value = Written> {
    const ID: &str = r#"[a-z0-9é,;"'/=+\\%]([a-z ,;"]{0,6}[a-z0-9,"€😀])?"#;
    ("[!-~]{1,9}", ID, ID, TEXT, 0..3_usize)
        .prop_filter("`.` and `..` are no ids", |row| !matches!(&*row.0, "." | ".."))
}

fn read(text: &[u8], capacity: usize, options: &ManifestOptions) -> (Vec<Entry>, Sha256) {
    let reader = BufReader::with_capacity(capacity, text);
    let mut manifest = Manifest::open(reader, options).expect("a manifest");
    let entries = manifest.by_ref().map(|entry| entry.expect("no I/O")).collect();
    (entries, manifest.fingerprint().expect("no I/O"))
}

fn record(delimiter: u8, terminator: csv::Terminator, fields: &[&str]) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().delimiter(delimiter).terminator(terminator).from_writer(Vec::new());
    writer.write_record(fields).expect("no I/O");
    writer.into_inner().expect("no I/O")
}

/// The line of the byte after `before`.
fn line_behind(before: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(before).replace("\r\n", "\n").replace('\r', "\n");
    1 + text.matches('\n').count() as u64
}

proptest! {
    #[test]
    fn what_the_csv_crate_writes_is_read_back_with_the_right_lines(
        rows in vec(written(), 0..12),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        delimiter in prop::sample::select(vec![b',', b';', b'\t']),
        mark in any::<bool>(),
        cut in any::<bool>(),
        capacity in 1..200_usize,
    ) {
        let terminator = match end {
            "\r\n" => csv::Terminator::CRLF,
            end => csv::Terminator::Any(end.as_bytes()[0]),
        };
        let mut text = if mark { "\u{feff}".into() } else { Vec::new() };
        text.extend(record(delimiter, terminator, &["org", "note", "image", "x"]));
        let mut lines = Vec::new();
        for (org, note, image, other, blank) in &rows {
            lines.push(line_behind(&text));
            text.extend(record(delimiter, terminator, &[org, note, image, other]));
            text.extend(end.repeat(*blank).bytes());
        }
        if cut && rows.last().is_some_and(|row| row.4 == 0) {
            text.truncate(text.len() - end.len());
        }
        let options = ManifestOptions { delimiter: Some(delimiter), ..ManifestOptions::default() };
        let (entries, hash) = read(&text, capacity, &options);
        prop_assert_eq!(hash, fingerprint(&text[..]).expect("no I/O"));
        prop_assert_eq!(entries.len(), rows.len());
        for ((entry, line), (org, note, image, other, _)) in entries.iter().zip(lines).zip(&rows) {
            let Entry::Row(row) = entry else { return Err(TestCaseError::fail(format!("{entry:?}"))) };
            prop_assert_eq!(row.line, line);
            prop_assert_eq!((row.org.as_str(), row.note.as_str()), (org.as_str(), note.as_str()));
            prop_assert_eq!(row.image.as_str(), image.as_str());
            let mut raw = record(b',', csv::Terminator::Any(b'\n'), &[org, note, image, other]);
            raw.pop();
            prop_assert_eq!(&row.raw, &raw, "as the csv crate writes it");
        }
    }

    #[test]
    fn any_bytes_behind_a_header_give_the_same_rows_however_they_come(
        body in vec(prop_oneof![
            6 => prop::sample::select(b"ab,,\"\"\r\n\n".to_vec()),
            1 => any::<u8>(),
        ], 0..200),
        capacity in 1..50_usize,
    ) {
        let text = [b"org,note,image\n", &body[..]].concat();
        let options = ManifestOptions::default();
        let (entries, hash) = read(&text, capacity, &options);
        prop_assert_eq!(&(entries.clone(), hash), &read(&text, 4096, &options));
        // The csv crate finds the same records, and those of blanks, unless the input ends in a quote.
        let mut oracle = csv::ReaderBuilder::new().flexible(true).from_reader(&text[..]);
        let oracle: Vec<csv::ByteRecord> = oracle.byte_records().map(|record| record.expect("no I/O")).collect();
        let filled = oracle.iter().filter(|record| !record.as_slice().trim_ascii().is_empty()).count();
        prop_assert!((filled..=oracle.len()).contains(&entries.len()), "{} {}", filled, entries.len());
        let lines: Vec<u64> = entries
            .iter()
            .map(|entry| match entry {
                Entry::Row(row) => row.line,
                Entry::Bad(row) => row.line,
            })
            .collect();
        prop_assert!(lines.is_sorted_by(|one, next| one < next), "{:?}", lines);
    }

    #[test]
    fn any_bytes_at_all_are_read_or_refused(bytes in vec(any::<u8>(), 0..300), capacity in 1..50_usize) {
        let reader = BufReader::with_capacity(capacity, &bytes[..]);
        if let Ok(manifest) = Manifest::open(reader, &ManifestOptions::default()) {
            prop_assert!(manifest.count() <= bytes.len());
        }
    }

    #[test]
    fn no_reason_contains_a_control_character(fields in vec(TEXT, 2..5)) {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let text = [&b"org,note,image\n"[..], &record(b',', csv::Terminator::CRLF, &fields)].concat();
        for entry in read(&text, 4096, &ManifestOptions::default()).0 {
            if let Entry::Bad(bad) = entry {
                prop_assert!(!bad.reason.chars().any(char::is_control), "{:?}", bad.reason);
            }
        }
    }
}
