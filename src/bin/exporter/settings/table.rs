//! Every setting once. The parser, the help, the completions, the manual page, the keys of the config file,
//! `--show-settings` and the table in the README all come from here. What a value may be is decided where it is
//! read; the default values themselves are the library's.

/// The commands, in the order in which they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Run,
    Merge,
    Plan,
    Doctor,
    Status,
    Verify,
    Report,
    Completions,
    Man,
}

use Command::{Doctor, Merge, Plan, Report, Run, Status, Verify};

/// How a setting is written in a config file; on the command line it decides whether a flag takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A duration or a size: a string with its unit. A bare number is let through to be refused for its missing
    /// unit, but for 0.
    Amount,
    /// A whole number, or a word that stands for one.
    Number,
    /// Strings in an array, or one string; the flag may be repeated.
    List,
    /// true or false; the flag takes no value.
    Switch,
    /// A whole number, or true for 1; the flag takes no value and may be repeated.
    Level,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The long flag without its dashes; also the key in a config file and the id of the parser's argument.
    pub flag: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub env: Option<&'static str>,
    /// As the user would write it.
    pub default: Option<&'static str>,
    /// For the help only: what is done without a value, if no value says it.
    pub default_words: Option<&'static str>,
    /// What the help calls the value: `a|b` are the only values, `FILE` and `DIR` are completed as paths.
    pub value: &'static str,
    pub heading: &'static str,
    /// One line, for `-h` and the README.
    pub help: &'static str,
    /// What `--help` and the manual page say beyond that line.
    pub more: &'static str,
    pub commands: &'static [Command],
}

impl Setting {
    /// Whether its value is a path.
    pub fn is_path(&self) -> bool {
        matches!(self.value, "FILE" | "DIR")
    }

    /// The only values, if the help names them.
    pub fn choices(&self) -> Vec<&'static str> {
        if self.value.contains('|') { self.value.split('|').collect() } else { Vec::new() }
    }
}

/// What an entry does not say.
const SETTING: Setting = Setting {
    flag: "",
    short: None,
    kind: Kind::Text,
    env: None,
    default: None,
    default_words: None,
    value: "",
    heading: "",
    help: "",
    more: "",
    commands: RUN,
};

const RUN: &[Command] = &[Run];
const RUN_PLAN: &[Command] = &[Run, Plan];
const MANIFEST_READERS: &[Command] = &[Run, Merge, Plan];
const RUN_DOCTOR: &[Command] = &[Run, Doctor];
const EVERY: &[Command] = &[Run, Merge, Plan, Doctor, Status, Verify, Report];

const FOLDERS: &str = "Folders";
const MANIFEST: &str = "Manifest";
const API: &str = "API and storage";
const PACE: &str = "Pace and patience";
const SHARDS: &str = "Many machines";
const OUTPUT: &str = "Output";
const SETTINGS: &str = "Settings";

