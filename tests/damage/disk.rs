//! Limits that a system sets to files: an error that names the disk, never a death or a wrong file.

use std::process::{Command, Stdio};

use crate::case::true_export;
use crate::support::images::jpeg;
use crate::world::{Ran, World};

/// The same program and environment under limits of `ulimit`.
fn under(limit: &str, world: &World, args: &[&str]) -> Ran {
    let program = world.command(&[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit {limit}; exec \"$@\""), "sh"])
        .arg(program.get_program())
        .args(args)
        .env_clear()
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(world.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ran::of(command.spawn().expect("started"))
}

#[test]
fn a_file_that_must_not_grow_is_an_error_of_the_disk_and_the_next_run_goes_on() {
    let world = World::new();
    let mut manifest = "org,note,image\n".to_owned();
    for n in 0..20 {
        let size = if n == 10 { 3_000_000 } else { 20_000 };
        world.sandbox.add_image("o", "n", &format!("i{n}"), jpeg(n, size), "image/jpeg");
        manifest.push_str(&format!("o,n,i{n}\n"));
    }
    world.manifest(&manifest);
    let versions = |line: &crate::world::Line| {
        let n: u64 = line["image"][1..].parse().expect("a number");
        vec![jpeg(n, if n == 10 { 3_000_000 } else { 20_000 })]
    };
    // blocks of 512 or of 1024 bytes, as the shell pleases
    let ran = under("-f 2000", &world, &["run", "manifest.csv"]).ended(1);
    assert!(ran.stderr.contains("File too large"), "{}", ran.stderr);
    true_export(&world, &ran, versions);
    let report = world.report();
    assert_eq!((&*report[10]["state"], &*report[10]["error_code"]), ("untried", "disk"), "{:?}", report[10]);
    assert_eq!(world.count("failed"), 0, "{report:?}");
    let ran = world.run(&[]).ended(0);
    true_export(&world, &ran, versions);
}

#[test]
fn few_open_files_are_enough() {
    let world = World::with_images(80);
    let ran = under("-n 64", &world, &["run", "manifest.csv", "--concurrency", "50"]).ended(0);
    assert_eq!(world.count("stored"), 80, "{}", ran.stderr);
}

#[test]
fn a_folder_that_others_can_enter_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::with_images(1);
    std::fs::create_dir_all(world.out().join("data")).expect("made");
    std::fs::set_permissions(world.out().join("data"), PermissionsExt::from_mode(0o755)).expect("set");
    let ran = world.run(&[]).ended(0);
    assert!(ran.stderr.contains("open to others (mode 0755)"), "{}", ran.stderr);
}
