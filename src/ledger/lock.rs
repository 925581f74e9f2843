//! Which process works in an export folder: one at a time may write.
//!
//! The lock is the operating system's and ends with the process; the file's content only names its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::paths::{LOCK_FILE, STATE_DIR, state_folder};
use crate::disk::fault::disk_error;
use crate::disk::folder::refuse_special;
use crate::disk::presence::is_absence;
use crate::error::{RunError, chain};

/// The command that fills the folder, as it is named in its lock.
pub(super) const RUN: &str = "run";
/// The command that takes the lock only for moments, to save what it has checked.
pub const VERIFY: &str = "verify";
/// The command that makes one export of the shards of several machines.
pub(super) const MERGE: &str = "merge";
/// Between two attempts to take a lock that is held.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// How long a held lock is retried: a process that only asks for the holder has it for a moment.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a run waits for a verification that saves check times: on a slow disk that may take a second.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the locks of the ledger and of the part files for the command `by`.
pub(super) fn locks(out: &Path, state: &Path, by: &str) -> Result<Vec<File>, RunError> {
    lock_both(out, state, &out.join(STATE_DIR), by)
}

/// Takes the locks of a ledger in `state` and of part files in `parts`.
pub(super) fn lock_both(out: &Path, state: &Path, parts: &Path, by: &str) -> Result<Vec<File>, RunError> {
    let mut locks = vec![lock(out, &state.join(LOCK_FILE), by)?];
    if state != parts {
        // a run with its ledger elsewhere would work on the same part files; a share may support no locks
        match lock(out, &parts.join(LOCK_FILE), by) {
            Ok(second) => locks.push(second),
            Err(in_use @ RunError::InUse { .. }) => return Err(in_use),
            Err(error) => tracing::debug!("the part files are not locked: {}", chain(&error)),
        }
    }
    Ok(locks)
}

fn lock(out: &Path, path: &Path, by: &str) -> Result<File, RunError> {
    let mut file = open(path)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                file.rewind().map_err(disk_error("reading", path))?;
                let holder = Holder::read(&mut file);
                let timeout =
                    if by == RUN && holder.command == VERIFY { VERIFY_TIMEOUT } else { LOCK_TIMEOUT };
                if start.elapsed() > timeout {
                    return Err(holder.in_use(out));
                }
                std::thread::sleep(RETRY_INTERVAL);
            }
            Err(TryLockError::Error(error)) => return Err(disk_error("locking", path)(error)),
        }
    }
    sign(&mut file, by).map_err(disk_error("writing", path))?;
    Ok(file)
}

/// Opens the lock file, neither through a link, whose target would be overwritten, nor by waiting for the other end
/// of a pipe.
fn open(path: &Path) -> Result<File, RunError> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(disk_error("opening", path))?;
    refuse_special(path)?;
    Ok(file)
}

/// Writes the process id and the command, for the message of a process that finds the folder locked.
fn sign(file: &mut File, by: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}\n{by}\n", std::process::id())
}

/// The process that holds the lock of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process, if the number can be read.
    pub pid: Option<u32>,
    /// Its command: `run`, `verify` …; empty if it cannot be read.
    pub command: String,
    /// When it took the lock, by the clock of the lock's disk.
    pub since: Option<Timestamp>,
}

impl Holder {
    fn read(file: &mut File) -> Self {
        let written = file.metadata().and_then(|meta| meta.modified());
        let since = written.ok().and_then(|time| Timestamp::try_from(time).ok());
        let mut text = String::new();
        // for a message only: what cannot be read is left out
        let _ = file.take(100).read_to_string(&mut text);
        let mut lines = text.lines();
        let pid = lines.next().and_then(|line| line.trim().parse().ok());
        Self { pid, command: lines.next().unwrap_or_default().to_owned(), since }
    }

    /// The error for another process that wants the folder.
    pub(super) fn in_use(self, out: &Path) -> RunError {
        RunError::InUse { folder: out.to_owned(), pid: self.pid, command: self.command }
    }
}

/// The process that holds the lock now, if any.
///
/// # Errors
/// If the state of the lock file cannot be read.
pub fn holder(out: &Path, state_dir: Option<&Path>) -> Result<Option<Holder>, RunError> {
    holder_in(&state_folder(out, state_dir))
}

/// The process that holds the lock in the folder `state`.
pub(super) fn holder_in(state: &Path) -> Result<Option<Holder>, RunError> {
    let path = state.join(LOCK_FILE);
    refuse_special(&path)?;
    let mut file = match File::open(&path) {
        Err(error) if is_absence(&error) => return Ok(None),
        file => file.map_err(disk_error("opening", &path))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(Holder::read(&mut file))),
        Err(TryLockError::Error(error)) => Err(disk_error("asking", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{open_locked, open_state};

    #[test]
    fn a_run_waits_for_a_verification_but_not_for_another_run() {
        let dir = tempfile::tempdir().expect("a folder");
        drop(open_state(dir.path(), None).expect("made"));
        for (by, waits) in [(VERIFY, true), (RUN, false)] {
            let held = locks(dir.path(), &dir.path().join(STATE_DIR), by).expect("free");
            let holder = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(1));
                drop(held);
            });
            assert_eq!(open_state(dir.path(), None).is_ok(), waits, "{by}");
            holder.join().expect("no panic");
        }
    }

    #[test]
    fn the_holder_of_the_lock_is_named_by_number_and_command() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open_state(folder.path(), None).expect("made"));
        assert_eq!(holder(folder.path(), None).expect("asked"), None);
        let state = open_locked(folder.path(), None, "verify").expect("locked");
        let held = holder(folder.path(), None).expect("asked").expect("held");
        assert_eq!((held.pid, &*held.command), (Some(std::process::id()), "verify"));
        let age = Timestamp::now().duration_since(held.since.expect("a time"));
        assert!(age.as_secs() < 60, "{age}");
        let error = open_locked(folder.path(), None, "report").map(drop).expect_err("held").to_string();
        assert!(error.contains("in use by `exporter verify`"), "{error}");
        drop(state);
        assert_eq!(holder(folder.path(), None).expect("asked"), None);
    }
}
