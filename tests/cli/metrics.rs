//! `--metrics-file`, read with a strict parser of the text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbox::faults::ApiFault;
use sandbox::workspace::{Run, Workspace};

const NAMES: [&str; 11] = [
    "exporter_rows",
    "exporter_bytes",
    "exporter_api_requests",
    "exporter_api_429",
    "exporter_retries",
    "exporter_allowance_share",
    "exporter_run_seconds",
    "exporter_last_run_timestamp_seconds",
    "exporter_last_success_timestamp_seconds",
    "exporter_exit_code",
    "exporter_receipt_info",
];

/// Values by name and labels as they are written. Panics at whatever the format does not allow, and where a name
/// is not told of by one HELP and one TYPE before its samples, or comes back after another.
fn parse(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n') && !text.contains('\r'), "{text:?}");
    let (mut samples, mut helped, mut typed) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let (mut family, mut sampled) = (String::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a help");
            assert!(is_name(name) && !help.is_empty() && !help.contains('\\'), "{line}");
            assert!(helped.insert(name.to_owned()), "{line}: a second HELP");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind), "{line}");
            assert!(typed.insert(name.to_owned()) && !sampled.contains(name), "{line}");
            continue;
        }
        assert!(!line.starts_with('#') && !line.is_empty(), "{line}");
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        let name = series.split('{').next().expect("a name");
        assert!(is_name(name) && helped.contains(name) && typed.contains(name), "{line}");
        labels(&series[name.len()..]);
        if name != family {
            assert!(sampled.insert(name.to_owned()), "{line}: a group that comes back");
            name.clone_into(&mut family);
        }
        let value: f64 = value.parse().expect("a number");
        assert_eq!(samples.insert(series.to_owned(), value), None, "{line} is there twice");
    }
    assert_eq!((&helped, &typed), (&sampled, &sampled), "HELP or TYPE without a sample");
    samples
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
fn is_name(name: &str) -> bool {
    let first = |char: char| char.is_ascii_alphabetic() || char == '_' || char == ':';
    name.starts_with(first) && name.chars().all(|char| first(char) || char.is_ascii_digit())
}

/// `{name="value",…}` or nothing; no escapes, since no value of ours needs one.
fn labels(text: &str) {
    if text.is_empty() {
        return;
    }
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).expect("braces");
    for label in inner.split(',') {
        let (name, value) = label.split_once('=').expect("a label");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quotes");
        assert!(is_name(name) && !name.contains(':') && !value.contains(['"', '\\']), "{text}");
    }
}

fn read(workspace: &Workspace) -> BTreeMap<String, f64> {
    parse(&std::fs::read_to_string(workspace.path("metrics.prom")).expect("the metrics file"))
}

#[track_caller]
fn is(metrics: &BTreeMap<String, f64>, series: &str, value: f64) {
    let got = metrics.get(series).unwrap_or_else(|| panic!("{series} is not in {metrics:?}"));
    assert!((got - value).abs() < 1e-6, "{series} is {got}, not {value}");
}

fn count(metrics: &BTreeMap<String, f64>, state: &str, rows: f64) {
    is(metrics, &format!("exporter_rows{{state=\"{state}\"}}"), rows);
}

const SUCCESS: &str = "exporter_last_success_timestamp_seconds";

#[test]
fn the_file_tells_at_the_end_what_the_summary_tells() {
    let workspace = Workspace::with_images(5);
    let mut manifest = workspace.add_images(5);
    manifest.push_str("org0,note0,i0\norg0,note0,gone\n");
    workspace.manifest(&manifest);
    workspace.sandbox.script().api("i1", ApiFault::status(500));
    workspace.run(&["--metrics-file", "metrics.prom"]).assert_code(3);
    let metrics = read(&workspace);
    let names: BTreeSet<&str> = metrics.keys().filter_map(|series| series.split('{').next()).collect();
    assert_eq!(names, BTreeSet::from(NAMES));
    for (state, rows) in
        [("stored", 5.0), ("skipped", 0.0), ("duplicate", 1.0), ("failed", 1.0), ("untried", 0.0)]
    {
        count(&metrics, state, rows);
    }
    let summary = workspace.summary();
    for (name, key) in [
        ("exporter_bytes", "bytes"),
        ("exporter_api_requests", "api_requests"),
        ("exporter_api_429", "api_429"),
        ("exporter_retries", "retries"),
        ("exporter_allowance_share", "allowance_share"),
        ("exporter_exit_code", "exit_code"),
    ] {
        is(&metrics, name, summary[key].as_f64().expect(key));
    }
    assert!(metrics["exporter_bytes"] > 0.0 && metrics["exporter_retries"] > 0.0);
    assert!((metrics["exporter_run_seconds"] - summary["seconds"].as_f64().expect("seconds")).abs() < 0.001);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let last_run = metrics["exporter_last_run_timestamp_seconds"];
    assert!((now - 60.0..=now + 1.0).contains(&last_run), "{last_run}");
    is(&metrics, SUCCESS, 0.0);
    let mode = std::fs::metadata(workspace.path("metrics.prom")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o644, "readable by the collector, whatever the umask");
}

