//! `exporter plan`: what a run would do, told without a key, a network or a folder.

use std::fs;

use serde_json::Value;

use sandbox::workspace::{Run, Workspace};

fn plan(workspace: &Workspace, args: &[&str]) -> Run {
    let all: Vec<&str> = ["plan", "manifest.csv"].iter().chain(args).copied().collect();
    let mut command = workspace.command(&all);
    command
        .env_remove("MAXAI_API_KEY")
        .env_remove("EXPORTER_RATE")
        .env("MAXAI_API_URL", "http://127.0.0.1:1");
    Run::wait(command.spawn().expect("started"))
}

fn json(workspace: &Workspace, args: &[&str], code: i32) -> Value {
    let all: Vec<&str> = ["--json"].iter().chain(args).copied().collect();
    serde_json::from_str(&plan(workspace, &all).assert_code(code).stdout).expect("JSON")
}

fn numbers(plan: &Value) -> [u64; 6] {
    ["rows", "bad_rows", "duplicates", "delivered", "to_fetch", "api_requests"]
        .map(|key| plan[key].as_u64().unwrap_or_else(|| panic!("{key}: {plan}")))
}

#[test]
fn before_the_first_run_everything_is_to_fetch_and_nothing_is_made() {
    let workspace = Workspace::with_images(9);
    let answer = json(&workspace, &["--rate", "3/1s"], 0);
    assert_eq!(numbers(&answer), [9, 0, 0, 0, 9, 9]);
    assert_eq!(answer["shortest_seconds"], 2, "the last three go as soon as two windows are over");
    assert!(answer["disk_free_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    let ran = plan(&workspace, &["-o", "a/b"]).assert_code(0);
    assert!(ran.stdout.starts_with("9 images to fetch\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("exporter run manifest.csv -o a/b"), "{}", ran.stdout);
    assert!(!workspace.out().exists() && !workspace.path("a").exists());
    assert_eq!(workspace.api_requests(), 0);
}

#[test]
fn it_counts_as_the_run_that_follows_does() {
    let workspace = Workspace::with_images(8);
    workspace.run(&[]).assert_code(0);
    fs::remove_file(workspace.out().join("data/org0/note0/i0.jpg")).expect("removed");
    fs::write(workspace.out().join("data/org1/note0/i1.jpg"), b"cut").expect("cut");
    let hash = "0".repeat(64);
    let text = workspace.add_images(12).replace('\n', ",\n").replacen("image,", "image,sha256", 1);
    // another hash is wanted, a duplicate, a contradiction, and a bad row
    let text = format!(
        "{}org0,note0,i2,\norg0,note2,i8,{hash}\norg0,note2,i8,{}\norg0,,x,\n",
        text.replace("org1,note0,i3,\n", &format!("org1,note0,i3,{hash}\n")),
        "1".repeat(64)
    );
    workspace.manifest(&text);
    let listed = || fs::read_dir(workspace.out().join(".exporter")).expect("listed").count();
    let ledger = || fs::read(workspace.out().join(".exporter/ledger.sqlite")).expect("read");
    let (files, before) = (listed(), ledger());
    let answer = json(&workspace, &["--on-bad-row", "skip"], 0);
    assert_eq!((listed(), ledger() == before), (files, true), "the export is left as it is");
    assert_eq!(numbers(&answer), [16, 2, 2, 5, 7, 7]);

    workspace.run(&["--on-bad-row", "skip", "--max-attempts", "1"]).assert_code(3);
    assert_eq!(workspace.count("rows"), 16);
    assert_eq!((workspace.count("duplicate"), workspace.count("skipped")), (2, 5));
    assert_eq!(workspace.summary()["failures"]["bad_row"], 2);
    assert_eq!(workspace.count("stored") + workspace.count("failed") - 2, 7);
    // the same manifest is not loaded again by a run; the plan counts it the same
    let answer = json(&workspace, &["--on-bad-row", "skip"], 0);
    assert_eq!(numbers(&answer)[3], 5 + workspace.count("stored"));
}

#[test]
fn what_a_run_would_refuse_is_exit_2_with_the_lines_named() {
    let workspace = Workspace::with_images(2);
    workspace.manifest("org,note,image,sha256\no,n,i,\no,,i,\no,n\n");
    let answer = plan(&workspace, &["--json"]).assert_code(2);
    let json: Value = serde_json::from_str(&answer.stdout).expect("the numbers all the same");
    assert_eq!(numbers(&json), [3, 2, 0, 0, 1, 1]);
    for words in ["2 bad rows", "line 3: ", "line 4: ", "--on-bad-row skip"] {
        assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
    }
    assert_eq!(workspace.run(&[]).code, Some(2));
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    workspace.manifest(&format!("org,note,image,sha256\no,n,i,{a}\no,n,i,{b}\n"));
    let ran = plan(&workspace, &[]).assert_code(2);
    assert!(ran.stdout.starts_with("a run would refuse this manifest: 1 bad row\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("line 3: sha256 differs from that of line 2"), "{}", ran.stderr);
    for (text, words) in
        [("", "is empty"), ("org,image\n", "no column for note"), ("org,org,note,image\n", "org")]
    {
        workspace.manifest(text);
        let ran = plan(&workspace, &[]).assert_code(2);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
    fs::remove_file(workspace.path("manifest.csv")).expect("removed");
    plan(&workspace, &[]).assert_code(2);
}

#[test]
fn a_manifest_without_rows_has_a_plan_and_one_can_come_from_standard_input() {
    let workspace = Workspace::new();
    workspace.manifest("org,note,image\n");
    assert_eq!(numbers(&json(&workspace, &[], 0)), [0; 6]);
    workspace.write("other.csv", "org;note;image\no;n;i\n");
    let file = fs::File::open(workspace.path("other.csv")).expect("opened");
    let mut command = workspace.command(&["plan", "-", "--delimiter", ";", "--json"]);
    let ran = Run::wait(command.stdin(file).spawn().expect("started")).assert_code(0);
    let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(answer["to_fetch"], 1);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_named_before_the_run_and_by_it() {
    let workspace = Workspace::with_images(1);
    for out in ["manifest.csv", "manifest.csv/below"] {
        let words = "manifest.csv is in the way and is no folder: move it away, or choose another with -o\n";
        let ran = plan(&workspace, &["-o", out]).assert_code(0);
        assert!(ran.stderr.contains("warning: ") && ran.stderr.ends_with(words), "{}", ran.stderr);
        let ran = workspace.run(&["-o", out]).assert_code(1);
        assert!(ran.stderr.ends_with(words), "{}", ran.stderr);
    }
    assert_eq!(workspace.api_requests(), 0);
}

#[test]
fn a_ledger_that_a_run_would_not_use_is_exit_1() {
    let workspace = Workspace::with_images(2);
    workspace.run(&[]).assert_code(0);
    fs::write(workspace.out().join(".exporter/ledger.sqlite"), b"no database").expect("written");
    let ran = plan(&workspace, &[]).assert_code(1);
    assert!(ran.stderr.contains("verify --adopt"), "{}", ran.stderr);
}
