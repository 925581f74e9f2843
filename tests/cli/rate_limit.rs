//! The allowance.

use std::time::{Duration, Instant};

use crate::support::faults::ApiFault;
use crate::support::limiter::Rate;
use crate::support::log::Face;
use crate::world::World;

#[test]
fn a_429_is_waited_out_by_everybody_and_is_no_try() {
    let world = World::with_images(12);
    world.sandbox.script().api_next(ApiFault::retry_after("2"));
    world.run(&[]).ended(0);
    assert!(world.report().iter().all(|line| line["attempts"] == "1"));
    assert_eq!(world.count("api_429"), 1);
    let requests = world.sandbox.requests();
    let api: Vec<_> = requests.iter().filter(|entry| entry.face == Face::Api).collect();
    let limited = api.iter().find(|entry| entry.status == 429).expect("a 429");
    // those that were on their way when it came are no breach
    let early = api
        .iter()
        .filter(|entry| entry.at > limited.answered + Duration::from_millis(300))
        .any(|entry| entry.at < limited.answered + Duration::from_secs(2));
    assert!(!early, "nobody asked before the time was up");
}

#[test]
fn the_allowance_is_used_and_never_overdrawn() {
    let world = World::with_images(90);
    world.sandbox.set_rate(Some(Rate::new(30, Duration::from_secs(1))));
    let start = Instant::now();
    world.run(&["--rate", "30/1s"]).ended(0);
    assert_eq!(world.sandbox.counts(Face::Api).limited, 0);
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_server_with_a_lower_limit_loses_no_row() {
    let world = World::with_images(60);
    world.sandbox.set_rate(Some(Rate::new(20, Duration::from_secs(1))));
    world.run(&["--rate", "1000/1s"]).ended(0);
    assert_eq!(world.states(), vec!["stored"; 60]);
}

#[test]
fn a_wait_beyond_max_outage_ends_the_run_at_once() {
    let world = World::with_images(8);
    world.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    let start = Instant::now();
    let ran = world.run(&["--max-outage", "5s"]).ended(1);
    assert!(start.elapsed() < Duration::from_secs(4));
    assert!(ran.stderr.contains("allowance is spent"), "{}", ran.stderr);
    let report = world.report();
    assert!(
        report.iter().all(|line| line["state"] == "untried" && line["error_code"] == "rate_limited"),
        "{report:?}"
    );
}

#[test]
fn a_wait_beyond_the_time_of_the_run_ends_it_with_code_4() {
    let world = World::with_images(8);
    world.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    let start = Instant::now();
    world.run(&["--max-duration", "60s"]).ended(4);
    assert!(start.elapsed() < Duration::from_secs(4));
    assert!(world.report().iter().all(|line| line["error_code"] == "rate_limited"));
}

#[test]
fn nonsense_in_the_headers_neither_hangs_nor_stampedes() {
    for nonsense in ["0", "-1", "100000000000000000000", "soon", "Fri, 31 Dec 2100 23:59:59 GMT"] {
        let world = World::with_images(3);
        world.sandbox.script().api_next(ApiFault::retry_after(nonsense));
        let start = Instant::now();
        world.run(&[]).ended(0);
        assert!(start.elapsed() < Duration::from_secs(10), "{nonsense}");
    }
}
