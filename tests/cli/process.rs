//! What is set for the process: signals that every command obeys, also as process 1, and no look from outside.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::inject::inject;
use sandbox::config::Config;
use sandbox::workspace::{Run, Workspace};

const INTERRUPT: u32 = 2;
const TERMINATE: u32 = 15;

/// The signals that a process has handlers for; process 1 of a container gets no others.
fn caught(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim();
    u64::from_str_radix(mask, 16).unwrap_or(0)
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(pid: u32, number: u32) {
    let sent = Command::new("kill").arg(format!("-{number}")).arg(pid.to_string()).status();
    assert!(sent.expect("kill is there").success());
}

/// The exit code is the program's own: a process that a signal kills has none.
fn assert_obeys(mut child: Child, pid: u32, number: u32) {
    // open to the end: a command that reads its manifest there must not find an empty one
    let _stdin = child.stdin.take();
    let handled = |number: u32| caught(pid) & 1 << (number - 1) != 0;
    wait_until("a handler", || handled(INTERRUPT) && handled(TERMINATE));
    let start = Instant::now();
    signal(pid, number);
    Run::wait(child).assert_code(128 + i32::try_from(number).expect("small"));
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
}

fn child_of(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// A `plan -` that waits for its manifest.
fn waiting_plan(workspace: &Workspace) -> Command {
    let mut plan = workspace.command(&["plan", "-"]);
    plan.stdin(Stdio::piped());
    plan
}

#[test]
fn a_plan_that_waits_for_its_manifest_obeys_signals() {
    for number in [INTERRUPT, TERMINATE] {
        let workspace = Workspace::new();
        let child = waiting_plan(&workspace).spawn().expect("started");
        let pid = child.id();
        assert_obeys(child, pid, number);
    }
}

#[test]
fn a_verification_obeys_signals() {
    let workspace = Workspace::with_images(2);
    workspace.run(&[]).assert_code(0);
    let verify = workspace.command(&["verify", "export"]);
    let child = inject(&verify, &["call=read,path=/export/data/,delay=30000"]).spawn().expect("started");
    wait_until("a program", || child_of(child.id()).is_some_and(|pid| caught(pid) != 0));
    let pid = child_of(child.id()).expect("started");
    assert_obeys(child, pid, TERMINATE);
    workspace.command(&["verify", "export"]).status().expect("started");
}

#[test]
fn doctor_and_status_obey_signals() {
    let slow = Config { storage_latency: Duration::from_secs(20), ..Config::default() };
    let workspace = Workspace::with(slow);
    workspace.manifest(&workspace.add_images(4));
    let mut run = workspace.command(&["run", "manifest.csv"]).spawn().expect("started");
    wait_until("a request", || workspace.api_requests() > 0);
    let child = workspace.command(&["status", "--watch", "export"]).spawn().expect("started");
    let pid = child.id();
    assert_obeys(child, pid, TERMINATE);
    run.kill().expect("killed");
    run.wait().expect("ended");

    // connects, and never gets an answer
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let child = workspace.command(&["doctor", "--api-url", &url]).spawn().expect("started");
    let pid = child.id();
    assert_obeys(child, pid, INTERRUPT);
}

/// Only root may make a process 1 here; without that the handlers above are all that can be seen.
#[test]
fn process_1_of_a_container_obeys_signals() {
    let allowed = Command::new("unshare").args(["--pid", "--fork", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return;
    }
    let workspace = Workspace::new();
    let plan = waiting_plan(&workspace);
    let mut container = Command::new("unshare");
    container.args(["--pid", "--fork", "--kill-child"]).arg(plan.get_program()).args(plan.get_args());
    container.envs(plan.get_envs().filter_map(|(name, value)| Some((name, value?))));
    container
        .current_dir(workspace.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = container.spawn().expect("started");
    wait_until("process 1", || child_of(child.id()).is_some_and(|pid| caught(pid) != 0));
    let pid = child_of(child.id()).expect("started");
    assert_obeys(child, pid, TERMINATE);
}

#[test]
fn the_environment_of_the_process_is_closed_to_others() {
    let workspace = Workspace::new();
    let plan = waiting_plan(&workspace);
    // as root all files of /proc are root's: so another user has to run it, from where that user may read
    let program = std::path::Path::new(plan.get_program()).to_owned();
    let copy = std::env::temp_dir().join(format!("exporter-test-{}", std::process::id()));
    std::fs::copy(program, &copy).expect("copied");
    let mut command = Command::new(&copy);
    command
        .args(plan.get_args())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let other = rustix::process::geteuid().is_root();
    if other {
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
    }
    let mut child = command.spawn().expect("started");

    let environ = format!("/proc/{}/environ", child.id());
    wait_until("a handler", || caught(child.id()) != 0);
    let owner = std::fs::metadata(&environ).expect("there").uid();
    let text = std::fs::read(&environ);
    child.stdin.take().expect("piped").write_all(b"org,note,image\n").expect("written");
    child.wait().expect("ended");
    std::fs::remove_file(copy).expect("removed");
    assert_eq!(owner, 0, "the files of a process that cannot be dumped are root's");
    assert!(other || text.is_err(), "its own user cannot read them");
}
