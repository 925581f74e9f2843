//! The table of settings: flag, environment variable, default as it is written. The help is made from it, and
//! what is looked up goes by it.

/// One setting's names.
#[derive(Debug)]
pub struct Setting {
    /// The long flag, without its dashes; the key in a config file.
    pub flag: &'static str,
    /// Environment variable.
    pub env: Option<&'static str>,
    /// Default as the user would write it; the value itself stands in the library.
    pub default: Option<&'static str>,
}

const fn setting(flag: &'static str, env: Option<&'static str>, default: Option<&'static str>) -> Setting {
    Setting { flag, env, default }
}

pub const OUT: Setting = setting("out", Some("EXPORTER_OUT"), Some("export"));
pub const STATE_DIR: Setting =
    setting("state-dir", Some("EXPORTER_STATE_DIR"), Some(".exporter in the export folder"));
pub const MIN_FREE: Setting = setting("min-free", Some("EXPORTER_MIN_FREE"), Some("100M"));
pub const COLUMNS: Setting = setting("columns", None, None);
pub const DELIMITER: Setting = setting("delimiter", None, None);
pub const ON_BAD_ROW: Setting = setting("on-bad-row", None, Some("stop"));
pub const API_KEY_FILE: Setting = setting("api-key-file", Some("MAXAI_API_KEY_FILE"), None);
pub const API_URL: Setting = setting("api-url", Some("MAXAI_API_URL"), Some("https://api.maxcare.ai/v2"));
pub const CA_FILE: Setting = setting("ca-file", None, None);
pub const STORAGE_HOST: Setting = setting("storage-host", None, None);
pub const RATE: Setting = setting("rate", Some("EXPORTER_RATE"), Some("1000/60s"));
pub const CONCURRENCY: Setting = setting("concurrency", Some("EXPORTER_CONCURRENCY"), Some("32"));
pub const MAX_ATTEMPTS: Setting = setting("max-attempts", Some("EXPORTER_MAX_ATTEMPTS"), Some("8"));
pub const STALL_TIMEOUT: Setting = setting("stall-timeout", Some("EXPORTER_STALL_TIMEOUT"), Some("30s"));
pub const MAX_RETRY_TIME: Setting = setting("max-retry-time", Some("EXPORTER_MAX_RETRY_TIME"), Some("15m"));
pub const MAX_OUTAGE: Setting = setting("max-outage", Some("EXPORTER_MAX_OUTAGE"), Some("1h"));
pub const MAX_SIZE: Setting = setting("max-size", Some("EXPORTER_MAX_SIZE"), Some("5G"));
pub const UNTIL: Setting = setting("until", None, None);
pub const MAX_DURATION: Setting = setting("max-duration", None, None);
pub const PROGRESS: Setting = setting("progress", None, Some("auto"));
pub const LOG_FORMAT: Setting = setting("log-format", Some("EXPORTER_LOG_FORMAT"), Some("text"));

/// All of them, in the order of the help.
pub const ALL: [&Setting; 21] = [
    &OUT,
    &STATE_DIR,
    &MIN_FREE,
    &COLUMNS,
    &DELIMITER,
    &ON_BAD_ROW,
    &API_KEY_FILE,
    &API_URL,
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
];

/// The setting behind a long flag.
pub fn find(flag: &str) -> Option<&'static Setting> {
    ALL.into_iter().find(|setting| setting.flag == flag)
}

#[cfg(test)]
mod tests {
    use exporter::options;

    use super::super::{number, time, url};
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
        assert_eq!(time::duration(text(STALL_TIMEOUT)), Ok(options::STALL_TIMEOUT));
        assert_eq!(time::duration(text(MAX_RETRY_TIME)), Ok(options::MAX_RETRY_TIME));
        assert_eq!(time::duration(text(MAX_OUTAGE)), Ok(options::MAX_OUTAGE));
        assert_eq!(number::size(text(MAX_SIZE)), Ok(options::MAX_SIZE));
    }
}
