//! `exporter status`, beside a run and after it.

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use sandbox::config::Config;
use sandbox::registry::ImageRef;
use sandbox::workspace::{Run, Workspace};

fn status(workspace: &Workspace, args: &[&str]) -> Run {
    let all: Vec<&str> = ["status"].iter().chain(args).copied().collect();
    let mut command = workspace.command(&all);
    command.env_remove("MAXAI_API_KEY").env("MAXAI_API_URL", "http://127.0.0.1:1");
    Run::wait(command.spawn().expect("started"))
}

fn json(workspace: &Workspace) -> Value {
    serde_json::from_str(&status(workspace, &["--json"]).assert_code(0).stdout).expect("JSON")
}

/// 200 images, one after the other at 20 a second.
fn slow() -> Workspace {
    let workspace =
        Workspace::with(Config { storage_latency: Duration::from_millis(50), ..Config::default() });
    workspace.manifest(&workspace.add_images(200));
    workspace
}

/// Waits until the run has delivered something; what status said then.
fn when_some_are_there(workspace: &Workspace) -> Value {
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < Duration::from_secs(30), "the run does not begin");
        if workspace.out().join(".exporter/ledger.sqlite").exists() {
            let ran = status(workspace, &["--json"]);
            if let Ok(answer) = serde_json::from_str::<Value>(&ran.stdout)
                && answer["stored"].as_u64().is_some_and(|stored| stored >= 5)
            {
                return answer;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_run_that_is_over_is_told_with_its_counts() {
    let workspace = Workspace::with_images(6);
    workspace.sandbox.forget_image(&ImageRef::new("org0", "note0", "i2"));
    workspace.run(&[]).assert_code(3);
    let answer = json(&workspace);
    assert_eq!(answer["running"], false);
    for (key, number) in
        [("rows", 6), ("stored", 5), ("skipped", 0), ("duplicate", 0), ("failed", 1), ("untried", 0)]
    {
        assert_eq!(answer[key], number, "{key}");
    }
    let bytes: u64 = (0..6).filter(|n| *n != 2).map(|n| 2000 + n).sum();
    assert_eq!(answer["bytes"], bytes);
    assert_eq!(answer["rows_per_second"], 0.0);
    assert!(answer["seconds_left"].is_null());
    let ran = status(&workspace, &["--watch"]).assert_code(0);
    assert!(ran.stdout.starts_with("not running: the last run ended at "), "{}", ran.stdout);
    assert!(ran.stdout.contains("1 of 6 rows failed (exit code 3)"), "{}", ran.stdout);
}

#[test]
fn beside_a_run_rows_not_reached_are_untried_and_a_kill_is_seen() {
    let workspace = slow();
    let mut child =
        workspace.command(&["run", "manifest.csv", "--concurrency", "1"]).spawn().expect("started");
    let answer = when_some_are_there(&workspace);
    assert_eq!((answer["running"].as_bool(), answer["rows"].as_u64()), (Some(true), Some(200)));
    let (stored, untried) =
        (answer["stored"].as_u64().expect("stored"), answer["untried"].as_u64().expect("untried"));
    assert!(untried > 0 && stored + untried == 200, "{answer}");
    assert_eq!(answer["pid"].as_u64(), Some(u64::from(child.id())));
    std::thread::sleep(Duration::from_millis(1200));
    let answer = json(&workspace);
    assert!(answer["rows_per_second"].as_f64().is_some_and(|speed| speed > 0.0), "{answer}");
    assert!(answer["seconds_left"].is_u64(), "{answer}");

    Command::new("kill").args(["-9", &child.id().to_string()]).status().expect("killed");
    child.wait().expect("ended");
    let answer = json(&workspace);
    assert_eq!((answer["running"].as_bool(), answer["seconds_left"].is_null()), (Some(false), true));
    let ran = status(&workspace, &[]).assert_code(0);
    assert!(
        ran.stdout.starts_with("not running: the run of ") && ran.stdout.contains("was killed"),
        "{}",
        ran.stdout
    );
    let delivered = answer["stored"].as_u64().expect("stored");

    // the reports of a run that was killed are written on demand, and nothing delivered is called untried
    let report = workspace.command(&["report"]).spawn().expect("started");
    Run::wait(report).assert_code(0);
    let stored = workspace.states().iter().filter(|state| *state == "stored").count() as u64;
    assert!(stored >= delivered, "{stored} {delivered}");
    assert_eq!(workspace.read("manifest-sha256.txt").lines().count() as u64, stored);
    assert!(workspace.summary()["exit_code"].is_null());
}

#[test]
fn watching_ends_with_the_run() {
    let workspace = slow();
    let child = workspace.command(&["run", "manifest.csv", "--concurrency", "4"]).spawn().expect("started");
    when_some_are_there(&workspace);
    let mut watch = workspace.command(&["status", "--watch", "--json"]).spawn().expect("started");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let first: Value =
        serde_json::from_str(&lines.next().expect("one").expect("a line")).expect("one object a line");
    assert_eq!(first["running"], true);
    Run::wait(child).assert_code(0);
    let last = lines.last().expect("more than one").expect("a line");
    let last: Value = serde_json::from_str(&last).expect("one object a line");
    assert_eq!((last["running"].as_bool(), last["stored"].as_u64()), (Some(false), Some(200)));
    assert_eq!(watch.wait().expect("ended").code(), Some(0));
}

#[test]
fn a_run_can_begin_while_somebody_asks_for_the_status() {
    let workspace = Workspace::with_images(1);
    workspace.run(&[]).assert_code(0);
    let asking: Vec<_> = (0..20).map(|_| workspace.command(&["status"]).spawn().expect("started")).collect();
    for _ in 0..5 {
        workspace.run(&[]).assert_code(0);
    }
    for child in asking {
        Run::wait(child).assert_code(0);
    }
}

#[test]
fn while_a_run_loads_its_manifest_the_run_before_is_not_told_as_going_on() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    // as a run takes it, before it has written itself down
    let lock = workspace.out().join(".exporter/lock");
    let held = std::fs::File::options().write(true).open(&lock).expect("opened");
    held.lock().expect("locked");
    std::fs::write(&lock, "4711\nrun\n").expect("written");
    let ran = status(&workspace, &[]).assert_code(0);
    assert!(ran.stdout.starts_with("running, process 4711: reading the manifest\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("3 stored"), "{}", ran.stdout);
    let answer = json(&workspace);
    assert_eq!((&answer["running"], &answer["phase"]), (&Value::Bool(true), &Value::from("reading")));
    drop(held);
    assert!(json(&workspace)["phase"].is_null());
}
