//! From flags, environment and config file to [`RunOptions`], checked before anything is touched.
//!
//! Every setting is looked up in the same order (see [`find`]) and refused in the same voice: its name as the
//! user wrote it, its value, and what is allowed.

mod again;
mod config_file;
mod config_path;
mod export;
mod key;
mod manifest;
mod number;
mod screen;
mod show;
mod sources;
pub mod table;
mod until;
mod url;
mod values;

use std::path::{Path, PathBuf};

use exporter::doctor::DoctorOptions;
use exporter::manifest::Source;
use exporter::options::{self, ApiOptions, OnBadRow, RunOptions};
use exporter::plan::PlanOptions;
use secrecy::SecretString;

pub use self::again::{again, for_failed};
pub use self::config_path::Environment;
pub use self::export::{Export, folder, share};
pub use self::screen::{Progress, Screen, log, screen};
pub use self::show::list;
pub use self::sources::{Refusal, Sources};
pub use self::until::Deadline;
use crate::cli::{ApiArgs, DoctorArgs, ManifestArgs, PlanArgs, RunArgs};

/// A run as it was asked for.
#[derive(Debug)]
pub struct Settings {
    /// For the library.
    pub options: RunOptions,
    /// When nothing new is taken any more, to be named at the start.
    pub deadline: Option<Deadline>,
    /// What is allowed, but unwise.
    pub warnings: Vec<String>,
}

/// Reads the settings of `exporter plan`: those of a run that need no key.
///
/// # Errors
/// The first setting that cannot be used.
pub fn plan(args: &PlanArgs, sources: &Sources<'_>) -> Result<PlanOptions, Refusal> {
    let export::Export { out, state_dir } =
        export::of(args.out.as_deref(), args.state_dir.as_deref(), sources)?;
    Ok(PlanOptions {
        source: source(args.manifest.as_deref()),
        manifest: manifest::options(sources, &args.columns)?,
        on_bad_row: on_bad_row(&args.columns, sources)?,
        out,
        state_dir,
        rate: sources.text(&table::RATE, args.rate.as_deref(), number::rate)?.unwrap_or(options::RATE),
    })
}

/// Reads the settings of `exporter run`.
///
/// # Errors
/// The first setting that cannot be used.
pub fn run(args: &RunArgs, sources: &Sources<'_>) -> Result<Settings, Refusal> {
    let mut settings = all_but_the_key(args, sources)?;
    let (key, key_file) = key::find(sources, args.api.api_key_file.as_deref(), &mut settings.warnings)?;
    (settings.options.api.key, settings.options.api.key_file) = (key, key_file);
    Ok(settings)
}

/// Looks up all that a run would, for `--show-settings`. Whether there is a key that can be used is said there; any
/// other setting that cannot be used is refused, as a run would.
///
/// # Errors
/// The first setting that cannot be used.
pub fn look(args: &RunArgs, sources: &Sources<'_>) -> Result<(), Refusal> {
    all_but_the_key(args, sources)?;
    sources.value(&table::API_KEY_FILE, args.api.api_key_file.as_deref());
    Ok(())
}

/// The file for the metrics.
///
/// # Errors
/// Where it is empty.
pub fn metrics_file(args: &RunArgs, sources: &Sources<'_>) -> Result<Option<PathBuf>, Refusal> {
    sources.path(&table::METRICS_FILE, args.metrics_file.as_deref())
}

/// It is missing only where the settings are shown.
fn source(manifest: Option<&Path>) -> Source {
    match manifest {
        Some(path) if path.as_os_str() != "-" => Source::File(path.to_owned()),
        _ => Source::Stdin,
    }
}

fn on_bad_row(args: &ManifestArgs, sources: &Sources<'_>) -> Result<OnBadRow, Refusal> {
    let read = sources.text(&table::ON_BAD_ROW, args.on_bad_row.as_deref(), manifest::on_bad_row)?;
    Ok(read.unwrap_or_default())
}

