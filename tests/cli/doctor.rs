//! `exporter doctor`: what would break in the night is told before it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use sandbox::faults::ApiFault;
use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;

fn doctor(workspace: &Workspace, args: &[&str]) -> Run {
    let all: Vec<&str> = ["doctor"].iter().chain(args).copied().collect();
    Run::wait(workspace.command(&all).spawn().expect("started"))
}

fn json(workspace: &Workspace, args: &[&str], code: i32) -> Value {
    let all: Vec<&str> = ["--json"].iter().chain(args).copied().collect();
    let answer: Value =
        serde_json::from_str(&doctor(workspace, &all).assert_code(code).stdout).expect("JSON");
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
    let workspace = Workspace::with_images(1);
    let answer = json(&workspace, &["--org", "org0"], 0);
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
    assert!(!workspace.out().exists(), "the folder is not made");
    let files: Vec<_> = fs::read_dir(workspace.path(""))
        .expect("listed")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    assert_eq!(files, ["manifest.csv"]);
    assert_eq!(workspace.api_requests(), 2, "who we are, and an image that is not there");

    fs::create_dir(workspace.out()).expect("made");
    let ran = doctor(&workspace, &[]).assert_code(0);
    assert!(
        ran.stdout.lines().all(|line| line.starts_with("ok ") || line.starts_with("warning ")),
        "{}",
        ran.stdout
    );
    assert_eq!(fs::read_dir(workspace.out()).expect("listed").count(), 0);
    assert_eq!(workspace.api_requests(), 3);
}

#[test]
fn a_key_that_is_refused_or_missing_is_a_problem_with_its_remedy() {
    let workspace = Workspace::new();
    workspace.sandbox.set_api_keys(&["another"]);
    let answer = json(&workspace, &[], 1);
    let (result, text) = check(&answer, "key");
    assert_eq!(result, "problem");
    assert!(text.contains("401 unauthorized") && text.contains("--api-key-file"), "{text}");
    assert_eq!(check(&answer, "api").0, "ok");

    let mut command = workspace.command(&["doctor", "--json"]);
    let ran = Run::wait(command.env_remove("MAXAI_API_KEY").spawn().expect("started")).assert_code(1);
    let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let (result, text) = check(&answer, "key");
    assert!(result == "problem" && text.contains("there is none; put the key into a file"), "{text}");
    assert_eq!(check(&answer, "write").0, "ok", "the rest is checked all the same");
    let entry = workspace.sandbox.requests().pop().expect("one request");
    assert_eq!(entry.header("authorization"), None);
}

#[test]
fn a_403_names_the_scope_that_is_missing() {
    let workspace = Workspace::new();
    workspace.sandbox.refuse_org("org9");
    let answer = json(&workspace, &["--org", "org9"], 1);
    let (result, text) = check(&answer, "scopes");
    assert_eq!(result, "problem");
    assert!(text.contains("Required: read:notes") && text.contains("ask the clinic"), "{text}");
    assert_eq!(check(&json(&workspace, &["--org", "org8"], 0), "scopes").0, "ok");
}

#[test]
fn an_api_that_does_not_answer_as_it_should_is_a_problem() {
    let workspace = Workspace::new();
    let unreachable = json(&workspace, &["--api-url", "http://127.0.0.1:1"], 1);
    let (result, text) = check(&unreachable, "api");
    assert!(result == "problem" && text.contains("127.0.0.1") && text.contains("--api-url"), "{text}");
    assert_eq!(check(&unreachable, "key").0, "warning", "nobody knows");
    for (fault, words) in [
        (ApiFault::status(503), "503"),
        (ApiFault::html(200), "not the API's own"),
        (ApiFault::html(403), "--api-url"),
        (ApiFault::json("{\"code\":\"success\",\"data\":7}"), "no app context"),
        (ApiFault::status(404), "base address"),
        (ApiFault::redirect(302, "http://127.0.0.1:1/"), "302"),
    ] {
        workspace.sandbox.script().api("marketplace/me", fault);
        let (result, text) = check(&json(&workspace, &[], 1), "api");
        assert!(result == "problem" && text.contains(words), "{words}: {text}");
    }
    let headers = vec![("date".to_owned(), "Sun, 01 Mar 2026 08:00:00 GMT".to_owned())];
    workspace.sandbox.script().api("marketplace/me", ApiFault::Headers(headers));
    let (_, text) = check(&json(&workspace, &[], 1), "clock");
    assert!(text.contains("ahead of the API's") || text.contains("behind the API's"), "{text}");
}

#[test]
fn a_folder_that_cannot_be_used_is_a_problem() {
    let workspace = Workspace::new();
    workspace.write("file", "");
    assert_eq!(check(&json(&workspace, &["-o", "file"], 1), "folder").0, "problem");
    let (result, text) = check(&json(&workspace, &["--min-free", "8000000T"], 1), "free_space");
    assert!(result == "problem" && text.contains("--min-free"), "{text}");
    fs::create_dir_all(workspace.out().join("data/o")).expect("made");
    let (result, text) = check(&json(&workspace, &[], 1), "ledger");
    assert!(result == "problem" && text.contains("verify --adopt"), "{text}");
}

