//! When the whole run is in trouble, not one row.

use std::time::{Duration, Instant};

use crate::support::config::Config;
use crate::support::faults::{ApiFault, StorageFault};
use crate::world::{Ran, World};

#[test]
fn a_refused_key_stops_the_run_and_leaves_all_rows_untried() {
    let world = World::with_images(40);
    world.sandbox.set_api_keys(&["another"]);
    let ran = world.run(&["--concurrency", "1"]).ended(1);
    assert!(ran.stderr.contains("the API refuses the key"), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("stopped early"), "{}", ran.stdout);
    let report = world.report();
    assert!(report.iter().all(|line| line["state"] == "untried"));
    let (met, reached): (Vec<_>, Vec<_>) =
        report.iter().partition(|line| line["error_code"] == "unauthorized");
    assert_eq!(met.len(), 1, "one row met the refusal");
    assert!(
        reached.iter().all(|line| line["error_code"].is_empty() && line["attempts"] == "0"),
        "{reached:?}"
    );
    assert!(reached.iter().all(|line| line["error"].contains("refuses the key")));
    assert_eq!(world.api_requests(), 1, "no request starts after the first 401");
    assert_eq!(world.failed().len(), 40);
}

#[test]
fn a_key_file_is_read_again_before_the_run_stops() {
    let world = World::with_images(6);
    world.write("key", "old\n");
    let mut command = world.command(&["run", "manifest.csv", "--api-key-file", "key", "--concurrency", "1"]);
    world.sandbox.script().api("i0", ApiFault::Delay(Duration::from_millis(600)));
    world.sandbox.set_api_keys(&["new"]);
    let child = command.spawn().expect("started");
    // the first request leaves with the old key; the file has the new one when its 401 comes
    world.sandbox.script().api("i0", ApiFault::Delay(Duration::ZERO));
    world.write("key", "new\n");
    let ran = Ran::of(child);
    assert!(matches!(ran.code, Some(0)), "{}", ran.stderr);
    assert_eq!(world.states(), ["stored"; 6]);
}

#[test]
fn a_refused_organization_is_left_alone_after_five_rows_and_the_others_go_on() {
    let world = World::with_images(60);
    world.sandbox.refuse_org("org1");
    let ran = world.run(&[]).ended(3);
    let report = world.report();
    for line in &report {
        let expected = if line["org"] == "org1" { ("failed", "forbidden") } else { ("stored", "") };
        assert_eq!((&*line["state"], &*line["error_code"]), expected);
    }
    let asked = world.sandbox.requests().iter().filter(|entry| entry.org == "org1").count();
    assert_eq!(asked, 5, "the other 25 rows fail without a request");
    assert!(ran.stderr.contains("organization org1 is refused"), "{}", ran.stderr);
}

#[test]
fn an_api_that_cannot_be_reached_stops_the_run_after_max_outage() {
    let world = World::with_images(10);
    let start = Instant::now();
    let mut command = world.command(&["run", "manifest.csv", "--max-outage", "1s"]);
    // nothing listens there: a port of the sandbox that was given back
    let gone = World::new().sandbox.api_url().to_owned();
    let ran = Ran::of(command.env("MAXAI_API_URL", gone).spawn().expect("started")).ended(1);
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(ran.stderr.contains("the API could not be reached"), "{}", ran.stderr);
    let report = world.report();
    assert!(
        report.iter().all(|line| line["state"] == "untried" && line["error_code"] == "network"),
        "{report:?}"
    );
    assert!(report.iter().all(|line| line["attempts"] == "0"), "no image pays for an outage: {report:?}");
}

