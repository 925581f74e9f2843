//! A key that is taken away while requests are on their way, and another one in its file.

use std::time::Duration;

use sandbox::config::Config;
use sandbox::log::{Entry, Server};
use sandbox::workspace::{Run, Workspace};

/// Images whose requests take a while, so that many are refused at once.
fn slow(images: usize) -> Workspace {
    let workspace = Workspace::with(Config { api_latency: Duration::from_millis(400), ..Config::default() });
    workspace.manifest(&workspace.add_images(images));
    workspace.write("key", "old\n");
    std::fs::set_permissions(workspace.path("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("set");
    workspace.sandbox.set_api_keys(&["old"]);
    workspace
}

fn start(workspace: &Workspace) -> std::process::Child {
    let mut command =
        workspace.command(&["run", "manifest.csv", "--api-key-file", "key", "--concurrency", "16"]);
    let child = command.env_remove("MAXAI_API_KEY").spawn().expect("started");
    let begun = std::time::Instant::now();
    // answered, and the next ones under way
    while workspace.api_requests() < 20 {
        assert!(begun.elapsed() < Duration::from_secs(20), "no request came");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn api(workspace: &Workspace) -> Vec<Entry> {
    workspace.sandbox.requests().into_iter().filter(|entry| entry.server == Server::Api).collect()
}

fn keys(entries: &[Entry], status: u16) -> Vec<String> {
    let mut keys: Vec<String> = entries
        .iter()
        .filter(|entry| entry.status == status)
        .filter_map(|entry| entry.header("authorization").map(str::to_owned))
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

#[test]
fn many_refusals_at_once_read_the_file_and_all_go_on_with_the_new_key() {
    let workspace = slow(80);
    let child = start(&workspace);
    workspace.write("key", "new\n");
    workspace.sandbox.set_api_keys(&["new"]);
    let ran = Run::wait(child).assert_code(0);
    assert_eq!(workspace.states(), vec!["stored"; 80]);
    let entries = api(&workspace);
    let refused = entries.iter().filter(|entry| entry.status == 401).count();
    assert!((2..=16).contains(&refused), "{refused} refused");
    assert_eq!(keys(&entries, 401), ["Bearer old"], "the new key is never refused");
    assert!(keys(&entries, 200).contains(&"Bearer new".to_owned()));
    assert!(workspace.report().iter().all(|line| line["attempts"] == "1"), "no image pays for it");
    assert!(!ran.stderr.contains("refuses the key"), "{}", ran.stderr);
}

#[test]
fn a_new_key_that_is_refused_too_stops_the_run() {
    let workspace = slow(80);
    let child = start(&workspace);
    workspace.write("key", "new\n");
    workspace.sandbox.set_api_keys(&["another"]);
    let ran = Run::wait(child).assert_code(1);
    assert!(ran.stderr.contains("refuses the key"), "{}", ran.stderr);
    let entries = api(&workspace);
    let refused = entries.iter().filter(|entry| entry.status == 401).count();
    assert!(refused <= 48, "{refused} refused: every request in flight with each key, and no more");
    assert!(workspace.count("untried") > 0 && workspace.count("failed") == 0);
}

#[test]
fn the_same_key_a_lost_file_or_a_broken_one_stops_the_run_with_the_first_refusal() {
    for content in [Some("old\n"), Some(""), Some("two\nlines\n"), Some("\"quoted\"\n"), None] {
        let workspace = slow(80);
        let child = start(&workspace);
        match content {
            Some(text) => workspace.write("key", text),
            None => std::fs::remove_file(workspace.path("key")).expect("removed"),
        }
        workspace.sandbox.set_api_keys(&["another"]);
        let ran = Run::wait(child).assert_code(1);
        assert!(ran.stderr.contains("refuses the key") && !ran.stderr.contains("quoted"), "{}", ran.stderr);
        let entries = api(&workspace);
        let first = entries.iter().filter(|entry| entry.status == 401).map(|entry| entry.answered).min();
        let first = first.expect("a refusal");
        // the answer takes its time to arrive
        let late = entries.iter().filter(|entry| entry.at > first + Duration::from_millis(250)).count();
        assert_eq!(late, 0, "a request started after the first refusal: {content:?}");
        let report = workspace.report();
        assert!(report.iter().all(|line| ["stored", "untried"].contains(&&*line["state"])), "{report:?}");
    }
}
