//! The allowance.

use std::time::{Duration, Instant};

use crate::support::faults::{ApiFault, StorageFault};
use crate::support::limiter::Rate;
use crate::support::log::Face;
use crate::world::{Ran, World};

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
fn a_wait_beyond_both_ends_it_with_code_1() {
    let world = World::with_images(8);
    world.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    let start = Instant::now();
    world.run(&["--max-duration", "60s", "--max-outage", "5s"]).ended(1);
    assert!(start.elapsed() < Duration::from_secs(4));
    assert!(world.report().iter().all(|line| line["error_code"] == "rate_limited"));
}

#[test]
fn nothing_but_429_for_max_outage_ends_the_run() {
    let world = World::with_images(8);
    world.sandbox.script().api_always(Some(ApiFault::retry_after("1")));
    let start = Instant::now();
    let ran = world.run(&["--max-outage", "4s"]).ended(1);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(ran.stderr.contains("allowance is spent"), "{}", ran.stderr);
    assert!(world.api_requests() <= 6, "one request after each wait, not {}", world.api_requests());
    assert!(world.report().iter().all(|line| line["state"] == "untried"));
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

/// `exporter run manifest.csv` at 30 a second into a folder of its own.
fn slow(world: &World, out: &str, more: &[&str]) -> std::process::Command {
    let args = [&["run", "manifest.csv", "--rate", "30/1s", "-o", out], more].concat();
    world.command(&args)
}

#[test]
fn runs_of_one_user_keep_one_clock() {
    let world = World::with_images(60);
    world.sandbox.set_rate(Some(Rate::new(30, Duration::from_secs(1))));
    let start = Instant::now();
    let runs = ["one", "two"].map(|out| slow(&world, out, &[]).spawn().expect("the program starts"));
    for run in runs {
        Ran::of(run).ended(0);
    }
    // together as one client: what each would have done alone is refused half of the time
    assert_eq!(world.sandbox.counts(Face::Api).limited, 0);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_run_goes_on_where_the_one_before_left_the_allowance() {
    let world = World::with_images(30);
    world.sandbox.set_rate(Some(Rate::new(30, Duration::from_secs(2))));
    for out in ["one", "two", "three"] {
        let args = ["run", "manifest.csv", "--rate", "30/2s", "-o", out];
        Ran::of(world.command(&args).spawn().expect("the program starts")).ended(0);
    }
    assert_eq!(world.sandbox.counts(Face::Api).limited, 0);
}

#[test]
fn the_clocks_file_is_the_users_alone_and_does_not_hold_the_key() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::with_images(3);
    Ran::of(slow(&world, "one", &[]).spawn().expect("the program starts")).ended(0);
    let folder = world.path("state/exporter");
    let files: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("one").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&files[0])), (0o700, 0o600));
    let key = crate::support::config::API_KEY.as_bytes();
    let bytes = std::fs::read(&files[0]).expect("read");
    assert!(!bytes.windows(key.len()).any(|part| part == key));
}

#[test]
fn without_a_place_for_the_clock_a_run_keeps_its_own_and_says_so_once() {
    let world = World::with_images(40);
    world.write("no-folder", "");
    let mut command = slow(&world, "one", &[]);
    command.env("XDG_STATE_HOME", world.path("no-folder"));
    let ran = Ran::of(command.spawn().expect("the program starts")).ended(0);
    assert_eq!(ran.stderr.matches("cannot be shared").count(), 1, "{}", ran.stderr);
}

#[test]
fn a_file_of_garbage_in_the_clocks_place_is_no_trouble() {
    let world = World::with_images(3);
    Ran::of(slow(&world, "one", &[]).spawn().expect("the program starts")).ended(0);
    let file =
        std::fs::read_dir(world.path("state/exporter")).expect("a folder").next().expect("one").expect("one");
    for garbage in [vec![], vec![0xff; 100], vec![0; 10_000]] {
        std::fs::write(file.path(), garbage).expect("written");
        let _ = std::fs::remove_dir_all(world.path("one"));
        let ran = Ran::of(slow(&world, "one", &[]).spawn().expect("the program starts")).ended(0);
        assert!(!ran.stderr.contains("cannot be shared"), "{}", ran.stderr);
    }
}

#[test]
fn a_wait_that_was_announced_to_another_run_ends_this_one_too_where_it_is_too_long() {
    let world = World::with_images(4);
    world.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    Ran::of(slow(&world, "one", &["--max-outage", "5s"]).spawn().expect("the program starts")).ended(1);
    let asked = world.api_requests();
    let start = Instant::now();
    for (more, code) in [(["--max-outage", "5s"], 1), (["--max-duration", "60s"], 4)] {
        Ran::of(slow(&world, "export", &more).spawn().expect("the program starts")).ended(code);
        assert!(
            world
                .report()
                .iter()
                .all(|line| line["state"] == "untried" && line["error_code"] == "rate_limited")
        );
    }
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_eq!(world.api_requests(), asked, "not one request while the API wants none");
}

