//! `exporter merge`: one export of what the shards have delivered, and never a better one.

use std::path::Path;
use std::time::{Duration, Instant};

use sandbox::config::Config;
use sandbox::images::jpeg;
use sandbox::registry::ImageRef;
use sandbox::workspace::{Line, Run, Workspace};
use serde_json::Value;

use crate::shards::{run_all, start};

fn merge(workspace: &Workspace, args: &[&str]) -> Run {
    let all: Vec<&str> = ["merge", "manifest.csv"].iter().chain(args).copied().collect();
    let mut command = workspace.command(&all);
    command.env_remove("MAXAI_API_KEY").env("MAXAI_API_URL", "http://127.0.0.1:1");
    Run::wait(command.spawn().expect("the program starts"))
}

/// A report without its times, attempts, and what the API makes up.
fn timeless(lines: Vec<Line>) -> Vec<Line> {
    let without = |mut line: Line| {
        for column in ["stored_at", "attempts", "trace_id"] {
            line.remove(column);
        }
        line
    };
    lines.into_iter().map(without).collect()
}

fn index(workspace: &Workspace) -> Vec<Line> {
    let mut reader = csv::Reader::from_path(workspace.out().join("index.csv")).expect("an index");
    reader.deserialize().map(|line| line.expect("a line")).collect()
}

/// The summary without what the machines and the clock decide.
fn counted(mut summary: Value) -> Value {
    let keys =
        ["started_at", "finished_at", "seconds", "allowance_share", "api_requests", "retries", "api_429"];
    for key in keys {
        summary.as_object_mut().expect("an object").remove(key);
    }
    summary
}

/// Compares the reports of two exports, but for times and attempts.
fn assert_same_reports(merged: &Workspace, alone: &Workspace) {
    assert_eq!(timeless(merged.report()), timeless(alone.report()));
    assert_eq!(timeless(merged.failed()), timeless(alone.failed()));
    assert_eq!(timeless(index(merged)), timeless(index(alone)));
    for name in ["notes.csv", "gone.csv", "manifest-sha256.txt", "bagit.txt", "bag-info.txt"] {
        assert_eq!(merged.read(name), alone.read(name), "{name}");
    }
    assert_eq!(counted(merged.summary()), counted(alone.summary()));
    assert_eq!(merged.images(), alone.images());
}

/// Rows of every kind: duplicates, ids that differ in case only, one missing, the same bytes twice.
fn fill(workspace: &Workspace) {
    let mut text = "org,note,image,remark\n".to_owned();
    for n in 0..60 {
        let (org, note, image) = (format!("org{}", n % 3), format!("Note{}", n / 6), format!("i{n}"));
        workspace.sandbox.add_image(&org, &note, &image, jpeg(n, 2000), "image/jpeg");
        text.push_str(&format!("{org},{note},{image},a remark\n"));
    }
    for (org, note, image, seed) in [
        ("org0", "note0", "I0", 1),
        ("ORG0", "Note0", "i0", 2),
        ("org0", "Note0", "I0", 100),
        ("x", "y", "z", 101),
    ] {
        workspace.sandbox.add_image(org, note, image, jpeg(seed, 2000), "image/jpeg");
        text.push_str(&format!("{org},{note},{image},\n"));
    }
    text.push_str("org0,Note0,i0,again\norg1,Note3,gone,\nx,y,missing,\n");
    workspace.manifest(&text);
}

/// The same rows exported by one run, and by four shards that are not merged yet.
fn alone_and_shared() -> (Workspace, Workspace) {
    let (alone, shared) = (Workspace::new(), Workspace::new());
    fill(&alone);
    fill(&shared);
    alone.run(&[]).assert_code(3);
    for ran in run_all(&shared, 4) {
        assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.stderr);
    }
    (alone, shared)
}

