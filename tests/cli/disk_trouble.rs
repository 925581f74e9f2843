//! The disk fails one row or all of them; and what becomes of old files that are replaced.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sandbox::config::Config;
use sandbox::images::jpeg;
use sandbox::log::Server;
use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;

fn run_injected(workspace: &Workspace, args: &[&str], rules: &[&str]) -> Run {
    let mut all = vec!["run", "manifest.csv"];
    all.extend(args);
    Run::wait(inject(&workspace.command(&all), rules).spawn().expect("started"))
}

fn downloads(workspace: &Workspace) -> usize {
    workspace.sandbox.requests().iter().filter(|request| request.server == Server::Storage).count()
}

fn with_code(workspace: &Workspace, code: &str) -> usize {
    workspace.report().iter().filter(|line| line["error_code"] == code).count()
}

#[test]
fn a_disk_that_takes_no_part_stops_the_run_after_five_rows() {
    let workspace = Workspace::with_images(60);
    let ran = run_injected(&workspace, &["--concurrency", "1"], &["call=write,path=.part,errno=EIO"]);
    let ran = ran.assert_code(1);
    assert_eq!(workspace.count("untried"), 60, "{}", ran.stderr);
    assert!(with_code(&workspace, "disk") >= 5, "{:?}", workspace.report());
    assert!(downloads(&workspace) <= 12, "{} downloads", downloads(&workspace));
    assert!(ran.stderr.contains("in succession"), "{}", ran.stderr);
    workspace.run(&[]).assert_code(0);
}

#[test]
fn many_rows_at_once_do_not_download_again_and_again_for_a_disk_at_fault() {
    let workspace = Workspace::with_images(60);
    run_injected(&workspace, &[], &["call=write,path=.part,errno=EIO"]).assert_code(1);
    assert_eq!(workspace.count("untried"), 60);
    assert!(downloads(&workspace) <= 60, "{} downloads", downloads(&workspace));
}

#[test]
fn a_row_that_the_disk_fails_alone_is_its_own_trouble() {
    let workspace = Workspace::with_images(10);
    // the first name of one image only
    let rule = "call=rename,path=/i3.,errno=EIO";
    run_injected(&workspace, &["--max-attempts", "2"], &[rule]).assert_code(3);
    assert_eq!((workspace.count("stored"), workspace.count("failed")), (9, 1));
    assert_eq!(workspace.report()[3]["error_code"], "disk");
}

#[test]
fn a_file_that_is_held_for_a_moment_is_renamed_later_and_delays_no_other() {
    let workspace = Workspace::with_images(20);
    let rule = "call=rename,path=/i3.,errno=EACCES,count=3";
    run_injected(&workspace, &[], &[rule]).assert_code(0);
    assert_eq!(workspace.states(), vec!["stored"; 20]);
    assert_eq!(downloads(&workspace), 20, "nothing is downloaded again");
}

