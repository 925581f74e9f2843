//! What vouches for an image, what condemns it, and what is only a warning.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::checksum::{Checksum, MultiHasher};
use crate::image::EndFinder;

fn part(bytes: &[u8]) -> Part {
    let mut hashes = MultiHasher::new(&Algorithm::ALL);
    hashes.update(bytes);
    let mut end = EndFinder::default();
    end.update(bytes);
    Part {
        path: "x.part".into(),
        file: tempfile::tempfile().expect("a file"),
        bytes: bytes.len() as u64,
        digests: hashes.finish(),
        head: bytes.to_vec(),
        end,
    }
}

fn md5(part: &Part) -> [u8; 16] {
    part.digests.of(Algorithm::Md5).expect("computed").try_into().expect("16 bytes")
}

/// That the part has, or (flipped) has not.
fn checksum(part: &Part, algorithm: Algorithm, flipped: bool) -> Checksum {
    let mut value = part.digests.of(algorithm).expect("computed").to_vec();
    value[0] ^= u8::from(flipped);
    Checksum::read(algorithm, &STANDARD.encode(value)).expect("one")
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
    let validated = validate(&part, &meta, Some(part.digests.sha256)).expect("whole");
    assert_eq!(
        validated.by.join("+"),
        "length+etag-md5+x-amz-checksum-sha256+x-amz-checksum-sha512+x-amz-checksum-sha1\
         +x-amz-checksum-md5+x-amz-checksum-crc32+x-amz-checksum-crc32c+x-amz-checksum-crc64nvme\
         +manifest-sha256+image-end"
    );
    assert_eq!((validated.extension, validated.warnings.len()), ("jpg", 0));
}

#[test]
fn what_was_not_computed_is_not_named() {
    let mut few = part(JPEG);
    few.digests = MultiHasher::new(&[]).finish();
    let meta = ObjectMeta {
        checksums: vec![checksum(&part(JPEG), Algorithm::Crc32, false)],
        ..ObjectMeta::default()
    };
    assert_eq!(validate(&few, &meta, None).expect("an image").by, ["image-end"]);
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
        assert!(matches!(validate(&part, &meta, None), Err(Failure::Corrupt(_))), "{meta:?}");
    }
    let asked = validate(&part, &ObjectMeta::default(), Some(Sha256([0; 32])));
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
    assert!(matches!(validate(&part, &with(true), None), Err(Failure::PartUnusable(_))));
    assert_eq!(validate(&part, &with(false), None).expect("whole").by, ["x-amz-checksum-crc32", "image-end"]);
}

#[test]
fn an_image_that_nothing_vouches_for_is_stored_with_a_word_about_it() {
    let gif = validate(&part(b"GIF89a and what may be half of it"), &ObjectMeta::default(), None)
        .expect("an image");
    assert!(gif.by.is_empty());
    assert!(gif.warnings[0].contains("nothing vouches"), "{:?}", gif.warnings);
    let jpeg = validate(&part(JPEG), &ObjectMeta::default(), None).expect("an image");
    assert_eq!((jpeg.by.join("+").as_str(), jpeg.warnings.len()), ("image-end", 0));
}

#[test]
fn unknown_bytes_and_an_encoding_are_named_in_warnings() {
    let meta = ObjectMeta { content_encoding: "gzip".to_owned(), length: Some(7), ..ObjectMeta::default() };
    let validated = validate(&part(b"unknown"), &meta, None).expect("stored");
    assert_eq!(validated.extension, "bin");
    assert_eq!(
        validated.warnings,
        ["stored as served, in Content-Encoding gzip", "the bytes are of no known image format"]
    );
}

#[test]
fn an_image_without_its_end_needs_something_else_that_vouches() {
    let part = part(CUT);
    assert!(matches!(validate(&part, &ObjectMeta::default(), None), Err(Failure::Corrupt(_))));
    let length = ObjectMeta { length: Some(part.bytes), ..ObjectMeta::default() };
    let validated = validate(&part, &length, None).expect("vouched for");
    assert_eq!((validated.by.join("+").as_str(), validated.warnings.len()), ("length", 1));
    assert!(validated.warnings[0].contains("has no end"), "{:?}", validated.warnings);
}

#[test]
fn a_missing_end_is_no_warning_if_a_hash_vouches_for_the_bytes() {
    let part = part(CUT);
    let etag = ObjectMeta { md5: Some(md5(&part)), ..ObjectMeta::default() };
    let sum = ObjectMeta {
        checksums: vec![checksum(&part, Algorithm::Crc64Nvme, false)],
        length: Some(part.bytes),
        ..ObjectMeta::default()
    };
    for (meta, wanted, by) in [
        (etag, None, "etag-md5"),
        (sum, None, "length+x-amz-checksum-crc64nvme"),
        (ObjectMeta::default(), Some(part.digests.sha256), "manifest-sha256"),
    ] {
        let validated = validate(&part, &meta, wanted).expect("vouched for");
        assert_eq!((validated.by.join("+").as_str(), validated.warnings), (by, vec![]));
    }
}

#[test]
fn a_hash_that_matches_wins_over_an_etag_that_only_looks_like_an_md5() {
    let part = part(JPEG);
    let bad_sum = checksum(&part, Algorithm::Crc32c, true);
    let of = |checksums| ObjectMeta { md5: Some([7; 16]), checksums, ..ObjectMeta::default() };
    let sum = of(vec![checksum(&part, Algorithm::Crc32, false)]);
    assert_eq!(validate(&part, &sum, None).expect("whole").by, ["x-amz-checksum-crc32", "image-end"]);
    let hash = validate(&part, &of(vec![]), Some(part.digests.sha256)).expect("whole");
    assert_eq!(hash.by, ["manifest-sha256", "image-end"]);
    let asked = Some(Sha256([0; 32]));
    for (meta, wanted) in [(of(vec![]), None), (of(vec![bad_sum]), None), (sum, asked)] {
        assert!(matches!(validate(&part, &meta, wanted), Err(Failure::Corrupt(_))), "{meta:?}");
    }
}

#[test]
fn the_extension_is_that_of_the_bytes_before_that_of_the_content_type() {
    let typed = |kind: &str| ObjectMeta { content_type: kind.to_owned(), ..ObjectMeta::default() };
    let extension =
        |bytes: &[u8], kind| validate(&part(bytes), &typed(kind), None).map(|it| it.extension).ok();
    assert_eq!(extension(JPEG, "image/png"), Some("jpg"));
    assert_eq!(extension(b"unknown", "image/png"), Some("png"));
    assert_eq!(extension(b"unknown", ""), Some("bin"));
    assert_eq!(extension(b"<html>", "image/png"), None);
}
