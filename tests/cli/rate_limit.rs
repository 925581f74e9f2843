//! The allowance: how often the API is asked, as the API counts it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandbox::faults::{ApiFault, StorageFault};
use sandbox::limiter::Rate;
use sandbox::log::Server;
use sandbox::workspace::{Run, Workspace};

#[test]
fn a_429_is_waited_out_by_all_rows_and_costs_no_attempt() {
    let workspace = Workspace::with_images(12);
    workspace.sandbox.script().api_next(ApiFault::retry_after("2"));
    workspace.run(&[]).assert_code(0);
    assert!(workspace.report().iter().all(|line| line["attempts"] == "1"));
    assert_eq!(workspace.count("api_429"), 1);
    let requests = workspace.sandbox.requests();
    let api: Vec<_> = requests.iter().filter(|entry| entry.server == Server::Api).collect();
    let limited = api.iter().find(|entry| entry.status == 429).expect("a 429");
    // requests that were in flight when it came do not count
    let early = api
        .iter()
        .filter(|entry| entry.at > limited.answered + Duration::from_millis(300))
        .any(|entry| entry.at < limited.answered + Duration::from_secs(2));
    assert!(!early, "a request before the time was up");
}

#[test]
fn the_allowance_is_used_and_never_overdrawn() {
    let workspace = Workspace::with_images(90);
    workspace.sandbox.set_rate(Some(Rate::new(30, Duration::from_secs(1))));
    workspace.run(&["--rate", "30/1s"]).assert_code(0);
    assert_eq!(workspace.sandbox.counts(Server::Api).limited, 0);
    let asked = asked_at(&workspace);
    assert_eq!(asked.len(), 90, "one request for each image");
    // counted where they arrive: what left in order may bunch up a little on its way
    let most = most_within(&asked, Duration::from_millis(900));
    assert!(most <= 30, "{most} of 30 in a window");
    // 90 requests are three windows; a busy machine may take as long again
    let took = *asked.last().expect("requests") - asked[0];
    assert!(took < Duration::from_secs(6), "{took:?} for 90 requests at 30 a second");
}

/// When the API's requests arrived, in that order.
pub fn asked_at(workspace: &Workspace) -> Vec<Instant> {
    let requests = workspace.sandbox.requests();
    let mut asked: Vec<Instant> =
        requests.iter().filter(|entry| entry.server == Server::Api).map(|entry| entry.at).collect();
    asked.sort_unstable();
    asked
}

/// The most requests within any span of that length.
pub fn most_within(asked: &[Instant], span: Duration) -> usize {
    let inside = |first: usize| asked[first..].iter().take_while(|at| **at < asked[first] + span).count();
    (0..asked.len()).map(inside).max().unwrap_or(0)
}

#[test]
fn a_server_with_a_lower_limit_loses_no_row() {
    let workspace = Workspace::with_images(60);
    workspace.sandbox.set_rate(Some(Rate::new(20, Duration::from_secs(1))));
    workspace.run(&["--rate", "1000/1s"]).assert_code(0);
    assert_eq!(workspace.states(), vec!["stored"; 60]);
}

#[test]
fn a_wait_beyond_max_outage_ends_the_run_at_once() {
    let workspace = Workspace::with_images(8);
    workspace.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    let start = Instant::now();
    let ran = workspace.run(&["--max-outage", "5s"]).assert_code(1);
    assert!(start.elapsed() < Duration::from_secs(4));
    assert!(ran.stderr.contains("allowance is spent"), "{}", ran.stderr);
    let report = workspace.report();
    assert!(
        report.iter().all(|line| line["state"] == "untried" && line["error_code"] == "rate_limited"),
        "{report:?}"
    );
}

#[test]
fn a_wait_beyond_the_time_of_the_run_ends_it_with_code_4() {
    let workspace = Workspace::with_images(8);
    workspace.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    let start = Instant::now();
    workspace.run(&["--max-duration", "60s"]).assert_code(4);
    assert!(start.elapsed() < Duration::from_secs(4));
    assert!(workspace.report().iter().all(|line| line["error_code"] == "rate_limited"));
}

#[test]
fn a_wait_beyond_both_ends_it_with_code_1() {
    let workspace = Workspace::with_images(8);
    workspace.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    let start = Instant::now();
    workspace.run(&["--max-duration", "60s", "--max-outage", "5s"]).assert_code(1);
    assert!(start.elapsed() < Duration::from_secs(4));
    assert!(workspace.report().iter().all(|line| line["error_code"] == "rate_limited"));
}

#[test]
fn nothing_but_429_for_max_outage_ends_the_run() {
    let workspace = Workspace::with_images(8);
    workspace.sandbox.script().api_always(Some(ApiFault::retry_after("1")));
    let start = Instant::now();
    let ran = workspace.run(&["--max-outage", "4s"]).assert_code(1);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(ran.stderr.contains("allowance is spent"), "{}", ran.stderr);
    assert!(workspace.api_requests() <= 6, "one request after each wait, not {}", workspace.api_requests());
    assert!(workspace.report().iter().all(|line| line["state"] == "untried"));
}

