//! Images in flight: what holds a place among them, how many there are, and how far ahead URLs are asked for.

use std::time::{Duration, Instant};

use sandbox::config::Config;
use sandbox::faults::{ApiFault, StorageFault};
use sandbox::log::{Entry, Server};
use sandbox::workspace::{Run, Workspace};

/// The requests to the storage for this image.
fn downloads(workspace: &Workspace, image: &str) -> Vec<Entry> {
    let of_image = |entry: &Entry| entry.server == Server::Storage && entry.image == image;
    workspace.sandbox.requests().into_iter().filter(of_image).collect()
}

#[test]
fn a_broken_download_with_a_fresh_url_is_back_at_once_with_hundreds_of_rows_waiting() {
    let workspace = Workspace::with_images(400);
    workspace.sandbox.script().storage("i0", StorageFault::Cut { after: 1000 });
    // the window's requests are used up at once, the next ones wait for 30 s
    let args = ["--rate", "20/30s", "--max-duration", "4s", "--concurrency", "2"];
    workspace.run(&args).assert_code(4);
    let tries = downloads(&workspace, "i0");
    assert_eq!(tries.len(), 2);
    let back = tries[1].at - tries[0].at;
    assert!(back < Duration::from_secs(2), "{back:?}");
    let asked = workspace.sandbox.requests().iter().filter(|entry| entry.image == "i0").count();
    assert_eq!(asked, 3, "with the same URL");
    assert_eq!(workspace.report()[0]["state"], "stored");
}

#[test]
fn a_broken_download_with_a_fresh_url_is_back_at_once_in_the_pause_of_a_429() {
    let config = Config { storage_latency: Duration::from_millis(300), ..Config::default() };
    let workspace = Workspace::with(config);
    workspace.manifest(&workspace.add_images(40));
    workspace.sandbox.script().storage("i0", StorageFault::Cut { after: 1000 });
    workspace.sandbox.script().api("i3", ApiFault::retry_after("4"));
    workspace.run(&["--concurrency", "2"]).assert_code(0);
    let requests = workspace.sandbox.requests();
    let limited = requests.iter().find(|entry| entry.status == 429).expect("a 429");
    let tries = downloads(&workspace, "i0");
    assert_eq!(tries.len(), 2);
    let back = tries[1].at - tries[0].answered;
    assert!(back < Duration::from_secs(2), "{back:?}");
    assert!(tries[1].at < limited.answered + Duration::from_secs(4), "not after the pause");
}

#[test]
fn urls_are_asked_for_while_all_places_are_taken() {
    let latency = Duration::from_millis(100);
    let config = Config { api_latency: latency, storage_latency: latency, ..Config::default() };
    let workspace = Workspace::with(config);
    workspace.manifest(&workspace.add_images(80));
    workspace.run(&["--concurrency", "4", "--rate", "1000000/1s"]).assert_code(0);
    let requests = workspace.sandbox.requests();
    let of = |server| requests.iter().filter(move |entry| entry.server == server);
    let in_flight =
        |at: Instant| of(Server::Storage).filter(|entry| entry.at <= at && at < entry.answered).count();
    let ahead = of(Server::Api).filter(|entry| in_flight(entry.at) == 4).count();
    assert!(ahead >= 5, "{ahead} of 80 requests");
    assert_eq!(workspace.api_requests(), 80);
    assert!(workspace.sandbox.counts(Server::Storage).peak_in_flight <= 4);
}

#[test]
fn a_run_that_fails_from_the_start_asks_for_no_more_rows_than_it_has_places() {
    let workspace = Workspace::with_images(400);
    workspace.sandbox.script().storage_always(Some(StorageFault::error("AccessDenied")));
    workspace.run(&["--concurrency", "4", "--max-attempts", "1"]).assert_code(1);
    let (asked, failed) = (workspace.api_requests(), workspace.count("failed"));
    // each row asks twice; a few are on their way when the run stops
    assert!(asked <= 2 * failed + 8, "{asked} requests for {failed} rows");
}

#[test]
fn what_is_asked_for_is_fetched_before_a_gentle_end() {
    let config = Config { storage_latency: Duration::from_millis(100), ..Config::default() };
    let workspace = Workspace::with(config);
    workspace.manifest(&workspace.add_images(200));
    workspace.run(&["--concurrency", "4", "--max-duration", "2s"]).assert_code(4);
    assert!(workspace.count("untried") > 0);
    assert_eq!(workspace.api_requests(), workspace.count("stored"));
}

#[test]
fn auto_is_the_default_and_a_number_fixes_it() {
    let in_flight = |variable: Option<&str>, args: &[&str]| {
        let workspace = Workspace::with_images(20);
        let args: Vec<&str> = ["run", "manifest.csv"].iter().chain(args).copied().collect();
        let mut command = workspace.command(&args);
        if let Some(value) = variable {
            command.env("EXPORTER_CONCURRENCY", value);
        }
        let ran = Run::wait(command.spawn().expect("started")).assert_code(0);
        let number = workspace.summary()["concurrency"].as_u64().expect("a number");
        assert!(ran.stdout.contains(&format!("up to {number} image")), "{}", ran.stdout);
        number
    };
    assert_eq!(in_flight(None, &["--concurrency", "3"]), 3);
    assert_eq!(in_flight(Some("5"), &[]), 5);
    for auto in
        [in_flight(None, &[]), in_flight(Some("auto"), &[]), in_flight(Some("5"), &["--concurrency", "auto"])]
    {
        assert!((8..=256).contains(&auto), "{auto}");
    }
    let workspace = Workspace::with_images(1);
    workspace.write("exporter.toml", "concurrency = 'auto'");
    let shown = workspace.run(&["--show-settings"]).assert_code(0).stdout;
    assert!(shown.lines().any(|line| line.starts_with("concurrency ") && line.contains(" auto ")), "{shown}");
    workspace.write("exporter.toml", "concurrency = true");
    let ran = workspace.run(&[]).assert_code(2);
    assert!(ran.stderr.contains("write a whole number, or concurrency = \"auto\""), "{}", ran.stderr);
    for wrong in ["Auto", "0", "1.5", "auto 8"] {
        let ran = Workspace::with_images(1).run(&["--concurrency", wrong]).assert_code(2);
        assert!(ran.stderr.contains("from 1 to 1024, or auto"), "{}", ran.stderr);
    }
}

#[test]
fn the_status_says_what_rows_do() {
    let config = Config { storage_latency: Duration::from_secs(2), ..Config::default() };
    let workspace = Workspace::with(config);
    workspace.manifest(&workspace.add_images(60));
    let mut child = workspace
        .command(&["run", "manifest.csv", "--concurrency", "3", "--rate", "6/60s"])
        .spawn()
        .expect("started");
    let start = Instant::now();
    let said = loop {
        std::thread::sleep(Duration::from_millis(200));
        let ran = Run::wait(workspace.command(&["status"]).spawn().expect("started"));
        if ran.stdout.contains(" downloading") && !ran.stdout.contains(" 0 downloading") {
            break ran.stdout;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{}", ran.stdout);
    };
    let line = said.lines().find(|line| line.starts_with("now ")).expect("the line");
    assert!(line.contains(" downloading, ") && line.contains(" waiting for the allowance "), "{line}");
    assert!(line.ends_with("(up to 3 in flight)"), "{line}");
    let json = Run::wait(workspace.command(&["status", "--json"]).spawn().expect("started")).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["pace"]["concurrency"], 3, "{json}");
    child.kill().expect("killed");
    child.wait().expect("ended");
}
