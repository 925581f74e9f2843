//! A config file (TOML): settings by the names of their long flags, each with its line. An unknown key is refused, so
//! that a typo does not silently leave a default in force; an API key is refused and never shown.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use toml::de::{DeTable, DeValue};

use super::config_path;
use super::refusal::{Refusal, shown};
use super::table::{self, Kind, Setting};
use crate::output::redact;

/// Largest config file, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// Names, in lower case and without `-` and `_`, under which a user might write the key or another secret.
const SECRETS: [&str; 15] = [
    "apikey",
    "maxaiapikey",
    "exporterapikey",
    "key",
    "maxaikey",
    "apitoken",
    "maxaiapitoken",
    "token",
    "accesstoken",
    "bearer",
    "bearertoken",
    "authorization",
    "secret",
    "apisecret",
    "password",
];
/// Least similarity (0 to 1) at which another name is suggested: `json` is no typo of `columns`.
const SIMILARITY_MIN: f64 = 0.8;
/// What only the command line has, besides the flags about the settings themselves.
const NOT_SETTINGS: [&str; 3] = ["help", "version", "manifest"];

#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    entries: Vec<Entry>,
}

/// One setting of a config file.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    flag: &'static str,
    line: usize,
    /// As a flag would have it; more than one for a list only.
    values: Vec<String>,
}

/// A line of a config file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigLine {
    path: PathBuf,
    line: usize,
}

impl fmt::Display for ConfigLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", redact::safe(&self.path.to_string_lossy()), self.line)
    }
}

impl ConfigFile {
    /// Reads a config file. What is allowed but unwise goes to `warnings`.
    ///
    /// # Errors
    /// The file cannot be read, or the first line of it that cannot be used.
    pub fn read(path: &Path, warnings: &mut Vec<String>) -> Result<Self, Refusal> {
        let name = redact::safe(&path.to_string_lossy());
        let failed =
            |error: io::Error| Refusal::new(format_args!("the config file {name} cannot be read"), error);
        let file = std::fs::File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        let refuse = |why: &str| Refusal::new(format_args!("the config file {name}"), why);
        if bytes.len() as u64 > FILE_MAX {
            return Err(refuse("it is too large; at most 1 MiB"));
        }
        let text = String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8"))?;
        let strange = meta.uid() != 0 && meta.uid() != geteuid().as_raw();
        if meta.is_file() && (strange || meta.permissions().mode() & 0o022 != 0) {
            warnings.push(format!(
                "the config file {name} can be changed by others, who could have the API key sent elsewhere: make \
                 it yours alone (chown, chmod go-w)"
            ));
        }
        Self::parse(path, &text)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The values of a setting and their line.
    pub fn get(&self, setting: &Setting) -> Option<(&[String], ConfigLine)> {
        let entry = self.entries.iter().find(|entry| entry.flag == setting.flag)?;
        Some((&entry.values, ConfigLine { path: self.path.clone(), line: entry.line }))
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Refusal> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let line = |span: Option<Range<usize>>| {
            let before = text.as_bytes().get(..span.unwrap_or_default().start).unwrap_or_default();
            before.split(|byte| *byte == b'\n').count()
        };
        let at = |span| ConfigLine { path: path.to_owned(), line: line(span) };
        // the error's own text would show the line, and with it what might be a secret
        let table = DeTable::parse(text)
            .map_err(|error| Refusal::new(at(error.span()), error.message().replace('\n', ", ")))?;
        let mut keys: Vec<_> = table.get_ref().iter().collect();
        keys.sort_unstable_by_key(|(key, _)| key.span().start);
        let entries = keys.into_iter().map(|(key, value)| {
            let at = at(Some(key.span()));
            entry(key.get_ref(), value.get_ref(), at.line).map_err(|why| Refusal::new(at, why))
        });
        let entries = entries.collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), entries })
    }
}

/// One line of the file; an `Err` says what is wrong with it.
fn entry(key: &str, value: &DeValue<'_>, line: usize) -> Result<Entry, String> {
    let squeezed: String = key.to_lowercase().chars().filter(|char| char.is_alphanumeric()).collect();
    if SECRETS.contains(&&*squeezed) {
        return Err(format!(
            "the API key does not belong in a config file; name a file that holds it with {}, or set MAXAI_API_KEY",
            table::API_KEY_FILE.flag
        ));
    }
    let about_settings = table::ABOUT_SETTINGS.iter().any(|setting| setting.flag == key);
    if about_settings || NOT_SETTINGS.contains(&key) {
        return Err(format!("{key} belongs on the command line"));
    }
    let Some(setting) = table::find(key) else { return Err(unknown(key, value)) };
    let values = values(setting.kind, value)
        .ok_or_else(|| format!("{} has the wrong form; {}", setting.flag, example(setting)))?;
    Ok(Entry { flag: setting.flag, line, values })
}

