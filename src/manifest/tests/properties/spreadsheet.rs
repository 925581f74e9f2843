//! Manifests that went through spreadsheets, database clients and code pages: whatever was added, every row that was
//! written comes out once, at its line and with its own ids.

use std::io::BufReader;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::super::*;

/// One line of the file as it was meant.
#[derive(Clone, Debug)]
enum Meant {
    /// Ids, and another column in some code page.
    Row {
        ids: [String; 3],
        ward: Vec<u8>,
        padding: usize,
    },
    /// A row of so many empty fields, or of blanks; none is a blank line.
    Blank(usize, &'static str),
    HeaderAgain,
    Rule,
    /// A row without its image.
    Short {
        org: String,
        note: String,
    },
}

/// How the file was written.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own, and any of them go together")]
struct Style {
    delimiter: u8,
    end: &'static str,
    mark: bool,
    /// `sep=;` instead of the setting.
    sep_line: bool,
    quote_all: bool,
    /// Trailing empty fields are left out.
    trimmed: bool,
    /// The last line has no end.
    cut: bool,
}

const HEADER: [&[u8]; 4] = [b"org", b"Note ID", b"image", b"Stra\xdfe"];

fn meant() -> impl Strategy<Value = Meant> {
    const ID: &str = "[a-z0-9]([ -~éß\u{200b}]{0,5}[a-z0-9])?";
    let ward = vec(
        prop_oneof![
            4 => prop::sample::select(b"ab ,;|\t\"\r\n\xe4\xff".to_vec()),
            1 => any::<u8>(),
        ],
        0..6,
    );
    prop_oneof![
        6 => ("[a-z0-9]{1,5}", ID, ID, ward, 0..4_usize).prop_map(|(org, note, image, ward, padding)| {
            Meant::Row { ids: [org, note, image], ward, padding }
        }),
        2 => (0..7_usize, prop::sample::select(vec!["", " "])).prop_map(|(fields, text)| Meant::Blank(fields, text)),
        1 => Just(Meant::HeaderAgain),
        1 => Just(Meant::Rule),
        1 => ("[a-z]{1,5}", ID).prop_map(|(org, note)| Meant::Short { org, note }),
    ]
}

fn style() -> impl Strategy<Value = Style> {
    let delimiter = prop::sample::select(b",;\t|".to_vec());
    let end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
    let flags = any::<[bool; 5]>();
    (delimiter, end, flags).prop_map(|(delimiter, end, [mark, sep_line, quote_all, trimmed, cut])| Style {
        delimiter,
        end,
        mark,
        sep_line,
        quote_all,
        trimmed,
        cut,
    })
}

impl Style {
    fn line(self, fields: &[&[u8]]) -> Vec<u8> {
        let mut line = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                line.push(self.delimiter);
            }
            let special = |byte: &u8| matches!(byte, b'"' | b'\r' | b'\n') || *byte == self.delimiter;
            if self.quote_all || field.iter().any(special) {
                let doubled: Vec<u8> =
                    field.iter().flat_map(|byte| vec![*byte; 1 + usize::from(*byte == b'"')]).collect();
                line.extend([b"\"", &doubled[..], b"\""].concat());
            } else {
                line.extend(*field);
            }
        }
        line.extend(self.end.bytes());
        line
    }

    fn start(self) -> Vec<u8> {
        let mut text: Vec<u8> = if self.mark { "\u{feff}".into() } else { Vec::new() };
        if self.sep_line {
            text.extend([b"sep=", &[self.delimiter][..], self.end.as_bytes()].concat());
        }
        text.extend(self.line(&HEADER));
        text
    }

    fn row(self, meant: &Meant) -> Vec<u8> {
        match meant {
            Meant::Row { ids: [org, note, image], ward, padding } => {
                let mut fields = vec![org.as_bytes(), note.as_bytes(), image.as_bytes()];
                if !(self.trimmed && ward.is_empty()) {
                    fields.push(ward);
                    fields.extend(vec![&b""[..]; *padding]);
                }
                self.line(&fields)
            }
            Meant::Blank(0, _) => self.end.into(),
            Meant::Blank(fields, text) => self.line(&vec![text.as_bytes(); *fields]),
            Meant::HeaderAgain => self.line(&HEADER),
            Meant::Rule => self.line(&[b"---", b"--------", b"-----", b""]),
            Meant::Short { org, note } => self.line(&[org.as_bytes(), note.as_bytes()]),
        }
    }

    fn options(self) -> ManifestOptions {
        let delimiter = Some(self.delimiter).filter(|_| !self.sep_line);
        ManifestOptions { delimiter, ..ManifestOptions::default() }
    }
}