#[test]
fn the_last_success_stays_while_runs_fail() {
    let workspace = Workspace::with_images(2);
    let run = |args: &[&str], code| {
        workspace.run(&[&["--metrics-file", "metrics.prom"], args].concat()).assert_code(code);
        let metrics = read(&workspace);
        is(&metrics, "exporter_exit_code", f64::from(code));
        metrics[SUCCESS]
    };
    let success = run(&[], 0);
    assert!(success > 1.7e9);
    // the same with settings, a manifest and a folder that are refused
    assert!((run(&["--rate", "fast"], 2) - success).abs() < 0.002);
    workspace.write("exporter.toml", "out = '/dev/null/export'");
    assert!((run(&[], 1) - success).abs() < 0.002);
    workspace.write("exporter.toml", "");
    workspace.manifest("org,note\n");
    assert!((run(&[], 2) - success).abs() < 0.002);
    workspace.manifest("org,note,image\norg0,note0,i0\norg0,note0,gone\n");
    assert!((run(&[], 3) - success).abs() < 0.002);
    count(&read(&workspace), "skipped", 1.0);
    workspace.manifest("org,note,image\norg0,note0,i0\n");
    assert!(run(&[], 0) > success);
}

#[test]
fn a_run_that_is_on_has_a_file_and_one_that_is_stopped_says_how() {
    let workspace = Workspace::with_images(200);
    // two images a second: it cannot end by itself before it is stopped
    let args = ["run", "manifest.csv", "--rate", "2/1s", "--metrics-file", "metrics.prom"];
    let child = workspace.command(&args).spawn().expect("started");
    let begin = Instant::now();
    while !workspace.path("metrics.prom").exists() || !workspace.out().join("data").exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "no file");
        std::thread::sleep(Duration::from_millis(20));
    }
    let metrics = read(&workspace);
    assert!(!metrics.contains_key("exporter_exit_code"), "it is on: {metrics:?}");
    let signal = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(signal.expect("kill").success());
    Run::wait(child).assert_code(143);
    let metrics = read(&workspace);
    is(&metrics, "exporter_exit_code", 143.0);
    let rows: f64 =
        metrics.iter().filter(|(series, _)| series.contains("state=")).map(|(_, rows)| rows).sum();
    assert!((rows - 200.0).abs() < 1e-6 && metrics["exporter_rows{state=\"untried\"}"] > 0.0, "{metrics:?}");
}

#[test]
fn a_run_that_is_refused_for_its_settings_says_so_whatever_the_setting() {
    let workspace = Workspace::with_images(1);
    workspace.write("broken.toml", "outt = 'x'");
    workspace.write("mine.toml", "metrics-file = 'metrics.prom'");
    let flag = ["--metrics-file", "metrics.prom"];
    for (args, variables) in [
        (&["--config", "broken.toml", flag[0], flag[1]][..], &[][..]),
        (&["--config", "none.toml", flag[0], flag[1]], &[]),
        (&["--progress", "nope", flag[0], flag[1]], &[]),
        (&flag, &[("EXPORTER_LOG_FORMAT", "xml")]),
        (&["--config", "mine.toml"], &[("EXPORTER_LOG_FORMAT", "xml")]),
        (&["--config", "mine.toml", "--progress", "nope"], &[]),
        (&["--config", "mine.toml", "--rate", "nope"], &[]),
    ] {
        let mut command = workspace.command(&[&["run", "manifest.csv"], args].concat());
        Run::wait(command.envs(variables.iter().copied()).spawn().expect("started")).assert_code(2);
        is(&read(&workspace), "exporter_exit_code", 2.0);
        std::fs::remove_file(workspace.path("metrics.prom")).expect("written");
    }
    let args = ["run", "--progress", "nope", "--show-settings", flag[0], flag[1]];
    Run::wait(workspace.command(&args).spawn().expect("started")).assert_code(2);
    assert!(!workspace.path("metrics.prom").exists(), "nothing is done");
}

#[test]
fn a_file_that_cannot_be_written_is_one_warning_and_changes_nothing() {
    let workspace = Workspace::with_images(2);
    std::fs::create_dir(workspace.path("folder")).expect("made");
    for place in ["no/such/folder/x.prom", "folder", "/dev/null/x.prom"] {
        let ran = workspace.run(&["--metrics-file", place]).assert_code(0);
        let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("metrics file")).collect();
        assert_eq!(warnings.len(), 1, "{place}: {}", ran.stderr);
        assert!(warnings[0].starts_with("exporter: warning: "), "{}", warnings[0]);
        assert!(!warnings[0].contains(".tmp"), "{}", warnings[0]);
    }
    let left: Vec<_> = std::fs::read_dir(workspace.path("")).expect("listed").flatten().collect();
    let left = left.iter().filter(|entry| entry.file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0);
    assert!(Path::new(&workspace.path("folder")).is_dir());
    let ran = workspace.run(&["--metrics-file", ""]).assert_code(2);
    assert!(ran.stderr.contains("--metrics-file '': it is empty"), "{}", ran.stderr);
}
