//! kill -9 of the real program, again and again in one migration, at random and at chosen moments: what the
//! ledger calls delivered is there, whole and right, after every single kill; and in the end all is as if nothing
//! had happened. Power cuts, and kills at every durable call, are in `tests/soak/`.
#![expect(clippy::disallowed_methods, reason = "a test may take any error for an absence")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use sandbox::config::Config;
use sandbox::images::{jpeg, mix};
use sandbox::workspace::{Run, Workspace};

/// At least so many in the migration.
const KILLS: usize = 54;
/// Rows that the manifest grows by whenever a run gets through.
const MORE: usize = 25;

/// When to kill.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after the start: somewhere from the loading of the manifest to the middle of the work.
    After(Duration),
    /// As soon as there is a part.
    Part,
    /// As soon as there is an image more.
    Image,
    /// As soon as the ledger has written this much to its log.
    Log(u64),
    /// As soon as a report is being written.
    Report,
}

impl Moment {
    fn nth(n: usize) -> Self {
        let dice = mix(n as u64);
        match n % 6 {
            0 | 1 => Self::After(Duration::from_millis(5 + dice % 300)),
            2 => Self::Part,
            3 => Self::Image,
            4 => Self::Log(1 + dice % 300_000),
            _ => Self::Report,
        }
    }

    fn has_come(self, workspace: &Workspace, start: Instant, before: usize) -> bool {
        let state = workspace.out().join(".exporter");
        match self {
            Self::After(time) => start.elapsed() >= time,
            // small images lie in folders of their own
            Self::Part => {
                has(&state, ".part")
                    || "0123456789abcdef".chars().any(|n| has(&state.join(n.to_string()), ".part"))
            }
            Self::Image => files(&workspace.out().join("data")) > before,
            Self::Log(size) => {
                fs::metadata(state.join("ledger.sqlite-wal")).is_ok_and(|file| file.len() >= size)
            }
            Self::Report => has(&workspace.out(), ".tmp"),
        }
    }
}

fn has(folder: &Path, suffix: &str) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(suffix)))
    })
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, |entries| {
        entries
            .map_while(Result::ok)
            .map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 })
            .sum()
    })
}

/// What the ledger calls delivered, read from a copy as the next run would find it: path → SHA-256.
fn delivered(workspace: &Workspace) -> BTreeMap<String, Vec<u8>> {
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["ledger.sqlite", "ledger.sqlite-wal"] {
        let from = workspace.out().join(".exporter").join(name);
        if from.exists() {
            fs::copy(from, copy.path().join(name)).expect("copied");
        }
    }
    let path = copy.path().join("ledger.sqlite");
    let Ok(true) = fs::metadata(&path).map(|file| file.len() > 0) else { return BTreeMap::new() };
    let ledger = Connection::open(path).expect("a ledger");
    let whole: String = ledger.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
    assert_eq!(whole, "ok");
    // killed before its tables were made, it has none
    let Ok(mut select) = ledger.prepare("SELECT path, sha256 FROM images WHERE delivered = 1") else {
        return BTreeMap::new();
    };
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("a query");
    rows.map(|row| row.expect("a row")).collect()
}

/// Runs until the moment has come, and kills. `false`: it got through before.
fn killed(workspace: &Workspace, moment: Moment) -> bool {
    let before = files(&workspace.out().join("data"));
    let args = ["run", "manifest.csv", "--concurrency", "8"];
    let mut child: Child = workspace.command(&args).spawn().expect("started");
    let start = Instant::now();
    while !moment.has_come(workspace, start, before) {
        if child.try_wait().expect("a child").is_some() || start.elapsed() > Duration::from_secs(20) {
            Run::wait(child).assert_code(0);
            return false;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    child.kill().expect("killed");
    let status = child.wait().expect("ended");
    status.code().is_none()
}

#[test]
fn after_every_kill_what_the_ledger_calls_delivered_is_there_and_in_the_end_all_is_as_in_one_run() {
    let config = Config { storage_latency: Duration::from_millis(15), ..Config::default() };
    let workspace = Workspace::with(config);
    let mut rows = MORE;
    workspace.manifest(&workspace.add_images(rows));
    let (mut kills, mut checked, mut known) = (0, 0, BTreeMap::new());
    for n in 0.. {
        if killed(&workspace, Moment::nth(n)) {
            kills += 1;
        } else {
            rows += MORE;
            workspace.manifest(&workspace.add_images(rows));
        }
        let now = delivered(&workspace);
        for (path, hash) in &known {
            assert_eq!(now.get(path), Some(hash), "delivered before kill {kills}, and then no more: {path}");
        }
        for (path, hash) in &now {
            let bytes = fs::read(workspace.out().join(path)).expect("a delivered file is there");
            assert_eq!(&Sha256::digest(&bytes).to_vec(), hash, "kill {kills}: {path}");
            checked += 1;
        }
        known = now;
        if kills == KILLS {
            break;
        }
        assert!(n < 3 * KILLS, "{kills} kills only");
    }
    let last = workspace.run(&[]).assert_code(0);
    assert!(
        last.stdout.starts_with("complete") || last.stdout.starts_with("nothing to do"),
        "{}",
        last.stdout
    );
    assert!(checked > rows, "{checked} checks");

    // one run without a kill, from the same storage
    let args = ["run", "manifest.csv", "-o", "whole"];
    Run::wait(workspace.command(&args).spawn().expect("started")).assert_code(0);
    let list =
        |folder: &str| fs::read_to_string(workspace.path(folder).join("manifest-sha256.txt")).expect("there");
    assert_eq!(list("export"), list("whole"), "the same files with the same hashes");
    assert_eq!(list("export").lines().count(), rows);
    for (n, line) in workspace.report().iter().enumerate() {
        assert!(matches!(&*line["state"], "stored" | "skipped"), "{line:?}");
        let bytes = fs::read(workspace.out().join(&line["path"])).expect("the image");
        assert_eq!(bytes, jpeg(n as u64, 2000 + n), "{line:?}");
    }
    assert_eq!(files(&workspace.out().join("data")), rows, "and no other file");
    let mut left: Vec<_> = fs::read_dir(workspace.out().join(".exporter"))
        .expect("there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    left.sort();
    assert_eq!(left, ["ledger.sqlite", "lock"]);
    assert!(!has(&workspace.out(), ".tmp"));
}
