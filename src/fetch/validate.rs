//! Is a part the whole image, and an image at all: what its bytes are held against. Pure.

use crate::checksum::Algorithm;
use crate::error::Failure;
use crate::image::{Format, not_an_image};
use crate::item::{Sha256, hex};
use crate::remote::ObjectMeta;
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
pub fn check(part: &Part, meta: &ObjectMeta, wanted: Option<Sha256>) -> Result<Checked, Failure> {
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
    if let (Some(expected), Some(found)) = (meta.md5, part.digests.of(Algorithm::Md5)) {
        if expected != *found {
            return Err(Failure::Corrupt(format!(
                "the bytes have MD5 {}, the ETag is {}",
                hex(found),
                hex(&expected)
            )));
        }
        by.push("etag-md5".to_owned());
    }
    for checksum in &meta.checksums {
        let name = checksum.algorithm.name();
        match part.digests.matches(checksum) {
            Some(true) => by.push(format!("x-amz-checksum-{name}")),
            Some(false) if meta.of_range => {
                let what = format!("the {name} checksum of the continued download may be that of its range");
                return Err(Failure::PartUnusable(what));
            }
            Some(false) => {
                let what = format!("the bytes have another {name} checksum than the storage says");
                return Err(Failure::Corrupt(what));
            }
            None => {}
        }
    }
    if let Some(wanted) = wanted {
        if wanted != part.digests.sha256 {
            let what =
                format!("the bytes have SHA-256 {}, the manifest asks for {wanted}", part.digests.sha256);
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
    if by.is_empty() {
        warnings.push("nothing vouches that these are all bytes: no length, MD5 or checksum came".to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use crate::checksum::{Checksum, MultiHasher};

    fn part(bytes: &[u8]) -> Part {
        let mut hashes = MultiHasher::new(&Algorithm::ALL);
        hashes.update(bytes);
        Part {
            path: "x.part".into(),
            file: tempfile::tempfile().expect("a file"),
            bytes: bytes.len() as u64,
            digests: hashes.finish(),
            head: bytes.to_vec(),
            tail: bytes.to_vec(),
        }
    }

    fn md5(part: &Part) -> [u8; 16] {
        part.digests.of(Algorithm::Md5).expect("computed").try_into().expect("16 bytes")
    }

    /// That the part has, or (flipped) has not.
    fn checksum(part: &Part, algorithm: Algorithm, flipped: bool) -> Checksum {
        let mut value = part.digests.of(algorithm).expect("computed").to_vec();
        value[0] ^= u8::from(flipped);
        Checksum::read(algorithm, &STANDARD.encode(&value)).expect("one")
    }

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0 image \xff\xd9";
    const CUT: &[u8] = b"\xff\xd8\xff\xe0 ima";

    #[test]
    fn everything_that_vouches_is_named_in_order() {
        let part = part(JPEG);
        let meta = ObjectMeta {
            length: Some(part.bytes),
            md5: Some(md5(&part)),
            checksums: Algorithm::ALL.map(|one| checksum(&part, one, false)).to_vec(),
            ..ObjectMeta::default()
        };
        let checked = check(&part, &meta, Some(part.digests.sha256)).expect("whole");
        assert_eq!(
            checked.by.join("+"),
            "length+etag-md5+x-amz-checksum-sha256+x-amz-checksum-sha512+x-amz-checksum-sha1\
             +x-amz-checksum-md5+x-amz-checksum-crc32+x-amz-checksum-crc32c+x-amz-checksum-crc64nvme\
             +manifest-sha256+image-end"
        );
        assert_eq!((checked.extension, checked.warnings.len()), ("jpg", 0));
    }

    #[test]
    fn what_was_not_computed_is_not_named() {
        let mut few = part(JPEG);
        few.digests = MultiHasher::new(&[]).finish();
        let meta = ObjectMeta {
            checksums: vec![checksum(&part(JPEG), Algorithm::Crc32, false)],
            ..ObjectMeta::default()
        };
        assert_eq!(check(&few, &meta, None).expect("an image").by, ["image-end"]);
    }

    #[test]
    fn each_mismatch_is_found() {
        let part = part(JPEG);
        let length = ObjectMeta { length: Some(part.bytes + 1), ..ObjectMeta::default() };
        let etag = ObjectMeta { md5: Some([0; 16]), ..ObjectMeta::default() };
        let sums = Algorithm::ALL
            .map(|one| ObjectMeta { checksums: vec![checksum(&part, one, true)], ..ObjectMeta::default() })
            .into_iter();
        for meta in [length, etag].into_iter().chain(sums) {
            assert!(matches!(check(&part, &meta, None), Err(Failure::Corrupt(_))), "{meta:?}");
        }
        let asked = check(&part, &ObjectMeta::default(), Some(Sha256([0; 32])));
        assert!(matches!(asked, Err(Failure::Corrupt(_))), "{asked:?}");
    }

    #[test]
    fn the_checksum_of_a_range_condemns_nothing_but_the_continuation() {
        let part = part(JPEG);
        let with = |flipped| ObjectMeta {
            checksums: vec![checksum(&part, Algorithm::Crc32, flipped)],
            of_range: true,
            ..ObjectMeta::default()
        };
        assert!(matches!(check(&part, &with(true), None), Err(Failure::PartUnusable(_))));
        assert_eq!(
            check(&part, &with(false), None).expect("whole").by,
            ["x-amz-checksum-crc32", "image-end"]
        );
    }

    #[test]
    fn an_image_that_nothing_vouches_for_is_stored_with_a_word_about_it() {
        let gif = check(&part(b"GIF89a and what may be half of it"), &ObjectMeta::default(), None)
            .expect("an image");
        assert!(gif.by.is_empty());
        assert!(gif.warnings[0].contains("nothing vouches"), "{:?}", gif.warnings);
        let jpeg = check(&part(JPEG), &ObjectMeta::default(), None).expect("an image");
        assert_eq!((jpeg.by.join("+").as_str(), jpeg.warnings.len()), ("image-end", 0));
    }

    #[test]
    fn unknown_bytes_and_an_encoding_are_named_in_warnings() {
        let meta =
            ObjectMeta { content_encoding: "gzip".to_owned(), length: Some(7), ..ObjectMeta::default() };
        let checked = check(&part(b"unknown"), &meta, None).expect("stored");
        assert_eq!(checked.extension, "bin");
        assert_eq!(
            checked.warnings,
            ["stored as served, in Content-Encoding gzip", "the bytes are of no known image format"]
        );
    }

    #[test]
    fn an_image_without_its_end_needs_something_else_that_vouches() {
        let part = part(CUT);
        assert!(matches!(check(&part, &ObjectMeta::default(), None), Err(Failure::Corrupt(_))));
        let meta = ObjectMeta { length: Some(part.bytes), ..ObjectMeta::default() };
        let checked = check(&part, &meta, None).expect("vouched for");
        assert_eq!((checked.by.join("+").as_str(), checked.warnings.len()), ("length", 1));
    }

    #[test]
    fn the_extension_is_that_of_the_bytes_before_that_of_the_content_type() {
        let typed = |kind: &str| ObjectMeta { content_type: kind.to_owned(), ..ObjectMeta::default() };
        let extension =
            |bytes: &[u8], kind| check(&part(bytes), &typed(kind), None).map(|it| it.extension).ok();
        assert_eq!(extension(JPEG, "image/png"), Some("jpg"));
        assert_eq!(extension(b"unknown", "image/png"), Some("png"));
        assert_eq!(extension(b"unknown", ""), Some("bin"));
        assert_eq!(extension(b"<html>", "image/png"), None);
    }
}
