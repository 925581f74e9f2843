//! A run that is killed between its renames and its commit: the next one, whatever its manifest, leaves no file in
//! `data/` that no report lists.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use serde_json::Value;

use sandbox::images::jpeg;
use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;

fn verified(workspace: &Workspace) -> Value {
    let ran = Run::wait(workspace.command(&["verify", "--json"]).spawn().expect("started"));
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// Kills a run of the manifest in place of a call; false: it got to its end.
fn killed(workspace: &Workspace, rule: &str) -> bool {
    let command = workspace.command(&["run", "manifest.csv", "--concurrency", "4"]);
    let output = inject(&command, &[&format!("{rule},count=1,kill=1")]).output().expect("started");
    output.status.signal() == Some(9)
}

/// The lines of the bag's list are the files below `data/`.
#[track_caller]
fn assert_valid_bag(workspace: &Workspace) {
    let list = workspace.read("manifest-sha256.txt");
    let mut listed: Vec<_> = list.lines().map(|line| line.split_once("  ").expect("a line").1).collect();
    listed.sort_unstable();
    assert_eq!(listed, workspace.images());
}

/// The moments between two renames, before the names are durable, and before the ledger's commit.
fn moments(workspace: &Workspace) -> [String; 4] {
    let named = workspace.out().join("data/org0/note0/i0.jpg");
    [
        "call=rename,path=/export/data/,after=2".to_owned(),
        "call=rename,path=/export/data/,after=11".to_owned(),
        format!("call=sync,path=/export,while={}", named.display()),
        format!("call=write,path=/ledger.sqlite-wal,while={}", named.display()),
    ]
}

#[test]
fn a_kill_at_a_rename_leaves_nothing_to_a_run_of_another_manifest() {
    for moment in 0..4 {
        let workspace = Workspace::with_images(12);
        let rule = &moments(&workspace)[moment];
        assert!(killed(&workspace, rule), "{rule}");
        let left = workspace.images();
        assert!(!left.is_empty(), "{rule}");
        assert_eq!(verified(&workspace)["foreign"], Value::Array(Vec::new()), "{rule}: the run's own files");
        workspace.sandbox.add_image("other", "n", "x", jpeg(99, 3000), "image/jpeg");
        workspace.manifest("org,note,image\nother,n,x\n");
        let ran = workspace.run(&[]).assert_code(0);
        assert_valid_bag(&workspace);
        let verified = verified(&workspace);
        assert_eq!(verified["foreign"], Value::Array(Vec::new()), "{rule}");
        assert_eq!(verified["ok"].as_u64(), Some(workspace.images().len() as u64), "{rule}: {}", ran.stderr);
    }
}

#[test]
fn a_kill_at_a_rename_costs_a_run_of_the_same_manifest_no_image() {
    for moment in 0..4 {
        let workspace = Workspace::with_images(12);
        let moment = &moments(&workspace)[moment];
        assert!(killed(&workspace, moment), "{moment}");
        workspace.run(&[]).assert_code(0);
        assert_eq!(workspace.images().len(), 12);
        assert_valid_bag(&workspace);
        let names = fs::read_dir(workspace.out().join(".exporter")).expect("listed").count();
        assert_eq!(names, 2, "ledger and lock");
    }
}

#[test]
fn a_kill_while_an_image_is_replaced_leaves_the_new_one_or_the_old_one_never_both() {
    let replacements = [
        ("another extension", sandbox::images::png(7, 40, 30), "image/png"),
        ("the same name", jpeg(8, 3000), "image/jpeg"),
    ];
    for (what, bytes, content_type) in replacements {
        for moment in [
            "call=rename,path=/export/data/",
            "call=sync,path=/export/data/",
            "call=unlink,path=/export/data/",
        ] {
            let workspace = Workspace::new();
            workspace.sandbox.add_image("o", "n", "x", jpeg(1, 2500), "image/jpeg");
            workspace.manifest("org,note,image\no,n,x\n");
            workspace.run(&[]).assert_code(0);
            // cut off: the next run fetches it again
            fs::write(workspace.out().join("data/o/n/x.jpg"), b"cut").expect("cut");
            workspace.sandbox.add_image("o", "n", "x", bytes.clone(), content_type);
            if !killed(&workspace, moment) {
                continue; // the file of the same name is not removed
            }
            workspace.sandbox.add_image("other", "n", "x", jpeg(99, 3000), "image/jpeg");
            workspace.manifest("org,note,image\nother,n,x\n");
            workspace.run(&[]).assert_code(0);
            assert_valid_bag(&workspace);
            assert_eq!(verified(&workspace)["foreign"], Value::Array(Vec::new()), "{what}, {moment}");
        }
    }
}

#[test]
fn a_kill_after_an_edited_file_made_way_leaves_a_word_of_it() {
    let workspace = Workspace::new();
    workspace.sandbox.add_image("o", "n", "x", jpeg(1, 2500), "image/jpeg");
    workspace.manifest("org,note,image\no,n,x\n");
    workspace.run(&[]).assert_code(0);
    // in place of the rename to the final name, and of the commit after it
    for (rule, kept) in [
        ("call=rename,path=/export/data/,after=1", "replaced/o/n/x.jpg"),
        ("call=sync,path=/export/data/", "replaced/o/n/x.jpg.2"),
    ] {
        fs::write(workspace.out().join("data/o/n/x.jpg"), b"edited").expect("written");
        assert!(killed(&workspace, rule), "{rule}");
        assert_eq!(workspace.read(kept), "edited", "{rule}");
        let ran = workspace.run(&[]).assert_code(0);
        let words = format!("may now be {kept}");
        assert!(ran.stderr.contains(&words), "{rule}: {}", ran.stderr);
        assert_valid_bag(&workspace);
    }
}
