//! `--shard K/N`: several runs fill one export, each its own rows.

use std::collections::BTreeSet;
use std::process::Child;
use std::time::{Duration, Instant};

use exporter::shard::Shard;
use sandbox::config::Config;
use sandbox::images::jpeg;
use sandbox::log::Server;
use sandbox::workspace::{Line, Run, Workspace};

/// `exporter run manifest.csv --shard SHARD`, going on.
pub fn start(workspace: &Workspace, shard: &str, more: &[&str]) -> Child {
    let args: Vec<&str> = ["run", "manifest.csv", "--shard", shard].iter().chain(more).copied().collect();
    workspace.command(&args).spawn().expect("the program starts")
}

/// All shards at once, to their end.
pub fn run_all(workspace: &Workspace, of: u32) -> Vec<Run> {
    let started: Vec<_> = (1..=of).map(|number| start(workspace, &format!("{number}/{of}"), &[])).collect();
    started.into_iter().map(Run::wait).collect()
}

/// The report of one shard.
pub fn report(workspace: &Workspace, shard: &str) -> Vec<Line> {
    let path = workspace.out().join(format!(".exporter/shards/{shard}/report.csv"));
    let mut reader = csv::Reader::from_path(path).expect("a report");
    reader.deserialize().map(|line| line.expect("a line")).collect()
}

fn shard(text: &str) -> Shard {
    text.parse().expect("a shard")
}

#[test]
fn shards_count_from_one_and_nothing_is_made_for_one_that_cannot_be() {
    let workspace = Workspace::with_images(2);
    for (text, words) in [
        ("0/4", "shards count from 1"),
        ("5/4", "no shard 5 of 4"),
        ("1/0", "no shard 1 of 0"),
        ("x", "K/N"),
        ("1-of-4", "K/N"),
        ("", "K/N"),
    ] {
        let ran = workspace.run(&["--shard", text]).assert_code(2);
        assert!(ran.stderr.contains(words) && ran.stderr.contains("--shard"), "{text}: {}", ran.stderr);
    }
    for text in ["0/4", "5/4", "1", "1/x", "1/20000"] {
        let ran = workspace.run(&["--shard", "1/4", "--rate-share", text]).assert_code(2);
        assert!(ran.stderr.contains("--rate-share"), "{text}: {}", ran.stderr);
    }
    assert!(!workspace.out().exists());
    assert_eq!(workspace.api_requests(), 0);
}

#[test]
fn each_shard_fetches_whole_notes_of_its_own_and_all_together_fetch_everything_once() {
    let workspace = Workspace::with_images(40);
    for ran in run_all(&workspace, 3) {
        ran.assert_code(0);
    }
    assert_eq!(workspace.api_requests(), 40);
    assert_eq!(workspace.images().len(), 40);
    let mut lines = BTreeSet::new();
    for number in 1..=3 {
        let own = shard(&format!("{number}/3"));
        for line in report(&workspace, &own.folder_name()) {
            assert!(own.owns(&line["org"], &line["note"]), "{line:?}");
            assert_eq!(line["state"], "stored");
            assert!(lines.insert(line["line"].clone()), "in one report only: {line:?}");
        }
    }
    assert_eq!(lines.len(), 40);
    assert!(!workspace.out().join("report.csv").exists(), "there is no report of all yet");
    let shard = workspace.out().join(".exporter/shards/1-of-3");
    let mut names: Vec<_> =
        std::fs::read_dir(shard).expect("listed").map(|it| it.expect("one").file_name()).collect();
    names.sort();
    let reports = ["failed.csv", "gone.csv", "index.csv", "notes.csv", "report.csv", "summary.json"];
    names.retain(|name| !reports.iter().any(|report| name == report));
    assert_eq!(names, ["ledger.sqlite", "lock"], "and its reports");
    // again: nothing is asked for
    for ran in run_all(&workspace, 3) {
        ran.assert_code(0);
    }
    assert_eq!(workspace.api_requests(), 40);
}

