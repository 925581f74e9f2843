//! What an earlier run left behind: a part to go on with, and everything that can be wrong with it.

use std::fs;
use std::path::PathBuf;

use crate::case::{all, assert_consistent, each};
use sandbox::faults::StorageFault as Fault;
use sandbox::images::jpeg;
use sandbox::log::Server;
use sandbox::workspace::Workspace;

const SIZE: usize = 3 << 20;
const CUT: usize = 2 << 20;

/// A run that gave up in the middle of a large image, and its part.
fn cut(with: Fault) -> (Workspace, PathBuf) {
    let (workspace, mut parts) = cut_at(with, SIZE, CUT);
    assert_eq!(parts.len(), 1, "{parts:?}");
    (workspace, parts.remove(0))
}

/// As [`cut`], of any size; the parts that are kept.
fn cut_at(with: Fault, size: usize, cut: usize) -> (Workspace, Vec<PathBuf>) {
    let workspace = Workspace::new();
    workspace.sandbox.add_image("o", "n", "i", jpeg(1, size), "image/jpeg");
    workspace.manifest("org,note,image\no,n,i\n");
    workspace.sandbox.script().storage("i", all([with, Fault::Short { after: cut }]));
    // given up for a reason that has nothing to do with the bytes at hand
    for _ in 0..2 {
        workspace.sandbox.script().storage("i", Fault::error("AccessDenied"));
    }
    let ran = workspace.run(&[]).assert_code(3);
    assert_consistent(&workspace, &ran, |_| Vec::new());
    let parts: Vec<PathBuf> = fs::read_dir(workspace.out().join(".exporter"))
        .expect("there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "part"))
        .collect();
    workspace.sandbox.clear_requests();
    (workspace, parts)
}

/// Runs again: the bytes are these, and nothing is left but ledger and lock. The ranges that were asked for.
#[track_caller]
fn again(workspace: &Workspace, version: &[u8]) -> Vec<String> {
    let ran = workspace.run(&[]).assert_code(0);
    assert_consistent(workspace, &ran, |_| vec![version.to_vec()]);
    assert_eq!(workspace.states(), ["stored"]);
    let left = fs::read_dir(workspace.out().join(".exporter")).expect("there").count();
    assert_eq!(left, 2, "ledger and lock");
    let requests = workspace.sandbox.requests();
    let gets = requests.iter().filter(|request| request.server == Server::Storage);
    gets.map(|request| request.header("range").unwrap_or_default().to_owned()).collect()
}

fn nothing() -> Fault {
    all([])
}

#[test]
fn a_later_run_goes_on_behind_the_bytes_at_hand() {
    let (workspace, part) = cut(nothing());
    assert_eq!(fs::metadata(&part).expect("there").len(), CUT as u64);
    let ranges = again(&workspace, &jpeg(1, SIZE));
    assert_eq!(ranges, [format!("bytes={CUT}-")]);
    assert_eq!(workspace.report()[0]["checked_by"], "length+etag-md5+image-end");
}

#[test]
fn a_part_of_64_kib_is_kept_and_a_smaller_one_is_not() {
    for (cut, kept) in [(64 << 10, 1), ((64 << 10) - 1, 0)] {
        let (workspace, parts) = cut_at(nothing(), 200 << 10, cut);
        assert_eq!(parts.len(), kept, "{cut}");
        let range = if kept == 1 { format!("bytes={cut}-") } else { String::new() };
        assert_eq!(again(&workspace, &jpeg(1, 200 << 10)), [range]);
    }
}

#[test]
fn an_object_that_changed_between_two_runs_is_fetched_from_the_start() {
    each([SIZE, SIZE + 1000], |size| {
        for ignores in [vec![], vec![Fault::IgnoreIfMatch], vec![Fault::IgnoreIfMatch, Fault::IgnoreRange]] {
            let (workspace, _) = cut(nothing());
            let mut faults = vec![Fault::Swap(jpeg(2, size))];
            faults.extend(ignores);
            workspace.sandbox.script().storage("i", Fault::All(faults));
            let ranges = again(&workspace, &jpeg(2, size));
            assert_eq!(ranges[0], format!("bytes={CUT}-"));
        }
    });
}

#[test]
fn a_part_that_was_changed_since_is_found_by_what_the_storage_says() {
    let (workspace, part) = cut(nothing());
    let mut bytes = fs::read(&part).expect("there");
    bytes[CUT / 2] ^= 1;
    fs::write(&part, bytes).expect("spoilt");
    let ranges = again(&workspace, &jpeg(1, SIZE));
    assert_eq!(ranges, [format!("bytes={CUT}-"), String::new()]);
}

#[test]
fn a_part_that_was_changed_since_is_found_where_the_storage_says_nothing_too() {
    let kms = || Fault::header("x-amz-server-side-encryption", "aws:kms");
    let (workspace, part) = cut(kms());
    let mut bytes = fs::read(&part).expect("there");
    bytes[CUT / 2] ^= 1;
    fs::write(&part, bytes).expect("spoilt");
    workspace.sandbox.script().storage_always(Some(kms()));
    again(&workspace, &jpeg(1, SIZE));
}

#[test]
fn a_part_that_is_shorter_longer_or_gone_is_no_harm() {
    let (workspace, part) = cut(nothing());
    fs::OpenOptions::new().write(true).open(&part).expect("there").set_len(1000).expect("cut");
    again(&workspace, &jpeg(1, SIZE));

    let (workspace, part) = cut(nothing());
    let longer = [fs::read(&part).expect("there"), vec![9; SIZE * 2]].concat();
    fs::write(&part, longer).expect("written");
    assert_eq!(again(&workspace, &jpeg(1, SIZE)), [format!("bytes={CUT}-")]);

    let (workspace, part) = cut(nothing());
    fs::remove_file(&part).expect("removed");
    again(&workspace, &jpeg(1, SIZE));
}

#[test]
fn a_link_or_a_folder_in_place_of_a_part_is_never_written_through() {
    let (workspace, part) = cut(nothing());
    let precious = workspace.path("precious");
    fs::write(&precious, vec![5; CUT]).expect("written");
    fs::remove_file(&part).expect("removed");
    std::os::unix::fs::symlink(&precious, &part).expect("linked");
    again(&workspace, &jpeg(1, SIZE));
    assert_eq!(fs::read(&precious).expect("there"), vec![5; CUT]);
}

#[test]
fn parts_of_nobody_are_swept_away() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    let stale = workspace.out().join(".exporter/0123456789abcdef0123456789abcdef.part");
    fs::write(&stale, vec![1; 5 << 20]).expect("written");
    workspace.run(&[]).assert_code(0);
    assert!(!stale.exists());
}

#[test]
fn a_rest_that_ends_early_without_a_length_is_no_image() {
    let kms = || Fault::header("x-amz-server-side-encryption", "aws:kms");
    for fault in [Fault::ChunkedShort { after: CUT + 1000 }, Fault::ChunkedShort { after: 1000 }] {
        let (workspace, _) = cut(kms());
        workspace.sandbox.script().storage("i", all([kms(), fault]));
        workspace.sandbox.script().storage_always(Some(kms()));
        again(&workspace, &jpeg(1, SIZE));
    }
}

#[test]
fn a_part_that_no_row_asks_for_any_more_is_swept_away() {
    let (workspace, part) = cut(nothing());
    workspace.sandbox.add_image("o", "n", "other", jpeg(2, 2000), "image/jpeg");
    workspace.manifest("org,note,image\no,n,other\n");
    workspace.run(&[]).assert_code(0);
    assert!(!part.exists());
    let left = fs::read_dir(workspace.out().join(".exporter")).expect("there").count();
    assert_eq!(left, 2, "ledger and lock");
}
