//! How a value is written in a CSV report.
//!
//! Two rules that must not be mixed up: quoting, which a CSV reader undoes, for every field; and making a text
//! harmless, which changes it, for text from a server. Ids of the manifest are only ever quoted.
//! (`failed.csv` appends fields to a line of raw bytes, which the `csv` crate's writer cannot do.)

use std::borrow::Cow;
use std::io::{self, Write};

use crate::csv_field;
use crate::error::{CLEAN_LIMIT, clean, escape_controls};
use crate::item::hex;

/// One line of a CSV file, built field by field. Its buffer is reused for the next line.
#[derive(Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    started: bool,
}

impl Line {
    /// Starts the line with fields that are CSV already.
    pub fn raw(&mut self, fields: &[u8]) {
        self.comma();
        self.bytes.extend_from_slice(fields);
    }

    /// Adds a field, quoted if necessary (RFC 4180).
    pub fn field(&mut self, value: &[u8]) {
        self.comma();
        csv_field::push(&mut self.bytes, value);
    }

    pub fn text(&mut self, value: &str) {
        self.field(value.as_bytes());
    }

    /// Adds a number; `None` is an empty field.
    pub fn number(&mut self, value: Option<u64>) {
        self.comma();
        if let Some(value) = value {
            self.bytes.extend_from_slice(value.to_string().as_bytes());
        }
    }

    /// Adds bytes as lower-case hex digits.
    pub fn hex(&mut self, value: &[u8]) {
        self.comma();
        self.bytes.extend_from_slice(hex(value).as_bytes());
    }

    /// Adds empty fields.
    pub fn empty(&mut self, fields: usize) {
        (0..fields).for_each(|_| self.comma());
    }

    /// Ends the line and writes it.
    pub fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.bytes.push(b'\n');
        out.write_all(&self.bytes)?;
        self.bytes.clear();
        self.started = false;
        Ok(())
    }

    fn comma(&mut self) {
        if self.started {
            self.bytes.push(b',');
        }
        self.started = true;
    }
}

/// Checks all bytes without stopping early, which the compiler turns into vector code: this is most of the work.
fn all(bytes: &[u8], holds: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, &byte| all & holds(byte))
}

/// A text from a server, cleaned, and not a formula to a spreadsheet.
pub(super) fn from_server(text: &str) -> Cow<'_, str> {
    // one plain word, as nearly every content type and trace id is: nothing to clean
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_');
    if text.len() <= CLEAN_LIMIT && all(text.as_bytes(), plain) {
        return Cow::Borrowed(text);
    }
    let clean = clean(text);
    // a leading tab or carriage return, which also starts a formula, is escaped by now
    if clean.starts_with(['=', '+', '-', '@']) { format!("'{clean}").into() } else { clean.into() }
}

/// A text as received, except that control characters and direction marks are escaped.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    escape_controls(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(fields: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = Line::default();
        for field in fields {
            line.field(field);
        }
        line.end(&mut out).expect("a Vec takes everything");
        out
    }

    proptest! {
        #[test]
        fn a_csv_reader_gets_back_what_was_written(
            fields in proptest::collection::vec(proptest::collection::vec(
                prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..12), 2..6)
        ) {
            let line = line(&fields);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&line[..]);
            let records: Vec<_> = reader.byte_records().map(|record| record.expect("valid")).collect();
            prop_assert_eq!(records.len(), 1);
            prop_assert_eq!(records[0].iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), fields);
        }
    }

    #[test]
    fn a_formula_from_a_server_gets_an_apostrophe() {
        for (given, shown) in [
            ("=1+1", "'=1+1"),
            ("+x", "'+x"),
            ("-x", "'-x"),
            ("@x", "'@x"),
            ("\t=x", "\\u{9}=x"),
            ("\r\n", "\\u{d}\\u{a}"),
            ("a=b", "a=b"),
            ("image/jpeg", "image/jpeg"),
            ("", ""),
        ] {
            assert_eq!(from_server(given), shown, "{given:?}");
        }
    }

    #[test]
    fn a_long_word_from_a_server_is_cut_as_well() {
        assert_eq!(from_server(&"x".repeat(1000)).len(), CLEAN_LIMIT);
    }

    #[test]
    fn an_etag_is_written_as_received_but_for_characters_that_hide() {
        assert_eq!(visible("\"=9b2-3\""), "\"=9b2-3\"");
        assert_eq!(visible("W/\"a\r\n\u{85}b\""), "W/\"a\\u{d}\\u{a}\\u{85}b\"");
        assert_eq!(visible("\"\u{202e}a\""), "\"\\u{202e}a\"");
    }
}
