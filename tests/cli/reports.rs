//! The reports hold together, and others can check them.

use std::process::Command;

use crate::support::registry::ImageRef;
use crate::world::World;

#[test]
fn sha256sum_accepts_the_manifest_and_the_tag_manifest() {
    let world = World::with_images(9);
    world.run(&[]).ended(0);
    for list in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        let status = Command::new("sha256sum")
            .args(["-c", "--strict", "--quiet", list])
            .current_dir(world.out())
            .status()
            .expect("sha256sum is there");
        assert!(status.success(), "{list}");
    }
    let bag = world.read("bag-info.txt");
    let bytes: u64 = (0..9).map(|n| 2000 + n).sum();
    assert!(bag.contains(&format!("Payload-Oxum: {bytes}.9\n")), "{bag}");
}

#[test]
fn the_counts_always_add_up() {
    let world = World::with_images(8);
    world.run(&["--max-duration", "1h"]).ended(0);
    world.sandbox.forget_image(&ImageRef::new("org0", "note0", "i2"));
    std::fs::remove_file(world.out().join("data/org0/note0/i2.jpg")).expect("removed");
    let text = std::fs::read_to_string(world.path("manifest.csv")).expect("the manifest");
    world.manifest(&format!("{text}org0,note0,i0\norg0,note0\n"));
    world.run(&["--on-bad-row", "skip"]).ended(3);
    let sum: u64 =
        ["stored", "skipped", "duplicate", "failed", "untried"].into_iter().map(|key| world.count(key)).sum();
    assert_eq!(sum, world.count("rows"));
    assert_eq!(world.count("rows"), 10);
    assert_eq!((world.count("skipped"), world.count("duplicate"), world.count("failed")), (7, 1, 2));
    assert_eq!(world.summary()["exit_code"], 3);
}

#[test]
fn notes_are_complete_or_not() {
    let world = World::with_images(8);
    world.sandbox.forget_image(&ImageRef::new("org1", "note1", "i5"));
    world.run(&[]).ended(3);
    let notes = world.read("notes.csv");
    assert_eq!(
        notes,
        "org,note,images,delivered,complete\norg0,note0,2,2,true\norg1,note0,2,2,true\norg0,note1,2,2,true\norg1,note1,2,1,false\n"
    );
    let summary = world.summary();
    assert_eq!(summary["notes"]["incomplete"], 1);
    assert_eq!(summary["orgs"][1]["complete"], false);
}
