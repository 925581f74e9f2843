//! What `packaging/` ships fits the program: its config file, the command lines of the service, the image and the
//! Kubernetes recipe, the units in `doc/operations.md`, and the version.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where the packages and the image put the program.
const PROGRAM: &str = "/usr/bin/exporter";
/// Where the packages put `packaging/config.toml`.
const CONFIG: &str = "/etc/exporter/config.toml";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The program without this machine's settings, in a folder without a config file.
fn exporter(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(cargo_bin!("exporter"));
    command.args(args).current_dir(folder.path()).env_clear().output().expect("it starts")
}

/// The settings that a command line gives, one a line. The config file is the one that would be installed.
fn shown(args: &[&str]) -> String {
    let config = path("packaging/config.toml").display().to_string();
    let args = args.iter().map(|arg| if *arg == CONFIG { &*config } else { arg });
    let all: Vec<&str> = args.chain(["--show-settings"]).collect();
    let output = exporter(&all);
    assert!(output.status.success(), "{all:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
fn assert_setting(list: &str, setting: &str, value: &str) {
    let mut words = list.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>());
    assert!(words.any(|line| line == [setting, value]), "{setting} {value} is not in:\n{list}");
}

/// The values of a key in a unit, in its order.
fn unit_values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// The arguments of an instruction in exec form, the only one that needs no shell.
fn exec_form(containerfile: &str, instruction: &str) -> Vec<String> {
    let line = containerfile.lines().find_map(|line| line.strip_prefix(instruction)).expect(instruction);
    serde_json::from_str(line.trim()).expect("exec form: a JSON array")
}

#[test]
fn the_service_starts_a_run_that_the_program_accepts() {
    let unit = read("packaging/exporter.service");
    let starts = unit_values(&unit, "ExecStart");
    let [start] = starts[..] else { panic!("{starts:?}") };
    let words: Vec<&str> = start.split_whitespace().collect();
    assert_eq!((words[0], words[1]), (PROGRAM, "run"));
    let list = shown(&words[1..]);
    assert_setting(&list, "out", "/srv/exporter/export");
    assert_setting(&list, "max-duration", "8h");
    assert_setting(&list, "progress", "plain");
}

#[test]
fn the_service_may_write_where_its_settings_point_and_nowhere_else() {
    let unit = read("packaging/exporter.service");
    assert_eq!(unit_values(&unit, "ProtectSystem"), ["strict"]);
    let writable = unit_values(&unit, "ReadWritePaths");
    let writable: Vec<&str> = writable.iter().flat_map(|paths| paths.split(' ')).collect();
    assert_eq!(writable, ["/srv/exporter", "-/var/lib/prometheus/node-exporter"]);
    let account = unit_values(&unit, "User");
    assert_eq!(account, unit_values(&unit, "Group"));
    assert!(read("packaging/exporter.sysusers").contains(&format!("\nu {} ", account[0])));
    let folder = format!("\nd /srv/exporter 0700 {0} {0} -", account[0]);
    assert!(read("packaging/exporter.tmpfile").contains(&folder));
}

#[test]
fn the_service_tells_an_end_by_plan_from_a_failure() {
    let unit = read("packaging/exporter.service");
    assert_eq!(unit_values(&unit, "SuccessExitStatus"), ["4 143"]);
    assert_eq!(unit_values(&unit, "Restart"), ["on-failure"]);
    assert_eq!(unit_values(&unit, "RestartPreventExitStatus"), ["2 3"]);
    // systemd before 244 refuses to load a oneshot service with Restart=
    assert_eq!(unit_values(&unit, "Type"), ["simple"]);
}

#[test]
fn every_line_of_the_units_is_a_section_a_comment_or_a_setting() {
    for name in ["packaging/exporter.service", "packaging/exporter.timer"] {
        for line in read(name).lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let section = line.starts_with('[') && line.ends_with(']');
            let key = line.split_once('=').map_or("", |(key, _)| key);
            let setting = !key.is_empty() && key.chars().all(|char| char.is_ascii_alphanumeric());
            assert!(section || setting, "{name}: {line}");
        }
    }
}

#[test]
fn the_units_in_the_document_are_those_of_the_packages() {
    let document = read("doc/operations.md");
    for name in ["packaging/exporter.service", "packaging/exporter.timer"] {
        let block = format!("```ini\n{}```\n", read(name));
        assert!(document.contains(&block), "doc/operations.md shows another {name}");
    }
}

