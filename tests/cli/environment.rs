//! What the surroundings of the program say: the home folder, the time zone, the file with the key.

use std::os::unix::fs::PermissionsExt;

use sandbox::config::API_KEY;
use sandbox::workspace::{Run, Workspace};

fn run(workspace: &Workspace, args: &[&str], variables: &[(&str, &str)]) -> Run {
    let all: Vec<&str> = ["run", "manifest.csv"].iter().chain(args).copied().collect();
    Run::wait(workspace.command(&all).envs(variables.iter().copied()).spawn().expect("started"))
}

#[test]
fn a_tilde_in_a_variable_or_the_config_file_is_the_home_folder() {
    let workspace = Workspace::with_images(1);
    run(&workspace, &[], &[("EXPORTER_OUT", "~/from-a-variable")]).assert_code(0);
    workspace.write("exporter.toml", "out = '~/from-the-file'\n");
    run(&workspace, &[], &[]).assert_code(0);
    for folder in ["from-a-variable", "from-the-file"] {
        assert!(workspace.path(folder).join("report.csv").is_file(), "{folder}");
    }
    assert!(!workspace.path("~").exists());
    run(&workspace, &["-o", "~/from-a-flag"], &[]).assert_code(0);
    assert!(workspace.path("~/from-a-flag/report.csv").is_file(), "a shell has expanded what it wanted to");
}

#[test]
fn a_time_zone_that_is_not_known_is_refused_where_a_time_is_named() {
    let workspace = Workspace::with_images(1);
    for args in [&["--until", "06:00"], &["--max-duration", "1h"]] {
        let ran = run(&workspace, args, &[("TZ", "Nonsense/Zone")]).assert_code(2);
        assert!(ran.stderr.contains("TZ 'Nonsense/Zone'"), "{}", ran.stderr);
        assert!(ran.stderr.contains("CET-1CEST,M3.5.0,M10.5.0/3"), "{}", ran.stderr);
        assert!(!workspace.out().exists());
    }
    assert_eq!(workspace.api_requests(), 0);
    run(&workspace, &[], &[("TZ", "Nonsense/Zone")]).assert_code(0);
}

#[test]
fn the_end_of_a_run_is_named_with_its_offset_from_utc() {
    let workspace = Workspace::with_images(1);
    for (zone, offset) in [
        ("<+0530>-5:30", "UTC+05:30"),
        ("UTC", "UTC+00:00"),
        ("<-03>3", "UTC-03:00"),
        ("CET-1CEST", "UTC+0"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "UTC+0"),
    ] {
        for args in [&["--until", "06:00"], &["--max-duration", "1h"]] {
            let ran = run(&workspace, args, &[("TZ", zone)]).assert_code(0);
            assert!(ran.stderr.contains("no new image is started after "), "{}", ran.stderr);
            assert!(ran.stderr.contains(offset), "{zone}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_key_file_may_begin_with_a_byte_order_mark_but_is_no_environment_file() {
    let workspace = Workspace::with_images(1);
    let with = |text: &str| {
        workspace.write("key", text);
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(workspace.path("key"), private).expect("set");
        run(&workspace, &["--api-key-file", "key"], &[("MAXAI_API_KEY", "")])
    };
    let ran = with(&format!("MAXAI_API_KEY={API_KEY}\n")).assert_code(2);
    assert!(ran.stderr.contains("NAME=value"), "{}", ran.stderr);
    assert!(!ran.stderr.contains(API_KEY), "{}", ran.stderr);
    with(&format!("\u{feff}{API_KEY}\r\n")).assert_code(0);
    assert_eq!(workspace.states(), ["stored"]);
}