#[test]
fn an_outage_is_waited_out_and_no_image_pays_for_it() {
    let world = World::with_images(20);
    world.sandbox.script().api_always(Some(ApiFault::status(503)));
    let child = world.command(&["run", "manifest.csv", "--max-attempts", "2"]).spawn().expect("started");
    std::thread::sleep(Duration::from_secs(3));
    let during = world.api_requests();
    world.sandbox.script().api_always(None);
    let ran = Ran::of(child).ended(0);
    assert!(ran.stderr.contains("outage"), "{}", ran.stderr);
    assert_eq!(world.states(), vec!["stored"; 20]);
    assert!(world.report().iter().all(|line| line["attempts"] == "1"), "{:?}", world.report());
    assert!(during < 60, "one probe at a time, not {during} requests");
}

#[test]
fn rows_that_run_out_of_tries_as_an_outage_begins_are_not_given_up() {
    let world = World::with_images(20);
    world.sandbox.script().api_always(Some(ApiFault::status(500)));
    let args = ["--max-attempts", "1", "--concurrency", "1", "--max-outage", "2s"];
    world.run(&args).ended(1);
    let report = world.report();
    assert!(report.iter().all(|line| line["state"] == "untried"), "{report:?}");
}

#[test]
fn a_row_that_is_sick_alone_uses_up_its_own_tries() {
    let world = World::with_images(20);
    for _ in 0..3 {
        world.sandbox.script().storage("i7", StorageFault::error("InternalError"));
    }
    world.run(&["--max-attempts", "2"]).ended(3);
    let line = &world.report()[7];
    assert_eq!((&*line["error_code"], &*line["attempts"]), ("storage_error", "2"));
    assert_eq!(world.count("stored"), 19);
}

#[test]
fn a_storage_that_refuses_everybody_stops_the_run() {
    let world = World::with_images(300);
    world.sandbox.script().storage_always(Some(StorageFault::error("AccessDenied")));
    let ran = world.run(&["--concurrency", "4"]).ended(1);
    assert!(ran.stderr.contains("refused 20 images in a row"), "{}", ran.stderr);
    let failed = world.count("failed");
    // a few are on their way when it stops, more of them on a busy machine
    assert!((20..=100).contains(&failed), "{failed}");
    assert!(world.count("untried") >= 200);
}

#[test]
fn a_full_disk_stops_the_run_before_a_byte_is_written() {
    let world = World::with_images(3);
    let ran = world.run(&["--min-free", "900T"]).ended(1);
    assert!(ran.stderr.contains("--min-free"), "{}", ran.stderr);
    assert_eq!(world.states(), ["untried"; 3]);
    assert_eq!(world.api_requests(), 0);
}

#[test]
fn a_folder_that_is_no_folder_is_refused_before_any_request() {
    let world = World::with_images(1);
    world.write("export", "a file");
    let ran = world.run(&[]).ended(1);
    assert!(ran.stderr.contains("export"), "{}", ran.stderr);
    assert_eq!(world.api_requests(), 0);
}

#[test]
fn a_link_in_place_of_a_folder_never_leads_an_image_out() {
    let world = World::with_images(1);
    std::fs::create_dir_all(world.path("elsewhere")).expect("made");
    world.manifest("org,note,image\n");
    world.run(&[]).ended(0);
    std::os::unix::fs::symlink(world.path("elsewhere"), world.out().join("data/org0")).expect("linked");
    world.manifest("org,note,image\norg0,note0,i0\n");
    world.run(&["--max-attempts", "1"]).ended(3);
    assert_eq!(world.report()[0]["error_code"], "disk");
    assert_eq!(std::fs::read_dir(world.path("elsewhere")).expect("there").count(), 0);
}

#[test]
fn the_time_of_the_run_ends_it_with_its_own_code() {
    let config = Config { api_latency: Duration::from_millis(200), ..Config::default() };
    let world = World::with(config);
    world.manifest(&world.add_images(60));
    let ran = world.run(&["--max-duration", "1s", "--concurrency", "1"]).ended(4);
    assert!(ran.stdout.starts_with("stopped early"), "{}", ran.stdout);
    assert!(world.count("untried") > 0 && world.count("stored") > 0);
    assert_eq!(world.count("failed"), 0);
}
