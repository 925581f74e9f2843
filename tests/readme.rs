//! README.md and the help tell of the same commands, settings and exit codes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;

/// What one flag is said to be, without its meaning.
#[derive(Debug, Default, PartialEq, Eq)]
struct Setting {
    env: String,
    default: String,
}

/// The long flag in a text, with its dashes.
fn flag(text: &str) -> Option<&str> {
    let from = text.find("--")?;
    let rest = &text[from..];
    let end = rest.find(|char: char| !(char.is_ascii_lowercase() || char == '-')).unwrap_or(rest.len());
    (end > 2).then(|| &rest[..end])
}

fn exporter(args: &[&str]) -> String {
    let output = Command::new(cargo_bin!("exporter")).args(args).output().expect("an answer");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md")
}

/// The text below a heading of the second level.
fn section<'a>(readme: &'a str, heading: &str) -> &'a str {
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).expect(heading);
    section.split_once("\n## ").map_or(section, |(section, _)| section)
}

/// The commands in the help.
fn commands() -> BTreeSet<String> {
    let help = exporter(&["--help"]);
    let (_, list) = help.split_once("\nCommands:\n").expect("the list");
    let list = list.split_once("\n\n").expect("its end").0;
    let name = |line: &str| Some(line.strip_prefix("  ")?.split(' ').next()?.to_owned());
    list.lines().filter_map(name).filter(|name| !name.is_empty() && name != "help").collect()
}

/// Whatever stands between backquotes, and the lines of blocks that begin with the program's name.
fn code(readme: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            block = !block;
        } else if block {
            // an example of the output names commands too
            found.extend(line.find("exporter ").map(|at| line[at..].to_owned()));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The settings in the help: each begins with a line that begins with a dash.
fn helped() -> BTreeMap<String, Setting> {
    let help = exporter(&["run", "--help"]);
    let mut blocks: Vec<(String, String)> = Vec::new();
    for line in help.lines().map(str::trim) {
        if line.starts_with('-') {
            blocks.push((flag(line).expect("a long flag").to_owned(), String::new()));
        } else if let Some((_, text)) = blocks.last_mut() {
            // long lines are wrapped wherever the width ends
            text.push_str(line);
            text.push(' ');
        }
    }
    let between = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("[{name}: "))?;
        Some(rest.split_once(']')?.0.to_owned())
    };
    let setting = |text: &str| Setting {
        env: between(text, "env").unwrap_or_default(),
        default: between(text, "default").unwrap_or_default(),
    };
    let settings = blocks.iter().map(|(flag, text)| (flag.clone(), setting(text)));
    settings.filter(|(flag, _)| flag != "--help").collect()
}

/// The settings in the README's table.
fn documented() -> BTreeMap<String, Setting> {
    let readme = readme();
    let mut settings = BTreeMap::new();
    for line in section(&readme, "Settings").lines().filter(|line| line.starts_with('|')) {
        let plain = line.replace("\\|", "/").replace('`', "");
        let cells: Vec<&str> = plain.split('|').map(str::trim).collect();
        let Some(flag) = flag(cells[1]).filter(|_| cells[1].starts_with('-')) else { continue };
        if flag.chars().all(|char| char == '-') {
            continue; // the line below the table's head
        }
        let setting = Setting { env: cells[2].to_owned(), default: cells[3].to_owned() };
        assert_eq!(settings.insert(flag.to_owned(), setting), None, "{flag} stands there twice");
    }
    settings
}

#[test]
fn the_settings_in_the_readme_are_those_of_the_help() {
    let helped = helped();
    assert!(helped.len() > 20, "{helped:#?}");
    assert_eq!(documented(), helped);
}

#[test]
fn every_command_is_named_and_no_other() {
    let (readme, known) = (readme(), commands());
    assert!(known.contains("run") && known.contains("man"), "{known:?}");
    let code = code(&readme);
    let named: BTreeSet<String> = code
        .iter()
        .filter_map(|code| Some(code.strip_prefix("exporter ")?.split(' ').next()?.to_owned()))
        .filter(|word| !word.starts_with('-'))
        .collect();
    assert_eq!(named, known);
}

#[test]
fn every_flag_in_the_text_is_known() {
    let readme = readme();
    let mut known: BTreeSet<String> = BTreeSet::from(["--version".to_owned()]);
    for command in commands() {
        let help = exporter(&[&command, "--help"]);
        let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
        known.extend(lines.filter_map(flag).map(str::to_owned));
    }
    let mut count = 0;
    for code in code(&readme) {
        if !code.starts_with("--") && !code.starts_with("exporter ") {
            continue;
        }
        for word in code.split(' ').filter(|word| word.starts_with("--")) {
            let name = flag(word).expect("a flag");
            assert!(known.contains(name), "{name} in `{code}`");
            count += 1;
        }
    }
    assert!(count > 30, "{count} flags");
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let digits = |text: &str| -> BTreeSet<String> {
        let words = text.split(|char: char| !char.is_ascii_digit()).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let help = exporter(&["--help"]);
    let (_, list) = help.split_once("\nExit codes:\n").expect("the list");
    let readme = readme();
    let section = section(&readme, "States and exit codes");
    let (_, table) = section.split_once("| code | meaning |").expect("the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let codes = rows.filter_map(|row| row.split('|').next()).flat_map(digits).collect::<BTreeSet<_>>();
    assert_eq!(codes, digits(list));
    assert_eq!(codes.len(), 8, "{codes:?}");
}