#[test]
fn the_merged_reports_are_those_of_one_run_alone() {
    let (alone, shared) = alone_and_shared();
    merge(&shared, &[]).assert_code(3);
    assert_same_reports(&shared, &alone);
    // again: the same bytes
    let before = shared.read("tagmanifest-sha256.txt");
    merge(&shared, &[]).assert_code(3);
    assert_eq!(shared.read("tagmanifest-sha256.txt"), before);
    let receipts = shared.read("receipts.jsonl");
    assert_eq!(receipts.matches("\"what\":\"merge\"").count(), 2, "{receipts}");
    ask(&shared, &["verify", "--receipts"]).assert_code(0);
    let runs = shared.command(&["report", "--runs", "--json"]).spawn().expect("started");
    let runs: Value = serde_json::from_str(&Run::wait(runs).assert_code(0).stdout).expect("JSON");
    assert_eq!(runs.as_array().expect("runs").len(), 5, "one for each shard, and the merge: {runs}");
}

#[test]
fn a_merge_at_any_time_names_the_shards_that_have_not_finished_and_leaves_their_rows_untried() {
    let workspace = Workspace::with_images(40);
    Run::wait(start(&workspace, "2/3", &[])).assert_code(0);
    let ran = merge(&workspace, &[]).assert_code(1);
    for words in ["shard 1 of 3 has not run", "shard 3 of 3 has not run", "not tried"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("shard 2"), "{}", ran.stderr);
    let states = workspace.states();
    assert_eq!(states.len(), 40);
    let untried: Vec<_> = workspace.report().into_iter().filter(|line| line["state"] == "untried").collect();
    assert!(
        !untried.is_empty() && untried.iter().all(|line| line["error"].contains("of 3 has not run")),
        "{untried:?}"
    );
    assert_eq!(workspace.count("exit_code"), 1);
    assert_eq!(workspace.failed().len(), untried.len());
    for shard in ["1/3", "3/3"] {
        Run::wait(start(&workspace, shard, &[])).assert_code(0);
    }
    let ran = merge(&workspace, &[]).assert_code(0);
    assert!(ran.stdout.contains("complete: every row is delivered"), "{}", ran.stdout);
    assert!(workspace.states().iter().all(|state| state == "stored"));
}

