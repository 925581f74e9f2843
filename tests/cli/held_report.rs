//! Reports that another program holds, as a spreadsheet on a share does: the rename to their name is refused.

use std::fs;
use std::process::Command;

use crate::inject::inject;
use sandbox::workspace::{Run, Workspace};

/// Six images delivered; then a manifest of nine.
fn grown() -> Workspace {
    let workspace = Workspace::with_images(6);
    workspace.run(&[]).assert_code(0);
    workspace.manifest(&workspace.add_images(9));
    workspace
}

fn run_without_rename_of(workspace: &Workspace, name: &str, more: &str) -> Run {
    let command = workspace.command(&["run", "manifest.csv"]);
    let rule = format!("call=rename,path=/export/{name},errno=EACCES{more}");
    Run::wait(inject(&command, &[&rule]).spawn().expect("started"))
}

fn assert_bag_is_sound(workspace: &Workspace) {
    for list in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        let mut check = Command::new("sha256sum");
        check.args(["-c", "--strict", "--quiet", list]).current_dir(workspace.out());
        assert!(check.status().expect("sha256sum is there").success(), "{list}");
    }
}

#[test]
fn a_report_that_is_held_is_named_and_all_others_are_written() {
    for name in ["report.csv", "failed.csv"] {
        let workspace = grown();
        let old = workspace.read(name);
        let ran = run_without_rename_of(&workspace, name, "").assert_code(1);
        assert!(ran.stderr.contains(&format!("{name} could not be replaced")), "{}", ran.stderr);
        assert!(ran.stderr.contains("exporter report"), "{}", ran.stderr);
        assert!(!ran.stdout.contains("complete") && !ran.stdout.contains("sha256sum"), "{}", ran.stdout);
        assert_eq!(workspace.read(name), old, "whole, and in its place");
        assert_eq!(workspace.read("manifest-sha256.txt").lines().count(), 9);
        assert_eq!((workspace.count("rows"), workspace.count("stored")), (9, 3));
        assert_eq!(workspace.summary()["exit_code"], 1);
        assert!(workspace.read("tagmanifest-sha256.txt").contains(&format!("  {name}\n")));
        assert_bag_is_sound(&workspace);
        let archived = fs::read_dir(workspace.out().join("reports")).expect("made").next();
        let archived = archived.expect("one run").expect("an entry").path();
        for kept in ["report.csv", "failed.csv", "notes.csv", "summary.json"] {
            assert!(archived.join(kept).is_file(), "{kept} of the run before");
        }

        // the spreadsheet is closed
        let report = workspace.command(&["report", "export"]).spawn().expect("started");
        Run::wait(report).assert_code(0);
        assert_eq!(workspace.report().len(), 9);
        assert_eq!(workspace.summary()["exit_code"], 1, "the run's own");
        assert_bag_is_sound(&workspace);
    }
}

#[test]
fn a_report_that_is_let_go_in_time_is_replaced() {
    let workspace = grown();
    let ran = run_without_rename_of(&workspace, "report.csv", ",count=3").assert_code(0);
    assert!(ran.stdout.starts_with("complete"), "{}", ran.stdout);
    assert_eq!(workspace.report().len(), 9);
    assert_bag_is_sound(&workspace);
}

#[test]
fn a_list_of_checksums_that_is_held_is_not_offered_for_a_check() {
    let workspace = grown();
    let ran = run_without_rename_of(&workspace, "manifest-sha256.txt", "").assert_code(1);
    assert!(!ran.stdout.contains("sha256sum"), "{}", ran.stdout);
    assert_eq!(workspace.read("manifest-sha256.txt").lines().count(), 6, "the old one");
    assert_eq!(workspace.report().len(), 9);
    assert_bag_is_sound(&workspace);
}

#[test]
fn what_report_cannot_replace_is_exit_1() {
    let workspace = Workspace::with_images(2);
    workspace.run(&[]).assert_code(0);
    let command = workspace.command(&["report", "export"]);
    let rule = "call=rename,path=/export/notes.csv,errno=EROFS";
    let ran = Run::wait(inject(&command, &[rule]).spawn().expect("started")).assert_code(1);
    assert!(ran.stderr.contains("notes.csv could not be written"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}
