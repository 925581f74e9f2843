//! `doc/operations.md` leaves out no exit code, no error code and no metric, and names no command or flag that is not
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use exporter::error::ErrorCode;

/// The promised exit codes.
const EXIT_CODES: [u8; 8] = [0, 1, 2, 3, 4, 129, 130, 143];

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/doc/operations.md");
    std::fs::read_to_string(path).expect("doc/operations.md")
}

fn exporter(args: &[&str], folder: &std::path::Path) -> String {
    let mut command = Command::new(cargo_bin!("exporter"));
    let output = command.args(args).current_dir(folder).env_clear().output().expect("it starts");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The text below a heading of the second level.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n## {heading}\n")).expect(heading);
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The first cells of a section's tables, without marks.
fn first_cells(section: &str) -> Vec<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix('|'));
    let cells = rows.filter_map(|row| row.split('|').next()).map(|cell| cell.trim().replace('`', ""));
    cells.skip(2).collect()
}

#[test]
fn every_exit_code_is_explained_and_no_other() {
    let document = document();
    let explained: BTreeSet<u8> = first_cells(section(&document, "Exit codes"))
        .iter()
        .map(|code| code.parse().expect("a number"))
        .collect();
    assert_eq!(explained, BTreeSet::from(EXIT_CODES));
}

#[test]
fn every_error_code_is_explained_and_no_other() {
    let document = document();
    let explained: BTreeSet<String> = first_cells(section(&document, "Error codes")).into_iter().collect();
    let known = ErrorCode::ALL.into_iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(explained, known);
}

#[test]
fn every_metric_is_explained_and_the_alerts_use_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.prom");
    // a run without rows needs no network, and writes all metrics
    std::fs::write(folder.path().join("none.csv"), "org,note,image\n").expect("written");
    std::fs::write(folder.path().join("key"), "max_test_ak_none\n").expect("written");
    exporter(&["run", "none.csv", "--api-key-file", "key", "--metrics-file", "x.prom"], folder.path());
    let written = std::fs::read_to_string(path).expect("the metrics");
    let written = written.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let written: BTreeSet<&str> = written.filter_map(|line| line.split(' ').next()).collect();
    assert!(written.len() >= 9, "{written:?}");
    let document = document();
    let metrics = section(&document, "Metrics and alerts");
    let cells = first_cells(metrics);
    let explained: BTreeSet<&str> = cells.iter().filter_map(|cell| cell.split('{').next()).collect();
    assert_eq!(explained, written);
    let words = metrics.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    for word in words.filter(|word| word.starts_with("exporter_")) {
        assert!(written.contains(word), "{word}");
    }
}

/// The commands of the help, each with its own help.
fn commands(folder: &std::path::Path) -> BTreeMap<String, String> {
    let help = exporter(&["--help"], folder);
    let (_, list) = help.split_once("\nCommands:\n").expect("the list");
    let list = list.split_once("\n\n").expect("its end").0;
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    names.map(|name| (name.to_owned(), exporter(&[name, "--help"], folder))).collect()
}

#[test]
fn every_command_and_flag_is_known() {
    // a command that goes on in the next line is one
    let document = document().replace("\\\n", " ");
    let folder = tempfile::tempdir().expect("a folder");
    let commands = commands(folder.path());
    let (mut named, mut flags) = (BTreeSet::new(), 0);
    for (at, _) in document.match_indices("exporter ") {
        let rest = &document[at + "exporter ".len()..];
        // it ends with its line, its quote, or where a pipe or a second command begins
        let command = &rest[..rest.find(['\n', '`', '|', ';', '&']).unwrap_or(rest.len())];
        let Some((name, help)) = commands.get_key_value(command.split(' ').next().unwrap_or_default()) else {
            continue;
        };
        named.insert(name.clone());
        for flag in command.split_whitespace().filter(|word| word.starts_with("--")) {
            let mut words = help.lines().flat_map(|line| line.split([' ', ',']));
            assert!(words.any(|word| word.trim_end_matches("...") == flag), "{flag} in {command}");
            flags += 1;
        }
    }
    for name in ["run", "plan", "doctor", "status", "verify"] {
        assert!(named.contains(name), "{name} is not named: {named:?}");
    }
    assert!(flags > 15, "{flags} flags");
}

/// The shell line of the Indexed Job, as the pod's shell gets it.
fn job_script(document: &str) -> String {
    let (_, job) = document.split_once("completionMode: Indexed").expect("the job");
    let (_, args) = job.split_once("args:\n            - |\n").expect("its arguments");
    let lines = args.lines().take_while(|line| line.starts_with("              "));
    lines.map(|line| format!("{}\n", &line[14..])).collect()
}

#[test]
fn the_indexed_job_starts_every_shard_once() {
    let document = document();
    let script = job_script(&document);
    let folder = tempfile::tempdir().expect("a folder");
    let fake = folder.path().join("exporter");
    std::fs::write(&fake, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&fake, mode).expect("made executable");
    let mut shards = Vec::new();
    for index in 0..8 {
        let output = Command::new("/bin/sh")
            .args(["-c", &script])
            .env_clear()
            .env("PATH", folder.path())
            .env("JOB_COMPLETION_INDEX", index.to_string())
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        let mut words = said.lines().skip_while(|word| *word != "--shard");
        shards.push(words.nth(1).expect("a shard").to_owned());
    }
    let all: Vec<String> = (1..=8).map(|number| format!("{number}/8")).collect();
    assert_eq!(shards, all);
    for shard in shards {
        shard.parse::<exporter::shard::Shard>().expect("one that the exporter takes");
    }
}

#[test]
fn the_shell_scripts_are_sound() {
    let document = document();
    let (_, script) = document.split_once("```bash\n").expect("the script for Slurm");
    let script = script.split_once("\n```").expect("its end").0;
    let output = Command::new("bash").args(["-n", "-c", script]).output().expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        script.contains("$SLURM_ARRAY_TASK_ID/$shards"),
        "the number of shards does not come from the engine"
    );
}
