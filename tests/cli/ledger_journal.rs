//! A folder in which SQLite's write-ahead log does not work: the ledger gets a journal that does, for every command, or
//! the error names `--state-dir`.

use std::fs;

use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;

/// What shares and FUSE file systems do to the memory that processes share.
const NO_SHARED_MEMORY: [&str; 3] = [
    "call=open,path=/ledger.sqlite-shm,errno=EACCES",
    "call=truncate,path=/ledger.sqlite-shm,errno=EIO",
    "call=map,path=/ledger.sqlite-shm,errno=ENODEV",
];

fn injected(workspace: &Workspace, args: &[&str], rule: &str) -> Run {
    Run::wait(inject(&workspace.command(args), &[rule]).spawn().expect("started"))
}

#[track_caller]
fn assert_only_ledger_and_lock(workspace: &Workspace, rule: &str) {
    let entries = fs::read_dir(workspace.out().join(".exporter")).expect("listed");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["ledger.sqlite", "lock"], "{rule}");
}

#[test]
fn a_ledger_without_shared_memory_serves_every_command() {
    for rule in NO_SHARED_MEMORY {
        let workspace = Workspace::with_images(8);
        for args in [
            &["run", "manifest.csv"][..],
            &["plan", "manifest.csv"],
            &["status", "export"],
            &["verify", "export"],
            &["report", "export"],
            &["run", "manifest.csv"],
        ] {
            injected(&workspace, args, rule).assert_code(0);
            assert_only_ledger_and_lock(&workspace, rule);
        }
        workspace.run(&[]).assert_code(0);
        assert_eq!(workspace.states(), ["skipped"; 8]);
    }
}

#[test]
fn a_ledger_with_a_log_that_comes_to_such_a_folder_goes_on_there_and_back() {
    for rule in NO_SHARED_MEMORY {
        for args in [&["run", "manifest.csv"][..], &["status", "export"], &["verify", "export"]] {
            let workspace = Workspace::with_images(8);
            workspace.run(&[]).assert_code(0);
            workspace.sandbox.clear_requests();
            injected(&workspace, args, rule).assert_code(0);
            workspace.run(&[]).assert_code(0);
            assert_eq!(workspace.sandbox.requests().len(), 0, "{rule}");
            assert_only_ledger_and_lock(&workspace, rule);
        }
    }
}

#[test]
fn a_folder_without_locks_is_named_with_the_remedy() {
    let workspace = Workspace::with_images(8);
    let rule = "call=record_lock,path=/export/.exporter/,errno=EINVAL";
    let ran = injected(&workspace, &["run", "manifest.csv"], rule).assert_code(1);
    for word in ["--state-dir", "export/.exporter/ledger.sqlite"] {
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
    let all = ["run", "manifest.csv", "--state-dir", "elsewhere"];
    injected(&workspace, &all, rule).assert_code(0);
}
