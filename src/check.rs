//! Is a part the whole image, and an image at all: what its bytes are held against. Pure.

use crate::error::Failure;
use crate::image::{Format, not_an_image};
use crate::item::{Sha256, hex};
use crate::remote::Meta;
use crate::store::Part;

/// A part that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What the bytes were held against, in the order of the contract.
    pub by: Vec<String>,
    /// Of the final name.
    pub extension: &'static str,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Holds a part against everything that is known of the object. `wanted` is the manifest's hash.
///
/// # Errors
/// [`Failure::Broken`], [`Failure::Corrupt`] or [`Failure::NotAnImage`].
pub fn check(part: &Part, meta: &Meta, wanted: Option<Sha256>) -> Result<Checked, Failure> {
    let mut by = Vec::new();
    if let Some(length) = meta.length {
        if part.bytes != length {
            return Err(Failure::Corrupt(format!("{} of {length} bytes came", part.bytes)));
        }
        by.push("length".to_owned());
    }
    if let Some(kind) = not_an_image(&part.head, &meta.content_type) {
        return Err(Failure::NotAnImage(format!("{kind} came instead of an image")));
    }
    if let (Some(expected), Some(found)) = (meta.md5, part.md5) {
        if expected != found {
            return Err(Failure::Corrupt(format!(
                "the bytes have MD5 {}, the ETag is {}",
                hex(&found),
                hex(&expected)
            )));
        }
        by.push("etag-md5".to_owned());
    }
    for (algorithm, expected) in &meta.checksums {
        if let Some(found) = checksum(algorithm, part) {
            if found != *expected {
                let what = format!("the bytes have another {algorithm} checksum than the storage says");
                return Err(Failure::Corrupt(what));
            }
            by.push(format!("x-amz-checksum-{algorithm}"));
        }
    }
    if let Some(wanted) = wanted {
        if wanted != part.sha256 {
            let what = format!("the bytes have SHA-256 {}, the manifest asks for {wanted}", part.sha256);
            return Err(Failure::Corrupt(what));
        }
        by.push("manifest-sha256".to_owned());
    }
    let format = Format::of(&part.head);
    let mut warnings = Vec::new();
    match format.and_then(|format| format.has_end(&part.tail)) {
        Some(true) => by.push("image-end".to_owned()),
        Some(false) if by.is_empty() => {
            return Err(Failure::Corrupt(
                "the image has no end, and nothing vouches for its length".to_owned(),
            ));
        }
        Some(false) => {
            warnings.push("the image has no end; it is stored as the storage serves it".to_owned());
        }
        None => {}
    }
    if !meta.content_encoding.is_empty() {
        warnings.push(format!("stored as served, in Content-Encoding {}", meta.content_encoding));
    }
    let named = Format::of_content_type(&meta.content_type);
    if format.is_none() {
        warnings.push("the bytes are of no known image format".to_owned());
    }
    let extension = format.or(named).map_or("bin", Format::extension);
    Ok(Checked { by, extension, warnings })
}

/// The checksum of the part in base64, for the algorithms that were computed while it came.
fn checksum(algorithm: &str, part: &Part) -> Option<String> {
    match algorithm {
        "sha256" => Some(base64(&part.sha256.0)),
        "md5" => part.md5.map(|md5| base64(&md5)),
        _ => None,
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            if digit <= three.len() {
                text.push(char::from(ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest;

    fn part(bytes: &[u8]) -> Part {
        Part {
            path: "x.part".into(),
            file: tempfile::tempfile().expect("a file"),
            bytes: bytes.len() as u64,
            sha256: Sha256(sha2::Sha256::digest(bytes).into()),
            md5: Some(md5::Md5::digest(bytes).into()),
            head: bytes.to_vec(),
            tail: bytes.to_vec(),
        }
    }

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0 image \xff\xd9";
    const CUT: &[u8] = b"\xff\xd8\xff\xe0 ima";

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn everything_that_vouches_is_named_in_order() {
        let part = part(JPEG);
        let meta = Meta {
            length: Some(part.bytes),
            md5: part.md5,
            checksums: vec![
                ("sha256".to_owned(), base64(&part.sha256.0)),
                ("crc32".to_owned(), "AAAA".to_owned()),
            ],
            ..Meta::default()
        };
        let checked = check(&part, &meta, Some(part.sha256)).expect("whole");
        assert_eq!(checked.by.join("+"), "length+etag-md5+x-amz-checksum-sha256+manifest-sha256+image-end");
        assert_eq!((checked.extension, checked.warnings.len()), ("jpg", 0));
    }

    #[test]
    fn each_mismatch_is_found() {
        let part = part(JPEG);
        let wrong = [
            Meta { length: Some(part.bytes + 1), ..Meta::default() },
            Meta { md5: Some([0; 16]), ..Meta::default() },
            Meta { checksums: vec![("sha256".to_owned(), base64(&[0; 32]))], ..Meta::default() },
        ];
        for meta in wrong {
            assert!(matches!(check(&part, &meta, None), Err(Failure::Corrupt(_))), "{meta:?}");
        }
        let asked = check(&part, &Meta::default(), Some(Sha256([0; 32])));
        assert!(matches!(asked, Err(Failure::Corrupt(_))), "{asked:?}");
    }

    #[test]
    fn an_image_without_its_end_needs_something_else_that_vouches() {
        let part = part(CUT);
        assert!(matches!(check(&part, &Meta::default(), None), Err(Failure::Corrupt(_))));
        let meta = Meta { length: Some(part.bytes), ..Meta::default() };
        let checked = check(&part, &meta, None).expect("vouched for");
        assert_eq!((checked.by.join("+").as_str(), checked.warnings.len()), ("length", 1));
    }

    #[test]
    fn the_extension_is_that_of_the_bytes_before_that_of_the_content_type() {
        let typed = |kind: &str| Meta { content_type: kind.to_owned(), ..Meta::default() };
        let extension =
            |bytes: &[u8], kind| check(&part(bytes), &typed(kind), None).map(|it| it.extension).ok();
        assert_eq!(extension(JPEG, "image/png"), Some("jpg"));
        assert_eq!(extension(b"unknown", "image/png"), Some("png"));
        assert_eq!(extension(b"unknown", ""), Some("bin"));
        assert_eq!(extension(b"<html>", "image/png"), None);
    }
}
