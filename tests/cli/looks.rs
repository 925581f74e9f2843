//! A look at a file or folder that fails says nothing about the file: nothing is marked, and the run ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::Command;

use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;

/// An export of eight images, which are delivered.
fn exported() -> Workspace {
    let workspace = Workspace::with_images(8);
    workspace.run(&[]).assert_code(0);
    workspace.sandbox.clear_requests();
    workspace
}

fn command(workspace: &Workspace, args: &[&str]) -> Command {
    workspace.command(args)
}

fn injected(workspace: &Workspace, args: &[&str], rule: &str) -> Run {
    Run::wait(inject(&command(workspace, args), &[rule]).spawn().expect("started"))
}

/// With the trouble mended, the next run asks for nothing.
#[track_caller]
fn nothing_was_marked(workspace: &Workspace) {
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.states(), ["skipped"; 8]);
    assert_eq!(workspace.sandbox.requests().len(), 0);
}

#[test]
fn a_failed_look_ends_run_and_plan_and_marks_nothing() {
    let workspace = exported();
    for (call_path, errno, words) in [
        ("/export/data", "EACCES", "Permission denied"),
        ("/export/data/org1", "EIO", "export/data/org1: Input/output error"),
        ("/export/data/org0/note1", "ESTALE", "export/data/org0/note1: Stale file handle"),
        ("/data/org1/note0/i3.jpg", "EIO", "/i3.jpg: Input/output error"),
        ("/data/org1/note0/i3.jpg", "ETIMEDOUT", "/i3.jpg: Connection timed out"),
        ("/data/org1/note0/i3.jpg", "ELOOP", "/i3.jpg: Too many levels of symbolic links"),
        ("/data/org1/note0/i3.jpg", "EACCES", "/data/org1/note0: Permission denied"),
    ] {
        let rule = format!("call=stat,path={call_path},errno={errno}");
        for args in [&["run", "manifest.csv"][..], &["plan", "manifest.csv"]] {
            let ran = injected(&workspace, args, &rule).assert_code(1);
            assert!(ran.stderr.contains("cannot look into "), "{rule}: {}", ran.stderr);
            assert!(ran.stderr.contains(words), "{rule}: {}", ran.stderr);
            assert!(!ran.stderr.contains("make room"), "{rule}: {}", ran.stderr);
            let is_closed = ran.stderr.contains("; run as its owner, or give this user access to it");
            assert_eq!(is_closed, errno == "EACCES", "{rule}: {}", ran.stderr);
        }
        assert_eq!(workspace.sandbox.requests().len(), 0, "{rule}");
    }
    nothing_was_marked(&workspace);
}

#[test]
fn one_failed_look_among_files_that_are_gone_marks_none_of_them() {
    let workspace = exported();
    fs::rename(workspace.out().join("data/org0/note0"), workspace.path("aside")).expect("moved");
    injected(&workspace, &["run", "manifest.csv"], "call=stat,path=/i7.jpg,errno=EIO").assert_code(1);
    fs::rename(workspace.path("aside"), workspace.out().join("data/org0/note0")).expect("moved back");
    nothing_was_marked(&workspace);
}

#[test]
fn what_is_known_to_be_gone_or_another_file_is_fetched_again() {
    let workspace = exported();
    let at = |path: &str| workspace.out().join("data").join(path);
    fs::remove_dir_all(at("org1/note1")).expect("removed");
    fs::write(at("org0/note0/i0.jpg"), b"cut").expect("cut");
    let plan = Run::wait(command(&workspace, &["plan", "manifest.csv", "--json"]).spawn().expect("started"));
    let plan: serde_json::Value = serde_json::from_str(&plan.assert_code(0).stdout).expect("JSON");
    assert_eq!((&plan["delivered"], &plan["to_fetch"]), (&5.into(), &3.into()));
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stderr.contains("3 delivered images are gone or changed in size"), "{}", ran.stderr);
    assert_eq!(workspace.count("stored"), 3);
}

