//! Tests of the manifest from outside: by example here, at random in `tests/properties.rs`.

mod properties;

use std::io::{self, BufReader, Read};

use super::*;
use crate::item::{ImageId, NoteId, OrgId};

fn entries(text: &[u8]) -> Vec<Entry> {
    let manifest = Manifest::open(text, &ManifestOptions::default()).expect("a manifest");
    manifest.map(|entry| entry.expect("no I/O")).collect()
}

fn rows(text: impl AsRef<[u8]>) -> Vec<Row> {
    let good = |entry| match entry {
        Entry::Row(row) => row,
        Entry::Bad(bad) => panic!("{bad:?}"),
    };
    entries(text.as_ref()).into_iter().map(good).collect()
}

/// Line and reason of the only row.
fn reason(row: impl AsRef<[u8]>) -> String {
    let text = [b"org,note,image,sha256,ward\n", row.as_ref()].concat();
    match &entries(&text)[..] {
        [Entry::Bad(bad)] => bad.reason.clone(),
        other => panic!("{other:?}"),
    }
}

fn refusal(text: impl AsRef<[u8]>) -> String {
    match Manifest::open(text.as_ref(), &ManifestOptions::default()) {
        Ok(manifest) => panic!("{:?}", manifest.header()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_row_has_its_ids_its_hash_and_its_own_columns() {
    let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let text = format!("ward;image id;note;sha256;org\n\"a,\"\"b\"\"\";007;é/n;{hash};o-1\n;i;n;;o\n");
    let options = ManifestOptions { delimiter: Some(b';'), ..ManifestOptions::default() };
    let mut manifest = Manifest::open(text.as_bytes(), &options).expect("a manifest");
    assert_eq!(manifest.header().raw(), b"ward,image id,note,sha256,org");
    let row = Row {
        line: 2,
        org: OrgId::new("o-1"),
        note: NoteId::new("é/n"),
        image: ImageId::new("007"),
        sha256: Sha256::from_hex(hash),
        raw: format!("\"a,\"\"b\"\"\",007,é/n,{hash},o-1").into_bytes(),
    };
    assert_eq!(manifest.next_entry().expect("no I/O"), Some(Entry::Row(row)));
    let Ok(Some(Entry::Row(row))) = manifest.next_entry() else { panic!("a row") };
    assert_eq!((row.sha256, row.raw), (None, b",i,n,,o".to_vec()));
    assert_eq!(manifest.next_entry().expect("no I/O"), None);
}

#[test]
fn lines_are_counted_through_blank_lines_quoted_line_ends_and_every_kind_of_end() {
    let text = "\r\n\norg,note,image,x\r\n\no,n,1,\"a\r\nb\nc\rd\"\r\r\no,n,2,\n\n\no,n,3,";
    let lines: Vec<(u64, String)> =
        rows(text).into_iter().map(|row| (row.line, row.image.to_string())).collect();
    assert_eq!(lines, [(5, "1".to_owned()), (10, "2".to_owned()), (13, "3".to_owned())]);
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_name() {
    assert_eq!(rows("\u{feff}org,note,image\no,n,i").len(), 1);
    assert_eq!(rows("\u{feff}\"org\",note,image\no,n,i").len(), 1);
    // One mark, not two: the second is text, however the bytes come.
    assert!(refusal("\u{feff}\u{feff}org,note,image\no,n,i").contains("found `\\u{feff}org`"));
}

#[test]
fn an_earlier_failed_csv_is_a_manifest_without_the_reasons() {
    let text = "org,note,image,x,error_code,error,attempts,advice\no,n,i,y,not_found,gone,1,none\n";
    assert_eq!(rows(text)[0].raw, b"o,n,i,y");
    let manifest = Manifest::open(text.as_bytes(), &ManifestOptions::default()).expect("a manifest");
    assert_eq!(manifest.header().raw(), b"org,note,image,x");
    assert_eq!(manifest.header().names(), ["org", "note", "image", "x"]);
    // Only all four, in this order and at the end, are reason columns.
    let text = "org,note,image,error_code,error,advice,attempts\no,n,i,1,2,3,4\n";
    assert_eq!(rows(text)[0].raw, b"o,n,i,1,2,3,4");
}

#[test]
fn an_earlier_index_csv_is_a_manifest_that_asks_for_its_hashes() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let columns = "path,bytes,sha256,content_type,stored_at";
    let text = format!("org,note,image,SHA-256,{columns}\no,n,i,{a},data/o/n/i.jpg,7,{b},image/jpeg,t\n");
    let row = &rows(&text)[0];
    assert_eq!(row.sha256, Sha256::from_hex(&b), "the hash of the index counts");
    assert_eq!(row.raw, text.lines().nth(1).expect("a row").as_bytes(), "nothing is lost");
    let manifest = Manifest::open(text.as_bytes(), &ManifestOptions::default()).expect("a manifest");
    assert_eq!(manifest.header().raw(), text.lines().next().expect("a header").as_bytes());
    assert_eq!(manifest.header().other_hashes(), [0; 0], "both are known");
    // as the rest of a failed.csv
    let text = format!(
        "org,note,image,{columns},error_code,error,attempts,advice\no,n,i,p,7,{b},,t,not_found,gone,1,none\n"
    );
    assert_eq!(rows(&text)[0].sha256, Sha256::from_hex(&b));
    // in another order they are columns like any others, and two hashes are one too many
    let text = format!("org,note,image,sha256,{columns},ward\no,n,i,,,,,,,\n");
    assert!(refusal(&text).contains("sha256"), "{}", refusal(&text));
}

#[test]
fn a_tsv_is_split_at_tabs_unless_a_delimiter_was_chosen() {
    let chosen = |delimiter, path: &str| {
        ManifestOptions { delimiter, ..ManifestOptions::default() }.for_file(Path::new(path)).delimiter()
    };
    assert_eq!(chosen(None, "a/list.TSV"), b'\t');
    assert_eq!(chosen(Some(b';'), "list.tsv"), b';');
    assert_eq!(chosen(None, "list.csv"), b',');
    assert_eq!(chosen(None, "-"), b',');
    let options = ManifestOptions::default().for_file(Path::new("list.tsv"));
    assert!(
        Manifest::open(&b"sep=;\norg;note;image\n"[..], &options).is_ok(),
        "the file knows better than its name"
    );
}

#[test]
fn a_delimiter_that_would_break_quotes_lines_or_characters_is_refused() {
    for delimiter in [b'"', b'\n', b'\r', 0, 0xc3] {
        let options = ManifestOptions { delimiter: Some(delimiter), ..ManifestOptions::default() };
        let refused = Manifest::open(&b"org,note,image\n"[..], &options).err();
        assert!(matches!(refused, Some(ManifestError::Delimiter)), "{delimiter}");
    }
}

#[test]
fn a_file_without_a_header_is_empty() {
    for text in ["", "\n", "\r\n\r\n", "\u{feff}", "\u{feff}\n"] {
        assert!(refusal(text).starts_with("it is empty"), "{text:?}");
    }
}

#[test]
fn the_error_for_utf_16_asks_for_utf_8() {
    let little: Vec<u8> = "org,note,image\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = "org,note,image\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for text in [&[b"\xff\xfe", &little[..]].concat(), &[b"\xfe\xff", &big[..]].concat(), &little, &big] {
        assert!(refusal(text).contains("UTF-8"), "{text:?}");
    }
}

#[test]
fn a_header_that_is_not_text_or_never_ends_is_refused() {
    assert!(refusal(b"org,not\xe9,image\n").starts_with("header on line 1 is not UTF-8"));
    assert!(refusal("\norg,note,\"image\no,n,i\n").starts_with("header on line 2 never ends"));
    assert!(refusal("a".repeat(2 << 20)).starts_with("header on line 1 never ends"));
}

#[test]
fn a_ragged_row_says_how_many_fields_it_has() {
    assert_eq!(reason("o,n"), "row has 2 fields, the header has 5");
    assert_eq!(reason("o"), "row has 1 field, the header has 5");
    assert_eq!(reason("o,n,i"), "row has 3 fields, the header has 5", "sha256 cannot be missing");
    assert_eq!(reason("o,n,i,,w,x"), "row has 6 fields, the header has 5");
    assert_eq!(reason("o,n,i,,w,,x"), "row has 7 fields, the header has 5");
}

#[test]
fn empty_fields_at_the_end_of_a_row_may_be_too_many_or_missing() {
    for (row, raw) in [
        ("o,n,i,x,y,,,", "o,n,i,x,y"),
        ("o,n,i,x,y,\"\"", "o,n,i,x,y"),
        ("o,n,i,x", "o,n,i,x,"),
        ("o,n,i", "o,n,i,,"),
    ] {
        let found = rows(format!("org,note,image,x,y\n{row}\n"));
        assert_eq!(String::from_utf8_lossy(&found[0].raw), raw, "{row}");
    }
    let [Entry::Bad(bad)] = &entries(b"x,org,note,y,image\nx,o,n,y\n")[..] else { panic!("one bad row") };
    assert_eq!(bad.reason, "row has 4 fields, the header has 5");
}

#[test]
fn a_row_of_empty_fields_is_a_blank_line() {
    let text = ",,\n\norg,note,image\n,,\no,n,1\n,,,,,\n\"\",\"\"\n,\no,n,2\n,,\n,,";
    let found: Vec<(u64, String)> =
        rows(text).into_iter().map(|row| (row.line, row.image.to_string())).collect();
    assert_eq!(found, [(5, "1".to_owned()), (9, "2".to_owned())]);
    assert!(refusal(",,\n,\n").starts_with("it is empty"));
}

#[test]
fn a_row_of_blanks_is_a_blank_line_and_a_blank_behind_the_last_column_is_no_value() {
    let text = "  \n , \norg,note,image\n , , \no,n,1, ,\n   \n\t\n\" \",\"\"\n\u{a0},,\n  ";
    let found = entries(text.as_bytes());
    let [Entry::Row(row), Entry::Bad(bad)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((row.line, &*row.raw), (5, &b"o,n,1"[..]));
    assert_eq!(bad.line, 9, "a no-break space is a character");
    assert_eq!(reason("--- , --- , ,"), "row is a line of dashes");
    assert!(refusal(" \n\t,\n").starts_with("it is empty"));
}

#[test]
fn the_line_for_excel_sets_the_delimiter() {
    for start in ["sep=;", "\u{feff}sep=;", "SEP=;", "\"sep=;\"", "sep=;;;", "sep=;,,", "\u{feff}\"sep=;\",,"]
    {
        let found = rows(format!("{start}\r\norg;note;image\r\no;n;a,b\r\n"));
        assert_eq!((found[0].line, found[0].image.as_str()), (3, "a,b"), "{start}");
    }
    assert_eq!(rows("sep=,\norg,note,image\no,n,i\n")[0].line, 3);
    assert_eq!(rows("sep=\t\norg\tnote\timage\no\tn\ti\n")[0].line, 3);
    let options = ManifestOptions { delimiter: Some(b';'), ..ManifestOptions::default() };
    let manifest = Manifest::open(&b"sep=;\norg;note;image\n"[..], &options).expect("a manifest");
    assert_eq!(manifest.header().names(), ["org", "note", "image"]);
    assert!(refusal("sep=;\n").starts_with("it is empty"));
    assert!(refusal("sep=\norg,note,image\n").contains("line 2 looks like the header"));
    assert!(refusal("sep=a\norg,note,image\n").contains("line 2 looks like the header"));
}

#[test]
fn a_delimiter_that_was_chosen_outranks_the_line_for_excel() {
    for (start, delimiter) in [("sep=;", b','), ("sep=,", b';'), ("sep=,,,", b';'), ("sep=\t", b'|')] {
        let chosen = char::from(delimiter).to_string();
        let text = format!("{start}\n{}", "org,note,image\no,n,i\n".replace(',', &chosen));
        let options = ManifestOptions { delimiter: Some(delimiter), ..ManifestOptions::default() };
        let mut manifest = Manifest::open(text.as_bytes(), &options).expect(start);
        let Ok(Some(Entry::Row(row))) = manifest.next_entry() else { panic!("{start}: a row") };
        assert_eq!((row.line, row.image.as_str()), (3, "i"), "{start}");
        // without the choice, the advice leads to it
        let told = refusal(&text);
        assert!(told.contains(&format!("--delimiter '{chosen}'")), "{start}: {told}");
    }
}

#[test]
fn a_header_below_a_title_is_pointed_out() {
    let told = refusal("UTF-8\norg,note,image\no,n,i\n");
    assert_eq!(told, "line 1 is no header, but line 2 looks like the header: remove the lines above it");
    for (text, line) in [
        ("Export of ward 3,,\n\n,,\norg,note,image\n", 4),
        ("patient,date\nOrg ID,Note ID,Image ID\n", 2),
        ("caf\u{e9}\norg,note,image,sha256\n", 2),
    ] {
        assert!(refusal(text).contains(&format!("line {line} looks like the header")), "{text:?}");
    }
    assert!(refusal(b"\xdcbersicht\norg,note,image\n").contains("line 2 looks like the header"));
    assert!(refusal("title\norg;note;image\n").ends_with("above it, and give --delimiter ';'"));
    assert!(refusal("title\no,n,i\n").contains("no column for org, note, image"));
    assert!(refusal(format!("title\n{}org,note,image\n", "x\n".repeat(30))).contains("no column"));
}

#[test]
fn a_repeated_header_and_a_line_of_dashes_are_bad_by_name() {
    assert_eq!(reason("org,note,image,sha256,ward"), "row is the header again");
    assert_eq!(reason("ORG, Note ,image"), "row is the header again");
    for header in [
        "\u{feff}org,note,image,sha256,ward",
        "\u{feff}\"org\",\"note\",\"image\"",
        "org_id,Note-ID,image id,sha256,station",
        "\u{feff}Organization,note,file_id,,",
        "note,org,image,,",
        "ward,org,note,image,",
    ] {
        assert_eq!(reason(header), "row is the header again", "{header}");
    }
    assert_eq!(rows("org,note,image\norg,note,i\norg,org,image\nimage,image,image\n").len(), 3, "ids");
    for line in [
        "-----",
        "---,----,-----,------,----",
        "----+----+---",
        "|---|:--:|",
        "=====,,,,",
        "\u{2500}\u{2500}",
    ] {
        assert_eq!(reason(line), "row is a line of dashes", "{line}");
    }
    assert_eq!(rows("org,note,image\n-,-,-\no,note,image\n--,n,i\n").len(), 3, "ids that can be fetched");
}

#[test]
fn a_compressed_file_is_named_as_one() {
    for (start, told) in [
        (&b"\x1f\x8b\x08\0\0"[..], "it is compressed (gzip): unpack it first"),
        (b"PK\x03\x04\x14\0", "it is compressed (zip, or a spreadsheet such as .xlsx): unpack it first"),
        (b"BZh91AY&SY", "it is compressed (bzip2)"),
        (b"\xfd7zXZ\0", "it is compressed (xz)"),
        (b"\x28\xb5\x2f\xfd", "it is compressed (zstd)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "it is compressed (a spreadsheet, .xls): save the spreadsheet"),
    ] {
        assert!(refusal(start).starts_with(told), "{told}");
    }
    assert!(!refusal("PKW,BZh,note").contains("compressed"));
}

#[test]
fn an_id_that_cannot_be_used_says_why_and_in_which_column() {
    assert_eq!(reason("o,,i,,"), "`note` is empty");
    assert_eq!(reason("o,n,..,,"), "`image` is `..`, which is no id");
    assert_eq!(reason("o,.,i,,"), "`note` is `.`, which is no id");
    assert_eq!(reason("o,n, i,,"), "`image` begins or ends with a blank");
    assert_eq!(reason("o,n\u{3000},i,,"), "`note` begins or ends with a blank");
    assert_eq!(reason("o,n,a\u{1b}[2J,,"), "`image` holds a control character (U+001B)");
    assert_eq!(reason("o,n,\"a\nb\",,"), "`image` holds a control character (U+000A)");
    assert_eq!(reason("o,n,a\u{85}b,,"), "`image` holds a control character (U+0085)");
    assert_eq!(
        reason(format!("o,n,{},,", "é".repeat(128))),
        "`image` has 256 bytes, at most 255 are allowed"
    );
    assert_eq!(rows(format!("org,note,image\no,n,{}é\n", "a".repeat(253))).len(), 1);
}

#[test]
fn an_organization_must_be_visible_ascii() {
    assert_eq!(
        reason("klinik ü,n,i,,"),
        "`org` holds U+0020, but must be visible ASCII to stand in a header"
    );
    assert_eq!(reason("ü,n,i,,"), "`org` holds U+00FC, but must be visible ASCII to stand in a header");
    assert_eq!(reason("\"o\r\nX: y\",n,i,,"), "`org` holds a control character (U+000D)");
}

#[test]
fn a_hash_must_be_64_hex_digits() {
    assert_eq!(reason("o,n,i,abc,"), "`sha256` is not 64 hex digits");
    assert_eq!(reason(format!("o,n,i,{} ,", "a".repeat(64))), "`sha256` is not 64 hex digits");
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_in_ids_and_shown_as_replacements() {
    assert_eq!(reason(b"o,n,i,\xff,"), "`sha256` is not UTF-8");
    // Two halves of one character, in two fields.
    assert_eq!(reason(b"o,n,i\xc3,,\xa9"), "`image` is not UTF-8");
    let [Entry::Bad(bad)] = &entries(b"org,note,image\no,a\xffb,i\n")[..] else { panic!("one bad row") };
    assert_eq!((&*bad.org, &*bad.note, &*bad.image), ("o", "a\u{fffd}b", "i"));
}

#[test]
fn other_columns_may_be_in_any_encoding_and_come_back_byte_for_byte() {
    let text = b"org,note,image,Gr\xf6\xdfe\no,n,i,\"\xe9,\xff\0\"\n";
    let mut manifest = Manifest::open(&text[..], &ManifestOptions::default()).expect("a manifest");
    assert_eq!(manifest.header().raw(), b"org,note,image,Gr\xf6\xdfe");
    let Ok(Some(Entry::Row(row))) = manifest.next_entry() else { panic!("a row") };
    assert_eq!(row.raw, b"o,n,i,\"\xe9,\xff\0\"");
}

#[test]
fn a_bad_row_has_its_ids_as_far_as_they_could_be_read() {
    let [Entry::Bad(bad)] = &entries(b"note,org,image\nn,o\n")[..] else { panic!("one bad row") };
    assert_eq!((bad.line, &*bad.org, &*bad.note, &*bad.image), (2, "o", "n", ""));
}

#[test]
fn a_quote_that_is_never_closed_turns_the_rest_into_one_bad_row() {
    let found = entries(b"org,note,image\no,n,1\no,n,\"2\no,n,3\no,n,4");
    let [Entry::Row(_), Entry::Bad(bad)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((bad.line, &*bad.org, &*bad.image), (3, "o", ""));
    assert_eq!(bad.reason, "row has a quote that is never closed");
    // A quote closed by the last byte is closed.
    assert_eq!(rows("org,note,image\no,n,\"2\"")[0].image.as_str(), "2");
}

#[test]
fn a_row_of_ten_megabytes_is_bad_and_the_next_one_is_read_at_its_line() {
    let inside = "0123456789abcde\n".repeat(10 << 16);
    let text = format!("org,note,image\no,n,\"{inside}\"\no,n,i\n");
    let found = entries(text.as_bytes());
    let [Entry::Bad(bad), Entry::Row(row)] = &found[..] else { panic!("two rows") };
    assert_eq!((bad.line, &*bad.org, &*bad.note, &*bad.image), (2, "o", "n", ""));
    assert_eq!(bad.reason, "row is longer than 1048576 bytes: is a quote not closed?");
    assert_eq!((row.line, row.image.as_str()), (3 + (10 << 16), "i"));
}

#[test]
fn the_longest_row_is_one_mebibyte_however_the_bytes_come() {
    for (longer, good) in [(0, true), (1, false)] {
        let text = format!("org,note,image,x\no,n,i,{}\no,n,j,\n", "x".repeat((1 << 20) - 6 + longer));
        for capacity in [1000, 1 << 22] {
            let reader = BufReader::with_capacity(capacity, text.as_bytes());
            let mut manifest = Manifest::open(reader, &ManifestOptions::default()).expect("a manifest");
            let first = manifest.next_entry().expect("no I/O").expect("a row");
            assert_eq!(matches!(first, Entry::Row(_)), good, "{longer} {capacity}");
            let second = manifest.next_entry().expect("no I/O").expect("a row");
            assert!(matches!(second, Entry::Row(row) if row.line == 3));
        }
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

#[test]
fn a_read_error_comes_out_once_and_ends_the_rows() {
    let reader = BufReader::new(b"org,note,image\no,n,1\no,n,".chain(Broken));
    let manifest = Manifest::open(reader, &ManifestOptions::default()).expect("a manifest");
    let found: Vec<bool> = manifest.map(|entry| entry.is_ok()).collect();
    assert_eq!(found, [true, false]);
    let error = Manifest::open(BufReader::new(Broken), &ManifestOptions::default()).err().expect("no header");
    assert_eq!(error.to_string(), "it cannot be read");
}

#[test]
fn a_row_may_have_any_number_of_columns() {
    let names: Vec<String> = (0..5000).map(|n| format!("c{n}")).collect();
    let text = format!("org,note,image,{}\no,n,i,{}\n", names.join(","), names.join(","));
    let rows = rows(text);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].image, ImageId::new("i"));
}

/// Yields its bytes one at a time, each after a signal has interrupted the read.
struct Interrupted<'a>(&'a [u8], bool);

impl Read for Interrupted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.0.read(&mut buffer[..1])
    }
}

#[test]
fn a_signal_during_a_read_changes_neither_rows_nor_fingerprint() {
    let text = b"org,note,image\no,n,i\n";
    let whole = fingerprint(&text[..]).expect("read");
    assert_eq!(fingerprint(Interrupted(text, false)).expect("read"), whole);
    let manifest = Manifest::open(BufReader::new(Interrupted(text, false)), &ManifestOptions::default());
    let mut manifest = manifest.expect("a manifest");
    assert!(matches!(manifest.next_entry(), Ok(Some(Entry::Row(_)))));
    assert_eq!(manifest.fingerprint().expect("read"), whole);
    let broken = fingerprint(io::Read::chain(&text[..], Broken));
    assert_eq!(broken.expect_err("an error of the medium").kind(), io::ErrorKind::Other);
}
