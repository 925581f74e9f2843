//! README.md and `exporter run --help` tell of the same settings.

use std::collections::BTreeMap;
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

/// The settings in the help: each begins with a line that begins with a dash.
fn helped() -> BTreeMap<String, Setting> {
    let help = Command::new(cargo_bin!("exporter")).args(["run", "--help"]).output();
    let help = String::from_utf8(help.expect("an answer").stdout).expect("UTF-8");
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
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    let (_, section) = readme.split_once("\n## Settings\n").expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let mut settings = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with('|')) {
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
