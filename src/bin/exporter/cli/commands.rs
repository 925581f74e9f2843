//! The nine commands: their help, and the arguments that are no settings. Settings come from the table.

use std::ffi::OsString;

use clap::builder::EnumValueParser;
use clap::{Arg, ArgAction, Command as Parser, ValueHint, value_parser};
use clap_complete::Shell;

use crate::settings::table::{self, Command};
use crate::settings::{DIR, FINISH, FOLDER, HEAD, MANIFEST, OLDEST, ORG};

/// Flags of commands, by their id in the parser.
pub const ADOPT: &str = "adopt";
pub const JSON: &str = "json";
pub const RECEIPTS: &str = "receipts";
pub const REPAIR: &str = "repair";
pub const RUNS: &str = "runs";
pub const SHELL: &str = "SHELL";
pub const WATCH: &str = "watch";

const WHAT_TO_DO: &str = "What to do";
const OUTPUT: &str = "Output";

/// All commands in the order of the help, which is that of their use.
pub const ALL: [Command; 9] = [
    Command::Run,
    Command::Merge,
    Command::Plan,
    Command::Doctor,
    Command::Status,
    Command::Verify,
    Command::Report,
    Command::Completions,
    Command::Man,
];

/// The command as the user writes it.
pub const fn name(command: Command) -> &'static str {
    match command {
        Command::Run => "run",
        Command::Merge => "merge",
        Command::Plan => "plan",
        Command::Doctor => "doctor",
        Command::Status => "status",
        Command::Verify => "verify",
        Command::Report => "report",
        Command::Completions => "completions",
        Command::Man => "man",
    }
}

/// A command without its settings.
pub fn describe(command: Command) -> Parser {
    let parser = Parser::new(name(command));
    match command {
        Command::Run => run(parser),
        Command::Merge => merge(parser),
        Command::Plan => plan(parser),
        Command::Doctor => doctor(parser),
        Command::Status => status(parser),
        Command::Verify => verify(parser),
        Command::Report => report(parser),
        Command::Completions => completions(parser),
        Command::Man => man(parser),
    }
}

/// The short help of a command, and the paragraphs that `--help` adds to it.
fn about(parser: Parser, line: &'static str, more: &str) -> Parser {
    parser.about(line).long_about(format!("{line}\n\n{more}"))
}

fn run(parser: Parser) -> Parser {
    about(
        parser,
        "Export every image of the manifest that is not delivered yet",
        "\
Checks the whole manifest, fetches what is missing, and writes the reports: report.csv (every row), index.csv \
(where each image is), failed.csv (a manifest of the rows still to do), notes.csv, summary.json and the checksums. To continue after an interruption, give \
the same command again; delivered images are not fetched again.

The API key is read from a file (--api-key-file) or from the environment variable MAXAI_API_KEY, never from the \
command line, where other users could see it.",
    )
    .override_usage("exporter run [OPTIONS] <MANIFEST>")
    .after_help("Example: exporter run manifest.csv --api-key-file key.txt -o export")
    .after_long_help(
        "\
Example: four hours a night, until every image is delivered
  exporter run manifest.csv --api-key-file key.txt -o /srv/export --max-duration 4h

Durations are written 90s, 15m, 1h30m or 500ms, sizes 500M or 5G (powers of 1024).",
    )
    .arg(manifest())
}

fn merge(parser: Parser) -> Parser {
    about(
        parser,
        "Make one export of the shards that several machines have filled",
        "\
Brings what the shards know into the ledger of the whole export, and writes its reports: those of one run alone. May be \
given at any time and again. The rows of a shard that has not run, is at work or was cut short are untried, the shard is \
named, and the exit code is 1; else it is that of the rows.

Shards in export folders of their own are taken into this one if these are named: on one disk images are moved, from \
another one they are copied and hashed on the way.",
    )
    .override_usage("exporter merge [OPTIONS] [MANIFEST] [FOLDER]...")
    .after_help("Example: exporter merge manifest.csv -o export")
    .after_long_help(
        "\
Examples:
  exporter merge manifest.csv -o export
  exporter merge manifest.csv -o export --finish     leave an ordinary export, without shards
  exporter merge manifest.csv -o export /mnt/node1/export /mnt/node2/export",
    )
    .args([
        Arg::new(MANIFEST)
            .value_parser(value_parser!(OsString))
            .value_hint(ValueHint::FilePath)
            .help("The manifest that all shards were given; without it, the file that the first shard was given"),
        Arg::new(FOLDER)
            .value_parser(value_parser!(OsString))
            .value_hint(ValueHint::DirPath)
            .num_args(0..)
            .help("Export folders of shards that were exported elsewhere"),
        switch(FINISH, "Leave an ordinary export: remove the shards' ledgers").help_heading(WHAT_TO_DO),
        json("Answer with the summary in JSON"),
    ])
}