#[test]
fn the_paths_are_those_of_one_run_alone() {
    let rows = [
        ("Org", "Note", "a"),
        ("org", "note", "a"),
        ("org", "Note", "A"),
        ("org", "NOTE", "a"),
        ("ORG", "n", "x"),
        ("org", "note", "A"),
        ("org", "note", "a"),
        ("con", ".x", "a b"),
        ("Con", ".X", "A b"),
    ];
    let fill = |workspace: &Workspace| {
        let mut text = "org,note,image\n".to_owned();
        for (at, (org, note, image)) in rows.iter().enumerate() {
            workspace.sandbox.add_image(org, note, image, jpeg(at as u64, 2000), "image/jpeg");
            text.push_str(&format!("{org},{note},{image}\n"));
        }
        workspace.manifest(&text);
    };
    let (alone, shared) = (Workspace::new(), Workspace::new());
    fill(&alone);
    fill(&shared);
    alone.run(&[]).assert_code(0);
    for ran in run_all(&shared, 5) {
        ran.assert_code(0);
    }
    assert_eq!(shared.images(), alone.images());
    assert_eq!(shared.images().len(), rows.len() - 1);
}

#[test]
fn a_shard_without_rows_is_complete_and_the_exit_code_is_that_of_the_own_rows() {
    let workspace = Workspace::new();
    workspace.sandbox.add_image("org0", "note0", "i", jpeg(1, 2000), "image/jpeg");
    workspace.manifest("org,note,image\norg0,note0,i\norg1,note0,missing\n");
    // both are of the tests of the arithmetic
    assert!(shard("4/4").owns("org0", "note0") && shard("1/4").owns("org1", "note0"));
    for (number, code) in [(1, 3), (2, 0), (3, 0), (4, 0)] {
        Run::wait(start(&workspace, &format!("{number}/4"), &[])).assert_code(code);
    }
    assert_eq!(workspace.api_requests(), 2);
}

#[test]
fn another_number_of_shards_is_refused_and_so_is_a_run_without_one() {
    let workspace = Workspace::with_images(4);
    Run::wait(start(&workspace, "1/2", &[])).assert_code(0);
    let asked = workspace.api_requests();
    let ran = Run::wait(start(&workspace, "1/3", &[])).assert_code(2);
    assert!(ran.stderr.contains("2 shards, not in 3") && ran.stderr.contains("merge"), "{}", ran.stderr);
    assert!(!workspace.out().join(".exporter/shards/1-of-3").exists());
    let ran = workspace.run(&[]).assert_code(2);
    assert!(ran.stderr.contains("exporter merge"), "{}", ran.stderr);
    assert_eq!(workspace.api_requests(), asked);
    assert!(!workspace.out().join(".exporter/ledger.sqlite").exists());
}

#[test]
fn a_shard_in_use_is_refused_with_the_machines_name() {
    let workspace =
        Workspace::with(Config { storage_latency: Duration::from_millis(300), ..Config::default() });
    workspace.manifest(&workspace.add_images(6));
    let first = start(&workspace, "1/1", &["--concurrency", "1"]);
    let begin = Instant::now();
    while workspace.api_requests() == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ran = Run::wait(start(&workspace, "1/1", &[])).assert_code(1);
    let host = rustix_host();
    assert!(ran.stderr.contains(&format!("in use on {host}")), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("process {}", first.id())), "{}", ran.stderr);
    Run::wait(first).assert_code(0);
    let left = workspace.out().join(".exporter/shards/1-of-1/heartbeat");
    assert!(!left.exists(), "it goes with the run");
}

fn rustix_host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name").trim().to_owned()
}

