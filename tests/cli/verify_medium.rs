//! `exporter verify` and the troubles of the medium: what cannot be read is no fact about a file.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use sandbox::images::jpeg;
use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;

/// A read of an image, but not of a small file.
const READ_IMAGES: &str = "call=read,path=/data/,min=4096,errno=EIO";

fn delivered(count: usize) -> Workspace {
    let workspace = Workspace::with_images(count);
    workspace.run(&[]).assert_code(0);
    workspace
}

/// `exporter verify --json` under the injector.
fn verify(workspace: &Workspace, args: &[&str], rules: &[&str]) -> Run {
    let all: Vec<&str> = ["verify", "--json"].iter().chain(args).copied().collect();
    let command = workspace.command(&all);
    let mut command = if rules.is_empty() { command } else { inject(&command, rules) };
    Run::wait(command.spawn().expect("started"))
}

fn answer(workspace: &Workspace, args: &[&str], rules: &[&str], code: i32) -> Value {
    serde_json::from_str(&verify(workspace, args, rules).assert_code(code).stdout).expect("JSON")
}

fn undelivered(workspace: &Workspace) -> u32 {
    let ledger = rusqlite::Connection::open(workspace.out().join(".exporter/ledger.sqlite")).expect("opened");
    let count = "SELECT count(*) FROM images WHERE delivered = 0";
    ledger.query_row(count, [], |row| row.get(0)).expect("counted")
}

#[test]
fn an_unreadable_file_is_listed_apart_and_the_others_are_checked() {
    let workspace = delivered(8);
    fs::remove_file(workspace.out().join("data/org0/note0/i0.jpg")).expect("removed");
    for rule in [
        "call=open,path=/data/org0/note0/i2.jpg,errno=EACCES",
        "call=open,path=/data/org0/note0/i2.jpg,errno=EIO",
        "call=open,path=/data/org0/note0/i2.jpg,errno=ESTALE",
        "call=stat,path=/data/org0/note0/i2.jpg,errno=ETIMEDOUT",
        "call=read,path=/data/org0/note0/i2.jpg,errno=EIO",
    ] {
        let ran = verify(&workspace, &[], &[rule]).assert_code(3);
        assert!(ran.stderr.contains("data/org0/note0/i2.jpg cannot be read: "), "{rule}: {}", ran.stderr);
        let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(answer["unreadable"], json!(["data/org0/note0/i2.jpg"]), "{rule}");
        assert_eq!(answer["missing"], json!(["data/org0/note0/i0.jpg"]), "{rule}");
        assert_eq!(answer["changed"], json!([]), "{rule}");
        assert_eq!((answer["checked"].as_u64(), answer["ok"].as_u64()), (Some(7), Some(6)), "{rule}");
    }
}

#[test]
fn a_repair_marks_a_file_whose_own_bytes_are_lost_and_no_other_unreadable_one() {
    let workspace = delivered(8);
    let denied = "call=open,path=/data/org0/note0/i2.jpg,errno=EACCES";
    let found = answer(&workspace, &["--repair"], &[denied], 3);
    assert_eq!((&found["unreadable"], &found["repaired"]), (&json!(["data/org0/note0/i2.jpg"]), &json!(0)));
    assert_eq!(undelivered(&workspace), 0);
    let lost = "call=read,path=/data/org0/note0/i2.jpg,errno=EIO";
    let found = answer(&workspace, &["--repair"], &[lost], 3);
    assert_eq!((&found["unreadable"], &found["repaired"]), (&json!(["data/org0/note0/i2.jpg"]), &json!(1)));
    assert_eq!(undelivered(&workspace), 1);
    assert!(workspace.report()[2]["error"].contains("could not read"), "{:?}", workspace.report()[2]);
    let report = Run::wait(workspace.command(&["report"]).spawn().expect("started")).assert_code(0);
    assert!(report.stdout.contains("1 row made undelivered by verify --repair"), "{}", report.stdout);
}

#[test]
fn a_disk_that_cannot_be_read_is_no_reason_to_mark_anything() {
    let workspace = Workspace::with_images(12);
    // one after another, so that they are checked in the manifest's order
    workspace.run(&["--concurrency", "1"]).assert_code(0);
    fs::remove_file(workspace.out().join("data/org0/note0/i0.jpg")).expect("removed");
    let found = answer(&workspace, &[], &[READ_IMAGES], 3);
    assert_eq!(found["unreadable"].as_array().map(Vec::len), Some(11), "{found}");
    assert_eq!((&found["changed"], found["ok"].as_u64()), (&json!([]), Some(0)));
    let ran = verify(&workspace, &["--repair"], &[READ_IMAGES]).assert_code(1);
    assert!(
        ran.stderr.contains("nothing was marked") && ran.stderr.contains("Input/output"),
        "{}",
        ran.stderr
    );
    assert_eq!(undelivered(&workspace), 0, "not even the one that is missing");
    // five in succession, although others can be read
    let rules = [
        "call=read,path=note1/i,min=4096,errno=EIO", // i4 to i7
        "call=read,path=note2/i8,min=4096,errno=EIO",
    ];
    verify(&workspace, &["--repair"], &rules).assert_code(1);
    assert_eq!(undelivered(&workspace), 0);
    let found = answer(&workspace, &["--repair"], &rules[..1], 3);
    assert_eq!(found["repaired"], 5, "four that the disk has lost, and the one that is missing");
    assert_eq!(undelivered(&workspace), 5);
    workspace.run(&[]).assert_code(0);
}

