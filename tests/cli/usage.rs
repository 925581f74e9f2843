//! What is refused before anything is attempted.

use sandbox::workspace::{Run, Workspace};

#[test]
fn settings_out_of_range_are_refused_by_name_and_value() {
    for (args, words) in [
        (["--concurrency", "0"], "--concurrency"),
        (["--concurrency", "1000000"], "1024"),
        (["--rate", "0/60s"], "--rate"),
        (["--rate", "1000"], "--rate"),
        (["--max-outage", "90"], "unit"),
        (["--max-size", "5X"], "--max-size"),
        (["--stall-timeout", "0"], "--stall-timeout"),
        (["--on-bad-row", "maybe"], "--on-bad-row"),
        (["--api-url", "http://api.example.com"], "--allow-http"),
        (["--no-such-flag", "1"], "--no-such-flag"),
    ] {
        let workspace = Workspace::with_images(1);
        let ran = workspace.run(&args).assert_code(2);
        assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
        assert!(!workspace.out().exists());
        assert_eq!(workspace.api_requests(), 0);
    }
}

#[test]
fn a_missing_key_names_both_ways_to_give_one() {
    let workspace = Workspace::with_images(1);
    let mut command = workspace.command(&["run", "manifest.csv"]);
    let ran = Run::wait(command.env_remove("MAXAI_API_KEY").spawn().expect("started")).assert_code(2);
    assert!(ran.stderr.contains("MAXAI_API_KEY") && ran.stderr.contains("--api-key-file"), "{}", ran.stderr);
}

#[test]
fn a_key_that_cannot_be_one_is_refused_without_being_shown() {
    for key in ["two\nlines", "\"quoted-canary\"", "canary with blanks", "canäry"] {
        let workspace = Workspace::with_images(1);
        let mut command = workspace.command(&["run", "manifest.csv"]);
        let ran = Run::wait(command.env("MAXAI_API_KEY", key).spawn().expect("started")).assert_code(2);
        assert!(!ran.stderr.contains("canary") && !ran.stderr.contains("lines\""), "{}", ran.stderr);
    }
}

#[test]
fn what_is_wrong_is_named_once_and_as_it_was_given() {
    let workspace = Workspace::with_images(1);
    let said =
        |args: &[&str]| Run::wait(workspace.command(args).spawn().expect("started")).assert_code(2).stderr;
    for command in ["status", "report", "verify"] {
        assert_eq!(said(&[command, ""]), "exporter: error: DIR '': it is empty; give a path\n");
    }
    let missing = said(&["run", "nope.csv"]);
    assert!(
        missing.ends_with(
            "error: manifest nope.csv: it cannot be read: No such file or directory (os error 2)\n"
        ),
        "{missing}"
    );
}

#[test]
fn a_summary_that_cannot_be_written_is_an_error_and_the_exit_code_stays_that_of_the_rows() {
    let workspace = Workspace::with_images(1);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a full device");
    let mut command = workspace.command(&["run", "manifest.csv"]);
    let ran = Run::wait(command.stdout(full).spawn().expect("started")).assert_code(0);
    assert!(ran.stderr.contains("the summary could not be written to standard output"), "{}", ran.stderr);
    assert_eq!(workspace.count("exit_code"), 0, "both say the same");
}

#[test]
fn a_key_in_a_wrong_place_is_not_shown() {
    let workspace = Workspace::with_images(1);
    let base64 = "max_prd_ak_Zm9v/YmFy+MTIz==";
    for key in ["max_dev_ak_sandbox", base64] {
        let file = [("MAXAI_API_KEY_FILE", key)];
        for (args, variables, code) in [
            (&["run", "manifest.csv"][..], &file[..], 2),
            (&["run", "--show-settings"], &file, 0),
            (&["doctor", "--json"], &file, 1),
            (&["doctor", "-o", key, "--show-settings"], &[], 0),
            (&["doctor", "-o", key], &[], 0),
            (&["run", key], &[], 2),
            (&["plan", key], &[], 2),
            (&["plan", "manifest.csv", "--config", key], &[], 2),
            (&["plan", "manifest.csv", "--rate", key], &[], 2),
            (&["plan", "manifest.csv", "--columns", key], &[], 2),
            (&["plan", "manifest.csv", "--delimiter", key], &[], 2),
            (&["verify", "--oldest", key], &[], 2),
            (&["status", key], &[], 2),
            (&["report", key], &[], 2),
            (&["verify", key, "--adopt"], &[], 2),
        ] {
            for format in ["text", "json"] {
                let mut command = workspace.command(args);
                command.envs(variables.iter().copied()).env("EXPORTER_LOG_FORMAT", format);
                let ran = Run::wait(command.spawn().expect("started")).assert_code(code);
                let said = ran.stdout + &ran.stderr;
                assert!(!said.contains("_ak_") && !said.contains("Zm9v"), "{args:?}: {said}");
                assert!(said.contains("not shown"), "{args:?}: {said}");
            }
        }
    }
    let mut command = workspace.command(&["run", "manifest.csv", "--api-key-file", "not/a/path"]);
    let ran = Run::wait(command.spawn().expect("started")).assert_code(2);
    assert!(!ran.stderr.contains("not/a/path"), "{}", ran.stderr);
}

