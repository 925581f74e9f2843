//! JSON logs: one object a line, with the keys that `doc/operations.md` tells and no other.

use std::collections::BTreeSet;

use serde_json::Value;

use sandbox::faults::ApiFault;
use sandbox::workspace::{Run, Workspace};

/// The keys in the table of the section "JSON logs".
fn documented() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/doc/operations.md");
    let document = std::fs::read_to_string(path).expect("doc/operations.md");
    let (_, section) = document.split_once("\n## JSON logs\n").expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let keys: BTreeSet<String> =
        cells.flat_map(|cell| cell.split(',')).map(|key| key.trim().replace('`', "")).collect();
    assert!(keys.contains("seconds_left") && keys.len() > 25, "{keys:?}");
    keys
}

fn lines(ran: &Run) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    ran.stderr.lines().map(parse).collect()
}

fn keys(line: &Value) -> BTreeSet<&str> {
    line.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn every_line_is_an_object_with_documented_keys() {
    let workspace = Workspace::with_images(4);
    let manifest = workspace.add_images(4) + "org0,note0,gone\norg0,note0,i0\norg0,bad\n";
    workspace.manifest(&manifest);
    workspace.sandbox.script().api("i1", ApiFault::status(500));
    let ran = workspace.run(&["--log-format", "json", "-vvv", "--on-bad-row", "skip"]).assert_code(3);
    let (lines, known) = (lines(&ran), documented());
    for line in &lines {
        let keys = keys(line);
        assert!(keys.is_superset(&BTreeSet::from(["time", "level", "message"])), "{line}");
        let unknown: Vec<_> = keys.iter().filter(|key| !known.contains(**key)).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {line}");
        assert!(
            ["error", "warn", "info", "debug", "trace"].contains(&line["level"].as_str().expect("a level"))
        );
        line["time"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339");
    }
    let with = |key: &str| lines.iter().filter(|line| line.get(key).is_some()).collect::<Vec<_>>();
    let failed = with("error_code");
    assert_eq!(failed.len(), 1, "{lines:#?}");
    assert_eq!((failed[0]["error_code"].as_str(), failed[0]["line"].as_u64()), (Some("not_found"), Some(6)));
    assert!(failed[0]["trace_id"].is_string());
    let begin = with("to_fetch");
    assert_eq!(begin.len(), 1);
    let numbers = |line: &Value, names: &[&str]| {
        names.iter().map(|name| line[*name].as_u64().unwrap_or(u64::MAX)).collect::<Vec<_>>()
    };
    let names = ["rows", "to_fetch", "skipped", "duplicates", "bad_rows"];
    assert_eq!(numbers(begin[0], &names), [7, 5, 0, 1, 1]);
    let end = lines.last().expect("lines");
    let names = ["exit_code", "rows", "stored", "skipped", "duplicate", "failed", "untried"];
    assert_eq!(numbers(end, &names), [3, 7, 4, 0, 1, 2, 0]);
    assert!(end["bytes"].as_u64() > Some(0) && end["seconds"].is_f64() && end["retries"] == 1, "{end}");
}

#[test]
fn progress_lines_have_their_numbers_as_keys() {
    let workspace = Workspace::with_images(53);
    // 53 images at five a second: long enough for a line, the first of which comes after 10 s
    let ran = workspace.run(&["--log-format", "json", "--rate", "5/1s"]).assert_code(0);
    let lines = lines(&ran);
    let between: Vec<&Value> = lines.iter().filter(|line| line.get("done").is_some()).collect();
    assert!(!between.is_empty(), "{}", ran.stderr);
    let known = documented();
    for line in between {
        let names = [
            "rows",
            "done",
            "stored",
            "failed",
            "received",
            "retries",
            "api_requests",
            "api_429",
            "rows_per_second",
            "bytes_per_second",
        ];
        for name in names {
            assert!(line[name].is_number(), "{name} in {line}");
        }
        assert!(keys(line).iter().all(|key| known.contains(*key)), "{line}");
    }
}

#[test]
fn text_logs_say_a_code_once_and_have_no_last_line_with_keys() {
    let workspace = Workspace::with_images(1);
    workspace.manifest("org,note,image\norg0,note0,gone\n");
    let ran = workspace.run(&[]).assert_code(3);
    let failed: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("not_found")).collect();
    assert_eq!(failed.len(), 1, "{}", ran.stderr);
    assert!(failed[0].starts_with("exporter: warning: line 2: not_found: "), "{}", failed[0]);
    assert!(!failed[0].contains("error_code"), "{}", failed[0]);
    assert!(!ran.stderr.contains("not complete"), "{}", ran.stderr);
}
