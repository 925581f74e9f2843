//! When the whole run is in trouble, not one row.

use std::time::{Duration, Instant};

use sandbox::config::Config;
use sandbox::faults::{ApiFault, StorageFault};
use sandbox::workspace::{Run, Workspace};

#[test]
fn a_refused_key_stops_the_run_and_leaves_all_rows_untried() {
    let workspace = Workspace::with_images(40);
    workspace.sandbox.set_api_keys(&["another"]);
    let ran = workspace.run(&["--concurrency", "1"]).assert_code(1);
    assert!(ran.stderr.contains("the API refuses the key"), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("stopped early"), "{}", ran.stdout);
    let report = workspace.report();
    assert!(report.iter().all(|line| line["state"] == "untried"));
    let (met, reached): (Vec<_>, Vec<_>) =
        report.iter().partition(|line| line["error_code"] == "unauthorized");
    assert_eq!(met.len(), 1, "one row met the refusal");
    assert!(
        reached.iter().all(|line| line["error_code"].is_empty() && line["attempts"] == "0"),
        "{reached:?}"
    );
    assert!(reached.iter().all(|line| line["error"].contains("refuses the key")));
    assert_eq!(workspace.api_requests(), 1, "no request starts after the first 401");
    assert_eq!(workspace.failed().len(), 40);
}

#[test]
fn a_key_file_is_read_again_before_the_run_stops() {
    let workspace = Workspace::with_images(6);
    workspace.write("key", "old\n");
    let mut command =
        workspace.command(&["run", "manifest.csv", "--api-key-file", "key", "--concurrency", "1"]);
    workspace.sandbox.script().api("i0", ApiFault::Delay(Duration::from_millis(600)));
    workspace.sandbox.set_api_keys(&["new"]);
    let child = command.spawn().expect("started");
    // the first request leaves with the old key; the file has the new one when its 401 comes
    workspace.sandbox.script().api("i0", ApiFault::Delay(Duration::ZERO));
    workspace.write("key", "new\n");
    let ran = Run::wait(child);
    assert!(matches!(ran.code, Some(0)), "{}", ran.stderr);
    assert_eq!(workspace.states(), ["stored"; 6]);
}

#[test]
fn a_refused_organization_is_left_alone_after_five_rows_and_the_others_go_on() {
    let workspace = Workspace::with_images(60);
    workspace.sandbox.refuse_org("org1");
    let ran = workspace.run(&[]).assert_code(3);
    let report = workspace.report();
    for line in &report {
        let expected = if line["org"] == "org1" { ("failed", "forbidden") } else { ("stored", "") };
        assert_eq!((&*line["state"], &*line["error_code"]), expected);
    }
    let asked = workspace.sandbox.requests().iter().filter(|entry| entry.org == "org1").count();
    assert_eq!(asked, 5, "the other 25 rows fail without a request");
    assert!(ran.stderr.contains("organization org1 is refused"), "{}", ran.stderr);
}

