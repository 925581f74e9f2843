//! `--repair`: damaged images become undelivered. The next run fetches them, and the reports say so at once.

use std::path::Path;

use rusqlite::Connection;
use rustix::io::Errno;

use super::file_state::FileState;
use super::findings::Problem;
use crate::error::RunError;
use crate::ledger::{self, Damage, sqlite_error};
use crate::report::{self, Occasion};

/// Marks the damaged images in one transaction and writes the reports; returns how many were marked. The caller holds
/// the lock and has made sure that the medium can be read. No file is touched: a changed one stays until a run replaces
/// it.
pub(super) fn repair(
    connection: &Connection,
    out: &Path,
    problems: &[Problem],
    started_at: &str,
) -> Result<u64, RunError> {
    let damaged: Vec<_> =
        problems.iter().filter_map(|problem| Some((problem.job.id, damage(problem.state)?))).collect();
    if damaged.is_empty() {
        return Ok(0);
    }
    let marked = damaged.len() as u64;
    ledger::mark_damaged(connection, damaged.into_iter()).map_err(sqlite_error)?;
    report::remove_leftovers(out)?;
    report::write_all(connection, out, &Occasion::Repair { started_at })?;
    Ok(marked)
}

/// What a state proves about the delivered image. A file that may not be opened, or whose server does not answer, can
/// still be the right one; bytes that the disk cannot return are lost.
const fn damage(state: FileState) -> Option<Damage> {
    match state {
        FileState::Right(_) => None,
        FileState::Missing => Some(Damage::Missing),
        FileState::Changed { .. } => Some(Damage::Changed),
        FileState::Unreadable(error) => {
            if error.raw_os_error() == Errno::IO.raw_os_error() {
                Some(Damage::Unreadable)
            } else {
                None
            }
        }
    }
}
