//! Slow is not dead, silent is; a process that was stopped goes on.

use std::process::Command;
use std::time::Duration;

use crate::case::{SIZE, assert_consistent, case};
use sandbox::config::Config;
use sandbox::faults::StorageFault as Fault;
use sandbox::images::jpeg;
use sandbox::workspace::{Run, Workspace};

#[test]
fn a_byte_a_second_is_waited_for() {
    let drip = Fault::Drip { every: Duration::from_secs(1), bytes: 4 };
    case([drip]).arg("--stall-timeout", "2s").stored().attempts(1);
}

#[test]
fn silence_ends_a_try_and_the_next_one_continues() {
    let stall = Fault::Stall { after: SIZE / 2, pause: Duration::from_secs(30) };
    let end = case([stall.clone()]).arg("--stall-timeout", "500ms").stored().attempts(2);
    assert_eq!(end.ranges(), ["", &format!("bytes={}-", SIZE / 2)]);
    let late = Fault::Delay(Duration::from_secs(30));
    case([late.clone(), late])
        .arg("--stall-timeout", "300ms")
        .arg("--max-attempts", "2")
        .failed("timeout")
        .attempts(2);
}

/// Stops the process for longer than a URL lives and than a body may be silent, while downloads are under way and
/// while others wait for their next try.
#[test]
fn a_process_that_was_stopped_for_longer_than_a_url_lives_goes_on() {
    let workspace = Workspace::with(Config { url_lifetime: Duration::from_secs(1), ..Config::default() });
    workspace.manifest(&workspace.add_images(24));
    for n in 0..12 {
        // under way when the stop comes
        let slow = Fault::Stall { after: 1000, pause: Duration::from_millis(1500) };
        workspace.sandbox.script().storage(&format!("i{n}"), slow);
    }
    for n in 12..16 {
        // waiting for their next try, with a URL at hand
        for after in [100, 200, 300, 400] {
            workspace.sandbox.script().storage(&format!("i{n}"), Fault::Short { after });
        }
    }
    let args = ["run", "manifest.csv", "--stall-timeout", "2s", "--max-attempts", "6", "--concurrency", "18"];
    let child = workspace.command(&args).spawn().expect("started");
    std::thread::sleep(Duration::from_millis(1000));
    let pid = child.id().to_string();
    let signal = |name: &str| {
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill is there").success());
    };
    signal("STOP");
    std::thread::sleep(Duration::from_secs(5));
    signal("CONT");
    let ran = Run::wait(child).assert_code(0);
    assert_consistent(&workspace, &ran, |line| {
        let n: u64 = line["image"][1..].parse().expect("a number");
        vec![jpeg(n, 2000 + usize::try_from(n).expect("small"))]
    });
    assert_eq!(workspace.states(), vec!["stored"; 24]);
}