fn plan(parser: Parser) -> Parser {
    about(
        parser,
        "Show what a run would do, without using the network",
        "\
Reads the manifest and the export folder, and shows the rows, bad rows and duplicates, what is already delivered, how \
many API requests are left, the shortest time they can take, and the free disk space. Needs no key and creates \
nothing: the export folder need not exist. The exit code is 2 if a run would refuse the manifest.",
    )
    .override_usage("exporter plan [OPTIONS] <MANIFEST>")
    .after_help("Example: exporter plan manifest.csv -o export")
    .after_long_help("Example:\n  exporter plan manifest.csv -o export --rate 500/60s")
    .args([manifest(), json("Answer in JSON")])
}

fn doctor(parser: Parser) -> Parser {
    about(
        parser,
        "Check the key, the network and the export folder before a long run",
        "\
Asks the API who the key belongs to (one request; two with --org). Then tries everything that a run needs on the disk: \
in the export folder or, if it does not exist, in the folder that would contain it. Leaves nothing behind. The requests \
count towards the allowance that all runs with this key share.

Prints one line per check: ok, warning, or problem with its remedy. The exit code is 1 if there is a problem.",
    )
    .after_help("Example: exporter doctor --org 7e2c8cfe --api-key-file key.txt -o export")
    .after_long_help(
        "\
Example:
  exporter doctor --org 7e2c8cfe-b7a9-4deb-986d-e7012589e72b --api-key-file key.txt -o /srv/export",
    )
    .args([
        valued(ORG, "ORG").help("Organization (clinic) whose images the key must be allowed to read"),
        json("Answer in JSON"),
    ])
}

fn status(parser: Parser) -> Parser {
    about(
        parser,
        "Show the progress of a run, or how the last run ended",
        "\
Reads the ledger, even while a run is going on in another terminal: rows by state, speed over the last minute, time \
left. The speed counts delivered images only; the progress bar of the run counts failed rows too.",
    )
    .after_help("Example: exporter status export --watch")
    .after_long_help(
        "\
Examples:
  exporter status export
  exporter status export --watch     refreshed every two seconds, until the run ends
  exporter status export --json",
    )
    .args([
        export_folder(),
        switch(WATCH, "Show the progress every two seconds until the run ends").help_heading(WHAT_TO_DO),
        json("Answer in JSON; with --watch, one object per line"),
    ])
}

fn verify(parser: Parser) -> Parser {
    about(
        parser,
        "Read every delivered image again and compare it with its SHA-256",
        "\
Hashes on all cores and names every file that is missing, changed, unreadable or foreign (in data/, but not part of the \
export). Does not use the network. The exit code is 3 if there is such a file, 1 if a folder cannot be entered or is a \
symbolic link, and else 0.",
    )
    .after_help("Example: exporter verify export")
    .after_long_help(
        "\
Examples:
  exporter verify export                 every image
  exporter verify export --oldest 1/7    a different seventh each night
  exporter verify export --repair        let the next run fetch what is missing or changed
  exporter verify export --adopt         the ledger is lost or damaged
  exporter verify export --receipts      the chain of all runs' receipts",
    )
    .args(verify_args())
}