#[test]
fn nonsense_in_the_headers_neither_hangs_nor_stampedes() {
    for nonsense in ["0", "-1", "100000000000000000000", "soon", "Fri, 31 Dec 2100 23:59:59 GMT"] {
        let workspace = Workspace::with_images(20);
        workspace.sandbox.script().api_next(ApiFault::retry_after(nonsense));
        let start = Instant::now();
        workspace.run(&[]).assert_code(0);
        assert!(start.elapsed() < Duration::from_secs(10), "{nonsense}: the run hangs");
        // the first request goes alone, so nothing else is on its way when the 429 comes; then the own wait of 1 s,
        // and again one request alone
        let requests = workspace.sandbox.requests();
        let mut api: Vec<_> = requests.iter().filter(|entry| entry.server == Server::Api).collect();
        api.sort_by_key(|entry| entry.at);
        assert_eq!(api.len(), 21, "{nonsense}: one more request than images");
        assert_eq!(api.iter().position(|entry| entry.status == 429), Some(0), "{nonsense}");
        assert!(api[1].at >= api[0].answered + Duration::from_millis(900), "{nonsense}: it did not wait");
        assert!(api[2].at >= api[1].answered, "{nonsense}: a stampede behind the wait");
    }
}

/// `exporter run manifest.csv` at 30 requests a second into a folder of its own.
fn slow(workspace: &Workspace, out: &str, more: &[&str]) -> std::process::Command {
    let args = [&["run", "manifest.csv", "--rate", "30/1s", "-o", out], more].concat();
    workspace.command(&args)
}

#[test]
fn runs_of_one_user_share_one_count() {
    let workspace = Workspace::with_images(60);
    workspace.sandbox.set_rate(Some(Rate::new(30, Duration::from_secs(1))));
    let start = Instant::now();
    let runs = ["one", "two"].map(|out| slow(&workspace, out, &[]).spawn().expect("the program starts"));
    for run in runs {
        Run::wait(run).assert_code(0);
    }
    // together they are one client; each on its own, half of their requests would be refused
    assert_eq!(workspace.sandbox.counts(Server::Api).limited, 0);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_run_goes_on_where_the_one_before_left_the_allowance() {
    let workspace = Workspace::with_images(30);
    workspace.sandbox.set_rate(Some(Rate::new(30, Duration::from_secs(2))));
    for out in ["one", "two", "three"] {
        let args = ["run", "manifest.csv", "--rate", "30/2s", "-o", out];
        Run::wait(workspace.command(&args).spawn().expect("the program starts")).assert_code(0);
    }
    assert_eq!(workspace.sandbox.counts(Server::Api).limited, 0);
}

/// The shared count's file.
fn shared_count(workspace: &Workspace) -> PathBuf {
    let files = std::fs::read_dir(workspace.path("state/exporter")).expect("a folder");
    let paths = files.map(|file| file.expect("a file").path());
    let found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "sqlite")).collect();
    let [path] = &found[..] else { panic!("one file, not {found:?}") };
    path.clone()
}

#[test]
fn the_shared_count_is_the_users_alone_and_does_not_hold_the_key() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::with_images(3);
    Run::wait(slow(&workspace, "one", &[]).spawn().expect("the program starts")).assert_code(0);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let folder = workspace.path("state/exporter");
    assert_eq!(mode(&folder), 0o700);
    assert!(std::fs::metadata(shared_count(&workspace)).expect("there").len() > 0);
    let key = sandbox::config::API_KEY.as_bytes();
    for file in std::fs::read_dir(&folder).expect("a folder") {
        let path = file.expect("a file").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let bytes = std::fs::read(&path).expect("read");
        assert!(!bytes.windows(key.len()).any(|part| part == key), "{}", path.display());
    }
}

#[test]
fn without_a_folder_for_the_shared_count_a_run_counts_on_its_own_and_says_so_once() {
    let workspace = Workspace::with_images(40);
    workspace.write("no-folder", "");
    let mut command = slow(&workspace, "one", &[]);
    command.env("XDG_STATE_HOME", workspace.path("no-folder"));
    let ran = Run::wait(command.spawn().expect("the program starts")).assert_code(0);
    assert_eq!(ran.stderr.matches("cannot be shared").count(), 1, "{}", ran.stderr);
}

#[test]
fn garbage_in_the_shared_count_is_no_trouble() {
    let workspace = Workspace::with_images(3);
    Run::wait(slow(&workspace, "one", &[]).spawn().expect("the program starts")).assert_code(0);
    for garbage in [vec![], vec![0xff; 100], vec![0; 10_000]] {
        std::fs::write(shared_count(&workspace), garbage).expect("written");
        let _ = std::fs::remove_dir_all(workspace.path("one"));
        let ran = Run::wait(slow(&workspace, "one", &[]).spawn().expect("the program starts")).assert_code(0);
        assert!(!ran.stderr.contains("cannot be shared"), "{}", ran.stderr);
    }
}

