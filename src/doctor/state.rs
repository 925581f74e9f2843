//! Ledger and lock: a database that wants a local disk.

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;

use super::{Checks, DoctorOptions, plain};
use crate::error::RunError;
use crate::ledger;
use crate::plan::nearest;

const LOCAL: &str = "name a folder on a local disk with --state-dir";

pub(super) fn check(options: &DoctorOptions, checks: &mut Checks) {
    let state_dir = options.state_dir.as_deref();
    let place = nearest(&ledger::state_folder(&options.out, state_dir));
    if !place.is_dir() {
        let found = format!("{} is in the way and is no folder", place.display());
        return checks.problem("state", found, LOCAL);
    }
    file_system(&place, checks);
    let own = tempfile::Builder::new().prefix(".exporter-doctor-").tempdir_in(&place);
    match own {
        Ok(own) => {
            locks(own.path(), checks);
            if let Err(error) = own.close() {
                checks.warning("locks", format!("a file cannot be removed: {error}"), LOCAL);
            }
        }
        Err(error) => {
            let found = format!("nothing can be made in {}: {}", place.display(), plain(&error));
            checks.problem("locks", found, LOCAL);
        }
    }
    export(&options.out, state_dir, checks);
}

/// Locks of network file systems come and go with the connection, and none of them shares memory between machines.
fn file_system(place: &Path, checks: &mut Checks) {
    const NAME: &str = "file_system";
    match kind(place) {
        Kind::Local => checks.ok(NAME, "ledger and lock are on a local disk"),
        Kind::Network(name) => {
            checks.problem(NAME, format!("ledger and lock would be on a network disk ({name})"), LOCAL);
        }
        Kind::Fuse => checks.warning(
            NAME,
            "ledger and lock would be on a FUSE file system, which may be a network disk",
            LOCAL,
        ),
    }
}

/// What lies under a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Local,
    Network(&'static str),
    Fuse,
}

/// By the magic numbers of Linux (statfs(2)).
#[cfg(target_os = "linux")]
fn kind(place: &Path) -> Kind {
    let Ok(stat) = rustix::fs::statfs(place) else { return Kind::Local };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the numbers have 32 bits, the highest of which may be set, and the field is signed"
    )]
    let magic = stat.f_type as u32;
    of_magic(magic)
}

#[cfg(not(target_os = "linux"))]
fn kind(_place: &Path) -> Kind {
    Kind::Local
}

const fn of_magic(magic: u32) -> Kind {
    match magic {
        0x6969 => Kind::Network("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Kind::Network("SMB"),
        0x564c => Kind::Network("NCP"),
        0x0102_1997 => Kind::Network("9P"),
        0x00c3_6400 => Kind::Network("Ceph"),
        0x5346_414f | 0x6b41_4653 => Kind::Network("AFS"),
        0x0bd0_0bd0 => Kind::Network("Lustre"),
        0x6573_5546 => Kind::Fuse,
        _ => Kind::Local,
    }
}

/// A lock that keeps a second holder out, and a database as the ledger is one.
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
        Ok(false) => return checks.problem(NAME, "a lock keeps nobody out", LOCAL),
        Err(error) => return checks.problem(NAME, format!("no lock can be taken: {error}"), LOCAL),
    }
    let database = || {
        let connection = Connection::open(own.join("ledger.sqlite"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1);")?;
        connection.close().map_err(|(_, error)| error)
    };
    match database() {
        Ok(()) => checks.ok(NAME, "locks hold, and a database can be written"),
        Err(error) => checks.problem(NAME, format!("no database can be written: {error}"), LOCAL),
    }
}

/// The export that is there already, if one is.
fn export(out: &Path, state_dir: Option<&Path>, checks: &mut Checks) {
    const NAME: &str = "ledger";
    match ledger::open_read_only(out, state_dir) {
        Err(RunError::NoExport(_)) => return checks.ok(NAME, "none yet"),
        Err(error @ RunError::Ledger { .. }) => {
            return checks.problem(NAME, error.to_string(), "exporter verify --adopt, or a newer exporter");
        }
        Err(error) => return checks.problem(NAME, error.to_string(), "see write and locks"),
        Ok(_) => {}
    }
    match ledger::holder(out, state_dir) {
        Ok(None) => checks.ok(NAME, "there, and nobody works with it"),
        Ok(Some(holder)) => {
            let process = holder.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let found = format!("another exporter works with it now{process}");
            checks.warning(NAME, found, "a run that is started now is refused: wait for its end");
        }
        Err(error) => checks.problem(NAME, error.to_string(), "see locks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_disks_are_known_by_their_magic() {
        for (magic, kind) in [
            (0x6969, Kind::Network("NFS")),
            (0xff53_4d42, Kind::Network("SMB")),
            (0xfe53_4d42, Kind::Network("SMB")),
            (0x6573_5546, Kind::Fuse),
            (0xef53, Kind::Local),
            (0x0102_1994, Kind::Local),
        ] {
            assert_eq!(of_magic(magic), kind, "{magic:x}");
        }
    }

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
