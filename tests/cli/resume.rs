//! Running again.

use std::fs;

use sha2::{Digest, Sha256};

use sandbox::images::jpeg;
use sandbox::workspace::{Run, Workspace};

#[test]
fn a_second_run_asks_for_nothing_and_says_so() {
    let workspace = Workspace::with_images(5);
    workspace.run(&[]).assert_code(0);
    let first = workspace.report();
    workspace.sandbox.clear_requests();
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stdout.starts_with("nothing to do: all 5 images were delivered before"), "{}", ran.stdout);
    assert_eq!(workspace.sandbox.requests().len(), 0);
    for (before, now) in first.iter().zip(workspace.report()) {
        assert_eq!((&*now["state"], &*now["attempts"]), ("skipped", "0"));
        for column in ["path", "sha256", "etag", "stored_at", "checked_by", "bytes"] {
            assert_eq!(before[column], now[column], "{column}");
        }
    }
    assert_eq!(workspace.count("api_requests"), 0);
    assert_eq!(workspace.count("bytes"), 0, "bytes are those of this run");
}

#[test]
fn a_grown_manifest_fetches_what_is_new() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    workspace.manifest(&workspace.add_images(6));
    workspace.sandbox.clear_requests();
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.states(), ["skipped", "skipped", "skipped", "stored", "stored", "stored"]);
    assert_eq!(workspace.count("api_requests"), 3);
}

#[test]
fn images_that_are_not_asked_for_any_more_stay_and_are_counted() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    workspace.manifest("org,note,image\norg1,note0,i1\n");
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.count("not_in_manifest"), 2);
    assert_eq!(workspace.images().len(), 3);
    assert_eq!(workspace.read("manifest-sha256.txt").lines().count(), 3);
}

#[test]
fn a_file_that_vanished_or_changed_its_size_is_fetched_again() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    fs::remove_file(workspace.out().join("data/org0/note0/i0.jpg")).expect("removed");
    fs::write(workspace.out().join("data/org1/note0/i1.jpg"), b"cut").expect("cut");
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.states(), ["stored", "stored", "skipped"]);
    assert_eq!(fs::read(workspace.out().join("data/org1/note0/i1.jpg")).expect("there"), jpeg(1, 2001));
}

#[test]
fn failed_csv_is_itself_a_manifest() {
    let workspace = Workspace::new();
    let text = workspace.add_images(3).replace("org,note,image\n", "image_id,extra,org_id,note_id\n");
    assert!(text.starts_with("image_id"));
    let mut manifest = "image_id,extra,org_id,note_id\n".to_owned();
    for n in 0..3 {
        manifest.push_str(&format!("i{n},\"x, y\",org{},note0\n", n % 2));
    }
    manifest.push_str("gone,z,org0,note0\n");
    workspace.manifest(&manifest);
    workspace.run(&[]).assert_code(3);
    let failed = workspace.failed();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (&*failed[0]["image_id"], &*failed[0]["extra"], &*failed[0]["error_code"]),
        ("gone", "z", "not_found")
    );
    workspace.sandbox.add_image("org0", "note0", "gone", jpeg(9, 2000), "image/jpeg");
    let again = workspace.command(&["run", "export/failed.csv", "-o", "export"]).spawn().expect("started");
    Run::wait(again).assert_code(0);
    assert_eq!(workspace.states(), ["stored"]);
    assert_eq!(
        workspace.read("failed.csv"),
        "image_id,extra,org_id,note_id,error_code,error,attempts,advice\n"
    );
}

#[test]
fn a_second_run_in_the_same_folder_is_refused() {
    let workspace = Workspace::with_images(1);
    workspace.run(&[]).assert_code(0);
    let lock =
        fs::OpenOptions::new().write(true).open(workspace.out().join(".exporter/lock")).expect("the lock");
    lock.lock().expect("locked");
    let ran = workspace.run(&[]).assert_code(1);
    assert!(ran.stderr.contains("is in use by another run"), "{}", ran.stderr);
}

#[test]
fn a_damaged_a_foreign_and_a_newer_ledger_are_refused_and_not_touched() {
    let workspace = Workspace::with_images(1);
    workspace.run(&[]).assert_code(0);
    let ledger = workspace.out().join(".exporter/ledger.sqlite");
    let good = fs::read(&ledger).expect("the ledger");
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes()); // user_version
    for (bad, word) in [(b"not a database, for sure".to_vec(), "damaged"), (newer, "newer")] {
        fs::write(&ledger, &bad).expect("spoilt");
        let ran = workspace.run(&[]).assert_code(1);
        assert!(ran.stderr.contains(word) && ran.stderr.contains("verify --adopt"), "{}", ran.stderr);
        assert_eq!(fs::read(&ledger).expect("there"), bad);
    }
    fs::write(&ledger, b"").expect("emptied");
    let ran = workspace.run(&[]).assert_code(1);
    assert!(ran.stderr.contains("empty") && ran.stderr.contains("verify --adopt"), "{}", ran.stderr);
    assert_eq!(fs::read(&ledger).expect("there"), b"");
    fs::remove_file(&ledger).expect("lost");
    let ran = workspace.run(&[]).assert_code(1);
    assert!(ran.stderr.contains("missing") && ran.stderr.contains("verify --adopt"), "{}", ran.stderr);
    assert!(!ledger.exists());
}