#[test]
fn a_shard_at_work_and_one_that_was_killed_are_named_and_both_can_go_on() {
    let workspace =
        Workspace::with(Config { storage_latency: Duration::from_millis(40), ..Config::default() });
    workspace.manifest(&workspace.add_images(80));
    let slow = |shard: &str| start(&workspace, shard, &["--concurrency", "1"]);
    let (mut first, second) = (slow("1/2"), slow("2/2"));
    let begin = Instant::now();
    while !workspace.out().join("data").is_dir() || workspace.images().len() < 6 {
        assert!(begin.elapsed() < Duration::from_secs(30), "they do not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    first.kill().expect("killed");
    first.wait().expect("ended");
    let ran = merge(&workspace, &[]).assert_code(1);
    assert!(ran.stderr.contains("shard 1 of 2 was killed"), "{}", ran.stderr);
    assert!(ran.stderr.contains("shard 2 of 2 is still running on "), "{}", ran.stderr);
    let ran = merge(&workspace, &["--finish"]).assert_code(1);
    assert!(ran.stderr.contains("at work"), "{}", ran.stderr);
    assert!(workspace.out().join(".exporter/shards/shards.json").exists(), "nothing is finished");
    Run::wait(second).assert_code(0);
    let ran = merge(&workspace, &[]).assert_code(1);
    assert!(!ran.stderr.contains("shard 2"), "{}", ran.stderr);
    Run::wait(start(&workspace, "1/2", &[])).assert_code(0);
    merge(&workspace, &[]).assert_code(0);
    assert!(
        workspace.states().iter().all(|state| state == "stored"),
        "one job, though a part of it was sent again"
    );
    assert_eq!(workspace.read("manifest-sha256.txt").lines().count(), 80);
}

#[test]
fn a_finished_merge_leaves_an_ordinary_export_that_a_run_goes_on_with() {
    let workspace = Workspace::with_images(30);
    Run::wait(start(&workspace, "1/2", &[])).assert_code(0);
    let ran = merge(&workspace, &["--finish"]).assert_code(1);
    assert!(ran.stdout.contains("ordinary export now"), "{}", ran.stdout);
    assert!(!workspace.out().join(".exporter/shards").exists());
    let asked = workspace.api_requests();
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.api_requests(), 30);
    assert!(asked > 0 && asked < 30);
    assert_eq!(workspace.count("skipped"), asked);
    let mut names: Vec<_> = std::fs::read_dir(workspace.out().join(".exporter"))
        .expect("listed")
        .map(|it| it.expect("one").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["ledger.sqlite", "lock"]);
    // and shards can begin again, in another number
    for ran in run_all(&workspace, 3) {
        ran.assert_code(0);
    }
    assert_eq!(workspace.api_requests(), 30);
    merge(&workspace, &["--finish"]).assert_code(0);
    assert_eq!(workspace.count("skipped"), 30);
}

#[test]
fn what_cannot_be_merged_is_refused_before_anything_is_made() {
    let workspace = Workspace::with_images(8);
    let ran = merge(&workspace, &[]).assert_code(2);
    assert!(ran.stderr.contains("no shards"), "{}", ran.stderr);
    assert!(!workspace.out().exists());
    for ran in run_all(&workspace, 2) {
        ran.assert_code(0);
    }
    let text = std::fs::read_to_string(workspace.path("manifest.csv")).expect("read");
    workspace.manifest(&format!("{text}org0,note0,more\n"));
    let ran = merge(&workspace, &[]).assert_code(2);
    assert!(ran.stderr.contains("another manifest") && ran.stderr.contains("shard 1 of 2"), "{}", ran.stderr);
    assert!(!workspace.out().join(".exporter/ledger.sqlite").exists());
    assert!(!workspace.out().join("report.csv").exists());
    workspace.manifest(&text);
    let set = workspace.out().join(".exporter/shards/shards.json");
    let json = std::fs::read_to_string(&set).expect("read");
    std::fs::write(&set, json.replace("\"edition\": 1", "\"edition\": 7")).expect("written");
    let ran = merge(&workspace, &[]).assert_code(2);
    assert!(ran.stderr.contains("edition 7"), "{}", ran.stderr);
    std::fs::write(&set, json).expect("written");
    merge(&workspace, &[]).assert_code(0);
}

#[test]
fn shards_from_folders_of_their_own_are_moved_into_one_export() {
    let (alone, apart) = (Workspace::new(), Workspace::new());
    fill(&alone);
    fill(&apart);
    alone.run(&[]).assert_code(3);
    for number in 1..=3 {
        let (shard, out) = (format!("{number}/3"), format!("node{number}"));
        let ran = Run::wait(start(&apart, &shard, &["-o", &out]));
        assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.stderr);
    }
    // without one of them
    let ran = merge(&apart, &["node1", "node3"]).assert_code(1);
    assert!(ran.stderr.contains("shard 2 of 3 has not run"), "{}", ran.stderr);
    assert!(files(&apart.path("node1/data")).is_empty(), "its images are moved");
    merge(&apart, &["node1", "node2", "node3"]).assert_code(3);
    assert_same_reports(&apart, &alone);
    // without a manifest, the first shard's is taken
    let again = apart.command(&["merge", "-o", "export", "node1", "node2"]);
    let mut again = again;
    Run::wait(again.spawn().expect("started")).assert_code(3);
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn an_image_that_is_delivered_by_a_shard_after_a_merge_comes_with_the_next_one() {
    let workspace = Workspace::with_images(12);
    let image = ImageRef::new("org0", "note0", "i0");
    workspace.sandbox.forget_image(&image);
    for ran in run_all(&workspace, 2) {
        assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.stderr);
    }
    merge(&workspace, &[]).assert_code(3);
    assert_eq!(workspace.failed()[0]["error_code"], "not_found");
    workspace.sandbox.add_image("org0", "note0", "i0", jpeg(0, 2000), "image/jpeg");
    for ran in run_all(&workspace, 2) {
        ran.assert_code(0);
    }
    merge(&workspace, &[]).assert_code(0);
    assert_eq!(workspace.states().len(), 12);
    assert!(workspace.failed().is_empty());
}

