//! What an earlier run left behind: a part to go on with, and everything that can be wrong with it.

use std::fs;
use std::path::PathBuf;

use crate::case::{all, each, true_export};
use crate::support::faults::StorageFault as Fault;
use crate::support::images::jpeg;
use crate::support::log::Face;
use crate::world::World;

const SIZE: usize = 3 << 20;
const CUT: usize = 2 << 20;

/// A run that gave up in the middle of a large image, and its part.
fn cut(with: Fault) -> (World, PathBuf) {
    let world = World::new();
    world.sandbox.add_image("o", "n", "i", jpeg(1, SIZE), "image/jpeg");
    world.manifest("org,note,image\no,n,i\n");
    world.sandbox.script().storage("i", all([with, Fault::Short { after: CUT }]));
    // given up for a reason that has nothing to do with the bytes at hand
    for _ in 0..2 {
        world.sandbox.script().storage("i", Fault::error("AccessDenied"));
    }
    let ran = world.run(&[]).ended(3);
    true_export(&world, &ran, |_| Vec::new());
    let parts: Vec<PathBuf> = fs::read_dir(world.out().join(".exporter"))
        .expect("there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "part"))
        .collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
    world.sandbox.clear_requests();
    (world, parts.into_iter().next().expect("one"))
}

/// Runs again: the bytes are these, and nothing is left but ledger and lock. The ranges that were asked for.
#[track_caller]
fn again(world: &World, version: &[u8]) -> Vec<String> {
    let ran = world.run(&[]).ended(0);
    true_export(world, &ran, |_| vec![version.to_vec()]);
    assert_eq!(world.states(), ["stored"]);
    let left = fs::read_dir(world.out().join(".exporter")).expect("there").count();
    assert_eq!(left, 2, "ledger and lock");
    let requests = world.sandbox.requests();
    let gets = requests.iter().filter(|request| request.face == Face::Storage);
    gets.map(|request| request.header("range").unwrap_or_default().to_owned()).collect()
}

fn nothing() -> Fault {
    all([])
}

#[test]
fn a_later_run_goes_on_behind_the_bytes_at_hand() {
    let (world, part) = cut(nothing());
    assert_eq!(fs::metadata(&part).expect("there").len(), CUT as u64);
    let ranges = again(&world, &jpeg(1, SIZE));
    assert_eq!(ranges, [format!("bytes={CUT}-")]);
    assert_eq!(world.report()[0]["checked_by"], "length+etag-md5+image-end");
}

#[test]
fn an_object_that_changed_between_two_runs_is_fetched_from_the_start() {
    each([SIZE, SIZE + 1000], |size| {
        for ignores in [vec![], vec![Fault::IgnoreIfMatch], vec![Fault::IgnoreIfMatch, Fault::IgnoreRange]] {
            let (world, _) = cut(nothing());
            let mut faults = vec![Fault::Swap(jpeg(2, size))];
            faults.extend(ignores);
            world.sandbox.script().storage("i", Fault::All(faults));
            let ranges = again(&world, &jpeg(2, size));
            assert_eq!(ranges[0], format!("bytes={CUT}-"));
        }
    });
}

#[test]
fn a_part_that_was_changed_since_is_found_by_what_the_storage_says() {
    let (world, part) = cut(nothing());
    let mut bytes = fs::read(&part).expect("there");
    bytes[CUT / 2] ^= 1;
    fs::write(&part, bytes).expect("spoilt");
    let ranges = again(&world, &jpeg(1, SIZE));
    assert_eq!(ranges, [format!("bytes={CUT}-"), String::new()]);
}

#[test]
fn a_part_that_was_changed_since_is_found_where_the_storage_says_nothing_too() {
    let kms = || Fault::header("x-amz-server-side-encryption", "aws:kms");
    let (world, part) = cut(kms());
    let mut bytes = fs::read(&part).expect("there");
    bytes[CUT / 2] ^= 1;
    fs::write(&part, bytes).expect("spoilt");
    world.sandbox.script().storage_always(Some(kms()));
    again(&world, &jpeg(1, SIZE));
}

#[test]
fn a_part_that_is_shorter_longer_or_gone_is_no_harm() {
    let (world, part) = cut(nothing());
    fs::OpenOptions::new().write(true).open(&part).expect("there").set_len(1000).expect("cut");
    again(&world, &jpeg(1, SIZE));

    let (world, part) = cut(nothing());
    let longer = [fs::read(&part).expect("there"), vec![9; SIZE * 2]].concat();
    fs::write(&part, longer).expect("written");
    assert_eq!(again(&world, &jpeg(1, SIZE)), [format!("bytes={CUT}-")]);

    let (world, part) = cut(nothing());
    fs::remove_file(&part).expect("removed");
    again(&world, &jpeg(1, SIZE));
}

#[test]
fn a_link_or_a_folder_in_place_of_a_part_is_never_written_through() {
    let (world, part) = cut(nothing());
    let precious = world.path("precious");
    fs::write(&precious, vec![5; CUT]).expect("written");
    fs::remove_file(&part).expect("removed");
    std::os::unix::fs::symlink(&precious, &part).expect("linked");
    again(&world, &jpeg(1, SIZE));
    assert_eq!(fs::read(&precious).expect("there"), vec![5; CUT]);
}

#[test]
fn parts_of_nobody_are_swept_away() {
    let world = World::with_images(3);
    world.run(&[]).ended(0);
    let stale = world.out().join(".exporter/0123456789abcdef0123456789abcdef.part");
    fs::write(&stale, vec![1; 5 << 20]).expect("written");
    world.run(&[]).ended(0);
    assert!(!stale.exists());
}

#[test]
fn a_rest_that_ends_early_without_a_length_is_no_image() {
    let kms = || Fault::header("x-amz-server-side-encryption", "aws:kms");
    for fault in [Fault::ChunkedShort { after: CUT + 1000 }, Fault::ChunkedShort { after: 1000 }] {
        let (world, _) = cut(kms());
        world.sandbox.script().storage("i", all([kms(), fault]));
        world.sandbox.script().storage_always(Some(kms()));
        again(&world, &jpeg(1, SIZE));
    }
}

#[test]
fn a_part_that_no_row_asks_for_any_more_is_swept_away() {
    let (world, part) = cut(nothing());
    world.sandbox.add_image("o", "n", "other", jpeg(2, 2000), "image/jpeg");
    world.manifest("org,note,image\no,n,other\n");
    world.run(&[]).ended(0);
    assert!(!part.exists());
    let left = fs::read_dir(world.out().join(".exporter")).expect("there").count();
    assert_eq!(left, 2, "ledger and lock");
}