/// What must come out of one line, if anything.
fn expected(line: u64, meant: &Meant) -> Option<(u64, Result<[String; 3], &'static str>)> {
    let result = match meant {
        Meant::Blank(..) => return None,
        Meant::Row { ids, .. } => Ok(ids.clone()),
        Meant::HeaderAgain => Err("row is the header again"),
        Meant::Rule => Err("row is a line of dashes"),
        Meant::Short { .. } => Err("row has 2 fields, the header has 4"),
    };
    Some((line, result))
}

fn found(entry: &Entry) -> (u64, Result<[String; 3], &str>) {
    match entry {
        Entry::Row(row) => (row.line, Ok([row.org.to_string(), row.note.to_string(), row.image.to_string()])),
        Entry::Bad(bad) => (bad.line, Err(&bad.reason)),
    }
}

proptest! {
    #[test]
    fn every_row_comes_out_at_its_line_with_its_own_ids(
        all in vec(meant(), 0..15),
        style in style(),
        capacity in 1..100_usize,
    ) {
        let mut text = style.start();
        let mut wanted = Vec::new();
        for meant in &all {
            wanted.extend(expected(super::line_behind(&text), meant));
            text.extend(style.row(meant));
        }
        if style.cut && !matches!(all.last(), None | Some(Meant::Blank(0, _))) {
            text.truncate(text.len() - style.end.len());
        }
        let reader = BufReader::with_capacity(capacity, &text[..]);
        let mut manifest = Manifest::open(reader, &style.options()).expect("a manifest");
        prop_assert_eq!(manifest.header().raw(), HEADER.join(&b','));
        let entries: Vec<Entry> = manifest.by_ref().map(|entry| entry.expect("no I/O")).collect();
        let out: Vec<_> = entries.iter().map(found).collect();
        prop_assert_eq!(out, wanted, "{}", String::from_utf8_lossy(&text));
        // other columns come back byte for byte, as many as the header has
        let wards = all.iter().filter_map(|meant| match meant {
            Meant::Row { ids: [org, note, image], ward, .. } => {
                Some([org.as_bytes(), note.as_bytes(), image.as_bytes(), ward].map(<[u8]>::to_vec))
            }
            _ => None,
        });
        let raws = entries.iter().filter_map(|entry| match entry {
            Entry::Row(row) => Some(&row.raw),
            Entry::Bad(_) => None,
        });
        for (raw, fields) in raws.zip(wards) {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&raw[..]);
            let record = reader.byte_records().next().expect("a record").expect("no I/O");
            prop_assert_eq!(record.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), fields.to_vec());
        }
        // a warning names rows that came out, and no other line
        for warning in manifest.warnings() {
            let lines: Vec<u64> = entries.iter().map(|entry| found(entry).0).collect();
            prop_assert!(warning.lines.iter().all(|line| lines.contains(line)), "{:?}", warning);
        }
    }

    #[test]
    fn a_file_with_any_damage_is_read_or_refused(
        all in vec(meant(), 0..8),
        style in style(),
        cuts in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut text = style.start();
        for meant in &all {
            text.extend(style.row(meant));
        }
        for (index, byte) in cuts {
            let at = index.index(text.len());
            text[at] = byte;
        }
        if let Ok(manifest) = Manifest::open(&text[..], &style.options()) {
            prop_assert!(manifest.count() <= text.len());
        }
    }
}
