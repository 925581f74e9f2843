//! Ledger and lock: a database needs a local disk.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::data::CLOSED;
use super::{Checks, DoctorOptions, disk_trouble, without_path};
use crate::disk::folder::not_a_folder;
use crate::disk::presence::{self, cannot_look_at};
use crate::disk::{FileSystem, journal_mode, nearest_existing};
use crate::error::RunError;
use crate::ledger::{self, ShardHome, ShardLook, ShardSet};
use crate::shard::Shard;

const LOCAL: &str = "name a folder on a local disk with --state-dir";

pub(super) fn check(options: &DoctorOptions, checks: &mut Checks) {
    let state_dir = options.state_dir.as_deref();
    let folder = match state_place(&ledger::state_folder(&options.out, state_dir)) {
        Ok(folder) => folder,
        // it is in the export folder, and why that cannot be used was said of it
        Err(_) if state_dir.is_none() => return,
        Err((found, remedy)) => return checks.problem("state", found, &remedy),
    };
    file_system(&folder, checks);
    let own = tempfile::Builder::new().prefix(".exporter-doctor-").tempdir_in(&folder);
    match own {
        Ok(own) => {
            locks(own.path(), checks);
            if let Err(error) = own.close() {
                checks.warning("locks", format!("a file cannot be removed: {error}"), LOCAL);
            }
        }
        Err(error) => {
            let found = format!("nothing can be created in {}: {}", folder.display(), without_path(&error));
            let remedy = if error.kind() == ErrorKind::PermissionDenied { CLOSED } else { LOCAL };
            checks.problem("locks", found, remedy);
        }
    }
    export(&options.out, state_dir, checks);
}

/// The state folder, or the one in which it can be created; else why it cannot, and what helps.
fn state_place(state: &Path) -> Result<PathBuf, (String, Cow<'static, str>)> {
    let nearest = nearest_existing(state).map_err(|error| disk_trouble(&error))?;
    match presence::is_folder(&nearest).map_err(cannot_look_at(&nearest)) {
        Ok(true) => Ok(nearest),
        Ok(false) => Err((not_a_folder(&nearest), LOCAL.into())),
        Err(error) => Err(disk_trouble(&error)),
    }
}

/// Locks on a share end with its connection, and write-ahead mode needs memory that only one machine sees.
fn file_system(folder: &Path, checks: &mut Checks) {
    const NAME: &str = "file_system";
    let volume = FileSystem::of(folder);
    match volume.network_share() {
        Some(share) => {
            checks.warning(NAME, format!("ledger and lock would be on a share ({share})"), LOCAL);
        }
        None if volume.is_fuse() => checks.warning(
            NAME,
            "ledger and lock would be on a FUSE file system, which may be a network disk",
            LOCAL,
        ),
        None => checks.ok(NAME, "ledger and lock are on a local disk"),
    }
}

/// A lock must keep a second process out, and a database like the ledger must be writable.
fn locks(own: &Path, checks: &mut Checks) {
    const NAME: &str = "locks";
    let path = own.join("lock");
    let held = || {
        let first = File::create(&path)?;
        first.try_lock().map_err(std::io::Error::other)?;
        let second = File::open(&path)?;
        Ok::<_, std::io::Error>(second.try_lock().is_err())
    };
    match held() {
        Ok(true) => {}
        Ok(false) => return checks.problem(NAME, "a lock does not keep a second process out", LOCAL),
        Err(error) => return checks.problem(NAME, format!("no lock can be taken: {error}"), LOCAL),
    }
    let database = || {
        let connection = Connection::open(own.join("ledger.sqlite"))?;
        connection.pragma_update(None, "journal_mode", journal_mode(FileSystem::of(own)))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1);")?;
        connection.close().map_err(|(_, error)| error)
    };
    match database() {
        Ok(()) => checks.ok(NAME, "locks work, and a database can be written"),
        Err(error) => checks.problem(NAME, format!("no database can be written: {error}"), LOCAL),
    }
}

/// The ledger of an earlier run, if there is one.
fn export(out: &Path, state_dir: Option<&Path>, checks: &mut Checks) {
    const NAME: &str = "ledger";
    match ShardSet::read(out) {
        Ok(None) => {}
        Ok(Some(set)) => return shards(out, state_dir, &set, checks),
        Err(error) => return checks.problem(NAME, error.to_string(), "see write and locks"),
    }
    match ledger::open_read_only(out, state_dir) {
        Err(RunError::NoExport(_)) => return checks.ok(NAME, "none yet"),
        Err(RunError::Ledger { path, what, kind }) => {
            return checks.problem(NAME, format!("{} {what}", path.display()), &kind.advice(&path));
        }
        Err(error) => return trouble(NAME, &error, checks),
        Ok(_) => {}
    }
    match ledger::holder(out, state_dir) {
        Ok(None) => checks.ok(NAME, "there, and not in use"),
        Ok(Some(holder)) => {
            let process = holder.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let found = format!("in use by another exporter{process}");
            checks.warning(
                NAME,
                found,
                "a run that is started now would be refused: wait until that one has ended",
            );
        }
        Err(error) => trouble(NAME, &error, checks),
    }
}

/// The shards that several machines fill.
fn shards(out: &Path, state_dir: Option<&Path>, set: &ShardSet, checks: &mut Checks) {
    const NAME: &str = "ledger";
    let mut standings = BTreeMap::new();
    for shard in Shard::all(set.shards) {
        match ShardLook::at(out, ShardHome::of(out, state_dir, shard)) {
            Ok(look) => *standings.entry(look.standing).or_insert(0_u32) += 1,
            Err(error) => {
                let remedy =
                    "remove the folder of that shard and run it again: what it delivered is fetched again";
                return checks.problem(NAME, format!("shard {shard}: {error}"), remedy);
            }
        }
    }
    let words = standings.iter().map(|(standing, count)| format!("{count} {}", standing.as_str()));
    let words: Vec<String> = words.collect();
    checks.ok(NAME, format!("in {} shards: {}", set.shards, words.join(", ")));
}

fn trouble(name: &'static str, error: &RunError, checks: &mut Checks) {
    let (found, remedy) = disk_trouble(error);
    checks.problem(name, found, &remedy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_folder_passes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut checks = Checks::default();
        locks(folder.path(), &mut checks);
        export(folder.path(), None, &mut checks);
        let results: Vec<_> = checks.0.iter().map(|check| (check.name, check.result)).collect();
        assert_eq!(results, [("locks", super::super::Outcome::Ok), ("ledger", super::super::Outcome::Ok)]);
    }
}