#[test]
fn a_system_without_certificates_is_the_problem_and_not_the_proxy() {
    let workspace = Workspace::new();
    workspace.write("none.pem", "");
    let none = workspace.path("none.pem");
    for url in [workspace.sandbox.api_url(), "https://127.0.0.1:1"] {
        let mut command = workspace.command(&["doctor", "--json", "--api-url", url]);
        command.env("SSL_CERT_FILE", &none).env("SSL_CERT_DIR", "/nonexistent");
        let ran = Run::wait(command.spawn().expect("started")).assert_code(1);
        let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let (result, text) = check(&answer, "ca");
        assert_eq!(result, "problem", "{url}: {text}");
        assert!(text.contains("ca-certificates") && text.contains("--ca-file"), "{text}");
        assert_eq!(check(&answer, "proxy").0, "ok", "{url}");
        let api = if url.starts_with("https") { "warning" } else { "ok" };
        assert_eq!(check(&answer, "api").0, api, "{answer}");
    }
}

#[test]
fn no_secret_is_shown() {
    let workspace = Workspace::new();
    for args in [&["-vv"][..], &["-vv", "--api-url", "http://127.0.0.1:1"]] {
        let ran = doctor(&workspace, args);
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains(sandbox::config::API_KEY), "{text}");
        }
    }
}

#[test]
fn its_requests_count_towards_the_allowance_of_the_runs() {
    let ask = |workspace: &Workspace, args: &[&str], code| {
        let mut command = workspace.command(args);
        Run::wait(command.env("EXPORTER_RATE", "1/1h").spawn().expect("started")).assert_code(code)
    };
    let workspace = Workspace::with_images(1);
    ask(&workspace, &["run", "manifest.csv"], 0);
    let start = Instant::now();
    let answer = ask(&workspace, &["doctor", "--json"], 0).stdout;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let (result, text) = check(&answer, "api");
    assert!(result == "warning" && text.contains("leave no request free"), "{text}");
    assert_eq!(check(&answer, "key").0, "warning");
    assert!(start.elapsed() < Duration::from_secs(8), "a wait that is known is not begun");
    assert_eq!(workspace.api_requests(), 1);

    let workspace = Workspace::with_images(1);
    ask(&workspace, &["doctor"], 0);
    ask(&workspace, &["run", "manifest.csv", "--max-duration", "1s"], 4);
    assert_eq!(workspace.api_requests(), 1);
}

#[test]
fn what_would_stop_a_run_at_the_start_is_a_problem_with_its_own_remedy() {
    let workspace = Workspace::with_images(4);
    workspace.run(&[]).assert_code(0);
    for (rule, name) in [
        ("call=stat,path=/export/data,errno=EACCES", "folder"),
        ("call=stat,path=/data/org1,errno=EACCES", "folder"),
        ("call=open,path=/data/org1,errno=EACCES", "folder"),
        ("call=open,path=.exporter/ledger.sqlite,errno=EACCES", "ledger"),
    ] {
        let command = workspace.command(&["doctor", "--json"]);
        let ran = Run::wait(inject(&command, &[rule]).spawn().expect("started")).assert_code(1);
        let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let (result, text) = check(&answer, name);
        assert_eq!(result, "problem", "{rule}: {text}");
        assert!(text.contains("Permission denied"), "{rule}: {text}");
        assert!(text.contains("run as its owner, or give this user access to it"), "{rule}: {text}");
        assert!(!ran.stdout.contains("--state-dir"), "{rule}: {}", ran.stdout);
    }
    let ran =
        inject(&workspace.command(&["status", "export"]), &["call=open,path=ledger.sqlite,errno=EACCES"]);
    let ran = { ran }.output().expect("started");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("Permission denied") && said.contains("run as its owner"), "{said}");
}

#[test]
fn an_organizations_folder_that_is_a_link_is_a_problem() {
    let workspace = Workspace::with_images(4);
    workspace.run(&[]).assert_code(0);
    let (org, moved) = (workspace.out().join("data/org1"), workspace.path("moved"));
    fs::rename(&org, &moved).expect("moved");
    std::os::unix::fs::symlink(&moved, &org).expect("linked");
    let (result, text) = check(&json(&workspace, &[], 1), "folder");
    assert!(result == "problem" && text.contains("data/org1 is no folder but a link to"), "{text}");
}

#[test]
fn a_closed_export_is_named_once_and_no_other_cause_beside_it() {
    let workspace = Workspace::with_images(1);
    workspace.run(&[]).assert_code(0);
    let command = workspace.command(&["doctor", "--json"]);
    let rule = "call=stat,path=/export/,errno=EACCES";
    let ran = Run::wait(inject(&command, &[rule]).spawn().expect("started")).assert_code(1);
    let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let problems = answer["checks"].as_array().expect("checks").iter();
    let problems: Vec<_> = problems.filter(|check| check["result"] == "problem").collect();
    assert_eq!((problems.len(), &problems[0]["name"]), (1, &"folder".into()), "{problems:?}");
}

#[test]
fn the_answer_in_the_readme_is_the_programs() {
    let workspace = Workspace::with_images(1);
    workspace.run(&[]).assert_code(0);
    let answer = doctor(&workspace, &["--org", "org0"]).stdout;
    let readme = include_str!("../../README.md");
    let (_, shown) = readme.split_once("\n$ exporter doctor").expect("an example");
    let (shown, _) = shown.split_once("\n```").expect("its end");
    let unnumbered = |line: &str| line.replace(|c: char| c.is_ascii_digit(), "");
    let answer: Vec<String> = answer.lines().map(unnumbered).collect();
    // what depends on the machine: its organization, and which warnings it deserves
    for line in shown.lines().skip(1).filter(|line| !line.contains(" organization ")) {
        let check: Vec<&str> = line.split_whitespace().take(2).collect();
        let warned = answer.iter().any(|line| line.starts_with("warning") && line.contains(check[1]));
        let said = answer.contains(&unnumbered(line));
        assert!(warned || said, "{line} is not in:\n{}", answer.join("\n"));
    }
}