fn unknown(key: &str, value: &DeValue<'_>) -> String {
    let known = table::ALL.into_iter().map(|setting| setting.flag);
    let near = |name: &str| strsim::jaro_winkler(&key.to_lowercase(), name);
    let nearest =
        known.max_by(|a, b| near(a).total_cmp(&near(b))).filter(|name| near(name) >= SIMILARITY_MIN);
    let key = shown(key.as_ref());
    if matches!(value, DeValue::Table(_)) {
        return format!("there is no section {key}; settings stand without one, at the top");
    }
    match nearest {
        Some(nearest) => format!("there is no setting {key}; did you mean {nearest}?"),
        None => format!("there is no setting {key}; --show-settings lists them"),
    }
}

/// The values as a flag would have them; `None` if the TOML type is not the setting's.
fn values(kind: Kind, value: &DeValue<'_>) -> Option<Vec<String>> {
    let one = |value: &DeValue<'_>| match (kind, value) {
        (Kind::Text | Kind::Amount | Kind::Number | Kind::List, DeValue::String(text)) => {
            Some(text.to_string())
        }
        (Kind::Amount | Kind::Number | Kind::Level, DeValue::Integer(number)) => {
            let whole = i64::from_str_radix(number.as_str(), number.radix());
            Some(whole.map_or_else(|_| number.to_string(), |whole| whole.to_string()))
        }
        (Kind::Switch, DeValue::Boolean(on)) => Some(on.to_string()),
        (Kind::Level, DeValue::Boolean(on)) => Some(u8::from(*on).to_string()),
        _ => None,
    };
    match (kind, value) {
        (Kind::List, DeValue::Array(array)) => array.iter().map(|value| one(value.get_ref())).collect(),
        _ => one(value).map(|value| vec![value]),
    }
}

/// How the setting is written, for a refusal.
fn example(setting: &Setting) -> String {
    let flag = setting.flag;
    match setting.kind {
        Kind::Text => format!("write it in quotes: {flag} = \"…\""),
        Kind::Amount => format!("write it in quotes, with its unit: {flag} = \"{}\"", default(setting, "4h")),
        Kind::Number | Kind::Level => match default(setting, "1") {
            word if word.parse::<u32>().is_err() => format!("write a whole number, or {flag} = \"{word}\""),
            number => format!("write a whole number: {flag} = {number}"),
        },
        Kind::List => format!("write an array of strings: {flag} = [\"…\"]"),
        Kind::Switch => format!("write {flag} = true or false"),
    }
}

