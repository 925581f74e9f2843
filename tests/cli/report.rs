//! `exporter report`: the reports again, the table of runs, and what becomes of the reports of an earlier manifest.

use std::collections::BTreeMap;
use std::fs;

use sandbox::registry::ImageRef;
use sandbox::workspace::{Run, Workspace};

const REPORTS: [&str; 11] = [
    "report.csv",
    "failed.csv",
    "notes.csv",
    "index.csv",
    "gone.csv",
    "report.html",
    "summary.json",
    "manifest-sha256.txt",
    "bagit.txt",
    "bag-info.txt",
    "tagmanifest-sha256.txt",
];

fn exporter(workspace: &Workspace, args: &[&str]) -> Run {
    // no key and no network
    let mut command = workspace.command(args);
    command.env_remove("MAXAI_API_KEY").env("MAXAI_API_URL", "http://127.0.0.1:1");
    Run::wait(command.spawn().expect("started"))
}

fn all(workspace: &Workspace) -> BTreeMap<&'static str, Vec<u8>> {
    REPORTS.into_iter().map(|name| (name, fs::read(workspace.out().join(name)).expect(name))).collect()
}

#[test]
fn the_reports_are_written_again_byte_for_byte() {
    let workspace = Workspace::with_images(8);
    workspace.sandbox.forget_image(&ImageRef::new("org1", "note1", "i5"));
    workspace.run(&[]).assert_code(3);
    let before = all(&workspace);
    for name in REPORTS {
        fs::remove_file(workspace.out().join(name)).expect("removed");
    }
    let ran = exporter(&workspace, &["report"]).assert_code(0);
    assert!(all(&workspace) == before, "the bytes are others");
    assert!(ran.stdout.contains("exit code 3") && ran.stdout.contains("export/report.csv"), "{}", ran.stdout);
    assert!(ran.stdout.contains("notes     3 of 4 complete, see notes.csv\n"), "{}", ran.stdout);
    exporter(&workspace, &["report", "export"]).assert_code(0);
    assert!(all(&workspace) == before, "the bytes are others");
}

#[test]
fn a_folder_that_is_no_export_is_left_as_it_is() {
    let workspace = Workspace::new();
    for command in ["report", "verify", "status"] {
        let ran = exporter(&workspace, &[command, "nowhere"]).assert_code(2);
        assert!(ran.stderr.contains("nowhere is not an export folder"), "{}", ran.stderr);
        assert!(!workspace.path("nowhere").exists());
        fs::create_dir_all(workspace.path("empty")).expect("made");
        exporter(&workspace, &[command, "empty"]).assert_code(2);
        assert_eq!(fs::read_dir(workspace.path("empty")).expect("listed").count(), 0, "{command}");
    }
}

#[test]
fn a_ledger_that_is_lost_damaged_or_newer_is_exit_1_with_the_way_out() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    let ledger = workspace.out().join(".exporter/ledger.sqlite");
    let sound = fs::read(&ledger).expect("read");
    let before = all(&workspace);
    let mut newer = sound.clone();
    newer[63] = 99;
    let mut torn = sound.clone();
    let middle = sound.len() / 2;
    torn[4096..middle].fill(0x5a);
    let way = "rebuilds a ledger";
    for (bytes, words) in [
        (None, "--state-dir (EXPORTER_STATE_DIR), name it here too"),
        (Some(newer), "Install that exporter"),
        (Some(b"no database".to_vec()), way),
        (Some(torn), way),
    ] {
        fs::remove_file(&ledger).expect("removed");
        if let Some(bytes) = &bytes {
            fs::write(&ledger, bytes).expect("written");
        }
        for command in [&["report"][..], &["verify"], &["verify", "--repair"], &["status"]] {
            let ran = exporter(&workspace, command).assert_code(1);
            assert!(ran.stderr.contains("verify --adopt"), "{command:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(words), "{command:?}: {}", ran.stderr);
            assert_eq!(fs::read(&ledger).ok(), bytes, "{command:?}");
        }
        assert!(all(&workspace) == before, "a report was touched");
        fs::write(&ledger, &sound).expect("restored");
    }
}

#[test]
fn reports_of_another_manifest_are_kept() {
    let workspace = Workspace::with_images(4);
    workspace.run(&[]).assert_code(0);
    let finished = workspace.summary()["finished_at"].as_str().expect("a time").replace(':', "-");
    workspace.run(&[]).assert_code(0);
    assert!(!workspace.out().join("reports").exists(), "the manifest is the same");
    let finished_again = workspace.summary()["finished_at"].as_str().expect("a time").replace(':', "-");
    assert_ne!(finished, finished_again);
    let first = all(&workspace);
    workspace.manifest("org,note,image\norg0,note0,i0\n");
    workspace.run(&[]).assert_code(0);
    let kept: Vec<_> = fs::read_dir(workspace.out().join("reports")).expect("kept").collect();
    assert_eq!(kept.len(), 1);
    for name in ["report.csv", "failed.csv", "notes.csv", "summary.json"] {
        let path = workspace.out().join("reports").join(&finished_again).join(name);
        assert_eq!(fs::read(&path).expect(name), first[name], "{name}");
    }
    assert_eq!(workspace.report().len(), 1);
    exporter(&workspace, &["report"]).assert_code(0);
    assert_eq!(fs::read_dir(workspace.out().join("reports")).expect("kept").count(), 1, "moved once");
}

