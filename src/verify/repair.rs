//! `--repair`: damaged images become undelivered. The next run fetches them, and the reports say so at once.

use std::path::Path;

use rusqlite::Connection;

use super::Problem;
use super::hash::FileState;
use crate::error::RunError;
use crate::ledger::{self, Damage, sqlite_error};
use crate::report;

/// Marks the images in one transaction and writes the reports. The caller holds the lock. No file is touched: a
/// changed one stays until a run replaces it.
pub(super) fn repair(connection: &Connection, out: &Path, problems: &[Problem]) -> Result<(), RunError> {
    let damaged = problems.iter().map(|problem| {
        let damage = if problem.seen == FileState::Missing { Damage::Missing } else { Damage::Changed };
        (problem.job.id, damage)
    });
    ledger::mark_damaged(connection, damaged).map_err(sqlite_error)?;
    report::remove_leftovers(out)?;
    report::write_all(connection, out)?;
    Ok(())
}
