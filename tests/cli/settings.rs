//! Config file and `--show-settings`: where a value comes from, and that it is said.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sandbox::config::API_KEY;
use sandbox::workspace::{Run, Workspace};

/// `run manifest.csv` without the settings that every other test has in its environment.
fn run(workspace: &Workspace, args: &[&str], variables: &[(&str, &str)]) -> Run {
    let all: Vec<&str> = ["run", "manifest.csv"].iter().chain(args).copied().collect();
    let mut command = workspace.command(&all);
    command.env_remove("EXPORTER_RATE").env_remove("MAXAI_API_URL").envs(variables.iter().copied());
    Run::wait(command.spawn().expect("started"))
}

/// The line of a setting in the list, its columns apart.
fn line(list: &str, setting: &str) -> Vec<String> {
    let found = list.lines().find(|line| line.split_whitespace().next() == Some(setting));
    let found = found.unwrap_or_else(|| panic!("{setting} is not in:\n{list}"));
    found.split("  ").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_config_file_in_the_working_folder_does_what_flags_would() {
    let workspace = Workspace::with_images(3);
    let (url, key) = (workspace.sandbox.api_url(), workspace.path("key"));
    workspace.write("key", API_KEY);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("set");
    let text = format!(
        "# a clinic's move\nout = 'from-file'\napi-url = '{url}'\napi-key-file = 'key'\nrate = '1000/1s'\n\
         max-attempts = 5\nconcurrency = 2\nmax-outage = '5m'\nmin-free = 0\nallow-http = false\n\
         storage-host = ['127.0.0.1', '*.amazonaws.com']\nquiet = true\n"
    );
    workspace.write("exporter.toml", text);
    let ran = run(&workspace, &[], &[("MAXAI_API_KEY", "")]).assert_code(0);
    assert_eq!(ran.stdout, "", "quiet");
    assert!(workspace.path("from-file/report.csv").is_file());
    assert!(!workspace.out().exists());
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default() {
    let workspace = Workspace::with_images(0);
    let from = |args: &[&str], variables: &[(&str, &str)]| {
        let all = [args, &["--show-settings"]].concat();
        let ran = run(&workspace, &all, variables).assert_code(0);
        let mut rate = line(&ran.stdout, "rate");
        (rate.remove(1), rate.remove(1))
    };
    let is = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(from(&[], &[]), is("1000/60s", "default"));
    workspace.write("exporter.toml", "rate = '1/1s'");
    assert_eq!(from(&[], &[]), is("1/1s", "exporter.toml line 1"));
    let env = &[("EXPORTER_RATE", "2/1s")];
    assert_eq!(from(&[], env), is("2/1s", "EXPORTER_RATE"));
    assert_eq!(from(&["--rate", "3/1s"], env), is("3/1s", "--rate"));
}

#[test]
fn the_named_file_counts_else_the_one_here_else_the_users() {
    let workspace = Workspace::with_images(0);
    std::fs::create_dir_all(workspace.path(".config/exporter")).expect("made");
    std::fs::create_dir_all(workspace.path("xdg/exporter")).expect("made");
    let xdg = workspace.path("xdg");
    let place = |args: &[&str], variables: &[(&str, &str)]| {
        let all = [args, &["--show-settings"]].concat();
        let ran = run(&workspace, &all, variables).assert_code(0);
        line(&ran.stdout, "concurrency").pop().expect("a place")
    };
    assert_eq!(place(&[], &[]), "default");
    workspace.write(".config/exporter/config.toml", "\nconcurrency = 3");
    assert!(place(&[], &[]).ends_with("/.config/exporter/config.toml line 2"), "{}", place(&[], &[]));
    workspace.write("xdg/exporter/config.toml", "concurrency = 4");
    let xdg = &[("XDG_CONFIG_HOME", xdg.to_str().expect("UTF-8"))];
    assert!(place(&[], xdg).ends_with("/xdg/exporter/config.toml line 1"));
    workspace.write("exporter.toml", "concurrency = 5");
    assert_eq!(place(&[], xdg), "exporter.toml line 1");
    workspace.write("mine.toml", "concurrency = 6");
    assert_eq!(place(&["--config", "mine.toml"], xdg), "mine.toml line 1");
}

#[test]
fn a_config_file_that_is_named_has_to_be_there() {
    let workspace = Workspace::with_images(1);
    let ran = run(&workspace, &["--config", "no/such.toml"], &[]).assert_code(2);
    assert!(ran.stderr.contains("no/such.toml cannot be read"), "{}", ran.stderr);
    assert!(!workspace.out().exists());
}

#[test]
fn what_cannot_stand_in_a_config_file_is_refused_with_its_line_before_anything_is_made() {
    let workspace = Workspace::with_images(1);
    for (text, words) in [
        (
            "\nmax-atempts = 5",
            "exporter.toml line 2: there is no setting 'max-atempts'; did you mean max-attempts?",
        ),
        ("api_key = 'canary'", "exporter.toml line 1: the API key does not belong in a config file"),
        ("max-outage = 90", "exporter.toml line 1: max-outage '90': a unit is missing"),
        ("rate = 'fast'", "exporter.toml line 1: rate 'fast': write N/DURATION"),
        ("concurrency = 0", "exporter.toml line 1: concurrency '0': give a whole number from 1 to 1024"),
        ("storage-host = ['a', 'https://b']", "exporter.toml line 1: storage-host 'https://b': write a host"),
        ("until = 06:00", "exporter.toml line 1: until has the wrong form; write it in quotes"),
        ("api-url = 'https://me:canary@host'", "exporter.toml line 1: api-url (not shown here"),
        ("quiet = true\nverbose = 1", "quiet and verbose"),
        ("out = \n", "exporter.toml line 1: "),
    ] {
        workspace.write("exporter.toml", text);
        let ran = run(&workspace, &[], &[]).assert_code(2);
        let first = format!("exporter: error: {words}");
        assert!(ran.stderr.starts_with(&first), "{text}: {}", ran.stderr);
        assert!(!ran.stderr.contains("canary") && ran.stderr.lines().count() == 1, "{}", ran.stderr);
        assert!(!workspace.out().exists() && ran.stdout.is_empty());
    }
    assert_eq!(workspace.api_requests(), 0);
}

#[test]
fn a_broken_config_file_is_json_where_json_is_asked_for() {
    let workspace = Workspace::with_images(1);
    workspace.write("exporter.toml", "nothing = 1");
    let ran = run(&workspace, &["--log-format", "json"], &[]).assert_code(2);
    let said: serde_json::Value = serde_json::from_str(ran.stderr.trim_end()).expect("one object");
    assert!(said["message"].as_str().is_some_and(|text| text.contains("no setting 'nothing'")), "{said}");
}

#[test]
fn a_config_file_that_others_can_change_is_a_warning() {
    let workspace = Workspace::with_images(1);
    workspace.write("exporter.toml", "concurrency = 2");
    std::fs::set_permissions(workspace.path("exporter.toml"), std::fs::Permissions::from_mode(0o666))
        .expect("set");
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stderr.contains("exporter.toml can be changed by others"), "{}", ran.stderr);
    assert!(ran.stderr.contains("exporter: settings from exporter.toml\n"), "{}", ran.stderr);
}

#[test]
fn the_settings_are_shown_without_a_manifest_or_key_and_nothing_is_done() {
    let workspace = Workspace::with_images(1);
    let show = |args: &[&str], key: Option<&str>| {
        let mut command = workspace.command(args);
        match key {
            Some(key) => command.env("MAXAI_API_KEY", key),
            None => command.env_remove("MAXAI_API_KEY"),
        };
        Run::wait(command.spawn().expect("started")).assert_code(0).stdout
    };
    let list = show(&["run", "--show-settings"], None);
    assert_eq!(line(&list, "api-key"), ["api-key", "(not set)"]);
    assert_eq!(line(&list, "out"), ["out", "export", "default"]);
    assert_eq!(line(&list, "api-url"), ["api-url", workspace.sandbox.api_url(), "MAXAI_API_URL"]);
    assert_eq!(line(&list, "until"), ["until", "(not set)", "default"]);
    let list = show(&["run", "manifest.csv", "--show-settings", "--quiet"], Some(API_KEY));
    assert_eq!(line(&list, "api-key"), ["api-key", "(set, not shown)", "MAXAI_API_KEY"]);
    assert_eq!(line(&list, "quiet"), ["quiet", "true", "--quiet"]);
    workspace.write("key", "canary with blanks");
    let list =
        show(&["run", "no-such-manifest.csv", "--show-settings", "--api-key-file", "key"], Some(API_KEY));
    let key = line(&list, "api-key");
    assert!(
        key[1].starts_with("(cannot be used) --api-key-file 'key': ") && key[2] == "--api-key-file",
        "{key:?}"
    );
    for part in [API_KEY, &API_KEY[..6], "canary"] {
        assert!(!list.contains(part), "{list}");
    }
    assert!(!workspace.out().exists() && workspace.api_requests() == 0);
}

#[test]
fn every_setting_of_the_help_is_shown() {
    let workspace = Workspace::with_images(0);
    let help =
        Run::wait(workspace.command(&["run", "--help"]).spawn().expect("started")).assert_code(0).stdout;
    let list = run(&workspace, &["--show-settings"], &[]).assert_code(0).stdout;
    let flags =
        help.lines().filter_map(|line| line.trim().split_once("--").filter(|(short, _)| short.len() < 5));
    let mut count = 0;
    for (_, flag) in flags {
        let end = flag.find(|char: char| !(char.is_ascii_lowercase() || char == '-')).unwrap_or(flag.len());
        if !["help", "show-settings"].contains(&&flag[..end]) {
            line(&list, &flag[..end]);
            count += 1;
        }
    }
    assert!(count > 24, "{count} flags in:\n{help}");
}

#[test]
fn the_example_has_every_setting_in_a_form_that_is_accepted() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/exporter.example.toml");
    let text = std::fs::read_to_string(example).expect("the example");
    let workspace = Workspace::with_images(0);
    let defaults = run(&workspace, &["--show-settings"], &[]).assert_code(0).stdout;
    // as it stands, and with every setting that is commented out
    for uncommented in [false, true] {
        let lines = text.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if uncommented && !setting.starts_with(' ') => setting,
            _ => line,
        });
        let lines: Vec<&str> = lines.filter(|line| !(uncommented && line.starts_with("quiet"))).collect();
        workspace.write("example.toml", lines.join("\n"));
        // the files that it names need not be here
        let shown = run(
            &workspace,
            &["--config", "example.toml", "--ca-file", "example.toml", "--show-settings"],
            &[],
        );
        let shown = shown.assert_code(0).stdout;
        for known in defaults.lines().filter_map(|line| line.split_whitespace().next()) {
            let (ours, default) = (line(&shown, known), line(&defaults, known));
            if ["config", "api-key", "ca-file"].contains(&known) || (uncommented && known == "quiet") {
                continue;
            }
            if uncommented {
                assert!(ours[2].starts_with("example.toml line "), "{ours:?}");
            }
            // a default in the example is the program's
            if default[1] != "(not set)" && ours[2] != "default" && known != "state-dir" {
                assert_eq!(ours[1], default[1], "{known}");
            }
        }
    }
    assert!(Path::new(example).is_file());
}