pub const OUT: Setting = Setting {
    flag: "out",
    short: Some('o'),
    env: Some("EXPORTER_OUT"),
    default: Some("export"),
    value: "DIR",
    heading: FOLDERS,
    help: "Export folder: images, checksums and reports",
    commands: &[Run, Merge, Plan, Doctor],
    ..SETTING
};
pub const STATE_DIR: Setting = Setting {
    flag: "state-dir",
    env: Some("EXPORTER_STATE_DIR"),
    default: Some(".exporter in the export folder"),
    value: "DIR",
    heading: FOLDERS,
    help: "Folder on a local disk for the ledger and its lock, if the export folder is on NFS or SMB",
    more: "The ledger is a database and needs locks that network disks do not keep. Partial downloads stay in the \
           export folder. Give every command the same folder.",
    commands: EVERY,
    ..SETTING
};
pub const MIN_FREE: Setting = Setting {
    flag: "min-free",
    kind: Kind::Amount,
    env: Some("EXPORTER_MIN_FREE"),
    default: Some("100M"),
    value: "SIZE",
    heading: FOLDERS,
    help: "Free space to leave on the disk; a run stops when less is left",
    commands: RUN_DOCTOR,
    ..SETTING
};
pub const COLUMNS: Setting = Setting {
    flag: "columns",
    value: "ROLE=HEADER,...",
    heading: MANIFEST,
    help: "Names of the columns, if the header has other than the known ones: org=A,note=B,image=C, or some of these",
    more: "The known names are org, org_id, organization, organization_id, x_organization_id; note, note_id, noteid; \
           image, image_id, imageid, file_id.",
    commands: MANIFEST_READERS,
    ..SETTING
};
pub const DELIMITER: Setting = Setting {
    flag: "delimiter",
    default_words: Some("a tab for .tsv, else a comma"),
    value: "CHAR",
    heading: MANIFEST,
    help: "Character between fields; write tab for a tab",
    more: "It takes precedence over a first line such as sep=; in the manifest.",
    commands: MANIFEST_READERS,
    ..SETTING
};
pub const ON_BAD_ROW: Setting = Setting {
    flag: "on-bad-row",
    default: Some("stop"),
    value: "stop|skip",
    heading: MANIFEST,
    help: "If a row is bad: refuse the whole manifest (stop), or count the row as failed and go on (skip)",
    more: "A manifest is refused before any request is made. Bad rows are named by line in both cases.",
    commands: MANIFEST_READERS,
    ..SETTING
};
pub const API_KEY_FILE: Setting = Setting {
    flag: "api-key-file",
    env: Some("MAXAI_API_KEY_FILE"),
    value: "FILE",
    heading: API,
    help: "File that holds the API key on one line; takes precedence over MAXAI_API_KEY",
    more: "Only its owner should be able to read it (chmod 600). If the API refuses the key during a run, the file is \
           read again; the run goes on if it holds a new key.",
    commands: RUN_DOCTOR,
    ..SETTING
};
pub const API_URL: Setting = Setting {
    flag: "api-url",
    env: Some("MAXAI_API_URL"),
    default: Some("https://api.maxcare.ai/v2"),
    value: "URL",
    heading: API,
    help: "Base URL of the API; /v2 is added if its path names no version (/vN)",
    commands: RUN_DOCTOR,
    ..SETTING
};
pub const ALLOW_HTTP: Setting = Setting {
    flag: "allow-http",
    kind: Kind::Switch,
    heading: API,
    help: "Allow plain HTTP to hosts other than this machine; for tests in a closed network only",
    more: "The key and the images then cross the network unencrypted.",
    commands: RUN_DOCTOR,
    ..SETTING
};
pub const CA_FILE: Setting = Setting {
    flag: "ca-file",
    value: "FILE",
    heading: API,
    help: "Certificates (PEM) to trust in addition to the system's",
    commands: RUN_DOCTOR,
    ..SETTING
};
pub const STORAGE_HOST: Setting = Setting {
    flag: "storage-host",
    kind: Kind::List,
    default_words: Some("any"),
    value: "PATTERN",
    heading: API,
    help: "Host that a presigned URL may name, such as *.amazonaws.com; may be repeated",
    more: "Presigned URLs with other hosts are refused. A host that matches may have a private address.",
    commands: RUN_DOCTOR,
    ..SETTING
};
pub const RATE: Setting = Setting {
    flag: "rate",
    env: Some("EXPORTER_RATE"),
    default: Some("1000/60s"),
    value: "N/DURATION",
    heading: PACE,
    help: "At most N requests to the API in any DURATION, retries included",
    more: "The vendor allows an app 1000 requests per minute. Lower this if other machines use the same key.",
    commands: RUN_PLAN,
    ..SETTING
};
pub const SHARD: Setting = Setting {
    flag: "shard",
    env: Some("EXPORTER_SHARD"),
    value: "K/N",
    heading: SHARDS,
    help: "Export only the rows of shard K of N, counted from 1; exporter merge makes one export of all shards",
    more: "A row belongs to the shard that its org and note hash to, so the images of a note stay together. All shards \
           are given the same manifest, the same N and an export folder that they share, or one each. N does not come \
           from the engine that starts them: an array that is sent again for some of its tasks counts only these.",
    ..SETTING
};
pub const RATE_SHARE: Setting = Setting {
    flag: "rate-share",
    env: Some("EXPORTER_RATE_SHARE"),
    default_words: Some("1/N with --shard K/N, else 1/1"),
    value: "1/M",
    heading: SHARDS,
    help: "This run's part of the allowance of --rate, if M machines use it at the same time",
    more: "Runs on one machine add up their parts. If the API's answers say how many requests are left, a run may use \
           what the others leave; 1/1 always leaves it to those answers.",
    ..SETTING
};
pub const CONCURRENCY: Setting = Setting {
    flag: "concurrency",
    kind: Kind::Number,
    env: Some("EXPORTER_CONCURRENCY"),
    default: Some("auto"),
    value: "N",
    heading: PACE,
    help: "Images in flight at the same time: auto, or a number from 1 to 1024",
    more: "auto measures how long an image takes and keeps as many in flight as the allowance needs (--rate), from 8 to \
           256, within the limits of open files and memory. It goes below that while the storage asks to slow down, a \
           download stalls, or more images at a time bring no more bytes.",
    ..SETTING
};
pub const MAX_ATTEMPTS: Setting = Setting {
    flag: "max-attempts",
    kind: Kind::Number,
    env: Some("EXPORTER_MAX_ATTEMPTS"),
    default: Some("8"),
    value: "N",
    heading: PACE,
    help: "Attempts per image before its row counts as failed",
    ..SETTING
};
pub const STALL_TIMEOUT: Setting = Setting {
    flag: "stall-timeout",
    kind: Kind::Amount,
    env: Some("EXPORTER_STALL_TIMEOUT"),
    default: Some("30s"),
    value: "DURATION",
    heading: PACE,
    help: "Abandon an attempt after this long without receiving a byte",
    more: "A download as a whole has no time limit.",
    ..SETTING
};
pub const MAX_RETRY_TIME: Setting = Setting {
    flag: "max-retry-time",
    kind: Kind::Amount,
    env: Some("EXPORTER_MAX_RETRY_TIME"),
    default: Some("15m"),
    value: "DURATION",
    heading: PACE,
    help: "Longest time to keep retrying one image",
    ..SETTING
};
pub const MAX_OUTAGE: Setting = Setting {
    flag: "max-outage",
    kind: Kind::Amount,
    env: Some("EXPORTER_MAX_OUTAGE"),
    default: Some("1h"),
    value: "DURATION",
    heading: PACE,
    help: "Longest outage to wait out before the run stops",
    more: "Before the first answer, the limit is at most 2 minutes, so that a wrong address does not cost a night.",
    ..SETTING
};
pub const MAX_SIZE: Setting = Setting {
    flag: "max-size",
    kind: Kind::Amount,
    env: Some("EXPORTER_MAX_SIZE"),
    default: Some("5G"),
    value: "SIZE",
    heading: PACE,
    help: "Largest image to accept; a larger one fails",
    ..SETTING
};
pub const UNTIL: Setting = Setting {
    flag: "until",
    value: "HH:MM",
    heading: PACE,
    help: "Start no new images after this local time (today or tomorrow); finish those in flight",
    ..SETTING
};
pub const MAX_DURATION: Setting = Setting {
    flag: "max-duration",
    kind: Kind::Amount,
    value: "DURATION",
    heading: PACE,
    help: "Start no new images after this long; finish those in flight",
    more: "If --until is given too, the earlier of the two applies.",
    ..SETTING
};
pub const EXIT_ZERO_ON_DEADLINE: Setting = Setting {
    flag: "exit-zero-on-deadline",
    kind: Kind::Switch,
    heading: PACE,
    help: "Exit with 0 instead of 4 if --until or --max-duration ended the run",
    more: "For a scheduler that takes any code but 0 for a failure and cannot be told otherwise, such as Kubernetes. \
           Reports, log and metrics still say 4.",
    ..SETTING
};
pub const PROGRESS: Setting = Setting {
    flag: "progress",
    default: Some("auto"),
    value: "auto|bar|plain|none",
    heading: OUTPUT,
    help: "Show progress as a bar, as a plain line from time to time, or not at all",
    more: "auto shows a bar if standard error is a terminal, else plain lines.",
    commands: &[Run, Verify],
    ..SETTING
};
pub const LOG_FORMAT: Setting = Setting {
    flag: "log-format",
    env: Some("EXPORTER_LOG_FORMAT"),
    default: Some("text"),
    value: "text|json",
    heading: OUTPUT,
    help: "Write log lines as text, or as one JSON object per line",
    commands: EVERY,
    ..SETTING
};
pub const VERBOSE: Setting = Setting {
    flag: "verbose",
    short: Some('v'),
    kind: Kind::Level,
    heading: OUTPUT,
    help: "Log more; repeat it for still more (-vv, -vvv)",
    commands: EVERY,
    ..SETTING
};
pub const QUIET: Setting = Setting {
    flag: "quiet",
    short: Some('q'),
    kind: Kind::Switch,
    heading: OUTPUT,
    help: "Print nothing but errors: no progress, no warnings, no summary",
    commands: EVERY,
    ..SETTING
};
pub const METRICS_FILE: Setting = Setting {
    flag: "metrics-file",
    value: "FILE",
    heading: OUTPUT,
    help: "Write metrics for Prometheus to this file, every 10 seconds and at the end",
    more: "The file is replaced as a whole and readable by all users, as the textfile collector of node_exporter \
           expects; the collector reads files whose names end in .prom.",
    ..SETTING
};
pub const CONFIG: Setting = Setting {
    flag: "config",
    default_words: Some("exporter.toml here, else exporter/config.toml in the user's config folder"),
    value: "FILE",
    heading: SETTINGS,
    help: "Config file (TOML) to read",
    more: "Its keys are the long flags without dashes, such as max-attempts = 5. Flags and environment variables take \
           precedence over it. It cannot hold the API key.",
    commands: EVERY,
    ..SETTING
};
pub const SHOW_SETTINGS: Setting = Setting {
    flag: "show-settings",
    kind: Kind::Switch,
    heading: SETTINGS,
    help: "Print each setting, its value and where the value came from, and do nothing else",
    commands: EVERY,
    ..SETTING
};

