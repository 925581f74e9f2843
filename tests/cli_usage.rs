//! The command line before any request: help, settings that are refused, and streams that nobody reads.

use std::io::pipe;
use std::process::Stdio;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;

const KEY: &str = "max_prd_ak_0123456789abcdef";

/// Every long flag of `run`.
const FLAGS: [&str; 28] = [
    "--out",
    "--state-dir",
    "--min-free",
    "--columns",
    "--delimiter",
    "--on-bad-row",
    "--api-key-file",
    "--api-url",
    "--allow-http",
    "--ca-file",
    "--storage-host",
    "--rate",
    "--concurrency",
    "--max-attempts",
    "--stall-timeout",
    "--max-retry-time",
    "--max-outage",
    "--max-size",
    "--until",
    "--max-duration",
    "--progress",
    "--log-format",
    "--verbose",
    "--quiet",
    "--metrics-file",
    "--config",
    "--show-settings",
    "--help",
];

/// Variables that a flag may come from.
const VARIABLES: [&str; 13] = [
    "EXPORTER_OUT",
    "EXPORTER_STATE_DIR",
    "EXPORTER_MIN_FREE",
    "MAXAI_API_KEY_FILE",
    "MAXAI_API_URL",
    "EXPORTER_RATE",
    "EXPORTER_CONCURRENCY",
    "EXPORTER_MAX_ATTEMPTS",
    "EXPORTER_STALL_TIMEOUT",
    "EXPORTER_MAX_RETRY_TIME",
    "EXPORTER_MAX_OUTAGE",
    "EXPORTER_MAX_SIZE",
    "EXPORTER_LOG_FORMAT",
];

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the program in an empty folder with nothing but these variables.
fn exporter(args: &[&str], variables: &[(&str, &str)]) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(cargo_bin!("exporter"))
        .current_dir(folder.path())
        .env_clear()
        .envs(variables.iter().copied())
        .args(args)
        .output()
        .expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert!(left.is_empty(), "nothing is created: {left:?}");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// `run m.csv` with a key and these arguments: what standard error says of the refusal.
fn refused(args: &[&str], variables: &[(&str, &str)]) -> String {
    let args: Vec<&str> = ["run", "m.csv"].iter().chain(args).copied().collect();
    let mut all = vec![("MAXAI_API_KEY", KEY)];
    all.extend_from_slice(variables);
    let said = exporter(&args, &all);
    assert_eq!(said.code, Some(2), "{args:?}: {}", said.stderr);
    assert_eq!(said.stdout, "");
    assert!(said.stderr.starts_with("exporter: error: "), "{}", said.stderr);
    assert!(!said.stderr.contains(KEY), "{}", said.stderr);
    said.stderr
}

#[test]
fn the_help_names_every_flag_and_variable_with_an_example() {
    for help in ["-h", "--help"] {
        let said = exporter(&["run", help], &[]);
        assert_eq!((said.code, &*said.stderr), (Some(0), ""));
        for name in FLAGS.into_iter().chain(VARIABLES) {
            assert!(said.stdout.contains(name), "{help}: {name}");
        }
        assert!(
            said.stdout.contains("Example: ") && said.stdout.contains("exporter run manifest.csv"),
            "{help}"
        );
        assert!(
            said.stdout.contains("[default: 1000/60s]") && said.stdout.contains("[default: auto]"),
            "{help}"
        );
    }
}