#[test]
fn a_wait_that_is_too_long_ends_other_runs_as_well() {
    let workspace = Workspace::with_images(4);
    workspace.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    Run::wait(slow(&workspace, "one", &["--max-outage", "5s"]).spawn().expect("the program starts"))
        .assert_code(1);
    let asked = workspace.api_requests();
    let start = Instant::now();
    for (more, code) in [(["--max-outage", "5s"], 1), (["--max-duration", "60s"], 4)] {
        Run::wait(slow(&workspace, "export", &more).spawn().expect("the program starts")).assert_code(code);
        assert!(
            workspace
                .report()
                .iter()
                .all(|line| line["state"] == "untried" && line["error_code"] == "rate_limited")
        );
    }
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_eq!(workspace.api_requests(), asked, "not one request while the API refuses them");
}

#[test]
fn downloads_go_on_while_the_api_refuses_requests() {
    let workspace = Workspace::with_images(12);
    // slow downloads are under way when the 429 comes, at least that of the first answer
    workspace.sandbox.script().storage_always(Some(StorageFault::Delay(Duration::from_secs(2))));
    workspace.sandbox.script().api_next(ApiFault::Delay(Duration::ZERO));
    workspace.sandbox.script().api_next(ApiFault::retry_after("300"));
    let ran = workspace.run(&["--max-outage", "60s", "--concurrency", "4"]);
    let ran = ran.assert_code(1);
    assert!(ran.stderr.contains("allowance is spent"), "{}", ran.stderr);
    let requests = workspace.sandbox.requests();
    let begun = requests.iter().filter(|entry| entry.server == Server::Storage).count();
    assert!(begun >= 1);
    assert_eq!(workspace.count("stored"), begun as u64, "downloads in flight are finished");
}

#[test]
fn one_big_clinic_does_not_hold_back_the_others() {
    let workspace = Workspace::new();
    let mut text = "org,note,image\n".to_owned();
    for (org, count) in [("big", 1000), ("small", 3), ("tiny", 1)] {
        for n in 0..count {
            let image = format!("{org}{n}");
            workspace.sandbox.add_image(org, "n", &image, sandbox::images::jpeg(1, 2000), "image/jpeg");
            text.push_str(&format!("{org},n,{image}\n"));
        }
    }
    workspace.manifest(&text);
    workspace.run(&[]).assert_code(0);
    let requests = workspace.sandbox.requests();
    let asked: Vec<&str> =
        requests.iter().filter(|entry| entry.server == Server::Api).map(|entry| &*entry.org).collect();
    let last = asked.iter().rposition(|org| *org != "big").expect("the small ones");
    // rows that were taken from the ledger wait side by side, 288 of them
    assert!(last < 300, "the small clinics were done after {last} requests of {}", asked.len());
}

/// Numbers of the images of one organization in the order in which the API was asked for them.
fn asked(workspace: &Workspace, images: usize, more: &[&str]) -> Vec<usize> {
    let mut text = "org,note,image\n".to_owned();
    for n in 0..images {
        let bytes = sandbox::images::jpeg(n as u64, 2000);
        workspace.sandbox.add_image("o", "n", &n.to_string(), bytes, "image/jpeg");
        text.push_str(&format!("o,n,{n}\n"));
    }
    workspace.manifest(&text);
    workspace.run(more).assert_code(0);
    let requests = workspace.sandbox.requests();
    let api = requests.iter().filter(|entry| entry.server == Server::Api);
    api.map(|entry| entry.image.parse().expect("a number")).collect()
}

#[test]
fn rows_are_asked_for_in_the_manifests_order() {
    for more in [&["--concurrency", "1"][..], &["--concurrency", "1", "--rate", "1000/1s"]] {
        let asked = asked(&Workspace::new(), 300, more);
        assert!(asked.is_sorted() && asked.len() == 300, "{more:?}: {asked:?}");
    }
    // requests in flight together may overtake each other
    let asked = asked(&Workspace::new(), 300, &["--rate", "400/1s"]);
    let most = asked.iter().enumerate().map(|(place, n)| n.abs_diff(place)).max();
    assert!(most < Some(100), "by {most:?}: {asked:?}");
}

#[test]
fn the_share_of_the_allowance_stands_in_the_summary_and_stays_the_same() {
    let workspace = Workspace::with_images(30);
    workspace.run(&["--rate", "100/1h"]).assert_code(0);
    assert_eq!(workspace.summary()["allowance_share"], 0.3);
    let before = workspace.read("summary.json");
    workspace.run(&["--rate", "100/1h"]).assert_code(0);
    assert_eq!(workspace.summary()["allowance_share"], serde_json::Value::Null, "no request at all");
    assert_ne!(workspace.read("summary.json"), before);
}

#[test]
fn a_run_that_is_killed_does_not_hold_back_the_others() {
    let workspace = Workspace::with_images(90);
    workspace.sandbox.set_rate(Some(Rate::new(30, Duration::from_secs(1))));
    let mut killed = slow(&workspace, "one", &[]).spawn().expect("the program starts");
    let other = slow(&workspace, "two", &[]).spawn().expect("the program starts");
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(1200));
    killed.kill().expect("killed");
    killed.wait().expect("its end");
    Run::wait(other).assert_code(0);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(workspace.sandbox.counts(Server::Api).limited, 0);
}
