//! From the command line, the environment and the config file to [`RunOptions`], checked before anything is touched.
//!
//! Every setting is looked up in the same order (see [`sources`]) and refused in the same form: its name as the user
//! wrote it, its value, and what is allowed. A new setting is one entry of [`table`] and one line here.

mod config_file;
mod config_path;
mod export;
mod key;
mod manifest;
mod merge;
mod refusal;
mod screen;
mod show;
mod sources;
pub mod table;
mod until;
mod url;
mod values;

use std::path::PathBuf;

use exporter::doctor::DoctorOptions;
use exporter::options::{self, ApiOptions, OnBadRow, RateShare, RunOptions};
use exporter::plan::PlanOptions;
use exporter::shard::{Shard, ShardError};
use secrecy::SecretString;

pub use self::config_path::Environment;
pub use self::export::{DIR, Export, HEAD, OLDEST, ORG, export, head, oldest};
pub use self::manifest::MANIFEST;
pub use self::merge::{FINISH, FOLDER, merge};
pub use self::refusal::Refusal;
pub use self::screen::{Progress, Screen, log, screen};
pub use self::show::{as_flags, flags_for_failed_csv, list};
pub use self::sources::Sources;
pub use self::until::Deadline;

/// The settings of a run.
#[derive(Debug)]
pub struct Settings {
    pub options: RunOptions,
    /// When the run stops starting new images, as text for the user.
    pub deadline: Option<Deadline>,
    /// Whether the process exits with 0 if that time ended the run.
    pub exit_zero_on_deadline: bool,
    /// What is allowed, but unwise.
    pub warnings: Vec<String>,
}

/// Reads the settings of `exporter plan`: those of a run that need no key.
///
/// # Errors
/// The first setting that cannot be used.
pub fn plan(sources: &Sources<'_>) -> Result<PlanOptions, Refusal> {
    let Export { out, state_dir } = export(sources)?;
    Ok(PlanOptions {
        source: manifest::source(sources),
        manifest: manifest::options(sources)?,
        on_bad_row: on_bad_row(sources)?,
        out,
        state_dir,
        rate: sources.text(&table::RATE, values::rate)?.unwrap_or(options::RATE),
    })
}

/// Reads the settings of `exporter run`.
///
/// # Errors
/// The first setting that cannot be used.
pub fn run(sources: &Sources<'_>) -> Result<Settings, Refusal> {
    let mut settings = all_but_the_key(sources)?;
    let (key, key_file) = key::find(sources, &mut settings.warnings)?;
    (settings.options.api.key, settings.options.api.key_file) = (key, key_file);
    Ok(settings)
}

/// Looks up every setting of a run, for `--show-settings`, which says itself whether there is a usable key.
///
/// # Errors
/// The first other setting that cannot be used.
pub fn check_all(sources: &Sources<'_>) -> Result<(), Refusal> {
    all_but_the_key(sources)?;
    sources.value(&table::API_KEY_FILE);
    Ok(())
}

/// The file for the metrics.
///
/// # Errors
/// The path is empty.
pub fn metrics_file(sources: &Sources<'_>) -> Result<Option<PathBuf>, Refusal> {
    sources.path(&table::METRICS_FILE)
}

fn on_bad_row(sources: &Sources<'_>) -> Result<OnBadRow, Refusal> {
    Ok(sources.text(&table::ON_BAD_ROW, manifest::on_bad_row)?.unwrap_or_default())
}