#[test]
fn the_version_is_told() {
    assert_eq!(exporter(&["--version"], &[]).stdout, concat!("exporter ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn without_a_command_the_help_comes_with_exit_2() {
    let said = exporter(&[], &[]);
    assert_eq!((said.code, &*said.stdout), (Some(2), ""));
    assert!(said.stderr.contains("Usage: exporter <COMMAND>"), "{}", said.stderr);
}

#[test]
fn wrong_usage_is_exit_2_in_the_same_voice() {
    assert!(refused(&["--no-such-flag"], &[]).contains("--no-such-flag"));
    assert!(refused(&["--quiet", "--verbose"], &[]).contains("--verbose"));
    let said = exporter(&["run"], &[]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.stderr.starts_with("exporter: error: ") && said.stderr.contains("<MANIFEST>"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_key_on_the_command_line_is_no_flag_and_is_not_shown() {
    // the flag's own name may be shown, its value must not
    for args in [vec!["--api-key", KEY], vec!["--api-key=max_prd_ak_0123456789abcdef"], vec![KEY]] {
        refused(&args, &[]);
    }
}

#[test]
fn a_missing_key_is_refused_with_both_ways_named() {
    for variables in [&[][..], &[("MAXAI_API_KEY", "")], &[("MAXAI_API_KEY", ""), ("MAXAI_API_KEY_FILE", "")]]
    {
        let said = exporter(&["run", "m.csv"], variables);
        assert_eq!(said.code, Some(2));
        for name in ["--api-key-file", "MAXAI_API_KEY_FILE", "or set MAXAI_API_KEY"] {
            assert!(said.stderr.contains(name), "{}", said.stderr);
        }
    }
}

#[test]
fn a_key_that_cannot_be_one_is_refused_and_not_shown() {
    for key in [" hidden", "hid den", "\"hidden\"", "hidden\n", "hidd\u{e9}n"] {
        let said = exporter(&["run", "m.csv"], &[("MAXAI_API_KEY", key)]);
        assert_eq!(said.code, Some(2), "{key:?}");
        assert!(said.stderr.starts_with("exporter: error: MAXAI_API_KEY: the key "), "{}", said.stderr);
        assert!(!said.stderr.contains("hid") && !said.stderr.contains("den"), "{}", said.stderr);
    }
}

#[test]
fn a_key_in_the_place_of_its_file_is_not_shown() {
    assert!(refused(&["--api-key-file", KEY], &[]).contains("--api-key-file (not shown"));
    assert!(refused(&[], &[("MAXAI_API_KEY_FILE", KEY)]).contains("MAXAI_API_KEY_FILE (not shown"));
    for secret in ["no/such", "short", "/Zm9v=="] {
        assert!(refused(&["--api-key-file", secret], &[]).contains("--api-key-file (not shown"), "{secret}");
    }
    let path = "/etc/no-such-key";
    assert!(
        refused(&["--api-key-file", path], &[]).contains("'/etc/no-such-key': the key file cannot be read")
    );
}

#[test]
fn a_refused_setting_is_named_with_its_value_and_what_is_allowed() {
    for (flag, value, allowed) in [
        ("--rate", "1000", "1000/60s"),
        ("--rate", "0/60s", "from 1 to 10000000"),
        ("--rate", "1000/60", "a unit is missing"),
        ("--rate", "1000/25h", "at most 24h"),
        ("--concurrency", "0", "from 1 to 1024"),
        ("--concurrency", "1025", "from 1 to 1024"),
        ("--max-attempts", "1001", "from 1 to 1000"),
        ("--stall-timeout", "0", "more than 0"),
        ("--stall-timeout", "30", "a unit is missing: 90s, 15m, 1h30m"),
        ("--max-retry-time", "fast", "90s, 15m, 1h30m"),
        ("--max-outage", "1.5h", "90s, 15m, 1h30m"),
        ("--max-size", "0", "more than 0"),
        ("--max-size", "500", "a unit is missing: 500M, 5G"),
        ("--min-free", "5MB", "B, K, M, G or T"),
        ("--out", "", "give a path"),
        ("--columns", "clinic=A", "org=A,note=B,image=C"),
        ("--delimiter", "::", "one ASCII character"),
        ("--on-bad-row", "ignore", "stop or skip"),
        ("--until", "25:00", "HH:MM"),
        ("--max-duration", "0", "more than 0"),
        ("--progress", "loud", "auto, bar, plain or none"),
        ("--log-format", "xml", "text or json"),
        ("--api-url", "http://api.maxcare.ai", "--allow-http"),
        ("--api-url", "ftp://host", "https://"),
        ("--storage-host", "https://host", "*.amazonaws.com"),
        ("--ca-file", "no/such.pem", "cannot be read"),
    ] {
        let said = refused(&[flag, value], &[]);
        assert!(said.starts_with(&format!("exporter: error: {flag} '{value}': ")), "{said}");
        assert!(said.contains(allowed), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_variable_is_refused_under_its_own_name() {
    for (name, value) in
        [("EXPORTER_RATE", "fast"), ("EXPORTER_CONCURRENCY", "-1"), ("MAXAI_API_URL", "nowhere")]
    {
        assert!(refused(&[], &[(name, value)]).starts_with(&format!("exporter: error: {name} '{value}': ")));
    }
    // a flag wins, so the variable is not even read
    assert!(refused(&["--rate", "x"], &[("EXPORTER_RATE", "y")]).contains("--rate 'x'"));
}

#[test]
fn user_and_password_in_an_address_are_not_shown() {
    let said = refused(&["--api-url", "https://me:hidden@host/v2"], &[]);
    assert!(said.contains("--api-url (not shown") && !said.contains("hidden"), "{said}");
}

#[test]
fn refusals_are_json_where_json_is_asked_for() {
    for (args, word) in [
        (&["run", "m.csv", "--log-format", "json"][..], "API key"),
        (&["run", "m.csv", "--log-format", "json", "--no-such-flag"], "--no-such-flag"),
    ] {
        let said = exporter(args, &[]);
        let line: serde_json::Value = serde_json::from_str(said.stderr.trim_end()).expect("one object");
        assert_eq!((said.code, line["level"].as_str()), (Some(2), Some("error")));
        let text = line["message"].as_str().expect("a message");
        assert!(text.contains(word) && !text.starts_with("error"), "{line}");
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    }
}

#[test]
fn streams_that_nobody_reads_are_no_reason_to_panic() {
    let closed = || {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    let run = |args: &[&str], stdout, stderr| {
        let mut command = std::process::Command::new(cargo_bin!("exporter"));
        command.env_clear().args(args).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        command.status().expect("it starts").code()
    };
    assert_eq!(run(&["run", "--help"], closed(), Stdio::null()), Some(0));
    assert_eq!(run(&["run", "m.csv"], Stdio::null(), closed()), Some(2));
    assert_eq!(run(&["--no-such-flag"], closed(), closed()), Some(2));
}
