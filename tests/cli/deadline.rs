//! `--exit-zero-on-deadline`: for schedulers that take exit code 4 for a failure.

use sandbox::faults::ApiFault;
use sandbox::workspace::Workspace;

/// A run that its deadline ends at once: the API asks for a wait that would end after it.
fn late(rows: usize) -> Workspace {
    let workspace = Workspace::with_images(rows);
    workspace.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    workspace
}

const LIMITED: [&str; 2] = ["--max-duration", "60s"];

#[test]
fn the_process_exits_with_0_and_everything_else_still_says_4() {
    let workspace = late(4);
    let mut args = LIMITED.to_vec();
    args.extend(["--exit-zero-on-deadline", "--metrics-file", "x.prom", "--log-format", "json", "-v"]);
    let ran = workspace.run(&args).assert_code(0);
    assert!(ran.stdout.starts_with("stopped early"), "{}", ran.stdout);
    assert_eq!(workspace.states(), ["untried"; 4]);
    assert_eq!(workspace.count("exit_code"), 4);
    let logged = ran.stderr.lines().rev().find(|line| line.contains("exit_code")).expect("the last line");
    let logged: serde_json::Value = serde_json::from_str(logged).expect("JSON");
    assert_eq!(logged["exit_code"], 4);
    let metrics = std::fs::read_to_string(workspace.path("x.prom")).expect("the metrics");
    for line in ["exporter_exit_code 4", "exporter_last_success_timestamp_seconds 0.000"] {
        assert!(metrics.lines().any(|written| written == line), "{line} is not in:\n{metrics}");
    }
}

#[test]
fn a_config_file_can_ask_for_it_and_without_it_the_code_is_4() {
    let workspace = late(2);
    workspace.run(&LIMITED).assert_code(4);
    workspace.write("exporter.toml", "exit-zero-on-deadline = true\n");
    workspace.run(&LIMITED).assert_code(0);
    workspace.write("exporter.toml", "exit-zero-on-deadline = false\n");
    workspace.run(&LIMITED).assert_code(4);
}

#[test]
fn a_failed_row_keeps_its_code_whatever_ended_the_run() {
    let workspace = Workspace::new();
    let manifest = workspace.add_images(3);
    workspace.manifest(&format!("{manifest}org0,note0\n"));
    workspace.sandbox.script().api_always(Some(ApiFault::retry_after("300")));
    let mut args = LIMITED.to_vec();
    args.extend(["--on-bad-row", "skip", "--exit-zero-on-deadline"]);
    workspace.run(&args).assert_code(3);
    assert_eq!(workspace.count("exit_code"), 3);
}

#[test]
fn a_refused_run_keeps_its_code() {
    let workspace = late(1);
    workspace.run(&["--exit-zero-on-deadline", "--rate", "none"]).assert_code(2);
}