#[test]
fn every_command_reads_the_config_file() {
    let workspace = Workspace::with_images(2);
    workspace.write("exporter.toml", "out = 'elsewhere'\nrate = '2/1s'\n");
    let answer = |args: &[&str], code| {
        let mut command = workspace.command(args);
        command.env_remove("EXPORTER_RATE");
        let ran = Run::wait(command.spawn().expect("started")).assert_code(code);
        ran.stdout + &ran.stderr
    };
    let plan = answer(&["plan", "manifest.csv", "--json"], 0);
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    assert!(plan["shortest_seconds"].as_f64() <= Some(1.0), "{plan}");
    answer(&["run", "manifest.csv", "--quiet"], 0);
    assert!(workspace.path("elsewhere/report.csv").is_file() && !workspace.out().exists());
    for command in ["status", "verify", "report"] {
        answer(&[command], 0);
        workspace.write("mine.toml", "out = 'no-export'");
        let said = answer(&[command, "--config", "mine.toml"], 2);
        assert!(said.contains("no-export"), "{command}: {said}");
    }
    workspace.write("exporter.toml", "outt = 'elsewhere'");
    for args in [&["plan", "manifest.csv"][..], &["status"], &["verify"], &["report"], &["doctor"]] {
        let said = answer(args, 2);
        assert!(said.contains("there is no setting 'outt'; did you mean out?"), "{args:?}: {said}");
    }
}

#[test]
fn the_settings_of_every_command_are_shown_and_nothing_is_done() {
    let workspace = Workspace::with_images(1);
    for (args, has, has_not) in [
        (&["plan", "no-such.csv"][..], "rate", "api-key"),
        (&["plan"], "columns", "api-key"),
        (&["doctor"], "api-key", "concurrency"),
        (&["status"], "state-dir", "api-key"),
        (&["verify", "no-export"], "out", "api-key"),
        (&["report", "no-export"], "quiet", "rate"),
    ] {
        let mut command = workspace.command(&[args, &["--show-settings"]].concat());
        let list = Run::wait(command.spawn().expect("started")).assert_code(0).stdout;
        line(&list, has);
        let unknown = list.lines().any(|line| line.split_whitespace().next() == Some(has_not));
        assert!(!unknown && !list.contains(API_KEY), "{args:?}: {list}");
    }
    assert!(!workspace.out().exists() && workspace.api_requests() == 0);
}
