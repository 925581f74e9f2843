//! `exporter verify`: what is missing, changed or foreign is found, repaired and adopted.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use sandbox::images::jpeg;
use sandbox::workspace::{Run, Workspace};

/// Without a key and without a network.
fn verify(workspace: &Workspace, args: &[&str]) -> Run {
    let all: Vec<&str> = ["verify"].iter().chain(args).copied().collect();
    let mut command = workspace.command(&all);
    command.env_remove("MAXAI_API_KEY").env("MAXAI_API_URL", "http://127.0.0.1:1");
    Run::wait(command.spawn().expect("started"))
}

fn json(workspace: &Workspace, args: &[&str], code: i32) -> Value {
    let all: Vec<&str> = ["--json"].iter().chain(args).copied().collect();
    serde_json::from_str(&verify(workspace, &all).assert_code(code).stdout).expect("JSON")
}

fn delivered(count: usize) -> Workspace {
    let workspace = Workspace::with_images(count);
    workspace.run(&[]).assert_code(0);
    workspace.sandbox.clear_requests();
    workspace
}

fn query(workspace: &Workspace, sql: &str) -> Vec<String> {
    let ledger = rusqlite::Connection::open(workspace.out().join(".exporter/ledger.sqlite")).expect("opened");
    let mut select = ledger.prepare(sql).expect("prepared");
    let rows = select.query_map([], |row| row.get(0)).expect("asked");
    rows.map(|row| row.expect("a text")).collect()
}