fn verify_args() -> [Arg; 7] {
    [
        export_folder(),
        switch(REPAIR, "Mark missing and changed images as undelivered, so that the next run fetches them")
            .long_help(
                "Mark missing and changed images as undelivered, so that the next run fetches them\n\nThe exit code is \
                 still 3. A changed file stays until it is replaced. An unreadable file is marked if the disk returns \
                 an I/O error for it but not for others; if five in succession cannot be read, the disk is at fault: \
                 nothing is marked, and the exit code is 1.",
            )
            .help_heading(WHAT_TO_DO),
        valued(OLDEST, "N/M")
            .help("Check only the share N/M of the images that was checked longest ago; do not search for foreign files")
            .long_help(
                "Check only the share N/M of the images that was checked longest ago; do not search for foreign files\n\nThe delivery \
                 of an image counts as a check.",
            )
            .help_heading(WHAT_TO_DO),
        switch(ADOPT, "Rebuild a ledger that is lost or damaged")
            .long_help(
                "Rebuild a ledger that is lost or damaged\n\nThe new ledger has every file that matches \
                 manifest-sha256.txt. The ids come from report.csv and the reports of earlier runs, else from the \
                 paths. A damaged ledger is moved aside. The next run fetches only what is missing.",
            )
            .conflicts_with_all([REPAIR, OLDEST])
            .help_heading(WHAT_TO_DO),
        switch(RECEIPTS, "Check the chain of receipts.jsonl instead of the images")
            .long_help(
                "Check the chain of receipts.jsonl instead of the images\n\nEach receipt names the hash of the one before \
                 and of tagmanifest-sha256.txt. A line that a power cut tore is named, but does not count as a finding.",
            )
            .conflicts_with_all([REPAIR, OLDEST, ADOPT])
            .help_heading(WHAT_TO_DO),
        valued(HEAD, "HEX")
            .help("With --receipts: the SHA-256 of a receipt that you kept elsewhere; it must be in the chain")
            .requires(RECEIPTS)
            .help_heading(WHAT_TO_DO),
        json("Answer in JSON"),
    ]
}

fn report(parser: Parser) -> Parser {
    about(
        parser,
        "Write the reports again from the ledger",
        "\
The same ledger gives the same bytes, even after a run that was killed. With --runs, nothing is written; the command \
prints the table of all runs instead: who started each, when and on which host, its version and manifest, and how it \
ended.",
    )
    .after_help("Example: exporter report export")
    .after_long_help("Examples:\n  exporter report export\n  exporter report export --runs")
    .args([
        export_folder(),
        switch(RUNS, "Print the table of all runs instead").help_heading(WHAT_TO_DO),
        json("With --runs: answer in JSON").requires(RUNS),
    ])
}

fn completions(parser: Parser) -> Parser {
    about(
        parser,
        "Print a completion script for a shell",
        "\
Where the script belongs depends on the shell:

  bash  ~/.local/share/bash-completion/completions/exporter
  zsh   a file _exporter in a folder of $fpath
  fish  ~/.config/fish/completions/exporter.fish",
    )
    .after_help("Example: exporter completions fish > ~/.config/fish/completions/exporter.fish")
    .arg(Arg::new(SHELL).value_parser(EnumValueParser::<Shell>::new()).required(true).help("The shell"))
}

fn man(parser: Parser) -> Parser {
    about(parser, "Print the manual page of all commands", "To read it: exporter man | man -l -")
        .after_help("Example: exporter man > ~/.local/share/man/man1/exporter.1")
}

fn manifest() -> Arg {
    Arg::new(MANIFEST)
        .value_parser(value_parser!(OsString))
        .value_hint(ValueHint::FilePath)
        .required(true)
        .help("CSV file with the columns org, note and image; - reads standard input")
}

/// The export folder of commands that need little else.
fn export_folder() -> Arg {
    let notes = [("env", table::OUT.env), ("default", table::OUT.default)];
    let notes = notes.into_iter().filter_map(|(name, value)| Some(format!(" [{name}: {}]", value?)));
    Arg::new(DIR)
        .value_parser(value_parser!(OsString))
        .value_hint(ValueHint::DirPath)
        .help(format!("Export folder{}", notes.collect::<String>()))
}

fn switch(id: &'static str, help: &'static str) -> Arg {
    Arg::new(id).long(id).action(ArgAction::SetTrue).help(help)
}

fn valued(id: &'static str, value: &'static str) -> Arg {
    Arg::new(id).long(id).value_name(value).value_parser(value_parser!(OsString)).value_hint(ValueHint::Other)
}

fn json(help: &'static str) -> Arg {
    switch(JSON, help).help_heading(OUTPUT)
}