fn all_but_the_key(sources: &Sources<'_>) -> Result<Settings, Refusal> {
    let mut warnings = Vec::new();
    let whole = |setting, max, default| {
        let read = sources.text(setting, |text| values::whole(text, max, default))?;
        Ok(read.unwrap_or(values::non_zero(default)))
    };
    let manifest = manifest::options(sources)?;
    let on_bad_row = on_bad_row(sources)?;
    let Export { out, state_dir } = export(sources)?;
    let shard = shard(sources)?;
    let options = RunOptions {
        source: manifest::source(sources),
        manifest,
        on_bad_row,
        out,
        state_dir,
        min_free: sources.text(&table::MIN_FREE, values::size)?.unwrap_or(options::MIN_FREE),
        shard,
        rate: sources.text(&table::RATE, values::rate)?.unwrap_or(options::RATE),
        rate_share: rate_share(sources, shard)?,
        concurrency: sources.text(&table::CONCURRENCY, values::concurrency)?.unwrap_or(options::CONCURRENCY),
        max_attempts: whole(&table::MAX_ATTEMPTS, values::ATTEMPTS_MAX, options::MAX_ATTEMPTS)?,
        stall_timeout: sources
            .text(&table::STALL_TIMEOUT, values::some_duration)?
            .unwrap_or(options::STALL_TIMEOUT),
        max_retry_time: sources
            .text(&table::MAX_RETRY_TIME, values::duration)?
            .unwrap_or(options::MAX_RETRY_TIME),
        max_outage: sources.text(&table::MAX_OUTAGE, values::duration)?.unwrap_or(options::MAX_OUTAGE),
        max_size: sources.text(&table::MAX_SIZE, values::some_size)?.unwrap_or(options::MAX_SIZE),
        deadline: None,
        api: api(sources)?,
        limiter_dir: limiter_dir(sources, &mut warnings),
    };
    let deadline = until::deadline(sources)?;
    let options = RunOptions { deadline: deadline.as_ref().map(|deadline| deadline.time), ..options };
    let exit_zero_on_deadline = sources.switch(&table::EXIT_ZERO_ON_DEADLINE);
    Ok(Settings { options, deadline, exit_zero_on_deadline, warnings })
}

/// The shard whose rows are exported.
fn shard(sources: &Sources<'_>) -> Result<Option<Shard>, Refusal> {
    sources.text(&table::SHARD, |text| text.parse().map_err(|error: ShardError| error.to_string()))
}

/// The run's part of the allowance: an equal one for each shard, unless the user says otherwise.
fn rate_share(sources: &Sources<'_>, shard: Option<Shard>) -> Result<RateShare, Refusal> {
    let equal = || shard.map_or(RateShare::WHOLE, |shard| RateShare { part: 1, of: shard.of() });
    Ok(sources.text(&table::RATE_SHARE, values::rate_share)?.unwrap_or_else(equal))
}

/// The folder that the XDG base directories have for state that is worth keeping; no setting. A relative path in a
/// variable is ignored, as the specification asks.
fn limiter_dir(sources: &Sources<'_>, warnings: &mut Vec<String>) -> Option<PathBuf> {
    let absolute = |name: &str| sources.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    if state.is_none() {
        let what = "neither XDG_STATE_HOME nor HOME is set: other runs with this key are not seen by the request clock";
        warnings.push(what.to_owned());
    }
    Some(state?.join("exporter"))
}

/// Reads the settings of `exporter doctor`, and what is allowed but unwise. A missing key is no refusal: `doctor`
/// reports it as a problem.
///
/// # Errors
/// The first setting that cannot be used.
pub fn doctor(sources: &Sources<'_>) -> Result<(DoctorOptions, Vec<String>), Refusal> {
    let Export { out, state_dir } = export(sources)?;
    let mut api = api(sources)?;
    let mut warnings = Vec::new();
    let no_key = match key::find(sources, &mut warnings) {
        Ok((key, file)) => {
            (api.key, api.key_file) = (key, file);
            None
        }
        Err(_) if key::is_missing(sources) => Some("there is none".to_owned()),
        Err(refusal) => Some(refusal.to_string()),
    };
    let options = DoctorOptions {
        api,
        no_key,
        min_free: sources.text(&table::MIN_FREE, values::size)?.unwrap_or(options::MIN_FREE),
        // not one of doctor's flags, but its requests count towards the allowance of the runs
        rate: sources.text(&table::RATE, values::rate)?.unwrap_or(options::RATE),
        org: export::org(sources)?,
        limiter_dir: limiter_dir(sources, &mut warnings),
        out,
        state_dir,
    };
    Ok((options, warnings))
}

/// How to reach the API; the key is filled in by the caller.
fn api(sources: &Sources<'_>) -> Result<ApiOptions, Refusal> {
    let allow_http = sources.switch(&table::ALLOW_HTTP);
    let url = match sources.text(&table::API_URL, |text| url::api(text, allow_http))? {
        Some(url) => url,
        None => url::api(options::API_URL, false).map_err(|why| Refusal::new("the URL of the API", why))?,
    };
    Ok(ApiOptions {
        url,
        key: SecretString::default(),
        key_file: None,
        allow_http,
        ca_file: sources.readable(&table::CA_FILE)?,
        storage_hosts: sources.texts(&table::STORAGE_HOST, url::storage_host)?,
    })
}