fn all_but_the_key(args: &RunArgs, sources: &Sources<'_>) -> Result<Settings, Refusal> {
    let (columns, pace) = (&args.columns, &args.pace);
    let manifest = manifest::options(sources, columns)?;
    let on_bad_row = on_bad_row(columns, sources)?;
    let out = sources.path(&table::OUT, args.out.as_deref())?.unwrap_or_else(|| options::OUT.into());
    let state_dir = sources.path(&table::STATE_DIR, args.state_dir.as_deref())?;
    let min_free = sources.text(&table::MIN_FREE, args.min_free.as_deref(), number::size)?;
    let rate = sources.text(&table::RATE, pace.rate.as_deref(), number::rate)?;
    let concurrency = sources.text(&table::CONCURRENCY, pace.concurrency.as_deref(), |text| {
        number::whole(text, options::CONCURRENCY_MAX, options::CONCURRENCY)
    })?;
    let max_attempts = sources.text(&table::MAX_ATTEMPTS, pace.max_attempts.as_deref(), |text| {
        number::whole(text, number::ATTEMPTS_MAX, options::MAX_ATTEMPTS)
    })?;
    let stall_timeout =
        sources.text(&table::STALL_TIMEOUT, pace.stall_timeout.as_deref(), values::some_duration)?;
    let max_retry_time =
        sources.text(&table::MAX_RETRY_TIME, pace.max_retry_time.as_deref(), values::duration)?;
    let max_outage = sources.text(&table::MAX_OUTAGE, pace.max_outage.as_deref(), values::duration)?;
    let max_size = sources.text(&table::MAX_SIZE, pace.max_size.as_deref(), number::some_size)?;
    let deadline = until::deadline(sources, pace)?;
    let api = api(&args.api, sources)?;
    let mut warnings = Vec::new();
    let options = RunOptions {
        source: source(args.manifest.as_deref()),
        manifest,
        on_bad_row,
        out,
        state_dir,
        api,
        rate: rate.unwrap_or(options::RATE),
        limiter_dir: limiter_dir(sources, &mut warnings),
        concurrency: concurrency.unwrap_or(number::non_zero(options::CONCURRENCY)),
        max_attempts: max_attempts.unwrap_or(number::non_zero(options::MAX_ATTEMPTS)),
        stall_timeout: stall_timeout.unwrap_or(options::STALL_TIMEOUT),
        max_size: max_size.unwrap_or(options::MAX_SIZE),
        max_retry_time: max_retry_time.unwrap_or(options::MAX_RETRY_TIME),
        max_outage: max_outage.unwrap_or(options::MAX_OUTAGE),
        min_free: min_free.unwrap_or(options::MIN_FREE),
        deadline: deadline.as_ref().map(|deadline| deadline.instant),
    };
    Ok(Settings { options, deadline, warnings })
}

/// The XDG base directories' place for state that is worth keeping, but not a setting. A relative path there is to
/// be ignored, says the specification.
fn limiter_dir(sources: &Sources<'_>, warnings: &mut Vec<String>) -> Option<PathBuf> {
    let absolute = |name: &str| sources.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    if state.is_none() {
        let what = "neither XDG_STATE_HOME nor HOME is set: other runs with this key are not seen by the request clock";
        warnings.push(what.to_owned());
    }
    Some(state?.join("exporter"))
}

/// Reads the settings of `exporter doctor`, and what is allowed but unwise. That there is no key is for it to tell.
///
/// # Errors
/// The first setting that cannot be used.
pub fn doctor(args: &DoctorArgs, sources: &Sources<'_>) -> Result<(DoctorOptions, Vec<String>), Refusal> {
    let export::Export { out, state_dir } =
        export::of(args.out.as_deref(), args.state_dir.as_deref(), sources)?;
    let mut api = api(&args.api, sources)?;
    let mut warnings = Vec::new();
    let no_key = match key::find(sources, args.api.api_key_file.as_deref(), &mut warnings) {
        Ok((key, file)) => {
            (api.key, api.key_file) = (key, file);
            None
        }
        Err(_) if key::is_missing(sources, args.api.api_key_file.as_deref()) => {
            Some("there is none".to_owned())
        }
        Err(refusal) => Some(refusal.to_string()),
    };
    let min_free = sources.text(&table::MIN_FREE, args.min_free.as_deref(), number::size)?;
    // no flag of doctor's: its requests count towards what the runs are given
    let rate = sources.text(&table::RATE, None, number::rate)?.unwrap_or(options::RATE);
    let org = export::org(args.org.as_deref())?;
    let min_free = min_free.unwrap_or(options::MIN_FREE);
    let limiter_dir = limiter_dir(sources, &mut warnings);
    Ok((DoctorOptions { api, no_key, rate, limiter_dir, org, out, state_dir, min_free }, warnings))
}

/// The key is to be filled in.
fn api(args: &ApiArgs, sources: &Sources<'_>) -> Result<ApiOptions, Refusal> {
    let allow_http = sources.switch(&table::ALLOW_HTTP, args.allow_http);
    let url = match sources
        .text(&table::API_URL, args.api_url.as_deref(), |text| url::api(text, allow_http))?
    {
        Some(url) => url,
        None => url::api(options::API_URL, false).map_err(|why| Refusal::new("the API's address", why))?,
    };
    let ca_file = sources.readable(&table::CA_FILE, args.ca_file.as_deref())?;
    let storage_hosts = sources.texts(&table::STORAGE_HOST, &args.storage_host, url::storage_host)?;
    Ok(ApiOptions { url, key: SecretString::default(), key_file: None, allow_http, storage_hosts, ca_file })
}
