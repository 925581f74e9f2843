//! `exporter doctor`: what would break in the night is told before it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::faults::ApiFault;
use crate::world::{Ran, World};

fn doctor(world: &World, args: &[&str]) -> Ran {
    let all: Vec<&str> = ["doctor"].iter().chain(args).copied().collect();
    Ran::of(world.command(&all).spawn().expect("started"))
}

fn json(world: &World, args: &[&str], code: i32) -> Value {
    let all: Vec<&str> = ["--json"].iter().chain(args).copied().collect();
    let answer: Value = serde_json::from_str(&doctor(world, &all).ended(code).stdout).expect("JSON");
    assert_eq!(answer["ok"], code == 0);
    answer
}

/// Result, and what was found with its remedy.
fn check(answer: &Value, name: &str) -> (String, String) {
    let checks = answer["checks"].as_array().expect("checks");
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {answer}"));
    let text = |key: &str| check[key].as_str().unwrap_or_else(|| panic!("{key}: {check}")).to_owned();
    (text("result"), format!("{}; {}", text("found"), text("remedy")))
}

#[test]
fn a_machine_that_is_ready_has_no_problem_and_nothing_is_left_behind() {
    let world = World::with_images(1);
    let answer = json(&world, &["--org", "org0"], 0);
    for name in [
        "proxy",
        "ca",
        "api",
        "key",
        "organization",
        "scopes",
        "clock",
        "folder",
        "write",
        "fsync",
        "rename",
        "modes",
        "case",
        "long_names",
        "free_space",
        "inodes",
        "open_files",
        "file_system",
        "locks",
        "ledger",
    ] {
        assert_ne!(check(&answer, name).0, "problem", "{name}: {answer}");
    }
    assert_eq!(check(&answer, "key"), ("ok".to_owned(), "accepted; ".to_owned()));
    assert!(!world.out().exists(), "the folder is not made");
    let files: Vec<_> = fs::read_dir(world.path(""))
        .expect("listed")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    assert_eq!(files, ["manifest.csv"]);
    assert_eq!(world.api_requests(), 2, "who we are, and an image that is not there");

    fs::create_dir(world.out()).expect("made");
    let ran = doctor(&world, &[]).ended(0);
    assert!(
        ran.stdout.lines().all(|line| line.starts_with("ok ") || line.starts_with("warning ")),
        "{}",
        ran.stdout
    );
    assert_eq!(fs::read_dir(world.out()).expect("listed").count(), 0);
    assert_eq!(world.api_requests(), 3);
}

#[test]
fn a_key_that_is_refused_or_missing_is_a_problem_with_its_remedy() {
    let world = World::new();
    world.sandbox.set_api_keys(&["another"]);
    let answer = json(&world, &[], 1);
    let (result, text) = check(&answer, "key");
    assert_eq!(result, "problem");
    assert!(text.contains("401 unauthorized") && text.contains("--api-key-file"), "{text}");
    assert_eq!(check(&answer, "api").0, "ok");

    let mut command = world.command(&["doctor", "--json"]);
    let ran = Ran::of(command.env_remove("MAXAI_API_KEY").spawn().expect("started")).ended(1);
    let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let (result, text) = check(&answer, "key");
    assert!(result == "problem" && text.contains("there is none; put the key into a file"), "{text}");
    assert_eq!(check(&answer, "write").0, "ok", "the rest is checked all the same");
    let entry = world.sandbox.requests().pop().expect("one request");
    assert_eq!(entry.header("authorization"), None);
}

#[test]
fn a_403_names_the_scope_that_is_missing() {
    let world = World::new();
    world.sandbox.refuse_org("org9");
    let answer = json(&world, &["--org", "org9"], 1);
    let (result, text) = check(&answer, "scopes");
    assert_eq!(result, "problem");
    assert!(text.contains("Required: read:notes") && text.contains("ask the clinic"), "{text}");
    assert_eq!(check(&json(&world, &["--org", "org8"], 0), "scopes").0, "ok");
}

#[test]
fn an_api_that_does_not_answer_as_it_should_is_a_problem() {
    let world = World::new();
    let unreachable = json(&world, &["--api-url", "http://127.0.0.1:1"], 1);
    let (result, text) = check(&unreachable, "api");
    assert!(result == "problem" && text.contains("127.0.0.1") && text.contains("--api-url"), "{text}");
    assert_eq!(check(&unreachable, "key").0, "warning", "nobody knows");
    for (fault, words) in [
        (ApiFault::status(503), "503"),
        (ApiFault::html(200), "no app context"),
        (ApiFault::status(404), "base address"),
        (ApiFault::redirect(302, "http://127.0.0.1:1/"), "302"),
    ] {
        world.sandbox.script().api("marketplace/me", fault);
        let (result, text) = check(&json(&world, &[], 1), "api");
        assert!(result == "problem" && text.contains(words), "{words}: {text}");
    }
    let headers = vec![("date".to_owned(), "Sun, 01 Mar 2026 08:00:00 GMT".to_owned())];
    world.sandbox.script().api("marketplace/me", ApiFault::Headers(headers));
    let (_, text) = check(&json(&world, &[], 1), "clock");
    assert!(text.contains("ahead of the API's") || text.contains("behind the API's"), "{text}");
}

#[test]
fn a_folder_that_cannot_be_used_is_a_problem() {
    let world = World::new();
    world.write("file", "");
    assert_eq!(check(&json(&world, &["-o", "file"], 1), "folder").0, "problem");
    let (result, text) = check(&json(&world, &["--min-free", "8000000T"], 1), "free_space");
    assert!(result == "problem" && text.contains("--min-free"), "{text}");
    fs::create_dir_all(world.out().join("data/o")).expect("made");
    let (result, text) = check(&json(&world, &[], 1), "ledger");
    assert!(result == "problem" && text.contains("verify --adopt"), "{text}");
}

#[test]
fn no_secret_is_shown() {
    let world = World::new();
    for args in [&["-vv"][..], &["-vv", "--api-url", "http://127.0.0.1:1"]] {
        let ran = doctor(&world, args);
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains(crate::support::config::API_KEY), "{text}");
        }
    }
}

#[test]
fn its_requests_count_towards_the_allowance_of_the_runs() {
    let ask = |world: &World, args: &[&str], code| {
        let mut command = world.command(args);
        Ran::of(command.env("EXPORTER_RATE", "1/1h").spawn().expect("started")).ended(code)
    };
    let world = World::with_images(1);
    ask(&world, &["run", "manifest.csv"], 0);
    let start = Instant::now();
    let answer = ask(&world, &["doctor", "--json"], 0).stdout;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let (result, text) = check(&answer, "api");
    assert!(result == "warning" && text.contains("leave no request free"), "{text}");
    assert_eq!(check(&answer, "key").0, "warning");
    assert!(start.elapsed() < Duration::from_secs(8), "a wait that is known is not begun");
    assert_eq!(world.api_requests(), 1);

    let world = World::with_images(1);
    ask(&world, &["doctor"], 0);
    ask(&world, &["run", "manifest.csv", "--max-duration", "1s"], 4);
    assert_eq!(world.api_requests(), 1);
}
