//! Settings as text: the list of `--show-settings`, and flags for the commands that a message suggests next. No part of
//! the API key is shown, only whether there is a usable one and where it came from.

use std::fmt::Write as _;
use std::path::Path;

use exporter::remote::http::ProxySettings;

use super::key::{self, KeyStatus};
use super::refusal::has_credentials;
use super::sources::{Given, LookedUp};
use super::table::{Kind, Setting};
use super::{Sources, table};
use crate::output::redact;

/// Widest column of values, in characters: a longer value moves only its own line.
const WIDTH_MAX: usize = 30;
const NOT_SET: &str = "(not set)";
const DEFAULT: &str = "default";

/// The list, one setting a line in the order of the help: name, value, origin.
pub fn list(sources: &Sources<'_>) -> String {
    // without a key no request is made
    let key = key::status(sources);
    let proxy = key.as_ref().and_then(|_| ProxySettings::from_env());
    rows(sources, key.as_ref(), proxy.as_ref())
}

fn rows(sources: &Sources<'_>, key: Option<&KeyStatus>, proxy: Option<&ProxySettings>) -> String {
    let mut rows = vec![config(sources)];
    let looked_up = sources.looked_up();
    for setting in table::ALL {
        if let Some(looked_up) = looked_up.iter().find(|looked_up| looked_up.flag == setting.flag) {
            rows.push(row(looked_up, default(setting)));
        }
        if setting.flag == table::API_KEY_FILE.flag
            && let Some(key) = key
        {
            rows.push(["api-key".to_owned(), key.value.clone(), key.origin.clone()]);
        }
    }
    if let Some(proxy) = proxy {
        rows.push(["proxy".to_owned(), redact::safe(&proxy.name()), "HTTPS_PROXY".to_owned()]);
    }
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.filter(|length| *length <= WIDTH_MAX).max().unwrap_or_default()
    };
    let (names, values) = (width(0), width(1));
    rows.iter().fold(String::new(), |mut text, [name, value, origin]| {
        let line = format!("{name:<names$}  {value:<values$}  {origin}");
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

fn config(sources: &Sources<'_>) -> [String; 3] {
    let shown = |path: &Path| redact::without_keys(&redact::safe(&path.to_string_lossy())).into_owned();
    let (value, origin) = match (sources.config(), sources.config_is_named()) {
        (Some(path), true) => (shown(path), "--config"),
        (Some(path), false) => (shown(path), DEFAULT),
        (None, _) => (NOT_SET.to_owned(), DEFAULT),
    };
    ["config".to_owned(), value, origin.to_owned()]
}

/// The value that counts if none is given.
fn default(setting: &Setting) -> &'static str {
    setting.default.unwrap_or(match setting.kind {
        Kind::Switch => "false",
        Kind::Level => "0",
        _ => NOT_SET,
    })
}

fn row(looked_up: &LookedUp, default: &str) -> [String; 3] {
    let (value, origin) = match looked_up.given.first() {
        Some(first) => {
            let values: Vec<String> = looked_up.given.iter().map(value).collect();
            (values.join(", "), redact::without_keys(&first.origin.to_string()).into_owned())
        }
        None => (default.to_owned(), DEFAULT.to_owned()),
    };
    [looked_up.flag.to_owned(), value, origin]
}

/// The value as it was written, without control characters; a secret in the wrong place is not shown.
fn value(given: &Given) -> String {
    let text = given.value.to_string_lossy();
    if has_credentials(&text) || redact::holds_key(&text) || given.might_be_a_key() {
        return "(not shown, it might hold a secret)".to_owned();
    }
    if text.is_empty() { "\"\"".to_owned() } else { redact::safe(&text) }
}

/// The `settings` that were given, as flags with a space before each; before them the config file, if one was named.
/// What was left to its default is left out.
pub fn as_flags(sources: &Sources<'_>, settings: &[&Setting]) -> String {
    let looked_up = sources.looked_up();
    let mut text = String::new();
    if let Some(config) = sources.config().filter(|_| sources.config_is_named()) {
        let _ = write!(text, " --config {}", redact::shell(config));
    }
    for setting in settings {
        let given = looked_up.iter().filter(|looked_up| looked_up.flag == setting.flag);
        for given in given.flat_map(|looked_up| &looked_up.given) {
            let flag =
                setting.short.map_or_else(|| format!("--{}", setting.flag), |short| format!("-{short}"));
            // a tab is hard to type
            let value = if given.value == "\t" { "tab".as_ref() } else { &*given.value };
            let _ = write!(text, " {flag} {}", redact::shell(Path::new(value)));
        }
    }
    text
}

/// As [`as_flags`], for a run on `failed.csv`: its columns have the manifest's names, but it is separated by commas.
pub fn flags_for_failed_csv(sources: &Sources<'_>) -> String {
    let mut text = as_flags(sources, &[&table::OUT, &table::STATE_DIR, &table::COLUMNS]);
    let looked_up = sources.looked_up();
    let delimiter = looked_up.iter().find(|looked_up| looked_up.flag == table::DELIMITER.flag);
    if delimiter.is_some_and(|delimiter| delimiter.given.iter().any(|given| given.value != ",")) {
        text.push_str(" --delimiter ,");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use insta::assert_snapshot;

    use super::super::sources::command_line;
    use super::*;

    #[test]
    fn each_setting_stands_with_its_value_and_where_it_came_from() {
        let env = |name: &str| (name == "EXPORTER_OUT").then(|| OsString::from("a\u{1b}[2J"));
        let args = command_line(&[
            "--rate=500/60s",
            "--api-key-file=max_prd_ak_0123456789",
            "--api-url=https://me:hidden@host",
            "--storage-host=a.example",
            "--storage-host=*.b.example",
            "--allow-http",
        ]);
        let sources = Sources::new(&args, &env);
        for setting in [&table::RATE, &table::OUT, &table::UNTIL, &table::API_KEY_FILE, &table::API_URL] {
            let _ = sources.value(setting);
        }
        let _ = sources.texts(&table::STORAGE_HOST, |_| Ok(()));
        let _ = sources.switch(&table::ALLOW_HTTP);
        let key = KeyStatus { value: "(set, not shown)".to_owned(), origin: "MAXAI_API_KEY".to_owned() };
        assert_snapshot!(super::rows(&sources, Some(&key), None), @r"
        config        (not set)               default
        out           a\u{1b}[2J              EXPORTER_OUT
        api-key-file  (not shown, it might hold a secret)  --api-key-file
        api-key       (set, not shown)        MAXAI_API_KEY
        api-url       (not shown, it might hold a secret)  --api-url
        allow-http    true                    --allow-http
        storage-host  a.example, *.b.example  --storage-host
        rate          500/60s                 --rate
        until         (not set)               default
        ");
    }

    #[test]
    fn what_was_given_is_given_again_in_the_words_of_a_shell() {
        let settings = [&table::OUT, &table::STATE_DIR, &table::COLUMNS, &table::DELIMITER];
        let (none, args) = (|_: &str| None, command_line(&[]));
        let sources = Sources::new(&args, &none);
        for setting in settings {
            let _ = sources.value(setting);
        }
        assert_eq!(flags_for_failed_csv(&sources), "");
        let env = |name: &str| (name == "EXPORTER_OUT").then(|| "my export".into());
        let args = command_line(&["--state-dir=/state", "--columns=org=Clinic Id", "--delimiter=\t"]);
        let sources = Sources::new(&args, &env);
        for setting in settings {
            let _ = sources.value(setting);
        }
        assert_eq!(
            flags_for_failed_csv(&sources),
            " -o 'my export' --state-dir /state --columns 'org=Clinic Id' --delimiter ,"
        );
        assert_eq!(as_flags(&sources, &[&table::OUT, &table::DELIMITER]), " -o 'my export' --delimiter tab");
    }
}