#[test]
fn a_final_name_that_the_ledger_does_not_know_is_replaced_with_a_warning() {
    let workspace = Workspace::with_images(2);
    fs::create_dir_all(workspace.out().join("data/org0/note0")).expect("made");
    fs::create_dir_all(workspace.out().join(".exporter")).expect("made");
    workspace.run(&[]).assert_code(1);
    fs::remove_dir_all(workspace.out().join("data")).expect("removed");
    workspace.run(&[]).assert_code(0);
    fs::remove_file(workspace.out().join(".exporter/ledger.sqlite")).expect("removed");
    fs::remove_dir_all(workspace.out().join("data")).expect("removed");
    // a crash just before the commit leaves a ledger without the row
    workspace.manifest("org,note,image\norg1,note0,i1\n");
    workspace.run(&[]).assert_code(0);
    fs::create_dir_all(workspace.out().join("data/org0/note0")).expect("made");
    fs::write(workspace.out().join("data/org0/note0/i0.jpg"), b"other bytes").expect("written");
    workspace.manifest("org,note,image\norg0,note0,i0\n");
    workspace.run(&[]).assert_code(0);
    assert_eq!(fs::read(workspace.out().join("data/org0/note0/i0.jpg")).expect("there"), jpeg(0, 2000));
    assert!(workspace.report()[0]["warning"].contains("replaced a file"), "{:?}", workspace.report()[0]);
}

#[test]
fn a_ledger_on_another_disk_serves_as_well() {
    let workspace = Workspace::with_images(2);
    workspace.run(&["--state-dir", "elsewhere"]).assert_code(0);
    assert!(workspace.path("elsewhere/ledger.sqlite").is_file());
    assert!(!workspace.out().join(".exporter/ledger.sqlite").exists());
    workspace.run(&["--state-dir", "elsewhere"]).assert_code(0);
    assert_eq!(workspace.states(), ["skipped", "skipped"]);
}

#[test]
fn two_ledgers_for_one_folder_do_not_work_at_the_same_time() {
    let workspace = Workspace::with_images(1);
    workspace.run(&["--state-dir", "elsewhere"]).assert_code(0);
    let lock =
        fs::OpenOptions::new().write(true).open(workspace.out().join(".exporter/lock")).expect("the lock");
    lock.lock().expect("locked");
    let ran = workspace.run(&["--state-dir", "another"]).assert_code(1);
    assert!(ran.stderr.contains("is in use by another run"), "{}", ran.stderr);
}

#[test]
fn a_folder_that_is_not_mounted_is_not_filled_again() {
    let workspace = Workspace::with_images(2);
    workspace.run(&["--state-dir", "elsewhere"]).assert_code(0);
    fs::rename(workspace.out(), workspace.path("unmounted")).expect("moved");
    workspace.sandbox.clear_requests();
    let ran = workspace.run(&["--state-dir", "elsewhere"]).assert_code(1);
    assert!(ran.stderr.contains("is its disk mounted?"), "{}", ran.stderr);
    assert!(!workspace.out().exists(), "nothing is made under a mount point");
    assert_eq!(workspace.sandbox.requests().len(), 0);
    fs::rename(workspace.path("unmounted"), workspace.out()).expect("moved back");
    workspace.run(&["--state-dir", "elsewhere"]).assert_code(0);
    assert_eq!(workspace.states(), ["skipped", "skipped"]);
}

#[test]
fn a_run_that_could_not_begin_is_not_told_of_as_the_one_before() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    fs::rename(workspace.out().join("data"), workspace.path("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(workspace.path("elsewhere"), workspace.out().join("data")).expect("linked");
    workspace.manifest("org,note,image\norg0,note0,i0\norg9,note9,i9\n");
    workspace.run(&[]).assert_code(1);
    let summary = workspace.summary();
    assert_eq!((&summary["exit_code"], &summary["untried"]), (&1.into(), &1.into()), "{summary}");
    assert_eq!((&summary["stored"], &summary["skipped"]), (&0.into(), &1.into()), "{summary}");
    assert!(summary["stop"].as_str().is_some_and(|why| why.contains("is in the way")), "{summary}");
}

#[test]
fn a_run_whose_reports_cannot_be_written_is_remembered_as_one_that_failed() {
    let workspace = Workspace::with_images(2);
    fs::create_dir_all(workspace.out().join("report.csv/in-the-way")).expect("made");
    workspace.run(&[]).assert_code(1);
    fs::remove_dir_all(workspace.out().join("report.csv")).expect("removed");
    Run::wait(workspace.command(&["report"]).spawn().expect("started")).assert_code(0);
    assert_eq!(workspace.summary()["exit_code"], 1, "{}", workspace.summary());
    assert_eq!(workspace.states(), ["stored"; 2]);
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.summary()["exit_code"], 0);
}

#[test]
fn an_image_that_takes_the_place_of_another_version_is_told_of() {
    let workspace = Workspace::with_images(1);
    workspace.run(&[]).assert_code(0);
    let other = jpeg(7, 3000);
    workspace.sandbox.add_image("org0", "note0", "i0", other.clone(), "image/jpeg");
    let hash: String = Sha256::digest(&other).iter().map(|byte| format!("{byte:02x}")).collect();
    workspace.manifest(&format!("org,note,image,sha256\norg0,note0,i0,{hash}\n"));
    workspace.run(&[]).assert_code(0);
    let report = &workspace.report()[0];
    assert_eq!(report["sha256"], hash);
    assert!(report["warning"].contains("of other content from an earlier delivery"), "{report:?}");
}

#[test]
fn a_first_run_that_is_refused_leaves_nothing_behind_in_either_folder() {
    let workspace = Workspace::with_images(1);
    let hashes = ["0".repeat(64), "1".repeat(64)];
    let rows = hashes.map(|hash| format!("o,n,i,{hash}\n")).concat();
    workspace.manifest(&format!("org,note,image,sha256\n{rows}"));
    workspace.run(&["--state-dir", "elsewhere"]).assert_code(2);
    assert!(!workspace.out().exists() && !workspace.path("elsewhere").exists());
}