#[test]
fn what_a_killed_shard_delivered_is_not_asked_for_again() {
    let workspace =
        Workspace::with(Config { storage_latency: Duration::from_millis(20), ..Config::default() });
    workspace.manifest(&workspace.add_images(60));
    let mut shards = ["1/2", "2/2"].map(|shard| start(&workspace, shard, &["--concurrency", "2"]));
    let begin = Instant::now();
    let delivered = || workspace.out().join("data").is_dir() && !workspace.images().is_empty();
    while workspace.api_requests() < 20 || !delivered() {
        assert!(begin.elapsed() < Duration::from_secs(20), "they do not go on");
        std::thread::sleep(Duration::from_millis(10));
    }
    shards[0].kill().expect("killed");
    let [killed, other] = shards.map(Run::wait);
    assert_eq!(killed.code, None);
    other.assert_code(0);
    let asked = workspace.api_requests();
    Run::wait(start(&workspace, "1/2", &[])).assert_code(0);
    assert_eq!(workspace.images().len(), 60);
    let rows = report(&workspace, "1-of-2");
    let stored = rows.iter().filter(|line| line["state"] == "stored").count();
    assert_eq!(workspace.api_requests() - asked, stored as u64);
    assert!(stored < rows.len(), "what was delivered before is skipped");
}

#[test]
fn shards_take_over_what_an_ordinary_run_has_delivered() {
    let workspace = Workspace::with_images(24);
    let whole = std::fs::read_to_string(workspace.path("manifest.csv")).expect("read");
    let first: String = whole.lines().take(13).map(|line| format!("{line}\n")).collect();
    workspace.manifest(&first);
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.api_requests(), 12);
    workspace.manifest(&whole);
    for ran in run_all(&workspace, 3) {
        ran.assert_code(0);
    }
    assert_eq!(workspace.sandbox.counts(Server::Api).requests, 24);
    let states: Vec<_> = (1..=3).flat_map(|number| report(&workspace, &format!("{number}-of-3"))).collect();
    assert_eq!(states.iter().filter(|line| line["state"] == "skipped").count(), 12);
}

#[test]
fn every_shard_refuses_a_manifest_that_one_run_alone_would_refuse() {
    let workspace = Workspace::with_images(2);
    let hash = |digit: char| digit.to_string().repeat(64);
    workspace.manifest(&format!(
        "org,note,image,sha256\norg0,note0,i0,{}\norg0,note0,i0,{}\norg1,note0,i1,\n",
        hash('a'),
        hash('b')
    ));
    for number in 1..=4 {
        let ran = Run::wait(start(&workspace, &format!("{number}/4"), &[])).assert_code(2);
        assert!(ran.stderr.contains("sha256 differs"), "{}", ran.stderr);
    }
    assert_eq!(workspace.api_requests(), 0);
    for number in 1..=4 {
        let ran = Run::wait(start(
            &workspace,
            &format!("{number}/4"),
            &["--on-bad-row", "skip", "--max-attempts", "1"],
        ));
        // the contradiction is a row of its note's shard
        let code = if shard(&format!("{number}/4")).owns("org0", "note0") { 3 } else { 0 };
        ran.assert_code(code);
    }
}

#[test]
fn a_damaged_ledger_of_a_shard_is_refused_with_its_own_remedy() {
    let workspace = Workspace::with_images(12);
    for ran in run_all(&workspace, 2) {
        ran.assert_code(0);
    }
    let folder = workspace.out().join(".exporter/shards/1-of-2");
    std::fs::write(folder.join("ledger.sqlite"), "garbage".repeat(100)).expect("written");
    for args in
        [&["status"][..], &["verify"], &["merge", "manifest.csv"], &["run", "manifest.csv", "--shard", "1/2"]]
    {
        let ran = Run::wait(workspace.command(args).spawn().expect("started")).assert_code(1);
        assert!(
            ran.stderr.contains("is damaged") && ran.stderr.contains("1-of-2 and run that shard"),
            "{}",
            ran.stderr
        );
    }
    std::fs::remove_dir_all(folder).expect("removed");
    Run::wait(start(&workspace, "1/2", &[])).assert_code(0);
    let merged = workspace.command(&["merge", "manifest.csv"]).spawn().expect("started");
    Run::wait(merged).assert_code(0);
    assert_eq!(workspace.states().iter().filter(|state| *state == "stored").count(), 12);
}