#[test]
fn a_folder_that_cannot_be_entered_ends_the_check_and_is_named() {
    let workspace = delivered(8);
    for (rule, folder) in [
        ("call=open,path=/export/data,errno=EACCES", "export/data"),
        ("call=open,path=/data/org1,errno=EIO", "export/data/org1"),
        ("call=list,path=/data/org1/note0,errno=EACCES", "export/data/org1/note0"),
        ("call=stat,path=/data/org1,errno=EACCES", "export/data"),
    ] {
        for args in [&[][..], &["--repair"]] {
            let ran = verify(&workspace, args, &[rule]).assert_code(1);
            let expected = format!("cannot look into {folder}");
            assert!(ran.stderr.contains(&expected), "{rule}: {}", ran.stderr);
            assert_eq!(ran.stdout, "", "{rule}");
            assert_eq!(undelivered(&workspace), 0, "{rule}");
        }
    }
}

#[test]
fn a_link_in_the_place_of_a_folder_is_named_and_not_followed() {
    let workspace = delivered(8);
    let data = workspace.out().join("data");
    for folder in [data.clone(), data.join("org1"), data.join("org1/note0")] {
        let aside = workspace.path("aside");
        fs::rename(&folder, &aside).expect("moved");
        symlink(&aside, &folder).expect("linked");
        for args in [&[][..], &["--repair"], &["--oldest", "1/1"]] {
            let ran = verify(&workspace, args, &[]).assert_code(1);
            let name = folder.strip_prefix(workspace.path("")).expect("in the workspace");
            let expected = format!("{} is a symbolic link to {}", name.display(), aside.display());
            assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
            assert_eq!(undelivered(&workspace), 0);
        }
        fs::remove_file(&folder).expect("removed");
        fs::rename(&aside, &folder).expect("moved back");
    }
    answer(&workspace, &[], &[], 0);
}

#[test]
fn an_adoption_from_a_disk_that_cannot_be_read_leaves_everything_as_it_was() {
    let workspace = delivered(8);
    let ledger = workspace.out().join(".exporter/ledger.sqlite");
    fs::rename(&ledger, workspace.path("ledger")).expect("moved");
    verify(&workspace, &["--adopt"], &[READ_IMAGES]).assert_code(1);
    assert!(!ledger.exists());
    let one = "call=open,path=/data/org0/note0/i2.jpg,errno=EACCES";
    let found = answer(&workspace, &["--adopt"], &[one], 3);
    assert_eq!((&found["unreadable"], &found["adopted"]), (&json!(["data/org0/note0/i2.jpg"]), &json!(7)));
    assert_eq!(found["foreign"], json!([]));
}

#[test]
fn litter_of_operating_systems_is_named_and_does_no_harm() {
    let workspace = delivered(2);
    let data = workspace.out().join("data");
    fs::create_dir_all(data.join("org0/@eaDir/i0.jpg")).expect("made");
    let litter = [
        "data/.DS_Store",
        "data/org0/@eaDir/i0.jpg/SYNO_THUMB.jpg",
        "data/org0/Thumbs.db",
        "data/org0/note0/._i0.jpg",
        "data/org0/note0/.nfs0001",
        "data/org0/note0/desktop.ini",
    ];
    for path in litter {
        fs::write(workspace.out().join(path), "x").expect("written");
    }
    let found = answer(&workspace, &[], &[], 0);
    assert_eq!((&found["litter"], &found["foreign"]), (&json!(litter), &json!([])));
    let ran = Run::wait(workspace.command(&["verify"]).spawn().expect("started")).assert_code(0);
    assert!(ran.stdout.contains("data/org0/Thumbs.db\n"), "{}", ran.stdout);
    fs::write(data.join("stray"), "x").expect("written");
    assert_eq!(answer(&workspace, &[], &[], 3)["foreign"], json!(["data/stray"]));
    // a server's own folder, which the user may not enter
    fs::remove_file(data.join("stray")).expect("removed");
    let found = answer(&workspace, &[], &["call=open,path=@eaDir,errno=EACCES"], 0);
    assert_eq!(found["litter"][1], "data/org0/@eaDir");
}

#[test]
fn beside_a_run_no_file_is_foreign_that_the_run_is_about_to_record() {
    let workspace = delivered(1);
    workspace.sandbox.add_image("org0", "note0", "late", jpeg(7, 2000), "image/jpeg");
    workspace.manifest("org,note,image\norg0,note0,i0\norg0,note0,late\n");
    // the new name is there, but its folder takes long to flush
    let command = workspace.command(&["run", "manifest.csv"]);
    let mut run = inject(&command, &["call=sync,path=/data/org0/note0,delay=6000"]).spawn().expect("started");
    let late = workspace.out().join("data/org0/note0/late.jpg");
    let start = Instant::now();
    while !late.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "the image is not delivered");
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(workspace.out().join("data/org0/note0/stray.jpg"), "x").expect("written");
    let found = answer(&workspace, &[], &[], 3);
    let recorded = run.try_wait().expect("asked").is_some();
    run.kill().expect("killed");
    run.wait().expect("ended");
    assert!(!recorded, "the run has ended before the check");
    assert_eq!((&found["foreign"], &found["missing"]), (&json!(["data/org0/note0/stray.jpg"]), &json!([])));
}

#[test]
fn seven_nights_read_every_image_also_if_some_are_missing() {
    let workspace = delivered(21);
    for path in ["data/org0/note0/i0.jpg", "data/org1/note0/i1.jpg", "data/org0/note0/i2.jpg"] {
        fs::remove_file(workspace.out().join(path)).expect("removed");
    }
    let (mut read, mut missing) = (0, 0);
    for _ in 0..7 {
        let ran = verify(&workspace, &["--oldest", "1/7"], &[]);
        let found: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        read += found["ok"].as_u64().expect("a number");
        missing += found["missing"].as_array().expect("a list").len();
    }
    assert_eq!((read, missing), (18, 3));
}