#[test]
fn every_setting_can_come_from_the_environment_and_a_flag_wins() {
    let workspace = Workspace::with_images(1);
    let mut command = workspace.command(&["run", "manifest.csv"]);
    let ran = Run::wait(command.env("EXPORTER_CONCURRENCY", "zero").spawn().expect("started")).assert_code(2);
    assert!(ran.stderr.contains("EXPORTER_CONCURRENCY"), "{}", ran.stderr);
    let mut command = workspace.command(&["run", "manifest.csv", "--concurrency", "2"]);
    command.env("EXPORTER_CONCURRENCY", "zero").env("EXPORTER_OUT", "elsewhere");
    Run::wait(command.spawn().expect("started")).assert_code(0);
    assert!(workspace.path("elsewhere/report.csv").is_file());
}

#[test]
fn a_key_file_that_others_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::with_images(1);
    workspace.write("key", sandbox::config::API_KEY);
    std::fs::set_permissions(workspace.path("key"), std::fs::Permissions::from_mode(0o644)).expect("set");
    let mut command = workspace.command(&["run", "manifest.csv", "--api-key-file", "key"]);
    let ran = Run::wait(command.env("MAXAI_API_KEY", "wrong").spawn().expect("started")).assert_code(0);
    assert!(ran.stderr.contains("key"), "a warning, and the file wins: {}", ran.stderr);
}

#[test]
fn the_help_of_every_command_has_an_example() {
    let workspace = Workspace::new();
    for command in ["run", "plan", "verify", "report", "status", "doctor"] {
        for help in ["-h", "--help"] {
            let ran = Run::wait(workspace.command(&[command, help]).spawn().expect("started")).assert_code(0);
            let example = format!("exporter {command} ");
            let (_, examples) =
                ran.stdout.split_once("Example").unwrap_or_else(|| panic!("{command} {help}"));
            assert!(examples.contains(&example), "{command} {help}: {}", ran.stdout);
        }
    }
}

/// The keys of the answers in JSON: scripts go by them.
#[test]
fn the_keys_in_json_are_those_that_are_promised() {
    let workspace = Workspace::with_images(1);
    workspace.run(&[]).assert_code(0);
    let keys = |args: &[&str]| {
        let ran = Run::wait(workspace.command(args).spawn().expect("started")).assert_code(0);
        let answer: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let keys: Vec<String> = answer.as_object().expect("an object").keys().cloned().collect();
        keys.join(" ")
    };
    let json = [
        &["plan", "manifest.csv", "--json"][..],
        &["verify", "--json"],
        &["status", "--json"],
        &["doctor", "--json"],
    ];
    insta::assert_snapshot!(json.map(keys).join("\n"), @"
    api_requests bad_rows delivered disk_free_bytes disk_free_files duplicates gone image_bytes machines needed_bits_per_second new reached_bits_per_second rows shortest_seconds to_fetch warnings
    adopted bytes changed checked foreign litter missing ok repaired seconds unreadable waiting
    bytes duplicate failed pace phase pid rows rows_per_second run running seconds_left skipped stored untried
    checks ok
    ");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let workspace = Workspace::new();
    for args in [&["--help"][..], &["run", "--help"], &["-h"], &["--version"]] {
        let ran = Run::wait(workspace.command(args).spawn().expect("started")).assert_code(0);
        assert!(!ran.stdout.is_empty() && ran.stderr.is_empty());
    }
}