#[test]
fn an_export_that_is_well_is_exit_0_and_its_images_have_a_new_time() {
    let workspace = delivered(9);
    let before = query(&workspace, "SELECT checked_at FROM images ORDER BY id");
    let stored = query(&workspace, "SELECT stored_at FROM images ORDER BY id");
    assert_eq!(before, stored, "delivery counts as a check");
    let ran = verify(&workspace, &[]).assert_code(0);
    assert!(ran.stdout.starts_with("all well"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    let after = query(&workspace, "SELECT checked_at FROM images ORDER BY id");
    assert!(before.iter().zip(&after).all(|(before, after)| before < after), "{before:?} {after:?}");
    let answer = json(&workspace, &[], 0);
    let bytes: u64 = (0..9).map(|n| 2000 + n).sum();
    assert_eq!((answer["checked"].as_u64(), answer["ok"].as_u64()), (Some(9), Some(9)));
    assert_eq!(answer["bytes"].as_u64(), Some(bytes));
    assert!(answer["seconds"].is_f64());
    for key in ["missing", "changed", "foreign"] {
        assert_eq!(answer[key], serde_json::json!([]), "{key}");
    }
    let names: Vec<_> = fs::read_dir(workspace.out().join(".exporter")).expect("listed").collect();
    assert_eq!(names.len(), 2, "ledger and lock");
}

#[test]
fn missing_changed_and_foreign_files_are_named_by_path() {
    let workspace = delivered(8);
    let data = workspace.out().join("data");
    fs::remove_file(data.join("org0/note0/i0.jpg")).expect("removed");
    let mut bytes = jpeg(1, 2001);
    bytes[1000] ^= 1;
    fs::write(data.join("org1/note0/i1.jpg"), &bytes).expect("same size, another byte");
    fs::write(data.join("org0/note0/i2.jpg"), b"cut").expect("cut");
    fs::remove_file(data.join("org1/note0/i3.jpg")).expect("removed");
    symlink("i1.jpg", data.join("org1/note0/i3.jpg")).expect("linked");
    fs::remove_file(data.join("org0/note1/i4.jpg")).expect("removed");
    let pipe = std::process::Command::new("mkfifo").arg(data.join("org0/note1/i4.jpg")).status();
    assert!(pipe.expect("mkfifo is there").success());
    fs::write(data.join("org0/note0/extra.jpg"), b"x").expect("written");
    fs::write(data.join("stray"), b"x").expect("written");
    fs::write(workspace.out().join("notes.txt"), b"beside data/").expect("written");

    let answer = json(&workspace, &[], 3);
    assert_eq!(answer["missing"], serde_json::json!(["data/org0/note0/i0.jpg"]));
    let changed = [
        "data/org0/note0/i2.jpg",
        "data/org0/note1/i4.jpg",
        "data/org1/note0/i1.jpg",
        "data/org1/note0/i3.jpg",
    ];
    assert_eq!(answer["changed"], serde_json::json!(changed));
    assert_eq!(answer["foreign"], serde_json::json!(["data/org0/note0/extra.jpg", "data/stray"]));
    assert_eq!((answer["checked"].as_u64(), answer["ok"].as_u64()), (Some(8), Some(3)));
    let ran = verify(&workspace, &[]).assert_code(3);
    assert!(ran.stdout.starts_with("not well: 1 missing, 4 changed, 2 foreign\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("changed   data/org1/note0/i3.jpg\n"), "{}", ran.stdout);
    assert_eq!(query(&workspace, "SELECT 'x' FROM images WHERE delivered = 0").len(), 0, "nothing is marked");
}

#[test]
fn a_repair_makes_the_next_run_fetch_what_is_wrong_and_nothing_else() {
    let workspace = delivered(8);
    let (gone, flipped) =
        (workspace.out().join("data/org0/note0/i0.jpg"), workspace.out().join("data/org1/note0/i1.jpg"));
    fs::remove_file(&gone).expect("removed");
    let mut bytes = jpeg(1, 2001);
    bytes[1000] ^= 1;
    fs::write(&flipped, &bytes).expect("same size, another byte");
    let answer = json(&workspace, &["--repair"], 3);
    assert_eq!(answer["repaired"], 2);
    assert_eq!(fs::read(&flipped).expect("stays"), bytes);
    let states = workspace.states();
    assert_eq!(states[..2], ["untried", "untried"], "the reports say so at once");
    assert!(workspace.report()[1]["error"].contains("another file"), "{:?}", workspace.report()[1]);
    assert_eq!(workspace.read("manifest-sha256.txt").lines().count(), 6);
    assert_eq!(workspace.failed().len(), 2);
    let since = "; since then 2 rows made undelivered by verify --repair\n";
    for command in ["status", "report"] {
        let ran = Run::wait(workspace.command(&[command]).spawn().expect("started")).assert_code(0);
        assert!(ran.stdout.contains("(exit code 0)") && ran.stdout.contains(since), "{}", ran.stdout);
    }
    let answer = json(&workspace, &[], 0);
    assert_eq!((&answer["foreign"], answer["waiting"].as_u64()), (&serde_json::json!([]), Some(1)));
    let ran = verify(&workspace, &[]).assert_code(0);
    assert!(ran.stdout.contains("waiting   1 file of images"), "{}", ran.stdout);

    workspace.run(&[]).assert_code(0);
    assert_eq!(json(&workspace, &[], 0)["waiting"], 0);
    assert_eq!(workspace.count("api_requests"), 2);
    assert_eq!(workspace.states()[..3], ["stored", "stored", "skipped"]);
    assert_eq!(fs::read(&flipped).expect("replaced"), jpeg(1, 2001));
    assert!(workspace.report()[1]["warning"].contains("had changed since"), "{:?}", workspace.report()[1]);
    json(&workspace, &["--repair"], 0);
}

#[test]
fn the_oldest_seventh_is_rounded_up_and_another_one_each_time() {
    let workspace = delivered(8);
    fs::write(workspace.out().join("data/stray"), b"x").expect("written");
    let mut seen = 0;
    for _ in 0..4 {
        let answer = json(&workspace, &["--oldest", "1/7"], 0);
        assert_eq!(answer["checked"], 2);
        assert_eq!(answer["foreign"], serde_json::json!([]), "not looked for");
        let fresh = query(&workspace, "SELECT path FROM images WHERE checked_at > stored_at").len();
        assert_eq!(fresh, seen + 2, "others than before");
        seen = fresh;
    }
    for part in ["0/7", "8/7", "seven", "1/0"] {
        let ran = verify(&workspace, &["--oldest", part]).assert_code(2);
        assert!(ran.stderr.contains("--oldest"), "{}", ran.stderr);
    }
}

#[test]
fn a_folder_in_use_can_be_verified_but_not_repaired() {
    let workspace = delivered(4);
    let lock = fs::File::options()
        .read(true)
        .write(true)
        .open(workspace.out().join(".exporter/lock"))
        .expect("opened");
    lock.lock().expect("locked");
    fs::write(workspace.out().join(".exporter/lock"), "4711\nrun\n").expect("written");
    let before = query(&workspace, "SELECT checked_at FROM images ORDER BY id");
    let ran = verify(&workspace, &[]).assert_code(0);
    assert!(ran.stderr.contains("not written down"), "{}", ran.stderr);
    assert_eq!(query(&workspace, "SELECT checked_at FROM images ORDER BY id"), before);
    for command in [&["--repair"][..], &["--adopt"]] {
        let ran = verify(&workspace, command);
        assert_ne!(ran.code, Some(0), "{command:?}");
    }
    let ran = verify(&workspace, &["--repair"]).assert_code(1);
    assert!(ran.stderr.contains("in use by another run (process 4711)"), "{}", ran.stderr);
}

/// Files, hashes and states that must be the same after an adoption.
fn fate(workspace: &Workspace) -> Vec<(String, String)> {
    let mut fate: Vec<_> =
        workspace.report().into_iter().map(|line| (line["path"].clone(), line["sha256"].clone())).collect();
    fate.extend(workspace.images().into_iter().map(|path| (path, String::new())));
    fate
}

#[test]
fn an_adopted_export_fetches_nothing_and_keeps_every_path() {
    let workspace = Workspace::new();
    let long = "l".repeat(250);
    let ids = ["plain", "Plain", "PLAIN", "a/b c", "=cmd", long.as_str()];
    let mut manifest = "org,note,image,ward\n".to_owned();
    for (n, (org, note)) in [("org", "note"), ("ORG", "Note"), ("ORG", "NOTE")].into_iter().enumerate() {
        for (m, image) in ids.iter().enumerate() {
            workspace.sandbox.add_image(org, note, image, jpeg((10 * n + m) as u64, 2000 + m), "image/jpeg");
            manifest.push_str(&format!("{org},{note},{image},7\n"));
        }
    }
    manifest.push_str("org,note,plain,7\norg,note,gone,7\n");
    workspace.manifest(&manifest);
    workspace.run(&[]).assert_code(3);
    let before = fate(&workspace);
    for damage in [None, Some("no database")] {
        let report = workspace.read("report.csv");
        let ledger = workspace.out().join(".exporter/ledger.sqlite");
        fs::remove_file(&ledger).expect("removed");
        if let Some(text) = damage {
            fs::write(&ledger, text).expect("written");
        }
        workspace.run(&[]).assert_code(1);
        let answer = json(&workspace, &["--adopt"], 0);
        assert_eq!((answer["checked"].as_u64(), answer["adopted"].as_u64()), (Some(18), Some(18)));
        assert!(workspace.read("report.csv") == report, "reports stay");
        workspace.sandbox.clear_requests();
        workspace.run(&[]).assert_code(3);
        assert_eq!(workspace.count("api_requests"), 1, "the one that failed");
        assert_eq!(fate(&workspace), before);
        assert_eq!(workspace.states()[..18], ["skipped"; 18]);
        json(&workspace, &[], 0);
    }
    let aside = fs::read_dir(workspace.out().join(".exporter")).expect("listed");
    let aside = aside.filter(|entry| {
        entry.as_ref().expect("entry").file_name().to_string_lossy().starts_with("ledger.sqlite.damaged-")
    });
    assert_eq!(aside.count(), 1, "the damaged ledger is kept");
    let ran = verify(&workspace, &["--adopt"]).assert_code(2);
    assert!(ran.stderr.contains("is sound"), "{}", ran.stderr);
}

#[test]
fn only_files_that_match_are_adopted() {
    let workspace = delivered(6);
    fs::remove_file(workspace.out().join(".exporter/ledger.sqlite")).expect("removed");
    fs::remove_file(workspace.out().join("data/org0/note0/i0.jpg")).expect("removed");
    let mut bytes = jpeg(1, 2001);
    bytes[1000] ^= 1;
    fs::write(workspace.out().join("data/org1/note0/i1.jpg"), &bytes).expect("same size, another byte");
    fs::write(workspace.out().join("data/stray"), b"x").expect("written");
    let answer = json(&workspace, &["--adopt"], 3);
    assert_eq!(answer["missing"], serde_json::json!(["data/org0/note0/i0.jpg"]));
    assert_eq!(answer["changed"], serde_json::json!(["data/org1/note0/i1.jpg"]));
    assert_eq!(answer["foreign"], serde_json::json!(["data/stray"]));
    assert_eq!(answer["adopted"], 4);
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.count("api_requests"), 2);
    assert_eq!(workspace.states(), ["stored", "stored", "skipped", "skipped", "skipped", "skipped"]);
}

#[test]
fn ids_come_from_earlier_reports_too_and_else_from_the_paths() {
    let workspace = Workspace::new();
    let long = "l".repeat(250);
    workspace.sandbox.add_image("o", "n", &long, jpeg(1, 2000), "image/jpeg");
    workspace.sandbox.add_image("o", "n", "i", jpeg(2, 2000), "image/jpeg");
    workspace.manifest(&format!("org,note,image\no,n,{long}\n"));
    workspace.run(&[]).assert_code(0);
    workspace.manifest("org,note,image\no,n,i\n");
    workspace.run(&[]).assert_code(0);
    fs::remove_file(workspace.out().join(".exporter/ledger.sqlite")).expect("removed");
    fs::remove_file(workspace.out().join("report.csv")).expect("removed");
    assert_eq!(json(&workspace, &["--adopt"], 0)["adopted"], 2);
    let runs = workspace.command(&["report", "--runs", "--json"]).spawn().expect("started");
    let runs: Value = serde_json::from_str(&Run::wait(runs).assert_code(0).stdout).expect("JSON");
    assert_eq!(runs.as_array().map(Vec::len), Some(3), "two runs and the adoption: {runs}");
    workspace.sandbox.clear_requests();
    workspace.manifest(&format!("org,note,image\no,n,{long}\no,n,i\n"));
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.count("api_requests"), 0);
    assert_eq!(workspace.states(), ["skipped", "skipped"]);
}

#[test]
fn reports_after_an_adoption_know_what_failed() {
    let workspace = Workspace::with_images(3);
    workspace.manifest("org,note,image\norg0,note0,i0\norg0,note0,none\norg0,note0,i0\norg0,,x\n");
    workspace.run(&["--on-bad-row", "skip"]).assert_code(3);
    let before = workspace.report();
    fs::remove_file(workspace.out().join(".exporter/ledger.sqlite")).expect("removed");
    json(&workspace, &["--adopt"], 0);
    let report = workspace.command(&["report"]).spawn().expect("started");
    Run::wait(report).assert_code(0);
    let after = workspace.report();
    assert_eq!(after[0]["state"], "skipped");
    assert_eq!(after[1..], before[1..], "failed, duplicate and bad rows are as they were");
    assert!(!workspace.out().join("reports").exists(), "it is the same manifest");
}

#[test]
fn an_adoption_that_knows_no_row_is_told_as_no_success() {
    let workspace = delivered(3);
    fs::remove_file(workspace.out().join(".exporter/ledger.sqlite")).expect("removed");
    fs::remove_file(workspace.out().join("report.csv")).expect("removed");
    fs::remove_file(workspace.out().join("summary.json")).expect("removed");
    assert_eq!(json(&workspace, &["--adopt"], 0)["adopted"], 3);
    for args in [&["status"][..], &["report"], &["report", "--runs"]] {
        let ran = Run::wait(workspace.command(args).spawn().expect("started")).assert_code(0);
        assert!(!ran.stdout.contains("complete"), "{args:?}: {}", ran.stdout);
        assert!(ran.stdout.contains("1, the ledger was") || ran.stdout.contains("(exit code 1)"), "{args:?}");
    }
    let summary = workspace.summary();
    assert_eq!(summary["exit_code"], 1, "{summary}");
    assert!(summary["stop"].as_str().is_some_and(|stop| stop.contains("--adopt")), "{summary}");
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.count("api_requests"), 0);
}

#[test]
fn a_folder_without_a_list_has_nothing_to_adopt() {
    let workspace = Workspace::new();
    let ran = verify(&workspace, &["nowhere", "--adopt"]).assert_code(2);
    assert!(ran.stderr.contains("manifest-sha256.txt"), "{}", ran.stderr);
    assert!(!workspace.path("nowhere").exists());
    // a sound ledger writes the list again; with both lost the files prove nothing, and the way on is said
    let workspace = delivered(2);
    fs::remove_file(workspace.out().join("manifest-sha256.txt")).expect("removed");
    let ran = verify(&workspace, &["--adopt"]).assert_code(2);
    assert!(ran.stderr.contains("`exporter report` writes manifest-sha256.txt again"), "{}", ran.stderr);
    fs::remove_file(workspace.out().join(".exporter/ledger.sqlite")).expect("removed");
    let ran = verify(&workspace, &["--adopt"]).assert_code(2);
    assert!(ran.stderr.contains("Move data/ and the ledger aside"), "{}", ran.stderr);
    fs::rename(workspace.out().join("data"), workspace.path("aside")).expect("moved");
    workspace.run(&[]).assert_code(0);
}
