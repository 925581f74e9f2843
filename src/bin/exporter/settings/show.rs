//! `--show-settings`: each setting that was looked up, its value, and where it came from. The API key is not
//! shown, no part of it: only whether there is one that can be used, and from where.

use std::fmt::Write as _;
use std::path::Path;

use exporter::remote::http::ProxySettings;

use super::key::{self, Standing};
use super::sources::{Found, Told, has_credentials};
use super::table::{Kind, Setting};
use super::{Sources, table};
use crate::output::redact;

/// Widest column of values: a longer value pushes its own line only.
const WIDEST: usize = 30;
const NOT_SET: &str = "(not set)";
const DEFAULT: &str = "default";

/// The list, one setting a line in the order of the help: name, value, origin.
pub fn list(sources: &Sources<'_>) -> String {
    // without a key no request is made
    let key = key::standing(sources);
    let proxy = key.as_ref().and_then(|_| ProxySettings::from_env());
    rows(sources, key.as_ref(), proxy.as_ref())
}

fn rows(sources: &Sources<'_>, key: Option<&Standing>, proxy: Option<&ProxySettings>) -> String {
    let mut rows = vec![config(sources)];
    let told = sources.told();
    for setting in table::ALL {
        if let Some(told) = told.iter().find(|told| told.flag == setting.flag) {
            rows.push(row(told, default(setting)));
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
        lengths.filter(|length| *length <= WIDEST).max().unwrap_or_default()
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

/// What counts where nothing is given.
fn default(setting: &Setting) -> &'static str {
    setting.default.unwrap_or(match setting.kind {
        Kind::Switch => "false",
        Kind::Level => "0",
        _ => NOT_SET,
    })
}

fn row(told: &Told, default: &str) -> [String; 3] {
    let (value, origin) = match told.found.first() {
        Some(first) => {
            let values: Vec<String> = told.found.iter().map(value).collect();
            (values.join(", "), redact::without_keys(&first.origin.to_string()).into_owned())
        }
        None => (default.to_owned(), DEFAULT.to_owned()),
    };
    [told.flag.to_owned(), value, origin]
}

/// As it was written, without what steers a terminal and without a secret that strayed.
fn value(found: &Found) -> String {
    let text = found.value.to_string_lossy();
    if has_credentials(&text) || redact::holds_key(&text) || found.might_be_a_key() {
        return "(not shown, it might hold a secret)".to_owned();
    }
    if text.is_empty() { "\"\"".to_owned() } else { redact::safe(&text) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn each_setting_stands_with_its_value_and_where_it_came_from() {
        let env = |name: &str| (name == "EXPORTER_OUT").then(|| OsString::from("a\u{1b}[2J"));
        let sources = Sources::new(&env);
        let _ = sources.value(&table::RATE, Some("500/60s".as_ref()));
        let _ = sources.value(&table::OUT, None);
        let _ = sources.value(&table::UNTIL, None);
        let _ = sources.value(&table::API_KEY_FILE, Some("max_prd_ak_0123456789".as_ref()));
        let _ = sources.value(&table::API_URL, Some("https://me:hidden@host".as_ref()));
        let _ = sources.values(&table::STORAGE_HOST, &["a.example".into(), "*.b.example".into()]);
        let _ = sources.switch(&table::ALLOW_HTTP, true);
        let key = Standing { value: "(set, not shown)".to_owned(), origin: "MAXAI_API_KEY".to_owned() };
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
}
