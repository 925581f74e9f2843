//! Ids → safe, distinct paths below the export folder.
//!
//! Invariant: two different ids never have the same segment, and no segment leaves its folder, is hidden, or is a
//! name that Windows reserves for a device. Pure: it does not know which names are taken. On a file system that
//! ignores case two natural segments may still collide; the ledger records which id owns a [`fold`]ed segment and
//! gives the second id its [`hashed`] form.
//!
//! ```
//! use exporter::layout;
//!
//! let stem = layout::path("clinic-1", &layout::segment("2024/03"), &layout::segment("scan.1"));
//! assert_eq!(layout::with_extension(&stem, "jpg"), "data/clinic-1/2024=2F03/scan.1.jpg");
//! assert_eq!(layout::decode("2024=2F03").as_deref(), Some("2024/03"));
//! assert_ne!(layout::fold(&layout::hashed("Scan")), layout::fold(&layout::hashed("SCAN")));
//! ```

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::item::{NoteId, OrgId, hex};

/// Longest segment, in bytes. File systems allow 255; an image's name still gets `.` and an extension, and ten bytes
/// are left for tools that copy the tree and append `.partial` or `.gpg`.
pub const MAX_SEGMENT: usize = 240;

/// Longest beginning of the natural segment before the hash, in bytes. It only helps people: a UUID fits, and with a
/// short root, a path of three hashed segments still fits the 260 bytes that old Windows programs can open.
pub const MAX_PREFIX: usize = 40;

/// Hash digits of a hashed segment: 128 bits, so that no two ids collide by chance in any real archive.
const HASH_DIGITS: usize = 32;

/// The natural segment of an id, which [`decode`] reads back.
///
/// `A-Z a-z 0-9 . _ -` stay; every other byte becomes `=XX` in upper-case hex, as do a `.` at either end (hidden on
/// Unix, dropped on Windows) and the first letter of a name that Windows reserves for a device. It may be too long:
/// see [`needs_hash`]. An id is never empty; the segment of `""` would not be a name.
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

/// The id of a natural segment; `None` for a hashed one, and for any text that [`segment`] does not return.
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
    // One id has one spelling: `=41` and `=2f` belong to no id.
    (!id.is_empty() && segment(&id) == text).then_some(id)
}

/// Whether a natural segment is too long for a file name.
#[must_use]
pub fn needs_hash(segment: &str) -> bool {
    segment.len() > MAX_SEGMENT
}

/// The segment of an id whose natural one is too long, or collides with that of another id when folded.
///
/// The beginning of the natural segment, cut between two escapes, at most [`MAX_PREFIX`] bytes; `=h`; the first 16
/// bytes of the id's SHA-256 in lower-case hex. `=h` is no escape, so this is never a natural segment of any id; and
/// since the hash has no upper case, two of these differ in their folded form, too.
#[must_use]
pub fn hashed(id: &str) -> String {
    let mut segment = segment(id);
    segment.truncate(MAX_PREFIX);
    // An escape has three bytes; one that starts in the last two of the prefix would be cut in its middle.
    if let Some(after) = segment.bytes().rev().take(2).position(|byte| byte == b'=') {
        segment.truncate(segment.len() - 1 - after);
    }
    segment.push_str("=h");
    let digits = hex(&Sha256::digest(id));
    segment.push_str(&digits[..HASH_DIGITS]);
    segment
}

/// A segment as a file system that ignores case sees it: what an id owns.
#[must_use]
pub fn fold(segment: &str) -> String {
    // Segments are ASCII, so no file system's Unicode rules apply.
    segment.to_ascii_lowercase()
}

/// A stable 64-bit key of an image's path: the first 8 bytes, big-endian, of the SHA-256 over
/// organization, note and folded image segment, each after its length (64 bits, little-endian).
///
/// The ledger stores it, so it must never change. It is short enough to be an SQLite integer key; two paths may
/// share a key by chance (3 in 10⁸ that any two of a million images do), so it finds candidates and proves nothing.
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

/// The final path. `extension` contains no `.`, so that different stems stay different whatever their extensions.
#[must_use]
pub fn with_extension(stem: &str, extension: &str) -> String {
    format!("{stem}.{extension}")
}

/// A text for the log without note and image ids: they are cut out of the paths below `root`. The log names a row by
/// its line.
#[must_use]
pub fn without_names(text: &str, root: &Path) -> String {
    let delivered = root.join("data").display().to_string() + "/";
    names_cut_below(&names_cut_below(text, &delivered), REPLACED)
}

/// Where files that somebody edited are moved before they are replaced, relative to the export folder.
pub(crate) const REPLACED: &str = "replaced/";

fn names_cut_below(text: &str, start: &str) -> String {
    let in_segment = |byte: u8| byte.is_ascii_alphanumeric() || b"._-=".contains(&byte);
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(start) {
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

/// Names that Windows reserves for devices in every folder, in any case and whatever follows a dot (Microsoft, "Naming
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