#[test]
fn the_rest_of_failed_csv_is_another_manifest() {
    let workspace = Workspace::with_images(4);
    workspace.sandbox.forget_image(&ImageRef::new("org0", "note0", "i2"));
    workspace.run(&[]).assert_code(3);
    workspace.add_images(4);
    let mut command = workspace.command(&["run", "export/failed.csv"]);
    Run::wait(command.spawn().expect("started")).assert_code(0);
    assert_eq!(workspace.states(), ["stored"]);
    let kept =
        fs::read_dir(workspace.out().join("reports")).expect("kept").next().expect("one").expect("one");
    let failed = fs::read_to_string(kept.path().join("failed.csv")).expect("read");
    assert!(failed.contains("org0,note0,i2,not_found"), "{failed}");
}

/// The command that a closing line names, without the program's name.
fn named(text: &str) -> Vec<String> {
    let command = text.lines().find_map(|line| line.split_once("exporter run ")).expect("a command").1;
    let shell =
        std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' run {command}")]).output();
    let words = String::from_utf8(shell.expect("a shell").stdout).expect("UTF-8");
    words.lines().map(str::to_owned).collect()
}

#[test]
fn the_commands_that_are_named_work_as_they_stand() {
    let workspace = Workspace::with_images(4);
    let text =
        workspace.add_images(4).replacen("org,note,image", "Clinic Id,note,image", 1).replace(',', ";");
    workspace.write("my list.csv", text);
    let missing = ImageRef::new("org0", "note0", "i2");
    workspace.sandbox.forget_image(&missing);
    let settings = ["--state-dir", "my state", "--columns", "org=Clinic Id", "--delimiter", ";"];
    let run = |args: &[&str]| Run::wait(workspace.command(args).spawn().expect("started"));
    let plan = run(&[&["plan", "my list.csv"], &settings[..]].concat()).assert_code(0);
    let planned = named(&plan.stdout);
    assert_eq!(planned, [&["run", "my list.csv"], &settings[..]].concat());
    let ran = run(&planned.iter().map(String::as_str).collect::<Vec<_>>()).assert_code(3);
    let next = named(&ran.stdout);
    assert_eq!(next[1], "export/failed.csv");
    workspace.add_images(4);
    run(&next.iter().map(String::as_str).collect::<Vec<_>>()).assert_code(0);
    assert_eq!(workspace.states(), ["stored"]);
    // what is as it is without a word is not said; a default that was given is
    assert_eq!(named(&run(&["plan", "manifest.csv", "-o", "new"]).assert_code(0).stdout)[2..], ["-o", "new"]);
    let ran = run(&["verify", "--repair", "--state-dir", "my state"]).assert_code(0);
    assert!(!ran.stdout.contains("next"), "{}", ran.stdout);
    std::fs::remove_file(workspace.out().join("data/org0/note0/i0.jpg")).expect("removed");
    let ran = run(&["verify", "--state-dir", "my state"]).assert_code(3);
    let words = "exporter verify export --state-dir 'my state' --repair, then exporter run MANIFEST --state-dir 'my state'";
    assert!(ran.stdout.contains(words), "{}", ran.stdout);
}

#[test]
fn the_table_of_runs_names_each_with_its_end() {
    let workspace = Workspace::with_images(2);
    workspace.run(&[]).assert_code(0);
    workspace.sandbox.set_api_keys(&["another"]);
    workspace.manifest(&workspace.add_images(3));
    workspace.run(&[]).assert_code(1);
    let ran = exporter(&workspace, &["report", "--runs"]).assert_code(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.stdout);
    assert!(
        lines[1].ends_with("0, complete") && lines[1].contains(env!("CARGO_PKG_VERSION")),
        "{}",
        lines[1]
    );
    assert!(lines[2].contains("1, the API refuses the key"), "{}", lines[2]);
    let ran = exporter(&workspace, &["report", "--runs", "--json"]).assert_code(0);
    let runs: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((runs[0]["exit_code"].as_u64(), runs[1]["exit_code"].as_u64()), (Some(0), Some(1)));
    for key in ["run", "started_at", "finished_at", "user", "host", "version", "manifest_sha256", "stop"] {
        assert!(runs[1].get(key).is_some(), "{key}");
    }
}