fn default(setting: &Setting, without: &'static str) -> &'static str {
    setting.default.unwrap_or(without)
}

/// The config file to use: the one that is named, else the first that exists of `exporter.toml` in the working folder
/// and `exporter/config.toml` in the user's config folder.
///
/// # Errors
/// As for [`ConfigFile::read`]; a file that is named must exist.
pub fn find(
    named: Option<&Path>,
    env: config_path::Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<ConfigFile>, Refusal> {
    match named {
        Some(path) => ConfigFile::read(path, warnings).map(Some),
        None => config_path::find(env).map(|path| ConfigFile::read(&path, warnings)).transpose(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse("x.toml".as_ref(), text).map_err(|refusal| refusal.to_string())
    }

    #[track_caller]
    fn refused(text: &str, message: &str) {
        assert_eq!(parse(text).expect_err(text), message, "{text}");
    }

    #[test]
    fn values_come_as_a_flag_would_have_them_each_with_its_line() {
        let file = parse(
            "\u{feff}# settings\r\nmax-attempts = 5\nmax-outage = '2h'\n\nallow-http = true\n\
             storage-host = [\n  'a.example',\n  '*.b.example',\n]\nmin-free = 0\nconcurrency = 0x20",
        )
        .expect("a config file");
        let get = |setting| {
            file.get(setting).map(|(values, line)| format!("{} {line}", values.join("+"))).unwrap_or_default()
        };
        assert_eq!(get(&table::MAX_ATTEMPTS), "5 x.toml line 2");
        assert_eq!(get(&table::MAX_OUTAGE), "2h x.toml line 3");
        assert_eq!(get(&table::ALLOW_HTTP), "true x.toml line 5");
        assert_eq!(get(&table::STORAGE_HOST), "a.example+*.b.example x.toml line 6");
        assert_eq!(get(&table::MIN_FREE), "0 x.toml line 10");
        assert_eq!(get(&table::CONCURRENCY), "32 x.toml line 11");
        assert_eq!(get(&table::RATE), "");
        let level = |text| parse(text).expect(text).get(&table::VERBOSE).map(|(values, _)| values.join("+"));
        assert_eq!(level("verbose = true"), Some("1".to_owned()));
        assert_eq!(level("verbose = 2"), Some("2".to_owned()));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        refused(
            "\nmax-atempts = 5",
            "x.toml line 2: there is no setting 'max-atempts'; did you mean max-attempts?",
        );
        refused(
            "max_outage = '1h'",
            "x.toml line 1: there is no setting 'max_outage'; did you mean max-outage?",
        );
        refused(
            "Concurrency = 1",
            "x.toml line 1: there is no setting 'Concurrency'; did you mean concurrency?",
        );
        refused("json = true", "x.toml line 1: there is no setting 'json'; --show-settings lists them");
        refused("output = 'x'", "x.toml line 1: there is no setting 'output'; did you mean out?");
        refused(
            "rate = '1/1s'\n[run]\nout = 'x'",
            "x.toml line 2: there is no section 'run'; settings stand without one, at the top",
        );
        refused("config = 'x'", "x.toml line 1: config belongs on the command line");
    }

    #[test]
    fn a_key_or_another_secret_is_refused_and_not_shown() {
        for key in [
            "api-key",
            "api_key",
            "API-KEY",
            "apiKey",
            "'api key'",
            "MAXAI_API_KEY",
            "token",
            "Authorization",
        ] {
            let error = parse(&format!("{key} = 'hidden'")).expect_err(key);
            assert!(
                error.contains("does not belong in a config file") && !error.contains("hidden"),
                "{error}"
            );
        }
        for text in [
            "[api]\nkey = 'hidden'",
            "api.key = 'hidden'",
            "api-key = hidden",
            "api-key hidden",
            "api-key = 'hidden",
            "api-key = 'a'\napi-key = 'hidden'",
            "out = hidden",
            "hidden_0123456789abcdef",
            "hidden_0123456789abcdef = 1",
            "max-attempts = { a = 'hidden' }",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with("x.toml line ") && !error.contains("hidden"), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_or_show_what_stands_behind_a_key(
            before in "[a-z\"'=.\\[\\]{}#\n -]{0,12}",
            key in "[a-zA-Z_.\"' -]{0,12}",
            sign in "[=: ]{0,3}",
            open in "(\"|'|\"\"\"|\\[|\\{ a = |)",
            after in "[a-z\"'=.\\[\\]{}#\n -]{0,12}",
        ) {
            let text = format!("{before}\n{key}{sign}{open}HIDDEN{after}");
            if let Err(error) = parse(&text) {
                // a bare word at the begin of a line is a key
                let named = error.contains("there is no se");
                assert!(named || !error.contains("HIDDEN"), "{text}: {error}");
                assert!(error.starts_with("x.toml line ") && error.lines().count() == 1, "{error}");
            }
        }
    }

    #[test]
    fn a_value_of_another_form_is_refused_with_the_right_one() {
        refused("out = 5", "x.toml line 1: out has the wrong form; write it in quotes: out = \"…\"");
        refused(
            "max-outage = 1.5",
            "x.toml line 1: max-outage has the wrong form; write it in quotes, with its unit: max-outage = \"1h\"",
        );
        refused(
            "max-attempts = [5]",
            "x.toml line 1: max-attempts has the wrong form; write a whole number: max-attempts = 8",
        );
        refused(
            "storage-host = [1]",
            "x.toml line 1: storage-host has the wrong form; write an array of strings: storage-host = [\"…\"]",
        );
        refused(
            "allow-http = 'yes'",
            "x.toml line 1: allow-http has the wrong form; write allow-http = true or false",
        );
        // a time of day without quotes is TOML's own
        refused(
            "until = 06:00",
            "x.toml line 1: until has the wrong form; write it in quotes: until = \"…\"",
        );
    }

    #[test]
    fn every_flag_of_the_table_can_stand_in_a_file() {
        for setting in table::ALL {
            let value = match setting.kind {
                Kind::Text | Kind::Amount => "'x'",
                Kind::Number | Kind::Level => "1",
                Kind::List => "['x', 'y']",
                Kind::Switch => "true",
            };
            let file = parse(&format!("{} = {value}", setting.flag)).expect(setting.flag);
            assert!(file.get(setting).is_some(), "{}", setting.flag);
        }
    }
}
