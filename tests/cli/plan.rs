//! `exporter plan`: what a run would do, told without a key, a network or a folder.

use std::fs;

use serde_json::Value;

use crate::world::{Ran, World};

fn plan(world: &World, args: &[&str]) -> Ran {
    let all: Vec<&str> = ["plan", "manifest.csv"].iter().chain(args).copied().collect();
    let mut command = world.command(&all);
    command
        .env_remove("MAXAI_API_KEY")
        .env_remove("EXPORTER_RATE")
        .env("MAXAI_API_URL", "http://127.0.0.1:1");
    Ran::of(command.spawn().expect("started"))
}

fn json(world: &World, args: &[&str], code: i32) -> Value {
    let all: Vec<&str> = ["--json"].iter().chain(args).copied().collect();
    serde_json::from_str(&plan(world, &all).ended(code).stdout).expect("JSON")
}

fn numbers(plan: &Value) -> [u64; 6] {
    ["rows", "bad_rows", "duplicates", "delivered", "to_fetch", "api_requests"]
        .map(|key| plan[key].as_u64().unwrap_or_else(|| panic!("{key}: {plan}")))
}

#[test]
fn before_the_first_run_everything_is_to_fetch_and_nothing_is_made() {
    let world = World::with_images(9);
    let answer = json(&world, &["--rate", "3/1s"], 0);
    assert_eq!(numbers(&answer), [9, 0, 0, 0, 9, 9]);
    assert_eq!(answer["shortest_seconds"], 2, "the last three go as soon as two windows are over");
    assert!(answer["disk_free_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    let ran = plan(&world, &["-o", "a/b"]).ended(0);
    assert!(ran.stdout.starts_with("9 images to fetch\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("exporter run manifest.csv -o a/b"), "{}", ran.stdout);
    assert!(!world.out().exists() && !world.path("a").exists());
    assert_eq!(world.api_requests(), 0);
}

#[test]
fn it_counts_as_the_run_that_follows_does() {
    let world = World::with_images(8);
    world.run(&[]).ended(0);
    fs::remove_file(world.out().join("data/org0/note0/i0.jpg")).expect("removed");
    fs::write(world.out().join("data/org1/note0/i1.jpg"), b"cut").expect("cut");
    let hash = "0".repeat(64);
    let text = world.add_images(12).replace('\n', ",\n").replacen("image,", "image,sha256", 1);
    // another hash is wanted, a duplicate, a contradiction, and a bad row
    let text = format!(
        "{}org0,note0,i2,\norg0,note2,i8,{hash}\norg0,note2,i8,{}\norg0,,x,\n",
        text.replace("org1,note0,i3,\n", &format!("org1,note0,i3,{hash}\n")),
        "1".repeat(64)
    );
    world.manifest(&text);
    let listed = || fs::read_dir(world.out().join(".exporter")).expect("listed").count();
    let ledger = || fs::read(world.out().join(".exporter/ledger.sqlite")).expect("read");
    let (files, before) = (listed(), ledger());
    let answer = json(&world, &["--on-bad-row", "skip"], 0);
    assert_eq!((listed(), ledger() == before), (files, true), "the export is left as it is");
    assert_eq!(numbers(&answer), [16, 2, 2, 5, 7, 7]);

    world.run(&["--on-bad-row", "skip", "--max-attempts", "1"]).ended(3);
    assert_eq!(world.count("rows"), 16);
    assert_eq!((world.count("duplicate"), world.count("skipped")), (2, 5));
    assert_eq!(world.summary()["failures"]["bad_row"], 2);
    assert_eq!(world.count("stored") + world.count("failed") - 2, 7);
    // the same manifest is not loaded again by a run; the plan counts it the same
    let answer = json(&world, &["--on-bad-row", "skip"], 0);
    assert_eq!(numbers(&answer)[3], 5 + world.count("stored"));
}

#[test]
fn what_a_run_would_refuse_is_exit_2_with_the_lines_named() {
    let world = World::with_images(2);
    world.manifest("org,note,image,sha256\no,n,i,\no,,i,\no,n\n");
    let answer = plan(&world, &["--json"]).ended(2);
    let json: Value = serde_json::from_str(&answer.stdout).expect("the numbers all the same");
    assert_eq!(numbers(&json), [3, 2, 0, 0, 1, 1]);
    for words in ["2 bad rows", "line 3: ", "line 4: ", "--on-bad-row skip"] {
        assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
    }
    assert_eq!(world.run(&[]).code, Some(2));
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    world.manifest(&format!("org,note,image,sha256\no,n,i,{a}\no,n,i,{b}\n"));
    let ran = plan(&world, &[]).ended(2);
    assert!(ran.stdout.starts_with("a run would refuse this manifest: 1 bad row\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("line 3: sha256 differs from that of line 2"), "{}", ran.stderr);
    for (text, words) in
        [("", "is empty"), ("org,image\n", "no column for note"), ("org,org,note,image\n", "org")]
    {
        world.manifest(text);
        let ran = plan(&world, &[]).ended(2);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
    fs::remove_file(world.path("manifest.csv")).expect("removed");
    plan(&world, &[]).ended(2);
}

#[test]
fn a_manifest_without_rows_has_a_plan_and_one_can_come_from_standard_input() {
    let world = World::new();
    world.manifest("org,note,image\n");
    assert_eq!(numbers(&json(&world, &[], 0)), [0; 6]);
    world.write("other.csv", "org;note;image\no;n;i\n");
    let file = fs::File::open(world.path("other.csv")).expect("opened");
    let mut command = world.command(&["plan", "-", "--delimiter", ";", "--json"]);
    let ran = Ran::of(command.stdin(file).spawn().expect("started")).ended(0);
    let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(answer["to_fetch"], 1);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_named_before_the_run_and_by_it() {
    let world = World::with_images(1);
    for out in ["manifest.csv", "manifest.csv/below"] {
        let words = "manifest.csv is in the way and is no folder: move it away, or choose another with -o\n";
        let ran = plan(&world, &["-o", out]).ended(0);
        assert!(ran.stderr.contains("warning: ") && ran.stderr.ends_with(words), "{}", ran.stderr);
        let ran = world.run(&["-o", out]).ended(1);
        assert!(ran.stderr.ends_with(words), "{}", ran.stderr);
    }
    assert_eq!(world.api_requests(), 0);
}

#[test]
fn a_ledger_that_a_run_would_not_use_is_exit_1() {
    let world = World::with_images(2);
    world.run(&[]).ended(0);
    fs::write(world.out().join(".exporter/ledger.sqlite"), b"no database").expect("written");
    let ran = plan(&world, &[]).ended(1);
    assert!(ran.stderr.contains("verify --adopt"), "{}", ran.stderr);
}
