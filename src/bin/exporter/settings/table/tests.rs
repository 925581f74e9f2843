//! The table against the library's defaults and the README.

use std::fmt::Write as _;

use exporter::options;

use super::super::{url, values};
use super::*;

#[test]
fn every_default_in_the_help_is_the_librarys() {
    let text = |setting: Setting| setting.default.unwrap_or_default();
    assert_eq!(text(OUT), options::OUT);
    assert_eq!(values::size(text(MIN_FREE)), Ok(options::MIN_FREE));
    assert_eq!(url::api(text(API_URL), false).map(String::from), Ok(options::API_URL.to_owned()));
    assert_eq!(values::rate(text(RATE)), Ok(options::RATE));
    assert_eq!(values::concurrency(text(CONCURRENCY)), Ok(options::CONCURRENCY));
    assert_eq!(text(MAX_ATTEMPTS), options::MAX_ATTEMPTS.to_string());
    assert_eq!(values::duration(text(STALL_TIMEOUT)), Ok(options::STALL_TIMEOUT));
    assert_eq!(values::duration(text(MAX_RETRY_TIME)), Ok(options::MAX_RETRY_TIME));
    assert_eq!(values::duration(text(MAX_OUTAGE)), Ok(options::MAX_OUTAGE));
    assert_eq!(values::size(text(MAX_SIZE)), Ok(options::MAX_SIZE));
}

/// A row of the README's table, without its backquotes.
fn row(setting: &Setting) -> String {
    let mut flag = setting.short.map_or_else(String::new, |short| format!("-{short}, "));
    let _ = write!(flag, "--{} {}", setting.flag, setting.value.replace('|', "\\|"));
    let default = setting.default.or(setting.default_words).unwrap_or_default();
    let cells = [flag.trim_end(), setting.env.unwrap_or_default(), default, setting.help];
    let row = cells.map(|cell| if cell.is_empty() { String::new() } else { format!(" {cell}") });
    format!("|{} |", row.join(" |"))
}

#[test]
fn the_table_in_the_readme_is_this_one() {
    let readme =
        fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let plain = readme.replace('`', "");
    let (_, table) =
        plain.split_once("| flag | environment | default | meaning |\n|---|---|---|---|\n").expect("it");
    let written: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<String> = ALL.into_iter().chain(ABOUT_SETTINGS).map(row).collect();
    assert_eq!(written, expected, "expected:\n{}", expected.join("\n"));
}

#[test]
fn every_flag_stands_once_and_is_a_flag_of_some_command() {
    let all: Vec<&Setting> = ALL.into_iter().chain(ABOUT_SETTINGS).collect();
    for (at, setting) in all.iter().enumerate() {
        assert!(all[at + 1..].iter().all(|other| other.flag != setting.flag), "{}", setting.flag);
        assert!(!setting.commands.is_empty() && !setting.help.is_empty(), "{}", setting.flag);
        let takes_no_value = matches!(setting.kind, Kind::Switch | Kind::Level);
        assert_eq!(setting.value.is_empty(), takes_no_value, "{}", setting.flag);
    }
}
