//! Bodies that are cut, too short, flipped or never end.

use crate::case::{SIZE, all, case, each, image};
use sandbox::faults::StorageFault as Fault;
use sandbox::images::{jpeg, png};

const WHOLE: &str = "length+etag-md5+image-end";

#[test]
fn a_body_that_breaks_at_any_byte_is_continued_or_begun_anew() {
    each([0, 1, SIZE / 2, SIZE - 1], |after| {
        for fault in [Fault::Cut { after }, Fault::Short { after }] {
            let end = case([fault.clone()]).stored().checked_by(WHOLE).attempts(2).warning("");
            // a reset may overtake bytes that were sent before it
            let exact = after == 0 || matches!(fault, Fault::Short { .. });
            let range = if after == 0 { String::new() } else { format!("bytes={after}-") };
            let ranges = end.ranges();
            assert!(!exact || ranges == ["", &range], "{fault:?}: {ranges:?}");
        }
    });
}

#[test]
fn a_body_that_always_breaks_ends_as_a_failed_row_without_a_file() {
    for fault in [Fault::Cut { after: 7 }, Fault::Short { after: 7 }] {
        let end = case([fault.clone(), fault.clone(), fault]).arg("--max-attempts", "3").failed("network");
        let end = end.attempts(3);
        assert_eq!(end.workspace.images().len(), 0);
        let left = std::fs::read_dir(end.workspace.out().join(".exporter")).expect("there").count();
        assert_eq!(left, 2, "ledger and lock");
    }
}

#[test]
fn a_chunked_body_that_breaks_is_never_taken_for_the_whole() {
    each([0, 1, SIZE / 2, SIZE - 1], |after| {
        case([Fault::ChunkedCut { after }]).stored().attempts(2);
    });
}

#[test]
fn a_chunked_body_that_ends_too_early_is_found_by_md5_and_by_checksum() {
    let short = Fault::ChunkedShort { after: SIZE / 2 };
    case([short.clone()]).stored().attempts(2);
    let crc = Fault::header("x-amz-checksum-crc32", "AAAAAA==");
    case([all([short.clone(), Fault::NoEtag, crc])]).stored().attempts(2);
    case([short.clone(), short]).arg("--max-attempts", "2").failed("integrity").attempts(2);
}

#[test]
fn a_cut_jpeg_or_png_without_any_other_witness_is_found_by_its_missing_end() {
    let short = all([Fault::ChunkedShort { after: 1000 }, Fault::NoEtag]);
    case([short.clone()]).stored().attempts(2);
    let png = png(7, 40, 40);
    assert!(png.len() > 1000);
    image(png, "image/png", [short.clone()]).stored().attempts(2);
    case([short.clone(), short]).arg("--max-attempts", "2").failed("integrity").attempts(2);
}

#[test]
fn where_nothing_can_find_a_cut_the_report_says_that_nothing_vouches() {
    let gif = [b"GIF89a".to_vec(), vec![7; 5000]].concat();
    let short = all([Fault::ChunkedShort { after: 1000 }, Fault::NoEtag]);
    let case = image(gif.clone(), "image/gif", [short]).version(gif[..1000].to_vec());
    case.stored().checked_by("").warning("nothing vouches").attempts(1);
}

#[test]
fn a_flipped_bit_is_found_wherever_something_vouches_for_the_bytes() {
    each([0, SIZE * 4, SIZE * 8 - 1], |bit| {
        case([Fault::FlipBit(bit)]).stored().attempts(2).checked_by(WHOLE);
    });
    let flip = Fault::FlipBit(4_000_001 % (SIZE * 8));
    let end = case([flip.clone(), flip]).arg("--max-attempts", "2").failed("integrity").attempts(2);
    assert_eq!(end.workspace.images().len(), 0);
}

#[test]
fn a_flipped_bit_that_nothing_can_find_is_not_said_to_be_checked() {
    let mut flipped = jpeg(1, SIZE);
    flipped[SIZE / 2] ^= 1;
    let blind = all([Fault::FlipBit(SIZE / 2 * 8), Fault::NoEtag]);
    case([blind]).version(flipped).stored().checked_by("length+image-end");
}

#[test]
fn an_image_that_is_cut_in_the_storage_is_stored_as_served_and_named() {
    let cut = jpeg(1, SIZE)[..SIZE / 2].to_vec();
    let known = image(cut.clone(), "image/jpeg", []);
    known.stored().checked_by("length+etag-md5").warning("").attempts(1);
    let unknown = image(cut, "image/jpeg", [Fault::NoEtag]);
    unknown.stored().checked_by("length").warning("has no end").attempts(1);
    let cut = png(7, 40, 40)[..900].to_vec();
    image(cut.clone(), "image/png", []).stored().checked_by("length+etag-md5").warning("");
    image(cut, "image/png", [Fault::NoEtag]).stored().checked_by("length").warning("has no end");
}

#[test]
fn what_follows_the_end_of_an_image_is_no_missing_end() {
    let film = [&b"\0\x01\x0a\x0eImage_UTC_Data"[..], &[7; 9000], b"SEFT"].concat();
    for (kind, whole) in [("image/jpeg", jpeg(1, SIZE)), ("image/png", png(7, 40, 40))] {
        let with_film = [whole, film.clone()].concat();
        image(with_film.clone(), kind, []).stored().checked_by(WHOLE).warning("").attempts(1);
        // without a length or an MD5 the end alone vouches
        let silent = all([Fault::Chunked, Fault::NoEtag]);
        image(with_film, kind, [silent]).stored().checked_by("image-end").warning("").attempts(1);
    }
}

#[test]
fn the_end_of_an_image_is_found_in_a_download_that_is_continued() {
    let with_film = [jpeg(1, SIZE), vec![7; SIZE]].concat();
    let cut = Fault::Short { after: SIZE + SIZE / 2 };
    image(with_film, "image/jpeg", [cut]).stored().checked_by(WHOLE).warning("").attempts(2);
}

#[test]
fn padding_behind_a_jpeg_is_no_missing_end() {
    each([1, 100, 4000], |padding| {
        let padded = [jpeg(1, 9000), vec![0; padding]].concat();
        let workspace = image(padded, "image/jpeg", []).workspace;
        workspace.run(&[]).assert_code(0);
        let line = workspace.report().remove(0);
        assert_eq!((&*line["checked_by"], &*line["warning"]), (WHOLE, ""), "{padding}");
    });
}

#[test]
fn a_body_that_never_ends_is_given_up_at_max_size() {
    let endless = Fault::Padded(1 << 40);
    let end = case([endless]).arg("--max-size", "4M").failed("storage_error").attempts(1).says("--max-size");
    assert_eq!(end.workspace.images().len(), 0);
}

#[test]
fn a_size_that_is_not_allowed_is_refused_before_its_bytes() {
    case([Fault::Announce(10 << 30)]).failed("storage_error").attempts(1).says("10737418240 bytes");
}

#[test]
fn an_image_larger_than_the_disk_stops_the_run_before_its_bytes() {
    let end = case([Fault::Announce(1 << 50)]).arg("--max-size", "2000T").untried("disk");
    assert!(end.ran.stderr.contains("free"), "{}", end.ran.stderr);
    assert_eq!(end.workspace.images().len(), 0);
}
