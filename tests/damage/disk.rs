//! Limits that a system sets to files: an error that names the disk, never a death or a wrong file.

use std::process::{Command, Stdio};

use crate::case::assert_consistent;
use sandbox::images::jpeg;
use sandbox::workspace::{Run, Workspace};

/// The same program and environment under limits of `ulimit`.
fn under(limit: &str, workspace: &Workspace, args: &[&str]) -> Run {
    let program = workspace.command(&[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit {limit}; exec \"$@\""), "sh"])
        .arg(program.get_program())
        .args(args)
        .env_clear()
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(workspace.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Run::wait(command.spawn().expect("started"))
}

#[test]
fn a_file_that_must_not_grow_is_an_error_of_the_disk_and_the_next_run_goes_on() {
    let workspace = Workspace::new();
    let mut manifest = "org,note,image\n".to_owned();
    for n in 0..20 {
        let size = if n == 10 { 3_000_000 } else { 20_000 };
        workspace.sandbox.add_image("o", "n", &format!("i{n}"), jpeg(n, size), "image/jpeg");
        manifest.push_str(&format!("o,n,i{n}\n"));
    }
    workspace.manifest(&manifest);
    let versions = |line: &sandbox::workspace::Line| {
        let n: u64 = line["image"][1..].parse().expect("a number");
        vec![jpeg(n, if n == 10 { 3_000_000 } else { 20_000 })]
    };
    // blocks of 512 or of 1024 bytes, as the shell pleases
    let ran = under("-f 2000", &workspace, &["run", "manifest.csv"]).assert_code(1);
    assert!(ran.stderr.contains("File too large"), "{}", ran.stderr);
    assert_consistent(&workspace, &ran, versions);
    let report = workspace.report();
    assert_eq!((&*report[10]["state"], &*report[10]["error_code"]), ("untried", "disk"), "{:?}", report[10]);
    assert_eq!(workspace.count("failed"), 0, "{report:?}");
    let ran = workspace.run(&[]).assert_code(0);
    assert_consistent(&workspace, &ran, versions);
}

#[test]
fn few_open_files_are_enough() {
    let workspace = Workspace::with_images(80);
    let ran = under("-n 64", &workspace, &["run", "manifest.csv", "--concurrency", "50"]).assert_code(0);
    assert_eq!(workspace.count("stored"), 80, "{}", ran.stderr);
}

#[test]
fn a_folder_that_others_can_enter_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::with_images(1);
    std::fs::create_dir_all(workspace.out().join("data")).expect("made");
    std::fs::set_permissions(workspace.out().join("data"), PermissionsExt::from_mode(0o755)).expect("set");
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stderr.contains("open to others (mode 0755)"), "{}", ran.stderr);
}
