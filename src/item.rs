//! The nouns: who an image belongs to, and what is known of it once it is delivered.
//!
//! Ids are opaque text, never numbers and never normalised: `001` and `1` are two ids. Each kind has its own
//! type, so that an organization cannot be passed where a note is wanted. This file does no I/O.

use std::fmt;

use serde::Serialize;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it stands in the manifest.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The id as it stands in the manifest.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// The clinic, sent as `X-Organization-Id`.
    OrgId
);
id!(
    /// The note (visit) that holds the image.
    NoteId
);
id!(
    /// The image file.
    ImageId
);

/// A SHA-256, shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Reads 64 hex digits of either case; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

/// Reads `2 · N` hex digits of either case; `None` for anything else.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-case hex digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// One image that is wanted: a row of the manifest on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Position of the row in the manifest, from 1: its name in the ledger.
    pub seq: i64,
    /// Line of the manifest on which the row begins (the header is line 1): its name in logs.
    pub line: u64,
    /// The clinic.
    pub org: OrgId,
    /// The visit.
    pub note: NoteId,
    /// The image.
    pub image: ImageId,
    /// The hash that the manifest asks for, if it does.
    pub wanted: Option<Sha256>,
    /// Final path without its extension, relative to the export folder: `data/<org>/<note>/<image>`.
    pub stem: String,
    /// Name of this image's part file in the state folder.
    pub part: String,
    /// What was delivered before, if it has to be fetched again.
    pub replaces: Option<Earlier>,
}

/// The delivery of an image that a new one replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Relative to the export folder.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// Of the bytes that were delivered.
    pub sha256: Sha256,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sha256_reads_either_case_and_writes_lower_case() {
        let text = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";
        let hash = Sha256::from_hex(text).expect("64 hex digits");
        assert_eq!(hash.to_string(), text.to_lowercase());
    }

    #[test]
    fn a_sha256_of_the_wrong_length_or_alphabet_is_refused() {
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"ä".repeat(32)] {
            assert_eq!(Sha256::from_hex(text), None, "{text}");
        }
    }
}
