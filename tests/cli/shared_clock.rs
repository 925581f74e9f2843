//! The request clock that runs of one machine share: at any rate, and through trouble that passes. And what the API says
//! about its own limit.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use sandbox::limiter::{Rate, SendHeaders};
use sandbox::log::Server;
use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;
use crate::rate_limit::{asked_at, most_within};

/// `exporter run manifest.csv` at this rate into a folder of its own.
fn command(workspace: &Workspace, rate: &str, out: &str) -> std::process::Command {
    workspace.command(&["run", "manifest.csv", "--rate", rate, "-o", out])
}

fn clock_file(workspace: &Workspace) -> Option<PathBuf> {
    let files = std::fs::read_dir(workspace.path("state/exporter")).ok()?;
    let mut paths = files.map(|file| file.expect("a file").path());
    paths.find(|path| path.extension().is_some_and(|end| end == "sqlite"))
}

/// How many runs have been granted a request by the shared clock; 0 before there is one.
fn runs_granted(workspace: &Workspace) -> u32 {
    let Some(file) = clock_file(workspace) else { return 0 };
    let clock = Connection::open(file).expect("opened");
    let runs = "SELECT count(DISTINCT run) FROM messages WHERE step = 'granted'";
    // the first run may be about to make the table
    clock.query_row(runs, [], |row| row.get(0)).unwrap_or_default()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn runs_share_an_allowance_of_any_size() {
    for rate in ["5000/5m", "4200/60s", "1000000/24h", "5000/1s"] {
        let workspace = Workspace::with_images(3);
        for out in ["one", "two"] {
            Run::wait(command(&workspace, rate, out).spawn().expect("the program starts")).assert_code(0);
        }
        assert_eq!(runs_granted(&workspace), 2, "{rate}");
    }
}

#[test]
fn a_lock_that_is_held_for_a_while_is_reported_once_and_nothing_is_overspent() {
    let workspace = Workspace::with_images(70);
    workspace.sandbox.set_rate(Some(Rate::new(60, Duration::from_secs(1))));
    let runs = ["one", "two"].map(|out| {
        let said = File::create(workspace.path(out).with_extension("log")).expect("made");
        command(&workspace, "60/1s", out).stderr(said).spawn().expect("the program starts")
    });
    let reports = |out: &str| {
        let said = std::fs::read_to_string(workspace.path(out).with_extension("log")).expect("there");
        said.matches("cannot be shared").count()
    };
    // on a busy machine one run may start seconds after the other: the lock is there for both
    wait_until("both runs use the clock", || runs_granted(&workspace) == 2 && workspace.api_requests() >= 10);
    let clock = Connection::open(clock_file(&workspace).expect("a file")).expect("opened");
    clock.busy_timeout(Duration::from_secs(5)).expect("set");
    clock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    wait_until("both runs have met the lock", || ["one", "two"].map(reports) == [1, 1]);
    clock.execute_batch("ROLLBACK").expect("unlocked");
    for run in runs {
        Run::wait(run).assert_code(0);
    }
    assert_eq!(["one", "two"].map(reports), [1, 1]);
    assert_eq!(workspace.sandbox.counts(Server::Api).limited, 0);
    // counted where they arrive, on a busy machine
    let most = most_within(&asked_at(&workspace), Duration::from_millis(900));
    assert!(most <= 60, "{most} of 60 in a second");
}

#[test]
fn a_full_disk_is_reported_once_and_the_run_comes_back_to_the_shared_clock() {
    let workspace = Workspace::with_images(45);
    workspace.write("full", "");
    let run = command(&workspace, "30/2s", "one");
    let full = workspace.path("full");
    let rule = format!("call=write,path=state/exporter,errno=ENOSPC,while={}", full.display());
    let run = inject(&run, &[&rule]).spawn().expect("the program starts");
    let start = Instant::now();
    while workspace.api_requests() < 10 {
        assert!(start.elapsed() < Duration::from_secs(20), "the run does not go on");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::remove_file(full).expect("removed");
    let ran = Run::wait(run).assert_code(0);
    assert_eq!(ran.stderr.matches("cannot be shared").count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("is shared with other runs again").count(), 1, "{}", ran.stderr);
    let clock = Connection::open(clock_file(&workspace).expect("a file")).expect("opened");
    let granted = "SELECT count(*) FROM messages WHERE step = 'granted'";
    let granted: u32 = clock.query_row(granted, [], |row| row.get(0)).expect("a number");
    assert!(granted >= 40, "{granted} of 45 requests are there for later runs");
}

#[test]
fn a_disk_that_hangs_does_not_hold_the_run() {
    let workspace = Workspace::with_images(12);
    let run = command(&workspace, "1000/60s", "one");
    let mut run = inject(&run, &["call=write,path=state/exporter,delay=9000,count=1"]);
    let start = Instant::now();
    let ran = Run::wait(run.spawn().expect("the program starts")).assert_code(0);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(ran.stderr.contains("its disk does not answer"), "{}", ran.stderr);
}

#[test]
fn a_job_that_fits_into_the_allowance_is_not_paced() {
    for (images, headers) in [
        (96, SendHeaders::Always),
        (100, SendHeaders::Always),
        (96, SendHeaders::Never),
        (100, SendHeaders::Never),
    ] {
        let workspace = Workspace::with_images(images);
        let rate = Rate { headers, ..Rate::new(100, Duration::from_secs(30)) };
        workspace.sandbox.set_rate(Some(rate));
        let start = Instant::now();
        workspace.run(&["--rate", "100/30s"]).assert_code(0);
        assert!(start.elapsed() < Duration::from_secs(5), "{images} {headers:?}: {:?}", start.elapsed());
        assert_eq!(workspace.sandbox.counts(Server::Api).limited, 0);
    }
}

#[test]
fn a_limit_below_the_rate_is_reported_once() {
    let workspace = Workspace::with_images(25);
    workspace.sandbox.set_rate(Some(Rate::new(20, Duration::from_secs(1))));
    let ran = workspace.run(&["--rate", "1000/1s"]).assert_code(0);
    assert_eq!(ran.stderr.matches("a limit of 20 requests").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("X-RateLimit-Limit"), "{}", ran.stderr);
    let workspace = Workspace::with_images(5);
    workspace.sandbox.set_rate(Some(Rate::new(2000, Duration::from_secs(1))));
    let ran = workspace.run(&["--rate", "1000/1s"]).assert_code(0);
    assert!(!ran.stderr.contains("X-RateLimit-Limit"), "a higher one changes nothing: {}", ran.stderr);
}