fn ask(workspace: &Workspace, args: &[&str]) -> Run {
    let mut command = workspace.command(args);
    command.env_remove("MAXAI_API_KEY").env("MAXAI_API_URL", "http://127.0.0.1:1");
    Run::wait(command.spawn().expect("the program starts"))
}

fn json(ran: &Run) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", ran.stdout, ran.stderr))
}

#[test]
fn status_shows_every_shard_and_all_together() {
    let workspace = Workspace::with_images(40);
    Run::wait(start(&workspace, "2/3", &[])).assert_code(0);
    let answer = json(&ask(&workspace, &["status", "--json"]).assert_code(0));
    let shards = answer["shards"].as_array().expect("a list");
    let states: Vec<_> = shards.iter().map(|shard| shard["state"].as_str().expect("a state")).collect();
    assert_eq!(states, ["missing", "complete", "missing"]);
    let stored = shards[1]["stored"].as_u64().expect("a number");
    assert!(stored > 0);
    assert_eq!((answer["rows"].as_u64(), answer["stored"].as_u64()), (Some(40), Some(stored)));
    assert_eq!(answer["untried"].as_u64(), Some(40 - stored), "rows of a shard that has not run are untried");
    assert_eq!((answer["running"].as_bool(), &answer["seconds_left"]), (Some(false), &Value::Null));
    let text = ask(&workspace, &["status"]).assert_code(0).stdout;
    assert!(text.starts_with("not running: 1 of 3 shards complete"), "{text}");
    assert!(text.contains("has not run"), "{text}");
    run_all(&workspace, 3);
    merge(&workspace, &["--finish"]).assert_code(0);
    let answer = json(&ask(&workspace, &["status", "--json"]).assert_code(0));
    assert!(answer.get("shards").is_none(), "an ordinary export again: {answer}");
}

#[test]
fn verify_and_plan_know_what_all_shards_have_delivered() {
    let workspace = Workspace::with_images(24);
    run_all(&workspace, 3);
    let answer = json(&ask(&workspace, &["verify", "--json"]).assert_code(0));
    assert_eq!((answer["checked"].as_u64(), answer["ok"].as_u64()), (Some(24), Some(24)));
    let plan = json(&ask(&workspace, &["plan", "manifest.csv", "--json"]).assert_code(0));
    assert_eq!((plan["delivered"].as_u64(), plan["to_fetch"].as_u64()), (Some(24), Some(0)));
    assert!(plan["needed_bits_per_second"].is_u64() && plan["image_bytes"].is_u64(), "{plan}");
    let gone = workspace.images()[5].clone();
    std::fs::remove_file(workspace.out().join(&gone)).expect("removed");
    std::fs::write(workspace.out().join("data/stranger"), "x").expect("written");
    let ran = ask(&workspace, &["verify", "--json"]).assert_code(3);
    let answer = json(&ran);
    assert_eq!(
        (&answer["missing"][0], &answer["foreign"][0]),
        (&Value::from(&*gone), &Value::from("data/stranger"))
    );
    let plan = ask(&workspace, &["plan", "manifest.csv"]).assert_code(0).stdout;
    assert!(plan.contains("1 to fetch + 23 delivered") && plan.contains("--shard K/3"), "{plan}");
    for flag in ["--repair", "--adopt"] {
        let ran = ask(&workspace, &["verify", flag]).assert_code(2);
        assert!(ran.stderr.contains("3 shards"), "{flag}: {}", ran.stderr);
    }
    // its shard fetches it again, and the next merge knows
    std::fs::remove_file(workspace.out().join("data/stranger")).expect("removed");
    run_all(&workspace, 3);
    merge(&workspace, &["--finish"]).assert_code(0);
    ask(&workspace, &["verify"]).assert_code(0);
}

#[test]
fn report_and_doctor_say_where_the_shards_stand() {
    let workspace = Workspace::with_images(12);
    Run::wait(start(&workspace, "1/2", &[])).assert_code(0);
    let ran = ask(&workspace, &["report"]).assert_code(2);
    assert!(ran.stderr.contains("exporter merge"), "{}", ran.stderr);
    let doctor = ask(&workspace, &["doctor", "--json"]);
    assert!(doctor.stdout.contains("in 2 shards: 1 missing, 1 complete"), "{}", doctor.stdout);
    merge(&workspace, &[]).assert_code(1);
    let before = workspace.read("report.csv");
    ask(&workspace, &["report"]).assert_code(0);
    assert_eq!(workspace.read("report.csv"), before);
}

