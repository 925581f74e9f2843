//! How a shard stands: missing, running, killed, stopped or complete.

use std::path::Path;

use serde::Serialize;

use super::heartbeat::{Beat, may_beat_elsewhere};
use super::home::ShardHome;
use super::open::open_shard_read_only;
use crate::disk::fault::disk_error;
use crate::error::RunError;
use crate::ledger::fault::sqlite_error;
use crate::ledger::handles::LedgerConnection;
use crate::ledger::lock::{Holder, MERGE, holder_in};
use crate::ledger::runs::{RunRow, newest_run};

/// How a shard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It has not run.
    Missing,
    /// A process works on it.
    Running,
    /// Its newest run has no end.
    Killed,
    /// Its newest run ended early.
    Stopped,
    /// Its newest run came to the end of its rows.
    Complete,
}

impl Standing {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Complete => "complete",
        }
    }
}

/// A shard, and its ledger if it has one.
#[derive(Debug)]
pub struct ShardLook {
    /// Where it lives.
    pub home: ShardHome,
    /// How it stands.
    pub standing: Standing,
    /// The machine that works on it, or did last.
    pub host: Option<String>,
    /// The process that works on it, if its number can be read.
    pub pid: Option<u32>,
    /// Its newest run.
    pub run: Option<RunRow>,
    /// Its ledger, for reading.
    pub ledger: Option<LedgerConnection>,
}

impl ShardLook {
    /// Looks at a shard. Changes nothing.
    ///
    /// # Errors
    /// [`RunError::Ledger`] if its ledger cannot be used, [`RunError::Disk`].
    pub fn at(out: &Path, home: ShardHome) -> Result<Self, RunError> {
        // asked first: a run that ends meanwhile is then shown once more as going on
        let holder = holder_in(&home.state)?.filter(|holder| holder.command != MERGE);
        let beat = Beat::read(&home.folder).map_err(disk_error("reading", &home.folder))?;
        let elsewhere = match (&holder, &beat) {
            (None, Some(_)) => {
                may_beat_elsewhere(&home.folder).map_err(disk_error("reading", &home.folder))?
            }
            _ => None,
        };
        let ledger = open_shard_read_only(out, &home)?;
        let run = match &ledger {
            Some(ledger) => newest_run(ledger).map_err(sqlite_error)?,
            None => None,
        };
        let standing = match &run {
            _ if holder.is_some() || elsewhere.is_some() => Standing::Running,
            None if ledger.is_none() => Standing::Missing,
            Some(RunRow { exit_code: Some(0 | 3), .. }) => Standing::Complete,
            Some(RunRow { exit_code: Some(_), .. }) => Standing::Stopped,
            _ => Standing::Killed,
        };
        let beating = if standing == Standing::Running { beat } else { None };
        let pid = holder.as_ref().and_then(|Holder { pid, .. }| *pid);
        let pid = pid.or_else(|| beating.as_ref().map(|beat| beat.pid));
        let host = beating.map(|beat| beat.host).or_else(|| run.as_ref().map(|run| run.host.clone()));
        Ok(Self { home, standing, host, pid, run, ledger })
    }

    /// Why rows of it are not tried, for its rows without a reason of their own.
    #[must_use]
    pub fn reason(&self) -> String {
        let shard = self.home.shard;
        match (self.standing, self.run.as_ref().and_then(|run| run.stop.as_ref())) {
            (Standing::Missing, _) => format!("shard {shard} has not run"),
            (Standing::Running, _) => match &self.host {
                Some(host) => format!("shard {shard} is still running on {host}"),
                None => format!("shard {shard} is still running"),
            },
            (Standing::Stopped | Standing::Complete, Some(stop)) => stop.clone(),
            (Standing::Killed, _) => format!("shard {shard} was killed before this row was reached"),
            (Standing::Stopped, None) => format!("shard {shard} ended before this row was reached"),
            (Standing::Complete, None) => {
                format!("the image is gone or changed since shard {shard} delivered it; run that shard again")
            }
        }
    }

    /// What a person should know of a shard that is not complete.
    #[must_use]
    pub fn remark(&self) -> String {
        let shard = self.home.shard;
        match self.standing {
            Standing::Missing | Standing::Running => self.reason(),
            Standing::Killed => format!("shard {shard} was killed"),
            Standing::Complete => format!("shard {shard} lacks images that it had delivered"),
            Standing::Stopped => {
                let stop = self.run.as_ref().and_then(|run| run.stop.as_deref());
                format!("shard {shard} ended early ({})", stop.unwrap_or("no reason is known"))
            }
        }
    }
}
