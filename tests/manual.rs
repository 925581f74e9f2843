//! `exporter completions` and `exporter man` know every command and every flag of the help.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;

fn exporter(args: &[&str]) -> String {
    let output = Command::new(cargo_bin!("exporter")).args(args).output().expect("it starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Names of all commands, from the help.
fn commands() -> Vec<String> {
    let help = exporter(&["--help"]);
    let (_, list) = help.split_once("\nCommands:\n").expect("the list");
    let list = list.split_once("\n\n").expect("its end").0;
    let name = |line: &str| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')).map(first_word);
    let names: Vec<String> = list.lines().filter_map(name).filter(|name| name != "help").collect();
    for known in ["run", "completions", "man"] {
        assert!(names.iter().any(|name| name == known), "{names:?}");
    }
    names
}

fn first_word(line: &str) -> String {
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// Long flags of a command, from its help.
fn flags(command: &str) -> BTreeSet<String> {
    let help = exporter(&[command, "--help"]);
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let flag = |line: &str| {
        let name = line.split_once("--").expect("a long flag").1;
        let end = name.find(|char: char| !(char.is_ascii_lowercase() || char == '-')).unwrap_or(name.len());
        name[..end].to_owned()
    };
    let flags: BTreeSet<String> = lines.map(flag).filter(|flag| flag != "help").collect();
    assert!(command != "run" || flags.len() > 25, "{flags:?}");
    flags
}

#[test]
fn completions_know_every_command_and_flag_in_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = exporter(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
            for flag in flags(&command) {
                // fish names long flags without their dashes
                let written = if shell == "fish" { format!("-l {flag}") } else { format!("--{flag}") };
                assert!(script.contains(&written), "{shell}: {command} {written}");
            }
        }
    }
}

#[test]
fn the_completion_script_of_bash_is_one() {
    let script = exporter(&["completions", "bash"]);
    let asked = format!(
        "{script}\nCOMP_WORDS=(exporter run --conc); COMP_CWORD=2; _exporter exporter --conc run\n\
         printf '%s' \"${{COMPREPLY[*]}}\""
    );
    let Ok(bash) = Command::new("bash").args(["-c", &asked]).stderr(Stdio::inherit()).output() else {
        return; // not on this machine
    };
    assert_eq!(String::from_utf8_lossy(&bash.stdout), "--concurrency");
}

#[test]
fn the_manual_page_has_a_chapter_for_every_command_with_all_its_flags() {
    let page = exporter(&["man"]);
    assert!(page.contains(".TH exporter 1"), "{page}");
    for command in commands() {
        let heading = format!("\n.SH \"EXPORTER {}\"\n", command.to_uppercase());
        let (_, chapter) = page.split_once(&heading).unwrap_or_else(|| panic!("no chapter {heading}"));
        let chapter = chapter.split_once("\n.SH ").map_or(chapter, |(chapter, _)| chapter);
        for flag in flags(&command) {
            let written = format!("\\-\\-{}", flag.replace('-', "\\-"));
            assert!(chapter.contains(&written), "{command}: {written} is not in:\n{chapter}");
        }
        assert!(chapter.contains(".SS EXAMPLE"), "{command}");
    }
    for line in page.lines().filter(|line| line.starts_with('.')) {
        let known = ["TH", "SH", "SS", "TP", "PP", "RS", "RE", "IP", "B", "I", "br", "nf", "fi", "ie", "el"];
        let request = line[1..].split_whitespace().next().expect("a request");
        assert!(known.contains(&request), "{line}");
    }
}

#[test]
fn commands_are_listed_in_the_order_of_their_use() {
    let order = ["run", "merge", "plan", "doctor", "status", "verify", "report", "completions", "man"];
    assert_eq!(commands(), order);
    let page = exporter(&["man"]);
    let chapters = page.lines().filter_map(|line| line.strip_prefix(".SH \"EXPORTER "));
    let chapters: Vec<String> = chapters.map(|name| name.trim_end_matches('"').to_lowercase()).collect();
    assert_eq!(chapters, order);
}

/// `groff -man -ww` warns of an ellipsis, which it cannot set in every font.
#[test]
fn help_and_manual_page_are_ascii() {
    let mut texts = vec![exporter(&["man"]), exporter(&["--help"]), exporter(&["-h"])];
    for command in commands() {
        texts.extend([exporter(&[&command, "--help"]), exporter(&[&command, "-h"])]);
    }
    for text in texts {
        let strange: String = text.chars().filter(|char| !char.is_ascii()).collect();
        assert_eq!(strange, "", "{text}");
    }
}

#[test]
fn bash_completes_the_values_of_a_flag_that_has_only_a_few() {
    let script = exporter(&["completions", "bash"]);
    for (flag, values) in
        [("--progress", "auto bar plain none"), ("--log-format", "text json"), ("--on-bad-row", "stop skip")]
    {
        let asked = format!(
            "{script}\nCOMP_WORDS=(exporter run {flag} ''); COMP_CWORD=3; _exporter exporter '' {flag}\n\
             printf '%s' \"${{COMPREPLY[*]}}\""
        );
        let Ok(bash) = Command::new("bash").args(["-c", &asked]).stderr(Stdio::inherit()).output() else {
            return; // not on this machine
        };
        assert_eq!(String::from_utf8_lossy(&bash.stdout), values, "{flag}");
    }
}

#[test]
fn no_shell_offers_files_for_a_value_that_is_no_path() {
    let others =
        ["rate", "until", "concurrency", "delimiter", "columns", "max-size", "api-url", "storage-host"];
    let script = exporter(&["completions", "bash"]);
    for (flag, offers_files) in others.iter().map(|flag| (*flag, false)).chain([("ca-file", true)]) {
        let asked = format!(
            "{script}\nCOMP_WORDS=(exporter run --{flag} ''); COMP_CWORD=3; _exporter exporter '' --{flag}\n\
             printf '%s' \"${{COMPREPLY[*]}}\""
        );
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let Ok(bash) = Command::new("bash").args(["-c", &asked]).current_dir(folder).output() else {
            return; // not on this machine
        };
        let said = String::from_utf8_lossy(&bash.stdout);
        assert_eq!(said.contains("ledger"), offers_files, "{flag}: {said}");
    }
    let fish = exporter(&["completions", "fish"]);
    let zsh = exporter(&["completions", "zsh"]);
    for flag in others {
        let lines = |script: &str, written: &str| -> Vec<String> {
            script.lines().filter(|line| line.contains(written)).map(str::to_owned).collect()
        };
        for line in lines(&fish, &format!("-l {flag} ")) {
            assert!(line.contains(" -r -f"), "{line}");
        }
        for line in lines(&zsh, &format!("--{flag}=[")) {
            assert!(!line.contains("_files") && !line.contains("_default"), "{line}");
        }
    }
}

#[test]
fn usage_and_arguments_of_a_command_agree() {
    for command in commands() {
        let help = exporter(&[&command, "--help"]);
        let usage = help.lines().find(|line| line.starts_with("Usage:")).expect("a usage");
        let after = help.split_once("\nArguments:\n").map_or("", |(_, rest)| rest).trim_start();
        if let Some(argument) = after.split_whitespace().next().filter(|word| word.starts_with(['<', '['])) {
            assert!(usage.contains(argument), "{argument}: {usage}");
        }
    }
}

#[test]
fn an_unknown_shell_is_refused_with_the_known_ones() {
    let output =
        Command::new(cargo_bin!("exporter")).args(["completions", "tcsh"]).output().expect("started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.starts_with("exporter: error: ") && said.contains("bash, elvish, fish"), "{said}");
}
