//! `--state-dir`: a ledger outside the export folder belongs to one export, whatever their paths are.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use sandbox::workspace::{Run, Workspace};

const ID_FILE: &str = ".exporter/export-id";

fn exporter(workspace: &Workspace, args: &[&str]) -> Run {
    Run::wait(workspace.command(args).spawn().expect("started"))
}

fn run(workspace: &Workspace, out: &str, state: &str) -> Run {
    exporter(workspace, &["run", "manifest.csv", "-o", out, "--state-dir", state])
}

/// What is in the folder, with its length.
fn listing(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("listed") {
            let entry = entry.expect("an entry");
            let meta = entry.metadata().expect("inspected");
            if meta.is_dir() {
                folders.push(entry.path());
            }
            found.push((
                entry.path().to_string_lossy().into_owned(),
                if meta.is_dir() { 0 } else { meta.len() },
            ));
        }
    }
    found.sort();
    found
}

#[test]
fn a_state_folder_of_another_export_is_refused_by_every_command_and_nothing_is_touched() {
    let workspace = Workspace::with_images(8);
    run(&workspace, "a", "s").assert_code(0);
    run(&workspace, "b", "t").assert_code(0);
    workspace.sandbox.clear_requests();
    let folders = ["a", "b", "s", "t"].map(|name| workspace.path(name));
    let before: Vec<_> = folders.iter().map(|folder| listing(folder)).collect();
    for out in ["b", "new"] {
        for args in [
            &["run", "manifest.csv", "-o", out][..],
            &["plan", "manifest.csv", "-o", out],
            &["status", out],
            &["verify", out],
            &["verify", out, "--repair"],
            &["verify", out, "--adopt"],
            &["report", out],
        ] {
            let args: Vec<_> = args.iter().chain(&["--state-dir", "s"]).copied().collect();
            if out == "new" && args.contains(&"--adopt") {
                continue; // there is nothing to adopt
            }
            let ran = exporter(&workspace, &args).assert_code(2);
            let (a, other) = (workspace.path("a"), workspace.path(out));
            for name in [a, other] {
                assert!(ran.stderr.contains(&*name.to_string_lossy()), "{args:?}: {}", ran.stderr);
            }
        }
    }
    assert!(!fs::exists(workspace.path("new")).expect("looked"), "nothing is created");
    let after: Vec<_> = folders.iter().map(|folder| listing(folder)).collect();
    assert_eq!(before, after);
    run(&workspace, "a", "s").assert_code(0);
    run(&workspace, "b", "t").assert_code(0);
    assert_eq!(workspace.sandbox.requests().len(), 0, "each export knows its images");
}

#[test]
fn an_export_that_was_moved_or_lost_its_id_goes_on_with_its_ledger() {
    let workspace = Workspace::with_images(8);
    run(&workspace, "a", "s").assert_code(0);
    workspace.sandbox.clear_requests();
    let id = fs::read_to_string(workspace.path("a").join(ID_FILE)).expect("an id");
    fs::rename(workspace.path("a"), workspace.path("moved")).expect("moved");
    fs::rename(workspace.path("s"), workspace.path("state")).expect("moved");
    for args in [
        &["status", "moved"][..],
        &["verify", "moved"],
        &["report", "moved"],
        &["run", "manifest.csv", "-o", "moved"],
        &["status", "moved"],
    ] {
        let args: Vec<_> = args.iter().chain(&["--state-dir", "state"]).copied().collect();
        exporter(&workspace, &args).assert_code(0);
    }
    fs::remove_file(workspace.path("moved").join(ID_FILE)).expect("removed");
    run(&workspace, "moved", "state").assert_code(0);
    assert_eq!(fs::read_to_string(workspace.path("moved").join(ID_FILE)).expect("an id"), id);
    assert_eq!(workspace.sandbox.requests().len(), 0);
}

#[test]
fn a_lost_ledger_elsewhere_is_adopted_under_the_exports_id() {
    let workspace = Workspace::with_images(8);
    run(&workspace, "a", "s").assert_code(0);
    let id = fs::read_to_string(workspace.path("a").join(ID_FILE)).expect("an id");
    fs::remove_file(workspace.path("s").join("ledger.sqlite")).expect("removed");
    exporter(&workspace, &["verify", "a", "--state-dir", "s", "--adopt"]).assert_code(0);
    assert_eq!(fs::read_to_string(workspace.path("a").join(ID_FILE)).expect("an id"), id);
    workspace.sandbox.clear_requests();
    run(&workspace, "a", "s").assert_code(0);
    assert_eq!(workspace.sandbox.requests().len(), 0);
}

#[test]
fn a_ledger_that_cannot_be_opened_is_never_taken_for_one_without_images() {
    let workspace = Workspace::with_images(8);
    run(&workspace, "a", "s").assert_code(0);
    // the export's disk is not mounted, and the ledger cannot be read
    fs::rename(workspace.path("a"), workspace.path("unmounted")).expect("moved");
    let command = workspace.command(&["run", "manifest.csv", "-o", "a", "--state-dir", "s"]);
    for rule in ["call=open,path=/s/ledger.sqlite,errno=EACCES", "call=read,path=/s/ledger.sqlite,errno=EIO"]
    {
        let ran =
            Run::wait(crate::inject::inject(&command, &[rule]).spawn().expect("started")).assert_code(1);
        assert!(ran.stderr.contains("ledger.sqlite"), "{}", ran.stderr);
        assert!(!fs::exists(workspace.path("a")).expect("looked"), "nothing is created");
    }
    let ran = run(&workspace, "a", "s").assert_code(1);
    assert!(ran.stderr.contains("is its disk mounted?"), "{}", ran.stderr);
}

/// Takes a ledger back to version 1, as the first programs made it.
fn make_version_1(ledger: &Path) {
    let connection = Connection::open(ledger).expect("opened");
    let newer = "SELECT group_concat('DROP TABLE ' || name, '; ') FROM sqlite_schema WHERE type = 'table'
                 AND name NOT IN ('runs', 'manifest', 'orgs', 'notes', 'images', 'rows', 'bad_rows', 'parts')";
    let drop: String = connection.query_row(newer, [], |row| row.get(0)).expect("named");
    let back = format!("PRAGMA foreign_keys = OFF; {drop}; PRAGMA user_version = 1;");
    connection.execute_batch(&back).expect("taken back");
}

#[test]
fn a_ledger_of_the_first_version_is_read_as_it_is_and_taken_over_by_a_run() {
    let workspace = Workspace::with_images(8);
    run(&workspace, "a", "s").assert_code(0);
    workspace.sandbox.clear_requests();
    let ledger = workspace.path("s").join("ledger.sqlite");
    make_version_1(&ledger);
    fs::remove_file(workspace.path("a").join(ID_FILE)).expect("removed");
    for args in [&["status", "a"][..], &["verify", "a"], &["plan", "manifest.csv", "-o", "a"]] {
        let args: Vec<_> = args.iter().chain(&["--state-dir", "s"]).copied().collect();
        exporter(&workspace, &args).assert_code(0);
    }
    run(&workspace, "a", "s").assert_code(0);
    assert_eq!(workspace.sandbox.requests().len(), 0, "its images are known");
    run(&workspace, "b", "s").assert_code(2);
    let version: i64 = Connection::open(&ledger)
        .and_then(|ledger| ledger.query_row("PRAGMA user_version", [], |row| row.get(0)))
        .expect("a version");
    assert_eq!(version, 2);
}