#[test]
fn a_file_that_is_held_for_good_fails_its_row_after_ten_seconds() {
    let workspace = Workspace::with_images(3);
    let start = Instant::now();
    run_injected(&workspace, &[], &["call=rename,path=/i1.,errno=EACCES"]).assert_code(3);
    assert!(start.elapsed() >= Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(workspace.states(), ["stored", "failed", "stored"]);
    assert_eq!((&*workspace.report()[1]["error_code"], downloads(&workspace)), ("disk", 3));
}

#[test]
fn the_second_file_in_succession_that_is_held_for_good_stops_the_run() {
    let workspace = Workspace::with_images(4);
    let args = ["--concurrency", "2"];
    let ran = run_injected(&workspace, &args, &["call=rename,path=/data/,errno=EPERM"]).assert_code(1);
    assert_eq!(workspace.count("untried"), 4, "{}", ran.stderr);
    assert!(with_code(&workspace, "disk") >= 2, "{:?}", workspace.report());
}

#[test]
fn a_file_in_the_place_of_a_folder_fails_its_rows_without_a_download() {
    let workspace = Workspace::new();
    let mut manifest = "org,note,image\n".to_owned();
    for n in 0..8 {
        workspace.sandbox.add_image("o", "n0", &format!("i{n}"), jpeg(n, 20_000), "image/jpeg");
        manifest.push_str(&format!("o,n0,i{n}\n"));
    }
    workspace.sandbox.add_image("o", "n1", "j", jpeg(9, 20_000), "image/jpeg");
    workspace.manifest("org,note,image\n");
    workspace.run(&[]).assert_code(0);
    workspace.manifest(&(manifest + "o,n1,j\n"));
    std::fs::create_dir_all(workspace.out().join("data/o")).expect("made");
    std::fs::write(workspace.out().join("data/o/n0"), b"a file").expect("written");
    workspace.run(&[]).assert_code(3);
    assert_eq!((workspace.count("stored"), workspace.count("failed")), (1, 8));
    assert_eq!(with_code(&workspace, "disk"), 8);
    assert_eq!((downloads(&workspace), workspace.api_requests()), (1, 1));
}

#[test]
fn what_is_in_the_place_of_an_image_fails_its_row_without_a_download() {
    let workspace = Workspace::with_images(6);
    let manifest = std::fs::read_to_string(workspace.path("manifest.csv")).expect("there");
    workspace.manifest("org,note,image\n");
    workspace.run(&[]).assert_code(0);
    workspace.manifest(&manifest);
    let place = |folder: &str, name: &str| {
        let folder = workspace.out().join("data").join(folder);
        std::fs::create_dir_all(&folder).expect("made");
        folder.join(name)
    };
    std::fs::create_dir(place("org0/note0", "i0.jpg")).expect("a folder");
    std::os::unix::fs::symlink("nowhere", place("org1/note0", "i1.jpg")).expect("a link");
    let pipe = std::process::Command::new("mkfifo").arg(place("org0/note0", "i2.jpg")).status();
    assert!(pipe.expect("mkfifo").success());
    workspace.run(&[]).assert_code(3);
    assert_eq!(workspace.states(), ["failed", "failed", "failed", "stored", "stored", "stored"]);
    assert_eq!((with_code(&workspace, "disk"), downloads(&workspace)), (3, 3));
}

#[test]
fn a_name_that_the_file_system_does_not_take_fails_its_row_at_once() {
    let workspace = Workspace::with_images(3);
    let rule = "call=rename,path=/i1.,errno=ENAMETOOLONG";
    run_injected(&workspace, &[], &[rule]).assert_code(3);
    assert_eq!(workspace.states(), ["stored", "failed", "stored"]);
    assert_eq!((&*workspace.report()[1]["error_code"], downloads(&workspace)), ("disk", 3));
}

fn renamed_away(args: &[&str]) {
    let workspace = Workspace::with_images(200);
    let mut all = vec!["run", "manifest.csv", "--rate", "5/1s"];
    all.extend(args);
    let child = workspace.command(&all).spawn().expect("started");
    while !workspace.out().join("data/org0/note0").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let start = Instant::now();
    std::fs::rename(workspace.out(), workspace.path("away")).expect("renamed");
    let ran = Run::wait(child).assert_code(1);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(ran.stderr.contains("export is gone (unmounted or renamed?)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("mount the export folder again or move it back"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("make room"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("failed.csv"), "no report is named that is not there: {}", ran.stdout);
    assert!(!workspace.out().exists(), "nothing is made in its place");
}

#[test]
fn a_folder_that_is_gone_stops_the_run_within_seconds() {
    renamed_away(&[]);
}

#[test]
fn a_folder_that_is_gone_stops_the_run_also_if_the_ledger_is_elsewhere() {
    renamed_away(&["--state-dir", "ledger"]);
}

#[test]
fn a_folder_that_is_gone_stops_a_run_that_only_waits() {
    let config = Config { api_latency: Duration::from_secs(20), ..Config::default() };
    let workspace = Workspace::with(config);
    workspace.manifest(&workspace.add_images(3));
    let child = workspace.command(&["run", "manifest.csv"]).spawn().expect("started");
    while workspace.api_requests() == 0 && !workspace.out().join("data").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    std::fs::rename(workspace.out(), workspace.path("away")).expect("renamed");
    Run::wait(child).assert_code(1);
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}

/// One image, delivered, and its path.
fn delivered() -> (Workspace, std::path::PathBuf) {
    let workspace = Workspace::new();
    workspace.sandbox.add_image("o", "n", "i", jpeg(1, 20_000), "image/jpeg");
    workspace.manifest("org,note,image\no,n,i\n");
    workspace.run(&[]).assert_code(0);
    let path = workspace.out().join("data/o/n/i.jpg");
    (workspace, path)
}

#[test]
fn an_edited_file_is_moved_to_replaced_and_never_overwritten() {
    let (workspace, path) = delivered();
    std::fs::write(&path, b"edited once").expect("written");
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stderr.contains("replaced/o"), "{}", ran.stderr);
    let warning = workspace.report().remove(0).remove("warning").expect("a warning");
    assert!(warning.contains("replaced/o/n/i.jpg"), "{warning}");
    assert_eq!(std::fs::read(&path).expect("there"), jpeg(1, 20_000));
    // the same size, found by verify
    std::fs::write(&path, vec![7; 20_000]).expect("written");
    let repair = workspace.command(&["verify", "export", "--repair"]).spawn().expect("started");
    Run::wait(repair).assert_code(3);
    workspace.run(&[]).assert_code(0);
    std::fs::write(&path, b"edited a third time").expect("written");
    workspace.run(&[]).assert_code(0);
    let kept = |name: &str| std::fs::read(workspace.out().join("replaced/o/n").join(name)).expect(name);
    assert_eq!(kept("i.jpg"), b"edited once");
    assert_eq!(kept("i.jpg.2"), vec![7; 20_000]);
    assert_eq!(kept("i.jpg.3"), b"edited a third time");
    let mode = std::fs::metadata(workspace.out().join("replaced/o/n")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    Run::wait(workspace.command(&["verify", "export"]).spawn().expect("started")).assert_code(0);
}

#[test]
fn an_old_file_that_cannot_be_read_is_replaced_and_kept() {
    let (workspace, path) = delivered();
    std::fs::write(&path, vec![7; 20_000]).expect("written");
    let repair = workspace.command(&["verify", "export", "--repair"]).spawn().expect("started");
    Run::wait(repair).assert_code(3);
    let before = downloads(&workspace);
    run_injected(&workspace, &[], &["call=read,path=/data/o/n/i.jpg,errno=EIO"]).assert_code(0);
    assert_eq!(downloads(&workspace), before + 1);
    assert_eq!(std::fs::read(&path).expect("there"), jpeg(1, 20_000));
    assert_eq!(std::fs::read(workspace.out().join("replaced/o/n/i.jpg")).expect("kept"), vec![7; 20_000]);
    let warning = workspace.report().remove(0).remove("warning").expect("a warning");
    assert!(warning.contains("could not be read"), "{warning}");
}

#[test]
fn a_file_that_is_as_it_was_delivered_is_replaced_without_a_copy() {
    let (workspace, path) = delivered();
    std::fs::remove_file(&path).expect("removed");
    workspace.run(&[]).assert_code(0);
    assert!(!workspace.out().join("replaced").exists());
    assert_eq!(workspace.report()[0]["warning"], "");
}

#[test]
fn an_edited_file_under_an_extension_that_is_left_is_kept_too() {
    let (workspace, path) = delivered();
    std::fs::write(&path, b"edited").expect("written");
    workspace.sandbox.add_image("o", "n", "i", sandbox::images::png(7, 40, 40), "image/png");
    workspace.run(&[]).assert_code(0);
    assert_eq!(std::fs::read(workspace.out().join("replaced/o/n/i.jpg")).expect("kept"), b"edited");
    assert_eq!(workspace.images(), ["data/o/n/i.png"]);
}

#[test]
fn one_error_of_one_file_is_its_rows_trouble_whatever_its_number() {
    let run = |rule: &str| {
        let workspace = Workspace::with_images(8);
        let args = ["--max-attempts", "3", "--concurrency", "1"];
        let ran = run_injected(&workspace, &args, &[rule]).assert_code(0);
        assert_eq!(workspace.count("stored"), 8, "{rule}: {}", ran.stderr);
    };
    std::thread::scope(|threads| {
        for rule in [
            "call=open,path=.part,errno=EACCES,count=1",
            "call=mkdir,path=/note1,errno=EACCES,count=1",
            "call=rename,path=/i3.,errno=ESTALE,count=1",
            "call=rename,path=/i3.,errno=EXDEV,count=1",
        ] {
            threads.spawn(move || run(rule));
        }
    });
}

#[test]
fn a_file_that_may_not_be_looked_at_fails_its_row_with_advice_about_the_permission() {
    let workspace = Workspace::with_images(8);
    let rule = "call=stat,path=/i3.,errno=EACCES";
    run_injected(&workspace, &["--max-attempts", "2"], &[rule]).assert_code(3);
    assert_eq!((workspace.count("stored"), workspace.count("failed")), (7, 1));
    assert_eq!(workspace.report()[3]["error_code"], "disk");
    let failed = workspace.read("failed.csv");
    assert!(failed.contains("give this user access to it"), "{failed}");
}

#[test]
fn folders_that_cannot_be_made_stop_the_run_after_five_rows() {
    let workspace = Workspace::with_images(20);
    let rule = "call=mkdir,path=/note,errno=EACCES";
    let ran = run_injected(&workspace, &["--concurrency", "1"], &[rule]).assert_code(1);
    assert_eq!(workspace.count("untried"), 20, "{}", ran.stderr);
    assert!(with_code(&workspace, "disk") >= 5, "{:?}", workspace.report());
    assert!(ran.stderr.contains("5 images in succession"), "{}", ran.stderr);
    assert!(ran.stderr.contains("give this user access to it"), "{}", ran.stderr);
}

#[test]
fn a_data_folder_that_is_closed_in_a_run_stops_it_at_the_first_row() {
    let config = Config { api_latency: Duration::from_millis(400), ..Config::default() };
    let workspace = Workspace::with(config);
    workspace.manifest(&workspace.add_images(12));
    let closed = workspace.path("closed");
    let rule = |call: &str| format!("call={call},path=/export/data,errno=EACCES,while={}", closed.display());
    let command = workspace.command(&["run", "manifest.csv", "--concurrency", "1"]);
    let run = inject(&command, &[&rule("mkdir"), &rule("stat")]).spawn().expect("started");
    while workspace.api_requests() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    workspace.write("closed", "");
    let ran = Run::wait(run).assert_code(1);
    assert_eq!(workspace.count("untried"), 12, "{}", ran.stderr);
    assert!(downloads(&workspace) <= 3, "{} downloads", downloads(&workspace));
    assert!(ran.stderr.contains("data cannot be written: Permission denied"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("close the program"), "no program holds a report: {}", ran.stderr);
}

#[test]
fn the_advice_of_a_row_says_what_stands_in_its_way() {
    let workspace = Workspace::with_images(3);
    let manifest = std::fs::read_to_string(workspace.path("manifest.csv")).expect("there");
    workspace.manifest("org,note,image\n");
    workspace.run(&[]).assert_code(0);
    workspace.manifest(&manifest);
    std::fs::create_dir_all(workspace.out().join("data/org0/note0/i0.jpg")).expect("a folder");
    workspace.write("export/data/org1", "a file");
    workspace.run(&[]).assert_code(3);
    let failed = workspace.read("failed.csv");
    assert_eq!(failed.matches("move away what is in the way").count(), 2, "{failed}");
    assert!(!failed.contains("check the disk"), "{failed}");
}

#[test]
fn a_file_that_was_never_delivered_is_moved_to_replaced_and_never_overwritten() {
    let workspace = Workspace::with_images(2);
    let manifest = std::fs::read_to_string(workspace.path("manifest.csv")).expect("there");
    workspace.manifest("org,note,image\n");
    workspace.run(&[]).assert_code(0);
    workspace.manifest(&manifest);
    std::fs::create_dir_all(workspace.out().join("data/org0/note0")).expect("made");
    workspace.write("export/data/org0/note0/i0.jpg", "somebody's own");
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.read("replaced/org0/note0/i0.jpg"), "somebody's own");
    let warning = workspace.report().remove(0).remove("warning").expect("a warning");
    assert!(warning.contains("not delivered: it is now replaced/org0/note0/i0.jpg"), "{warning}");
    Run::wait(workspace.command(&["verify", "export"]).spawn().expect("started")).assert_code(0);
}

#[test]
fn a_folder_that_is_held_for_a_moment_is_flushed_later() {
    // so few images that each of their folders is flushed by itself
    let workspace = Workspace::with_images(3);
    let rule = "call=open,path=/data/org0/note0,errno=EACCES,count=1";
    let ran = run_injected(&workspace, &[], &[rule]).assert_code(0);
    assert_eq!(workspace.count("stored"), 3, "{}", ran.stderr);
}
