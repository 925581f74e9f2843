//! An object that changes between two tries: what comes home is one version, whole, and nothing of another.

use std::collections::BTreeMap;

use crate::case::{SIZE, all, assert_consistent, case, each};
use sandbox::faults::StorageFault as Fault;
use sandbox::images::jpeg;
use sandbox::workspace::Workspace;

/// What a storage does with a continued request.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    /// As S3: 412 where the object is another one.
    Honours,
    /// 206 of the new object with its own ETag.
    IgnoresIfMatch,
    /// 200 and the whole new object.
    IgnoresRange,
    /// 206 of the new object under the old ETag.
    Lies,
}

impl Behaviour {
    fn swap(self, old: &[u8], new: Vec<u8>) -> Fault {
        let swap = Fault::Swap(new);
        let old = format!("\"{}\"", sandbox::presign::hex(&md5(old)));
        match self {
            Self::Honours => swap,
            Self::IgnoresIfMatch => all([swap, Fault::IgnoreIfMatch]),
            Self::IgnoresRange => all([swap, Fault::IgnoreIfMatch, Fault::IgnoreRange]),
            Self::Lies => all([swap, Fault::IgnoreIfMatch, Fault::Etag(old)]),
        }
    }
}

fn md5(bytes: &[u8]) -> Vec<u8> {
    use md5::Digest;
    md5::Md5::digest(bytes).to_vec()
}

/// An object that changes before the second try, before the third, or before both.
fn changing(
    workspace: &Workspace,
    image: &str,
    seed: u64,
    server: Behaviour,
    after: usize,
    sizes: [usize; 2],
) -> Vec<Vec<u8>> {
    let mut versions = vec![jpeg(seed, SIZE)];
    workspace.sandbox.add_image("o", "n", image, versions[0].clone(), "image/jpeg");
    let script = workspace.sandbox.script();
    script.storage(image, Fault::Short { after });
    for (n, size) in sizes.into_iter().enumerate() {
        let mut faults = Vec::new();
        if size > 0 {
            let new = jpeg(seed + 1 + n as u64, size);
            faults.push(server.swap(&versions[versions.len() - 1], new.clone()));
            versions.push(new);
        }
        if n == 0 {
            // in the middle of what is left at least
            faults.push(Fault::Short { after: (SIZE - 1000 - after.min(SIZE - 1000)) / 2 });
        }
        script.storage(image, Fault::All(faults));
    }
    versions
}

#[test]
fn versions_are_never_mixed_wherever_the_object_changes_and_whatever_the_server_honours() {
    let mut cases = Vec::new();
    for server in [Behaviour::Honours, Behaviour::IgnoresIfMatch, Behaviour::IgnoresRange, Behaviour::Lies] {
        for after in [1, SIZE / 2, SIZE - 1] {
            for new in [SIZE, SIZE - 1000, SIZE + 1000] {
                // three rows: with five that fail at the same time it would be an outage
                cases.push((server, after, [[new, 0], [0, new], [new, new]]));
            }
        }
    }
    assert_eq!(cases.len(), 36);
    each(cases, |(server, after, rows)| {
        let workspace = Workspace::new();
        let mut manifest = "org,note,image\n".to_owned();
        let mut versions = BTreeMap::new();
        for (sizes, seed) in rows.into_iter().zip([10, 20, 30]) {
            let image = format!("i{seed}");
            manifest.push_str(&format!("o,n,{image}\n"));
            versions.insert(image.clone(), changing(&workspace, &image, seed, server, after, sizes));
        }
        workspace.manifest(&manifest);
        let ran = workspace.run(&["--max-attempts", "20"]).assert_code(0);
        assert_consistent(&workspace, &ran, |line| versions[&line["image"]].clone());
        assert_eq!(workspace.states(), ["stored"; 3]);
    });
}

#[test]
fn a_changed_object_costs_no_more_than_the_try_that_broke() {
    let new = jpeg(2, SIZE);
    each([Behaviour::Honours, Behaviour::IgnoresIfMatch, Behaviour::IgnoresRange], |server| {
        let faults = [Fault::Short { after: SIZE / 2 }, server.swap(&jpeg(1, SIZE), new.clone())];
        let end = case(faults).version(new.clone()).stored().attempts(2);
        assert_eq!(end.ranges()[1], format!("bytes={}-", SIZE / 2));
        assert!(end.ranges().len() == 2 || end.ranges()[2].is_empty(), "from the start: {:?}", end.ranges());
    });
}

#[test]
fn a_doubtful_continuation_begins_anew_at_no_charge() {
    let cut = Fault::Short { after: 100_000 };
    each(
        [
            Fault::ContentRange("bytes 5-299999/300000".to_owned()),
            Fault::ContentRange("bytes 100000-299999/300001".to_owned()),
            Fault::ContentRange("bytes 100000-299998/300000".to_owned()),
            Fault::ContentRange("bytes 100000-299999/*".to_owned()),
            Fault::ContentRange("nonsense".to_owned()),
            Fault::Unsatisfiable,
            Fault::error("PreconditionFailed"),
            Fault::Etag("\"another\"".to_owned()),
            Fault::NoEtag,
            Fault::Answer { status: 204, headers: Vec::new(), body: Vec::new() },
        ],
        |doubt| {
            let end = case([cut.clone(), doubt.clone()]).stored().attempts(2);
            assert_eq!(end.ranges(), ["", "bytes=100000-", ""], "{doubt:?}");
        },
    );
    let end = case([cut, Fault::IgnoreRange]).stored().attempts(2);
    assert_eq!(end.ranges(), ["", "bytes=100000-"]);
}

#[test]
fn a_weak_or_missing_etag_is_nothing_to_continue_on() {
    let cut = Fault::Short { after: 100_000 };
    each([Fault::NoEtag, Fault::Etag("W/\"x\"".to_owned()), Fault::Etag("unquoted".to_owned())], |etag| {
        let end = case([all([cut.clone(), etag])]).stored().attempts(2);
        assert_eq!(end.ranges(), ["", ""]);
    });
    let end = case([all([cut, Fault::Chunked])]).stored().attempts(2);
    assert_eq!(end.ranges(), ["", ""], "no length, no end to continue to");
}