#[test]
fn the_image_starts_the_program_without_a_shell_and_without_root() {
    let text = read("packaging/Containerfile");
    assert_eq!(exec_form(&text, "ENTRYPOINT"), [PROGRAM]);
    assert!(text.contains(&format!("COPY --chmod=755 ${{TARGETARCH}}/exporter {PROGRAM}\n")));
    let default = exec_form(&text, "CMD");
    let default: Vec<&str> = default.iter().map(String::as_str).collect();
    assert!(exporter(&default).status.success(), "{default:?}");
    let (_, last) = text.rsplit_once("\nFROM ").expect("a stage");
    assert!(last.starts_with("scratch\n") && !last.contains("\nRUN "), "{last}");
    assert!(last.contains("\nUSER 10001:10001\n"));
}

/// The lines of the Kubernetes recipe.
fn recipe(document: &str) -> Vec<&str> {
    let (_, section) = document.split_once("\n## Kubernetes\n").expect("the chapter");
    let (_, recipe) = section.split_once("```yaml\n").expect("the recipe");
    recipe.split_once("```").expect("its end").0.lines().collect()
}

#[test]
fn the_kubernetes_recipe_uses_the_image_as_it_is() {
    let document = read("doc/operations.md");
    let lines = recipe(&document);
    let below = lines.iter().skip_while(|line| line.trim() != "args:").skip(1);
    let args = below.map_while(|line| line.trim().strip_prefix("- "));
    let args: Vec<&str> = args.map(|arg| arg.split(" #").next().unwrap_or(arg).trim()).collect();
    let list = shown(&args);
    assert_setting(&list, "out", "/export");
    assert_setting(&list, "state-dir", "/state");
    assert_setting(&list, "exit-zero-on-deadline", "true");
    let has = |text: &str| lines.iter().any(|line| line.trim() == text);
    assert!(has(&format!("image: registry.example/exporter:{VERSION}")));
    assert!(has("runAsUser: 10001"), "the user of the image");
    assert!(!lines.iter().any(|line| line.contains("command:")), "the image's own entry point");
    for folder in ["/export", "/state", "/manifest", "/key"] {
        assert!(lines.iter().any(|line| line.contains(&format!("mountPath: {folder}"))), "{folder}");
    }
}

#[test]
fn the_newest_chapter_of_the_changelog_is_of_this_version() {
    let changelog = read("CHANGELOG.md");
    let newest = changelog.lines().find(|line| line.starts_with("## ")).expect("a chapter");
    assert!(newest.starts_with(&format!("## {VERSION} - ")), "{newest}");
}

/// A table of Cargo.toml, as text.
fn table<'a>(manifest: &'a str, name: &str) -> &'a str {
    let (_, rest) = manifest.split_once(&format!("\n[package.metadata.{name}]\n")).expect(name);
    rest.split_once("\n[").map_or(rest, |(table, _)| table)
}

/// The files that a table packs, each in a line of its own.
fn sources(table: &str) -> Vec<&str> {
    let entries = table.lines().map(str::trim_start);
    let entries = entries.filter(|line| line.starts_with("[\"") || line.starts_with("{ source = \""));
    entries.filter_map(|line| line.split('"').nth(1)).collect()
}

#[test]
fn every_file_of_the_packages_is_there_and_both_ask_for_the_same_c_library() {
    let manifest = read("Cargo.toml");
    let (deb, rpm) = (table(&manifest, "deb"), table(&manifest, "generate-rpm"));
    for (table, least) in [(deb, 10), (rpm, 15)] {
        let files = sources(table);
        assert!(files.len() >= least, "{files:?}");
        for file in files.iter().filter(|file| !file.starts_with("target/release/")) {
            assert!(path(file).metadata().is_ok_and(|found| found.is_file()), "{file}");
        }
    }
    let build = read("packaging/build.sh");
    let glibc = build.lines().find_map(|line| line.strip_prefix("readonly GLIBC=")).expect("the version");
    assert!(deb.contains(&format!("libc6 (>= {glibc})")), "{deb}");
    let requires = table(&manifest, "generate-rpm.requires");
    assert!(requires.contains(&format!("glibc = \">= {glibc}\"")), "{requires}");
}