#[test]
fn a_verification_beside_shards_calls_nothing_foreign_that_they_are_about_to_record() {
    let workspace =
        Workspace::with(Config { storage_latency: Duration::from_millis(10), ..Config::default() });
    workspace.manifest(&workspace.add_images(120));
    let shards = ["1/2", "2/2"].map(|shard| start(&workspace, shard, &["--concurrency", "4"]));
    let mut checked = 0;
    while checked < 60 {
        if !workspace.out().join(".exporter/shards/shards.json").exists() {
            continue;
        }
        let ran = ask(&workspace, &["verify", "--json"]).assert_code(0);
        checked = json(&ran)["checked"].as_u64().expect("a number");
    }
    for shard in shards {
        Run::wait(shard).assert_code(0);
    }
}

#[test]
fn a_merge_that_is_killed_anywhere_is_made_again() {
    let (alone, shared) = alone_and_shared();
    for millis in (0..60).step_by(4) {
        let mut killed = shared.command(&["merge", "manifest.csv", "--finish"]).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(millis));
        killed.kill().expect("killed");
        killed.wait().expect("ended");
        if !shared.out().join(".exporter/shards/shards.json").exists() {
            break;
        }
    }
    // finished or not, the next command makes the best of it
    if shared.out().join(".exporter/shards/shards.json").exists() {
        merge(&shared, &["--finish"]).assert_code(3);
    } else {
        ask(&shared, &["report"]).assert_code(0);
    }
    let lines = |workspace: &Workspace| timeless(workspace.report());
    assert_eq!(lines(&shared), lines(&alone));
    assert_eq!(shared.read("manifest-sha256.txt"), alone.read("manifest-sha256.txt"));
    ask(&shared, &["verify"]).assert_code(0);
    shared.run(&[]).assert_code(3);
    let left = std::fs::read_dir(shared.out().join(".exporter")).expect("listed").count();
    assert_eq!(left, 2, "ledger and lock");
}

#[test]
fn shards_from_another_disk_are_copied_and_hashed_and_a_changed_image_is_never_called_delivered() {
    use std::os::unix::fs::MetadataExt;

    let workspace = Workspace::with_images(30);
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let device = |path: &Path| std::fs::metadata(path).expect("there").dev();
    if device(other.path()) == device(&workspace.path("")) {
        return; // this machine has one disk only
    }
    let folders = [1, 2].map(|number| other.path().join(format!("node{number}")).display().to_string());
    for (number, folder) in (1..).zip(&folders) {
        Run::wait(start(&workspace, &format!("{number}/2"), &["-o", folder])).assert_code(0);
    }
    let changed = files(&Path::new(&folders[0]).join("data"))[0].clone();
    let bytes = std::fs::read(&changed).expect("read");
    std::fs::write(&changed, vec![7; bytes.len()]).expect("changed");
    let args = [&*folders[0], &*folders[1]];
    let ran = merge(&workspace, &args).assert_code(1);
    assert!(ran.stderr.contains("1 image is gone or changed"), "{}", ran.stderr);
    let untried: Vec<_> = workspace.report().into_iter().filter(|line| line["state"] == "untried").collect();
    assert!(untried.len() == 1 && untried[0]["error"].contains("changed since shard 1 of 2"), "{untried:?}");
    ask(&workspace, &["verify"]).assert_code(0);
    assert_eq!(workspace.images().len(), 29);
    assert!(Path::new(&changed).exists(), "what is copied stays where it was");
    Run::wait(start(&workspace, "1/2", &[])).assert_code(0);
    let asked = workspace.api_requests();
    assert_eq!(asked, 31, "the changed one again, and nothing else");
    // the folders are known by now, and the shard is further than they are
    merge(&workspace, &args).assert_code(0);
    assert_eq!((workspace.images().len(), workspace.api_requests()), (30, 31));
}
