//! What would break in a long run, told before it: key and network, and the folder on its real disk.
//!
//! Every check has a name that stays the same, what was found, and what to do where that is not well. Nothing is left
//! behind.

mod disk;
mod ledger;
mod network;

use std::path::PathBuf;

use serde::Serialize;

use crate::item::OrgId;
use crate::options::{ApiOptions, Rate};

/// What is to be checked.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    /// The API; its key is empty where there is none.
    pub api: ApiOptions,
    /// Why there is no key.
    pub no_key: Option<String>,
    /// The allowance, which its requests count towards.
    pub rate: Rate,
    /// Folder of the request clock that runs share; `None`: there is none.
    pub limiter_dir: Option<PathBuf>,
    /// The organization for which the key is checked.
    pub org: Option<OrgId>,
    /// The export folder, which need not be there.
    pub out: PathBuf,
    /// Folder for ledger and lock, where it is not in the export folder.
    pub state_dir: Option<PathBuf>,
    /// Free space that a run leaves on the disk, in bytes.
    pub min_free: u64,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing to do.
    Ok,
    /// A run works, but not as well or as safely as it could.
    Warning,
    /// A run would fail.
    Problem,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked: a word that stays the same.
    pub name: &'static str,
    /// How it came out.
    pub result: Outcome,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where there is nothing to do.
    pub remedy: String,
}

/// All checks. Serialized it is the answer in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// There is no problem.
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

/// An error without the path of the try, which nobody knows.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" at path ").map_or(text.clone(), |(what, _)| what.to_owned())
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
