//! The object's headers → [`ObjectMeta`]. Pure.

use reqwest::header::{ETAG, HeaderMap};

use crate::checksum::{Algorithm, Checksum};
use crate::error::clean;
use crate::item::unhex;
use crate::remote::ObjectMeta;
use crate::remote::http::header_text;

const CHECKSUM_TYPE: &str = "x-amz-checksum-type";
/// S3's ETags have 34 to 40 characters. A longer one than this is dropped: the ledger stores one for every image.
const ETAG_MAX: usize = 1024;

/// What the headers say, but for the host, and for the length, which is known from the framing of the body.
pub(super) fn read(headers: &HeaderMap) -> ObjectMeta {
    let mut etag = header_text(headers, ETAG.as_str());
    if etag.len() > ETAG_MAX {
        etag.clear();
    }
    let encrypted = header_text(headers, "x-amz-server-side-encryption");
    let customer_key = headers.contains_key("x-amz-server-side-encryption-customer-algorithm");
    let plain = matches!(&*encrypted, "" | "AES256") && !customer_key;
    ObjectMeta {
        host: String::new(),
        length: None,
        md5: plain.then(|| md5_of(&etag)).flatten(),
        content_type: header_text(headers, "content-type"),
        content_encoding: content_encoding(headers),
        checksums: checksums(headers),
        of_range: false,
        etag,
    }
}

/// Whether the checksums are those of the whole object by the storage's own word.
pub(super) fn is_full_object(headers: &HeaderMap) -> bool {
    header_text(headers, CHECKSUM_TYPE).eq_ignore_ascii_case("full_object")
}

/// `aws-chunked` says how the object was uploaded, `identity` means none: neither changes the bytes.
fn content_encoding(headers: &HeaderMap) -> String {
    let value = header_text(headers, "content-encoding");
    let is_none =
        |one: &&str| ["", "identity", "aws-chunked"].iter().any(|name| one.eq_ignore_ascii_case(name));
    let real: Vec<&str> = value.split(',').map(str::trim).filter(|one| !is_none(one)).collect();
    clean(&real.join(","))
}

/// An ETag is the MD5 of the bytes if it is a strong one of 32 hex digits (Amazon S3 User Guide, checking object
/// integrity). The caller knows whether encryption makes it something else.
fn md5_of(etag: &str) -> Option<[u8; 16]> {
    unhex(etag.strip_prefix('"')?.strip_suffix('"')?)
}

/// Checksums of the object. Checksums made of the checksums of an upload's parts (`…-N`, or type `COMPOSITE`) cannot be
/// computed from the bytes and are left out.
fn checksums(headers: &HeaderMap) -> Vec<Checksum> {
    if header_text(headers, CHECKSUM_TYPE).eq_ignore_ascii_case("composite") {
        return Vec::new();
    }
    let announced = |algorithm: Algorithm| {
        let value = header_text(headers, &format!("x-amz-checksum-{}", algorithm.name()));
        Checksum::read(algorithm, value.trim())
    };
    Algorithm::ALL.into_iter().filter_map(announced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    reqwest::header::HeaderName::from_static(name),
                    reqwest::header::HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    const MD5: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";

    #[test]
    fn an_etag_is_an_md5_only_by_s3s_rules() {
        assert!(read(&headers(&[("etag", MD5)])).md5.is_some());
        assert!(read(&headers(&[("etag", MD5), ("x-amz-server-side-encryption", "AES256")])).md5.is_some());
        for other in [
            vec![("etag", MD5), ("x-amz-server-side-encryption", "aws:kms")],
            vec![("etag", MD5), ("x-amz-server-side-encryption-customer-algorithm", "AES256")],
            vec![("etag", "\"d41d8cd98f00b204e9800998ecf8427e-2\"")],
            vec![("etag", "W/\"d41d8cd98f00b204e9800998ecf8427e\"")],
            vec![("etag", "d41d8cd98f00b204e9800998ecf8427e")],
            vec![("etag", "\"+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1\"")],
            vec![],
        ] {
            let md5 = read(&headers(&other)).md5;
            assert_eq!(md5, None, "{other:?}");
        }
    }

    #[test]
    fn an_oversized_etag_is_dropped() {
        let etag = |length: usize| {
            let text = format!("\"{}\"", "e".repeat(length - 2));
            let headers = HeaderMap::from_iter([(ETAG, text.parse().expect("a value"))]);
            read(&headers).etag.len()
        };
        assert_eq!((etag(ETAG_MAX), etag(ETAG_MAX + 1)), (ETAG_MAX, 0));
    }

    #[test]
    fn each_announced_checksum_is_read_and_those_of_parts_are_left_out() {
        let all = checksums(&headers(&[
            ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ("x-amz-checksum-crc32c", "4waSgw=="),
            ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
            ("x-amz-checksum-xxhash3", "rosUhgp5mIg="),
        ]));
        let names: Vec<_> = all.iter().map(|one| one.algorithm.name()).collect();
        assert_eq!(names, ["sha1", "crc32", "crc32c", "crc64nvme"]);
        let found = checksums(&headers(&[
            ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
            ("x-amz-checksum-crc32", "AAAAAA==-2"),
            ("x-amz-checksum-type", "FULL_OBJECT"),
        ]));
        assert_eq!(found.iter().map(|one| one.algorithm).collect::<Vec<_>>(), [Algorithm::Sha256]);
        assert!(
            checksums(&headers(&[
                ("x-amz-checksum-crc32", "AAAAAA=="),
                ("x-amz-checksum-type", "COMPOSITE")
            ]))
            .is_empty()
        );
    }
}
