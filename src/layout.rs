//! Ids → safe, distinct paths below the export folder.
//!
//! Invariant: two different ids never have the same segment, and no segment leaves its folder, is hidden, or is a
//! name that Windows keeps for a device. Pure: it does not know which names are taken. On a file system that
//! ignores case two natural segments may still meet; the ledger remembers which id owns a [`fold`]ed segment and
//! gives the second its [`hashed`] form.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::item::{NoteId, OrgId, hex};

/// Longest segment, in bytes. File systems hold 255; an image's name still gets `.` and an extension, and ten are
/// left for whoever copies the tree and adds `.partial` or `.gpg`.
pub const MAX_SEGMENT: usize = 240;

/// How much of the natural segment stands before the hash, at most. It is for the eye only: a UUID fits, and a
/// path of three hashed segments still fits the 260 bytes that old Windows programs can open with a short root.
pub const MAX_PREFIX: usize = 40;

/// Hash digits of a hashed segment: 128 bits, so that two ids meet by chance in no archive of this world.
const HASH_DIGITS: usize = 32;

/// The natural segment of an id, which [`decode`] reads back.
///
/// `A-Z a-z 0-9 . _ -` stay, every other byte is `=XX` in upper-case hex, as are a `.` at either end (hidden on
/// Unix, dropped on Windows) and the first letter of a name that Windows keeps for a device. It may be too long: see
/// [`needs_hash`]. An id is never empty; the segment of `""` would be no name.
#[must_use]
pub fn segment(id: &str) -> String {
    let last = id.len().saturating_sub(1);
    let mut segment = String::with_capacity(id.len() + 6);
    for (index, byte) in id.bytes().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => segment.push(char::from(byte)),
            b'.' if index != 0 && index != last => segment.push('.'),
            _ => push_escape(&mut segment, byte),
        }
    }
    if let (true, Some(first)) = (is_device(&segment), segment.bytes().next()) {
        let rest = segment.split_off(1);
        segment.clear();
        push_escape(&mut segment, first);
        segment.push_str(&rest);
    }
    segment
}

/// The id of a natural segment; `None` for a hashed one, and for any text that [`segment`] does not give.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let id = String::from_utf8(bytes).ok()?;
    // One id has one spelling: `=41` and `=2f` are nobody's.
    (!id.is_empty() && segment(&id) == text).then_some(id)
}

/// Whether a natural segment is too long to be a file's name.
#[must_use]
pub fn needs_hash(segment: &str) -> bool {
    segment.len() > MAX_SEGMENT
}

/// The segment of an id whose natural one is too long, or whose folded one another id owns.
///
/// The beginning of the natural segment, cut between two escapes, at most [`MAX_PREFIX`] bytes; `=h`; the first 16
/// bytes of the id's SHA-256 in lower-case hex. `=h` is no escape, so this is never a natural segment of any id; and
/// since the hash has no upper case, two of these differ in their folded form, too.
#[must_use]
pub fn hashed(id: &str) -> String {
    let mut segment = segment(id);
    segment.truncate(MAX_PREFIX);
    // An escape has three bytes; one that began in the last two of the prefix is cut in its middle.
    if let Some(begun) = segment.bytes().rev().take(2).position(|byte| byte == b'=') {
        segment.truncate(segment.len() - 1 - begun);
    }
    segment.push_str("=h");
    let digits = hex(&Sha256::digest(id));
    segment.push_str(&digits[..HASH_DIGITS]);
    segment
}

/// A segment as a file system that ignores case sees it: what an id owns.
#[must_use]
pub fn fold(segment: &str) -> String {
    // Segments are ASCII, so no Unicode rule of any file system comes in.
    segment.to_ascii_lowercase()
}

/// A stable 64-bit name for the place of an image: the first 8 bytes, big-endian, of the SHA-256 over
/// organization, note and folded image segment, each behind its length (64 bits, little-endian).
///
/// The ledger stores it, so it must never change. It is short enough to be an `SQLite` integer key; two places may
/// share a key by chance (3 in 10⁸ that any two do among a million images), so it finds candidates and proves nothing.
#[must_use]
pub fn key(org: &OrgId, note: &NoteId, folded_image: &str) -> i64 {
    let mut digest = Sha256::new();
    for part in [org.as_str(), note.as_str(), folded_image] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&digest.finalize()[..8]);
    i64::from_be_bytes(first)
}

/// Path of an image without its extension, relative to the export folder, with `/` on every system.
#[must_use]
pub fn path(org_segment: &str, note_segment: &str, image_segment: &str) -> String {
    format!("data/{org_segment}/{note_segment}/{image_segment}")
}

/// The final path. `extension` holds no `.`, so that different stems stay different whatever their extensions.
#[must_use]
pub fn with_extension(stem: &str, extension: &str) -> String {
    format!("{stem}.{extension}")
}

/// A text for the log, where a row is named by its line: note and image are taken out of the paths below `root`.
#[must_use]
pub fn without_names(text: &str, root: &Path) -> String {
    let start = root.join("data").display().to_string() + "/";
    let in_segment = |byte: u8| byte.is_ascii_alphanumeric() || b"._-=".contains(&byte);
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&start) {
        let (before, names) = rest.split_at(at + start.len());
        let org = names.bytes().take_while(|byte| in_segment(*byte)).count();
        let below = names.bytes().skip(org).take_while(|byte| in_segment(*byte) || *byte == b'/').count();
        safe.push_str(before);
        safe.push_str(&names[..org]);
        if below > 1 {
            safe.push_str("/...");
        }
        rest = &names[org + below..];
    }
    safe + rest
}

fn push_escape(segment: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    segment.push('=');
    segment.push(char::from(DIGITS[usize::from(byte >> 4)]));
    segment.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Names that Windows keeps for devices in every folder, in any case and whatever follows a dot (Microsoft, "Naming
/// Files, Paths, and Namespaces"). `CONIN$` and `COM¹` are not here: their `$` and `¹` are escaped anyway.
fn is_device(segment: &str) -> bool {
    let name = segment.split('.').next().unwrap_or_default().to_ascii_lowercase();
    match name.as_bytes() {
        b"con" | b"prn" | b"aux" | b"nul" => true,
        [b'c', b'o', b'm', digit] | [b'l', b'p', b't', digit] => matches!(digit, b'1'..=b'9'),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
