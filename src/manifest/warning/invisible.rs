//! Characters in ids that a reader does not see, or takes for others.
//!
//! Invariant: what is kept of them does not grow with the manifest, since there are not many more than 50.

use std::collections::BTreeSet;
use std::fmt;

/// Those that were found, shown as `U+00A0 (no-break space), U+2062`.
#[derive(Debug, Default)]
pub(super) struct Invisible(BTreeSet<char>);

impl Invisible {
    /// Takes note of those in an id.
    pub(super) fn note(&mut self, id: &str) {
        self.0.extend(of(id));
    }
}

impl fmt::Display for Invisible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, c) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            write!(f, "U+{:04X}", u32::from(*c))?;
            if let Some(name) = name(*c) {
                write!(f, " ({name})")?;
            }
        }
        Ok(())
    }
}

/// Those in an id: without a shape of their own, or blanks and hyphens that are easily taken for the ASCII ones.
pub(super) fn of(id: &str) -> impl Iterator<Item = char> {
    let is_one = |c: &char| {
        matches!(c,
            '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{2000}'..='\u{2011}'
            | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}')
    };
    // nearly all ids are ASCII, which is known faster
    let id = if id.is_ascii() { "" } else { id };
    id.chars().filter(is_one)
}

/// What those are called that editors and spreadsheets leave in a file.
fn name(c: char) -> Option<&'static str> {
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
