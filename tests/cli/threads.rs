//! Disk, name service and request clock have threads of their own: one that hangs holds up none of the others.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use sandbox::faults::ApiFault;
use sandbox::log::Server;
use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;

/// The program's threads for the disk.
const DISK_THREADS: usize = 16;

#[test]
fn a_disk_that_hangs_holds_up_neither_requests_nor_look_ups_nor_the_clock() {
    let workspace = Workspace::with_images(40);
    // each request to the API needs a connection of its own, and so the address of its name
    let close = vec![("connection".to_owned(), "close".to_owned())];
    workspace.sandbox.script().api_always(Some(ApiFault::Headers(close)));
    let args = ["run", "manifest.csv", "--rate", "20/1s", "--concurrency", "64"];
    let mut command = workspace.command(&args);
    command.env("MAXAI_API_URL", workspace.sandbox.api_url().replace("127.0.0.1", "localhost"));
    let hang = Duration::from_secs(6);
    let rule = format!("call=write,path=.part,delay={},count={DISK_THREADS}", hang.as_millis());
    let start = Instant::now();
    let ran = Run::wait(inject(&command, &[&rule]).spawn().expect("started")).assert_code(0);
    assert!(start.elapsed() >= hang, "nothing hung");
    let requests = workspace.sandbox.requests();
    let asked: Vec<_> = requests.iter().filter(|entry| entry.server == Server::Api).collect();
    // 40 requests at 20 a second take two seconds
    let took = asked.last().expect("a request").answered - asked[0].at;
    assert!(took < hang * 3 / 4, "the last of {} requests was answered after {took:?}", asked.len());
    assert_eq!(asked.len(), 40, "none was asked twice");
    assert!(workspace.report().iter().all(|line| line["attempts"] == "1"));
    assert!(!ran.stderr.contains("request clock"), "{}", ran.stderr);
}

/// When a file got its name, by its inode.
fn changed_at(workspace: &Workspace, path: &str) -> Duration {
    let meta = workspace.out().join(path).metadata().expect("a file");
    let nanos = i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec());
    Duration::from_nanos(u64::try_from(nanos).expect("after 1970"))
}

#[test]
fn files_that_are_flushed_one_by_one_are_flushed_beside_each_other() {
    let workspace = Workspace::with_images(400);
    let command = workspace.command(&["run", "manifest.csv"]);
    // a file system of which nothing is known, whose server needs 60 ms for each flush
    let rules = ["call=statfs,errno=EACCES", "call=sync,delay=60"];
    Run::wait(inject(&command, &rules).spawn().expect("started")).assert_code(0);
    assert_eq!(workspace.count("stored"), 400);
    // from the first to the last rename: start and reports are flushed too
    let mut named: Vec<Duration> =
        workspace.images().iter().map(|path| changed_at(&workspace, path)).collect();
    named.sort_unstable();
    let took = named[399].saturating_sub(named[0]);
    // 100 files a second; one after the other their bytes alone would take 24 s
    assert!(took < Duration::from_secs(4), "{took:?}");
}