#[test]
fn downloads_go_on_while_the_api_wants_nothing() {
    let world = World::with_images(12);
    // slow downloads are under way when the 429 comes, at least that of the first answer
    world.sandbox.script().storage_always(Some(StorageFault::Delay(Duration::from_secs(2))));
    world.sandbox.script().api_next(ApiFault::Delay(Duration::ZERO));
    world.sandbox.script().api_next(ApiFault::retry_after("300"));
    let ran = world.run(&["--max-outage", "60s", "--concurrency", "4"]);
    let ran = ran.ended(1);
    assert!(ran.stderr.contains("allowance is spent"), "{}", ran.stderr);
    let requests = world.sandbox.requests();
    let begun = requests.iter().filter(|entry| entry.face == Face::Storage).count();
    assert!(begun >= 1);
    assert_eq!(world.count("stored"), begun as u64, "what was in flight is finished");
}

#[test]
fn one_big_clinic_does_not_hold_back_the_others() {
    let world = World::new();
    let mut text = "org,note,image\n".to_owned();
    for (org, count) in [("big", 1000), ("small", 3), ("tiny", 1)] {
        for n in 0..count {
            let image = format!("{org}{n}");
            world.sandbox.add_image(org, "n", &image, crate::support::images::jpeg(1, 2000), "image/jpeg");
            text.push_str(&format!("{org},n,{image}\n"));
        }
    }
    world.manifest(&text);
    world.run(&[]).ended(0);
    let requests = world.sandbox.requests();
    let asked: Vec<&str> =
        requests.iter().filter(|entry| entry.face == Face::Api).map(|entry| &*entry.org).collect();
    let last = asked.iter().rposition(|org| *org != "big").expect("the small ones");
    // those who are taken wait side by side, 288 of them
    assert!(last < 300, "the small clinics were done after {last} requests of {}", asked.len());
}

/// Numbers of the images of one organization in the order in which the API was asked for them.
fn asked(world: &World, images: usize, more: &[&str]) -> Vec<usize> {
    let mut text = "org,note,image\n".to_owned();
    for n in 0..images {
        let bytes = crate::support::images::jpeg(n as u64, 2000);
        world.sandbox.add_image("o", "n", &n.to_string(), bytes, "image/jpeg");
        text.push_str(&format!("o,n,{n}\n"));
    }
    world.manifest(&text);
    world.run(more).ended(0);
    let requests = world.sandbox.requests();
    let api = requests.iter().filter(|entry| entry.face == Face::Api);
    api.map(|entry| entry.image.parse().expect("a number")).collect()
}

#[test]
fn rows_are_asked_for_in_the_manifests_order() {
    for more in [&["--concurrency", "1"][..], &["--concurrency", "1", "--rate", "1000/1s"]] {
        let asked = asked(&World::new(), 300, more);
        assert!(asked.is_sorted() && asked.len() == 300, "{more:?}: {asked:?}");
    }
    // those in flight together may overtake each other on their way
    let asked = asked(&World::new(), 300, &["--rate", "400/1s"]);
    let most = asked.iter().enumerate().map(|(place, n)| n.abs_diff(place)).max();
    assert!(most < Some(100), "by {most:?}: {asked:?}");
}

#[test]
fn the_share_of_the_allowance_stands_in_the_summary_and_stays_the_same() {
    let world = World::with_images(30);
    world.run(&["--rate", "100/1h"]).ended(0);
    assert_eq!(world.summary()["allowance_share"], 0.3);
    let before = world.read("summary.json");
    world.run(&["--rate", "100/1h"]).ended(0);
    assert_eq!(world.summary()["allowance_share"], serde_json::Value::Null, "no request at all");
    assert_ne!(world.read("summary.json"), before);
}

#[test]
fn a_run_that_is_killed_does_not_hold_back_the_others() {
    let world = World::with_images(90);
    world.sandbox.set_rate(Some(Rate::new(30, Duration::from_secs(1))));
    let mut killed = slow(&world, "one", &[]).spawn().expect("the program starts");
    let other = slow(&world, "two", &[]).spawn().expect("the program starts");
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(1200));
    killed.kill().expect("killed");
    killed.wait().expect("its end");
    Ran::of(other).ended(0);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(world.sandbox.counts(Face::Api).limited, 0);
}