/// All that can stand in a config file, in the order of the help.
pub const ALL: [&Setting; 28] = [
    &OUT,
    &STATE_DIR,
    &MIN_FREE,
    &COLUMNS,
    &DELIMITER,
    &ON_BAD_ROW,
    &API_KEY_FILE,
    &API_URL,
    &ALLOW_HTTP,
    &CA_FILE,
    &STORAGE_HOST,
    &RATE,
    &CONCURRENCY,
    &MAX_ATTEMPTS,
    &STALL_TIMEOUT,
    &MAX_RETRY_TIME,
    &MAX_OUTAGE,
    &MAX_SIZE,
    &UNTIL,
    &MAX_DURATION,
    &EXIT_ZERO_ON_DEADLINE,
    &SHARD,
    &RATE_SHARE,
    &PROGRESS,
    &LOG_FORMAT,
    &VERBOSE,
    &QUIET,
    &METRICS_FILE,
];

/// Flags about the settings themselves: only the command line has them.
pub const ABOUT_SETTINGS: [&Setting; 2] = [&CONFIG, &SHOW_SETTINGS];

/// The setting behind a key of a config file.
pub fn find(flag: &str) -> Option<&'static Setting> {
    ALL.into_iter().find(|setting| setting.flag == flag)
}

/// The flags of a command, in the order of its help.
pub fn of(command: Command) -> impl Iterator<Item = &'static Setting> {
    ALL.into_iter().chain(ABOUT_SETTINGS).filter(move |setting| setting.commands.contains(&command))
}

#[cfg(test)]
mod tests;