#[test]
fn a_link_in_place_of_a_folder_is_named_with_its_target_by_run_plan_and_report() {
    let workspace = exported();
    for folder in ["data", "data/org1", "data/org1/note0"] {
        let (path, moved) = (workspace.out().join(folder), workspace.path("moved"));
        fs::rename(&path, &moved).expect("moved");
        symlink(&moved, &path).expect("linked");
        for args in [&["run", "manifest.csv"][..], &["plan", "manifest.csv"], &["report", "export"]] {
            let ran = Run::wait(command(&workspace, args).spawn().expect("started")).assert_code(1);
            let words = format!("{folder} is in the way and is a symbolic link to {}", moved.display());
            assert!(ran.stderr.contains(&words), "{args:?}: {}", ran.stderr);
            assert!(!ran.stderr.contains("make room"), "{args:?}: {}", ran.stderr);
        }
        fs::remove_file(&path).expect("removed");
        fs::rename(&moved, &path).expect("moved back");
    }
    assert_eq!(workspace.sandbox.requests().len(), 0);
    nothing_was_marked(&workspace);
}

/// The user that has no rights.
const NOBODY: u32 = 65534;

#[test]
fn an_export_of_another_owner_is_not_called_no_export() {
    if !rustix::process::geteuid().is_root() {
        return; // only root may start the program as another user
    }
    let workspace = exported();
    // the tests' own folders are closed to others: the export moves to one that is not
    let open = tempfile::tempdir().expect("a folder");
    fs::set_permissions(open.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("opened");
    let out = open.path().join("export");
    let copied = Command::new("cp").arg("-a").arg(workspace.out()).arg(&out).status().expect("started");
    assert!(copied.success());
    fs::set_permissions(&out, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("closed");
    let program = open.path().join("exporter");
    fs::copy(sandbox::workspace::exporter(), &program).expect("copied");
    let manifest = open.path().join("manifest.csv");
    fs::copy(workspace.path("manifest.csv"), &manifest).expect("copied");
    let (out_arg, manifest_arg) = (out.to_str().expect("UTF-8"), manifest.to_str().expect("UTF-8"));
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new(&program);
        let set = workspace.command(&[]);
        command.args(args).current_dir(open.path()).env_clear();
        command.envs(set.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.uid(NOBODY).gid(NOBODY).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        Run::wait(command.spawn().expect("started"))
    };
    let words = format!("cannot look into {out_arg}: Permission denied");
    for args in [
        &["status", out_arg][..],
        &["report", out_arg],
        &["verify", out_arg],
        &["plan", manifest_arg, "-o", out_arg],
        &["run", manifest_arg, "-o", out_arg],
    ] {
        let ran = as_nobody(args).assert_code(1);
        assert!(ran.stderr.contains(&words), "{args:?}: {}", ran.stderr);
    }
    let ran = as_nobody(&["doctor", "-o", out_arg]).assert_code(1);
    assert!(ran.stdout.contains(&words) && !ran.stdout.contains("none yet"), "{}", ran.stdout);
    assert_eq!(workspace.sandbox.requests().iter().filter(|entry| !entry.org.is_empty()).count(), 0);
}

#[test]
fn twenty_thousand_ids_that_differ_in_case_only_are_loaded_in_time() {
    const IDS: usize = 20_000;
    let id = |number: usize| -> String {
        let bit =
            |(at, char): (usize, char)| if number >> at & 1 == 1 { char.to_ascii_uppercase() } else { char };
        "abcdefghijklmno".chars().enumerate().map(bit).collect()
    };
    let workspace = Workspace::new();
    let began = std::time::Instant::now();
    for column in ["note", "image"] {
        let row = |number| match column {
            "note" => format!("o,{},i\n", id(number)),
            _ => format!("o,n,{}\n", id(number)),
        };
        workspace.manifest(&(0..IDS).map(row).fold("org,note,image\n".to_owned(), |text, row| text + &row));
        let args = ["plan", "manifest.csv", "--json"];
        let ran = Run::wait(command(&workspace, &args).spawn().expect("started")).assert_code(0);
        let plan: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!((&plan["rows"], &plan["duplicates"]), (&IDS.into(), &0.into()), "{column}");
    }
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}
