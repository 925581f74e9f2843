//! Other programs may read the ledger at any time, beside `run`, `verify` and `status`: it stays whole.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;

/// Names the ledger to the process that is another client of SQLite.
const LEDGER: &str = "LEDGER_OF_ANOTHER_CLIENT";

/// An ordinary client, in a process of its own: opens the ledger, reads, closes it.
fn read_as_another_client(ledger: &Path) {
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "ledger_readers::another_client", "--ignored", "--nocapture"])
        .env(LEDGER, ledger)
        .stdin(Stdio::null())
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "a part of the other test, started by it"]
fn another_client() {
    let ledger = std::env::var_os(LEDGER).expect("a ledger is named");
    let connection = Connection::open(ledger).expect("opened");
    connection.busy_timeout(Duration::from_secs(10)).expect("set");
    let count = "SELECT count(*) FROM images WHERE delivered = 1";
    assert!(connection.query_row(count, [], |row| row.get::<_, u32>(0)).expect("read") >= 8);
}

fn wait_for_line(log: &Path) {
    let start = Instant::now();
    while fs::metadata(log).map_or(0, |file| file.len()) == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "no image is read");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn clients_of_sqlite_beside_a_slow_verification_and_a_run_do_no_harm() {
    let workspace = Workspace::with_images(8);
    workspace.run(&[]).assert_code(0);
    let ledger = workspace.out().join(".exporter/ledger.sqlite");
    let (slow, log) = (workspace.path("slow"), workspace.path("log"));
    fs::write(&slow, "").expect("written");
    let rule = format!("call=read,path=/export/data,delay=400,while={}", slow.display());
    let verify = workspace.command(&["verify", "--json"]);
    let verify = inject(&verify, &[&rule]).env("INJECT_LOG", &log).spawn().expect("started");
    wait_for_line(&log);
    read_as_another_client(&ledger);
    workspace.manifest(&workspace.add_images(60));
    workspace.run(&[]).assert_code(0);
    read_as_another_client(&ledger);
    Run::wait(workspace.command(&["status"]).spawn().expect("started")).assert_code(0);
    read_as_another_client(&ledger);
    fs::remove_file(&slow).expect("removed");
    Run::wait(verify).assert_code(0);
    read_as_another_client(&ledger);
    let connection = Connection::open(&ledger).expect("opened");
    let sound: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
    assert_eq!(sound, "ok");
    let count = "SELECT count(*) FROM images WHERE delivered = 1 AND checked_at > stored_at";
    let checked: u32 = connection.query_row(count, [], |row| row.get(0)).expect("read");
    assert!(checked >= 8, "the verification saved {checked} times");
    drop(connection);
    let names: Vec<_> = fs::read_dir(workspace.out().join(".exporter")).expect("listed").collect();
    assert_eq!(names.len(), 2, "ledger and lock: {names:?}");
}
