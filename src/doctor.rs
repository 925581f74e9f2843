//! What would break a long run, found before it: key and network, and the folder on its real disk.
//!
//! Every check has a stable name, what was found, and a remedy unless all is well. Nothing is left behind.

mod data;
mod disk;
mod ledger;
mod network;

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Serialize;

use crate::error::{ErrorCode, RunError, advice, chain};
use crate::item::OrgId;
use crate::options::{ApiOptions, Rate};

/// What is to be checked.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    /// The API; its key is empty if there is none.
    pub api: ApiOptions,
    /// Why there is no usable key.
    pub no_key: Option<String>,
    /// The allowance, towards which the checks' requests count.
    pub rate: Rate,
    /// Folder of the request limiter that runs share; `None`: none is shared.
    pub limiter_dir: Option<PathBuf>,
    /// The organization for which the key is checked.
    pub org: Option<OrgId>,
    /// The export folder, which need not exist.
    pub out: PathBuf,
    /// Folder for ledger and lock, if not in the export folder.
    pub state_dir: Option<PathBuf>,
    /// Bytes that a run leaves free on the disk.
    pub min_free: u64,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// No action is needed.
    Ok,
    /// A run works, but not as well or as safely as it could.
    Warning,
    /// A run would fail.
    Problem,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked: a stable word.
    pub name: &'static str,
    /// Its result.
    pub result: Outcome,
    /// What was found.
    pub found: String,
    /// What to do about it; empty if no action is needed.
    pub remedy: String,
}

/// All checks. Serialized it is the answer in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// No check found a problem.
    pub ok: bool,
    /// In the order in which a run would meet them.
    pub checks: Vec<Check>,
}

/// Makes all checks: at most two requests to the API.
pub async fn doctor(options: &DoctorOptions) -> Diagnosis {
    let mut checks = Checks::default();
    network::check(options, &mut checks).await;
    disk::check(options, &mut checks);
    ledger::check(options, &mut checks);
    let ok = checks.0.iter().all(|check| check.result != Outcome::Problem);
    Diagnosis { ok, checks: checks.0 }
}

/// The error without the random path of the doctor's own folder.
fn without_path(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" at path ").map_or(text.clone(), |(what, _)| what.to_owned())
}

/// What an error of the disk says, without the advice for a run, and a remedy by its cause.
fn disk_trouble(error: &RunError) -> (String, Cow<'static, str>) {
    let what = match error {
        RunError::Disk(what) => what.clone(),
        other => chain(other),
    };
    let remedy = advice::of(Some(ErrorCode::Disk), &what);
    (what, remedy)
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn ok(&mut self, name: &'static str, found: impl Into<String>) {
        self.0.push(Check { name, result: Outcome::Ok, found: found.into(), remedy: String::new() });
    }

    fn warning(&mut self, name: &'static str, found: impl Into<String>, remedy: &str) {
        let (result, remedy) = (Outcome::Warning, remedy.to_owned());
        self.0.push(Check { name, result, found: found.into(), remedy });
    }

    fn problem(&mut self, name: &'static str, found: impl Into<String>, remedy: &str) {
        let (result, remedy) = (Outcome::Problem, remedy.to_owned());
        self.0.push(Check { name, result, found: found.into(), remedy });
    }
}
