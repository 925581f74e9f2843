//! The table of settings: flag, environment variable, default as it is written. The help is made from it, and
//! what is looked up goes by it.

/// How a setting is written in a config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A duration or a size: a string with its unit. A bare number is let through to be refused for its missing
    /// unit, but for 0.
    Amount,
    /// A whole number.
    Number,
    /// Strings in an array, or one string.
    List,
    /// true or false.
    Switch,
    /// A whole number, or true for 1.
    Level,
}

use self::Kind::{Amount, Level, List, Number, Switch, Text};

/// One setting's names.
#[derive(Debug)]
pub struct Setting {
    /// The long flag, without its dashes; the key in a config file.
    pub flag: &'static str,
    /// How it is written there.
    pub kind: Kind,
    /// Environment variable.
    pub env: Option<&'static str>,
    /// Default as the user would write it; the value itself stands in the library.
    pub default: Option<&'static str>,
}

const fn setting(
    flag: &'static str,
    kind: Kind,
    env: Option<&'static str>,
    default: Option<&'static str>,
) -> Setting {
    Setting { flag, kind, env, default }
}

pub const OUT: Setting = setting("out", Text, Some("EXPORTER_OUT"), Some("export"));
pub const STATE_DIR: Setting =
    setting("state-dir", Text, Some("EXPORTER_STATE_DIR"), Some(".exporter in the export folder"));
pub const MIN_FREE: Setting = setting("min-free", Amount, Some("EXPORTER_MIN_FREE"), Some("100M"));
pub const COLUMNS: Setting = setting("columns", Text, None, None);
pub const DELIMITER: Setting = setting("delimiter", Text, None, None);
pub const ON_BAD_ROW: Setting = setting("on-bad-row", Text, None, Some("stop"));
pub const API_KEY_FILE: Setting = setting("api-key-file", Text, Some("MAXAI_API_KEY_FILE"), None);
pub const API_URL: Setting =
    setting("api-url", Text, Some("MAXAI_API_URL"), Some("https://api.maxcare.ai/v2"));
pub const ALLOW_HTTP: Setting = setting("allow-http", Switch, None, None);
pub const CA_FILE: Setting = setting("ca-file", Text, None, None);
pub const STORAGE_HOST: Setting = setting("storage-host", List, None, None);
pub const RATE: Setting = setting("rate", Text, Some("EXPORTER_RATE"), Some("1000/60s"));
pub const CONCURRENCY: Setting = setting("concurrency", Number, Some("EXPORTER_CONCURRENCY"), Some("32"));
pub const MAX_ATTEMPTS: Setting = setting("max-attempts", Number, Some("EXPORTER_MAX_ATTEMPTS"), Some("8"));
pub const STALL_TIMEOUT: Setting =
    setting("stall-timeout", Amount, Some("EXPORTER_STALL_TIMEOUT"), Some("30s"));
pub const MAX_RETRY_TIME: Setting =
    setting("max-retry-time", Amount, Some("EXPORTER_MAX_RETRY_TIME"), Some("15m"));
pub const MAX_OUTAGE: Setting = setting("max-outage", Amount, Some("EXPORTER_MAX_OUTAGE"), Some("1h"));
pub const MAX_SIZE: Setting = setting("max-size", Amount, Some("EXPORTER_MAX_SIZE"), Some("5G"));
pub const UNTIL: Setting = setting("until", Text, None, None);
pub const MAX_DURATION: Setting = setting("max-duration", Amount, None, None);
pub const PROGRESS: Setting = setting("progress", Text, None, Some("auto"));
pub const LOG_FORMAT: Setting = setting("log-format", Text, Some("EXPORTER_LOG_FORMAT"), Some("text"));
pub const VERBOSE: Setting = setting("verbose", Level, None, None);
pub const QUIET: Setting = setting("quiet", Switch, None, None);
pub const METRICS_FILE: Setting = setting("metrics-file", Text, None, None);

/// All of them, in the order of the help.
pub const ALL: [&Setting; 25] = [
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
    &PROGRESS,
    &LOG_FORMAT,
    &VERBOSE,
    &QUIET,
    &METRICS_FILE,
];

/// The setting behind a long flag.
pub fn find(flag: &str) -> Option<&'static Setting> {
    ALL.into_iter().find(|setting| setting.flag == flag)
}

#[cfg(test)]
mod tests {
    use exporter::options;

    use super::super::{number, url, values};
    use super::*;

    #[test]
    fn every_default_in_the_help_is_the_librarys() {
        let text = |setting: Setting| setting.default.unwrap_or_default();
        assert_eq!(text(OUT), options::OUT);
        assert_eq!(number::size(text(MIN_FREE)), Ok(options::MIN_FREE));
        assert_eq!(url::api(text(API_URL), false).map(String::from), Ok(options::API_URL.to_owned()));
        assert_eq!(number::rate(text(RATE)), Ok(options::RATE));
        assert_eq!(text(CONCURRENCY), options::CONCURRENCY.to_string());
        assert_eq!(text(MAX_ATTEMPTS), options::MAX_ATTEMPTS.to_string());
        assert_eq!(values::duration(text(STALL_TIMEOUT)), Ok(options::STALL_TIMEOUT));
        assert_eq!(values::duration(text(MAX_RETRY_TIME)), Ok(options::MAX_RETRY_TIME));
        assert_eq!(values::duration(text(MAX_OUTAGE)), Ok(options::MAX_OUTAGE));
        assert_eq!(number::size(text(MAX_SIZE)), Ok(options::MAX_SIZE));
    }
}
