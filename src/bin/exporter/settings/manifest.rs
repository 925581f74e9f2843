//! Which manifest, and how it is read. An `Err` says what is allowed.

use std::path::Path;

use exporter::manifest::{ColumnNames, ManifestOptions, Source};
use exporter::options::OnBadRow;

use super::{Refusal, Sources, table};

/// The manifest's argument: its name in the help, and the id in the parser.
pub const MANIFEST: &str = "MANIFEST";

/// The manifest. It is missing only if the settings are to be shown.
pub fn source(sources: &Sources<'_>) -> Source {
    match sources.argument(MANIFEST) {
        Some(path) if path != "-" => Source::File(Path::new(&path).to_owned()),
        _ => Source::Stdin,
    }
}

/// Columns and delimiter.
pub fn options(sources: &Sources<'_>) -> Result<ManifestOptions, Refusal> {
    Ok(ManifestOptions {
        delimiter: sources.text(&table::DELIMITER, delimiter)?,
        columns: sources.text(&table::COLUMNS, columns)?.unwrap_or_default(),
        ..ManifestOptions::default()
    })
}

/// `stop` or `skip`.
pub fn on_bad_row(text: &str) -> Result<OnBadRow, String> {
    match text {
        "stop" => Ok(OnBadRow::Stop),
        "skip" => Ok(OnBadRow::Skip),
        _ => Err("write stop or skip".to_owned()),
    }
}

/// One character, or `tab`.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | br"\t" | b"\t" => Ok(b'\t'),
        [byte] if (byte.is_ascii_punctuation() || *byte == b' ') && *byte != b'"' => Ok(*byte),
        _ => {
            Err("give one ASCII character other than a letter, a digit or a quote, such as ';', or write tab"
                .to_owned())
        }
    }
}

/// `org=A,note=B,image=C`, or one or two of them.
fn columns(text: &str) -> Result<ColumnNames, String> {
    const SHAPE: &str = "write org=A,note=B,image=C, or one or two of them";
    let mut names = ColumnNames::default();
    for part in text.split(',') {
        let (role, header) = part.split_once('=').ok_or(SHAPE)?;
        let slot = match role.trim() {
            "org" => &mut names.org,
            "note" => &mut names.note,
            "image" => &mut names.image,
            _ => return Err(format!("'{role}' is not org, note or image; {SHAPE}")),
        };
        if header.trim().is_empty() {
            return Err(format!("the header of {role} is empty; {SHAPE}"));
        }
        if slot.replace(header.to_owned()).is_some() {
            return Err(format!("{role} is named twice; {SHAPE}"));
        }
    }
    let given = [&names.org, &names.note, &names.image];
    if (0..3).any(|at| given[at].is_some() && given[at + 1..].contains(&given[at])) {
        return Err(format!("one header cannot stand for two; {SHAPE}"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_one_character_or_a_tab_by_name() {
        for (text, byte) in
            [(",", b','), (";", b';'), ("|", b'|'), ("tab", b'\t'), ("\\t", b'\t'), ("\t", b'\t')]
        {
            assert_eq!(delimiter(text), Ok(byte), "{text}");
        }
        for text in ["", ",,", "\"", "a", "1", "ä", "\n", "\0"] {
            assert!(delimiter(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn columns_may_name_one_or_more() {
        let names = columns("image=File ID,org=a=b").expect("two of three");
        assert_eq!(
            (names.org.as_deref(), names.note.as_deref(), names.image.as_deref()),
            (Some("a=b"), None, Some("File ID"))
        );
    }

    #[test]
    fn columns_out_of_shape_are_refused() {
        for (text, part) in [
            ("", "write org=A"),
            ("org", "write org=A"),
            ("org=", "is empty"),
            ("clinic=A", "'clinic' is not org"),
            ("org=A,org=B", "named twice"),
            ("org=A,image=A", "stand for two"),
            ("org=A,", "write org=A"),
        ] {
            let error = columns(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
