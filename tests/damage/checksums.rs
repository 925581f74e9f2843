//! What the storage says of the bytes: each kind of checksum, and ETags that are none.

use sha2::Digest;

use crate::case::{SIZE, all, case, each};
use sandbox::faults::StorageFault as Fault;
use sandbox::images::jpeg;

/// Of the case's image, by tools that are not the program's own: base64 of the big-endian bytes.
fn headers() -> Vec<(&'static str, String)> {
    let image = jpeg(1, SIZE);
    let crc32 = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &image);
    let crc32c = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &image);
    let crc64 = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &image);
    let short = |crc: u64| u32::try_from(crc).expect("32 bits").to_be_bytes();
    vec![
        ("x-amz-checksum-sha256", base64(&sha2::Sha256::digest(&image))),
        ("x-amz-checksum-sha1", base64(&sha1::Sha1::digest(&image))),
        ("x-amz-checksum-crc32", base64(&short(crc32))),
        ("x-amz-checksum-crc32c", base64(&short(crc32c))),
        ("x-amz-checksum-crc64nvme", base64(&crc64.to_be_bytes())),
    ]
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn each_checksum_is_compared_and_named() {
    each(headers(), |(name, value)| {
        let said = all([Fault::NoEtag, Fault::header(name, &value)]);
        case([said.clone()]).stored().checked_by(&format!("length+{name}+image-end")).attempts(1);
        let flipped = all([Fault::FlipBit(SIZE * 3), said]);
        case([flipped.clone()]).stored().attempts(2);
        case([flipped.clone(), flipped])
            .arg("--max-attempts", "2")
            .failed("integrity")
            .attempts(2)
            .says(name.trim_start_matches("x-amz-checksum-"));
    });
}

#[test]
fn several_checksums_are_all_compared() {
    let said = headers().iter().map(|(name, value)| Fault::header(name, value)).collect();
    let by = "length+etag-md5+x-amz-checksum-sha256+x-amz-checksum-sha1+x-amz-checksum-crc32\
              +x-amz-checksum-crc32c+x-amz-checksum-crc64nvme+image-end";
    case([Fault::All(said)]).stored().checked_by(by);
}

#[test]
fn checksums_that_are_made_of_parts_raise_no_alarm_and_vouch_for_nothing() {
    each(
        [
            vec![Fault::header("x-amz-checksum-crc32", "AAAAAA==-3")],
            vec![
                Fault::header("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
                Fault::header("x-amz-checksum-type", "COMPOSITE"),
            ],
            vec![Fault::header("x-amz-checksum-crc32", "not one")],
            vec![Fault::header("x-amz-checksum-xxhash3", "AAAAAAAAAAA=")],
        ],
        |faults| {
            case([Fault::All(faults)])
                .stored()
                .checked_by("length+etag-md5+image-end")
                .attempts(1)
                .warning("");
        },
    );
}

#[test]
fn etags_that_are_no_md5_raise_no_alarm_and_vouch_for_nothing() {
    let other = "d41d8cd98f00b204e9800998ecf8427e";
    each(
        [
            Fault::Etag(format!("\"{other}-2\"")),
            Fault::Etag(format!("W/\"{other}\"")),
            Fault::Etag("\"short\"".to_owned()),
            Fault::NoEtag,
            all([
                Fault::Etag(format!("\"{other}\"")),
                Fault::header("x-amz-server-side-encryption", "aws:kms"),
            ]),
            all([
                Fault::Etag(format!("\"{other}\"")),
                Fault::header("x-amz-server-side-encryption", "aws:kms:dsse"),
            ]),
            all([
                Fault::Etag(format!("\"{other}\"")),
                Fault::header("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ]),
        ],
        |fault| {
            case([fault]).stored().checked_by("length+image-end").attempts(1).warning("");
        },
    );
    let plain = Fault::header("x-amz-server-side-encryption", "AES256");
    case([plain]).stored().checked_by("length+etag-md5+image-end");
}

#[test]
fn a_checksum_that_matches_wins_over_an_etag_that_only_looks_like_an_md5() {
    let etag = || Fault::Etag(format!("\"{}\"", "d41d8cd98f00b204e9800998ecf8427e"));
    for (name, value) in headers() {
        let faults = all([etag(), Fault::header(name, &value)]);
        case([faults]).stored().checked_by(&format!("length+{name}+image-end")).attempts(1).warning("");
    }
    case([etag(), etag()]).arg("--max-attempts", "2").failed("integrity").attempts(2);
}

#[test]
fn the_first_answers_checksum_holds_for_a_download_that_is_continued() {
    let (name, value) = headers().remove(4);
    let cut = Fault::Short { after: SIZE / 2 };
    let by = format!("length+etag-md5+{name}+image-end");
    // the continuation says nothing, the same, or something of its range alone
    each(["", &value, "AAAAAAAAAAA="], |rest| {
        let said = Fault::header(name, &value);
        let rest = if rest.is_empty() { Vec::new() } else { vec![Fault::header(name, rest)] };
        let end = case([all([cut.clone(), said]), Fault::All(rest)]).stored().checked_by(&by).attempts(2);
        assert_eq!(end.ranges(), ["", &format!("bytes={}-", SIZE / 2)]);
    });
}

#[test]
fn no_header_that_would_have_to_be_signed_is_sent_to_ask_for_checksums() {
    let end = case([]).stored();
    let requests = end.workspace.sandbox.requests();
    for request in requests {
        assert!(request.headers.iter().all(|(name, _)| !name.starts_with("x-amz-")), "{:?}", request.headers);
    }
}