#[test]
fn an_api_that_cannot_be_reached_stops_the_run_after_max_outage() {
    let workspace = Workspace::with_images(10);
    let start = Instant::now();
    let mut command = workspace.command(&["run", "manifest.csv", "--max-outage", "1s"]);
    // nothing listens there: a port of the sandbox that was given back
    let gone = Workspace::new().sandbox.api_url().to_owned();
    let ran = Run::wait(command.env("MAXAI_API_URL", gone).spawn().expect("started")).assert_code(1);
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(ran.stderr.contains("the API could not be reached"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("after 0 s"), "{}", ran.stderr);
    let report = workspace.report();
    assert!(
        report.iter().all(|line| line["state"] == "untried" && line["error_code"] == "network"),
        "{report:?}"
    );
    assert!(report.iter().all(|line| line["attempts"] == "0"), "no image pays for an outage: {report:?}");
}

#[test]
fn an_outage_is_waited_out_and_no_image_pays_for_it() {
    let workspace = Workspace::with_images(20);
    workspace.sandbox.script().api_always(Some(ApiFault::status(503)));
    let child = workspace.command(&["run", "manifest.csv", "--max-attempts", "2"]).spawn().expect("started");
    std::thread::sleep(Duration::from_secs(3));
    let during = workspace.api_requests();
    workspace.sandbox.script().api_always(None);
    let ran = Run::wait(child).assert_code(0);
    assert!(ran.stderr.contains("outage"), "{}", ran.stderr);
    assert_eq!(workspace.states(), vec!["stored"; 20]);
    assert!(workspace.report().iter().all(|line| line["attempts"] == "1"), "{:?}", workspace.report());
    assert!(during < 60, "one probe at a time, not {during} requests");
}

#[test]
fn rows_that_run_out_of_tries_as_an_outage_begins_are_not_given_up() {
    let workspace = Workspace::with_images(20);
    workspace.sandbox.script().api_always(Some(ApiFault::status(500)));
    let args = ["--max-attempts", "1", "--concurrency", "1", "--max-outage", "2s"];
    workspace.run(&args).assert_code(1);
    let report = workspace.report();
    assert!(report.iter().all(|line| line["state"] == "untried"), "{report:?}");
}

#[test]
fn a_row_that_is_sick_alone_uses_up_its_own_tries() {
    let workspace = Workspace::with_images(20);
    for _ in 0..3 {
        workspace.sandbox.script().storage("i7", StorageFault::error("InternalError"));
    }
    workspace.run(&["--max-attempts", "2"]).assert_code(3);
    let line = &workspace.report()[7];
    assert_eq!((&*line["error_code"], &*line["attempts"]), ("storage_error", "2"));
    assert_eq!(workspace.count("stored"), 19);
}

#[test]
fn a_storage_that_refuses_everybody_stops_the_run() {
    let workspace = Workspace::with_images(300);
    workspace.sandbox.script().storage_always(Some(StorageFault::error("AccessDenied")));
    let ran = workspace.run(&["--concurrency", "4"]).assert_code(1);
    assert!(ran.stderr.contains("20 rows in succession failed with storage_denied"), "{}", ran.stderr);
    let failed = workspace.count("failed");
    // a few are on their way when it stops, more of them on a busy machine
    assert!((20..=100).contains(&failed), "{failed}");
    assert!(workspace.count("untried") >= 200);
}

#[test]
fn a_full_disk_stops_the_run_before_a_byte_is_written() {
    let workspace = Workspace::with_images(3);
    let ran = workspace.run(&["--min-free", "900T"]).assert_code(1);
    assert!(ran.stderr.contains("--min-free"), "{}", ran.stderr);
    assert_eq!(workspace.states(), ["untried"; 3]);
    assert_eq!(workspace.api_requests(), 0);
}

#[test]
fn a_folder_that_is_no_folder_is_refused_before_any_request() {
    let workspace = Workspace::with_images(1);
    workspace.write("export", "a file");
    let ran = workspace.run(&[]).assert_code(1);
    assert!(ran.stderr.contains("export"), "{}", ran.stderr);
    assert_eq!(workspace.api_requests(), 0);
}

#[test]
fn a_link_in_place_of_a_folder_never_leads_an_image_out() {
    let workspace = Workspace::with_images(1);
    std::fs::create_dir_all(workspace.path("elsewhere")).expect("made");
    workspace.manifest("org,note,image\n");
    workspace.run(&[]).assert_code(0);
    std::os::unix::fs::symlink(workspace.path("elsewhere"), workspace.out().join("data/org0"))
        .expect("linked");
    workspace.manifest("org,note,image\norg0,note0,i0\n");
    let before = workspace.api_requests();
    let ran = workspace.run(&[]).assert_code(1);
    assert!(
        ran.stderr.contains("is a symbolic link to ") && ran.stderr.contains("elsewhere"),
        "{}",
        ran.stderr
    );
    assert_eq!(workspace.states(), ["untried"]);
    assert_eq!(workspace.report()[0]["error_code"], "", "the run stopped before it reached the row");
    assert_eq!(workspace.api_requests(), before, "no request is spent on it");
    assert_eq!(std::fs::read_dir(workspace.path("elsewhere")).expect("there").count(), 0);
}

#[test]
fn the_time_of_the_run_ends_it_with_its_own_code() {
    let config = Config { api_latency: Duration::from_millis(200), ..Config::default() };
    let workspace = Workspace::with(config);
    workspace.manifest(&workspace.add_images(60));
    let ran = workspace.run(&["--max-duration", "1s", "--concurrency", "1"]).assert_code(4);
    assert!(ran.stdout.starts_with("stopped early"), "{}", ran.stdout);
    assert!(workspace.count("untried") > 0 && workspace.count("stored") > 0);
    assert_eq!(workspace.count("failed"), 0);
}
