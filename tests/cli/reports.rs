//! The reports hold together, and others can check them.

use std::process::Command;

use sandbox::registry::ImageRef;
use sandbox::workspace::Workspace;

#[test]
fn sha256sum_accepts_the_manifest_and_the_tag_manifest() {
    let workspace = Workspace::with_images(9);
    workspace.run(&[]).assert_code(0);
    for list in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        let status = Command::new("sha256sum")
            .args(["-c", "--strict", "--quiet", list])
            .current_dir(workspace.out())
            .status()
            .expect("sha256sum is there");
        assert!(status.success(), "{list}");
    }
    let bag = workspace.read("bag-info.txt");
    let bytes: u64 = (0..9).map(|n| 2000 + n).sum();
    assert!(bag.contains(&format!("Payload-Oxum: {bytes}.9\n")), "{bag}");
}

#[test]
fn the_counts_always_add_up() {
    let workspace = Workspace::with_images(8);
    workspace.run(&["--max-duration", "1h"]).assert_code(0);
    workspace.sandbox.forget_image(&ImageRef::new("org0", "note0", "i2"));
    std::fs::remove_file(workspace.out().join("data/org0/note0/i2.jpg")).expect("removed");
    let text = std::fs::read_to_string(workspace.path("manifest.csv")).expect("the manifest");
    workspace.manifest(&format!("{text}org0,note0,i0\norg0,note0\n"));
    workspace.run(&["--on-bad-row", "skip"]).assert_code(3);
    let sum: u64 = ["stored", "skipped", "duplicate", "failed", "untried"]
        .into_iter()
        .map(|key| workspace.count(key))
        .sum();
    assert_eq!(sum, workspace.count("rows"));
    assert_eq!(workspace.count("rows"), 10);
    assert_eq!(
        (workspace.count("skipped"), workspace.count("duplicate"), workspace.count("failed")),
        (7, 1, 2)
    );
    assert_eq!(workspace.summary()["exit_code"], 3);
}

#[test]
fn notes_are_complete_or_not() {
    let workspace = Workspace::with_images(8);
    workspace.sandbox.forget_image(&ImageRef::new("org1", "note1", "i5"));
    workspace.run(&[]).assert_code(3);
    let notes = workspace.read("notes.csv");
    assert_eq!(
        notes,
        "org,note,images,delivered,complete\norg0,note0,2,2,true\norg1,note0,2,2,true\norg0,note1,2,2,true\norg1,note1,2,1,false\n"
    );
    let summary = workspace.summary();
    assert_eq!(summary["notes"]["incomplete"], 1);
    assert_eq!(summary["orgs"][1]["complete"], false);
}

#[test]
fn a_note_that_a_bad_row_names_is_not_complete() {
    let workspace = Workspace::with_images(8);
    let text = std::fs::read_to_string(workspace.path("manifest.csv")).expect("the manifest");
    workspace.manifest(&format!("{text}org0,note0, i9\norg1,note0,\norg9,note9, i1\n"));
    workspace.run(&["--on-bad-row", "skip"]).assert_code(3);
    let notes = workspace.read("notes.csv");
    for line in [
        "org0,note0,3,2,false",
        "org1,note0,2,2,false",
        "org0,note1,2,2,true",
        "org1,note1,2,2,true",
        "org9,note9,1,0,false",
    ] {
        assert!(notes.lines().any(|there| there == line), "{line} is not in:\n{notes}");
    }
    let counted = &workspace.summary()["notes"];
    assert_eq!(
        (&counted["total"], &counted["complete"], &counted["incomplete"]),
        (&5.into(), &2.into(), &3.into())
    );
    for org in workspace.summary()["orgs"].as_array().expect("a list") {
        assert_eq!((&org["failed"], &org["complete"]), (&0.into(), &false.into()), "{org}");
    }
}
