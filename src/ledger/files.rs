//! The files of one ledger: the database, and the files that SQLite keeps beside it. They belong together: a log beside
//! another database damages it.

use std::io;
use std::path::{Path, PathBuf};

use super::paths::with_suffix;
use crate::disk::fault::disk_error;
use crate::disk::folder;
use crate::disk::presence::{self, cannot_look_at, is_absence};
use crate::error::RunError;

/// The name of a ledger that is being rebuilt and is not whole yet.
pub(super) const NEW_LEDGER: &str = "ledger.sqlite.new";
/// What SQLite appends to a database's name for its own files beside it.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Moves whatever is there of the ledger at `path` to the name `aside`, durably. False: the database itself was missing.
///
/// The database goes first. Without it, the files beside it are those of a lost ledger, which every command refuses;
/// the other way round, a kill in between would leave a database without its log, which may look sound and is not.
pub(super) fn move_aside(path: &Path, aside: &Path) -> Result<bool, RunError> {
    let moved = rename(path, aside)?;
    for suffix in SUFFIXES {
        rename(&with_suffix(path, suffix), &with_suffix(aside, suffix))?;
    }
    folder::sync(path.parent().unwrap_or(Path::new(".")))?;
    Ok(moved)
}

fn rename(from: &Path, to: &Path) -> Result<bool, RunError> {
    if_there(std::fs::rename(from, to)).map_err(disk_error("moving aside", from))
}

/// Removes a ledger that is not used, and SQLite's files beside it.
pub(super) fn remove(path: &Path) -> Result<(), RunError> {
    let beside = SUFFIXES.map(|suffix| with_suffix(path, suffix));
    for file in std::iter::once(path).chain(beside.iter().map(PathBuf::as_path)) {
        if_there(std::fs::remove_file(file)).map_err(disk_error("removing", file))?;
    }
    Ok(())
}

/// Removes an empty log and its shared memory from beside a ledger that has another journal. Best effort: SQLite looks
/// at neither. The caller has the ledger locked.
pub(super) fn remove_unused_log(path: &Path) {
    let log = with_suffix(path, "-wal");
    let is_unused =
        matches!(presence::metadata(&log), Ok(found) if found.as_ref().is_none_or(|log| log.len() == 0));
    if is_unused {
        for file in [log, with_suffix(path, "-shm")] {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Refuses a closed ledger that still has a log or a journal: its newest changes are not in the database.
pub(super) fn refuse_unfinished(path: &Path) -> Result<(), RunError> {
    for suffix in ["-wal", "-journal"] {
        let beside = with_suffix(path, suffix);
        let length =
            presence::metadata(&beside).map_err(cannot_look_at(&beside))?.map_or(0, |file| file.len());
        if length > 0 {
            return Err(RunError::Disk(format!("{} could not be folded into the ledger", beside.display())));
        }
    }
    Ok(())
}

fn if_there(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
