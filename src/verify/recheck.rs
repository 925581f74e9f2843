//! What a run did while the files were read: a verdict stands only if its image is still the one that was checked.
//!
//! A run makes an image undelivered before it replaces the file, and records a new time of delivery after it. So a file
//! whose row is unchanged after it was read was not in the hands of a run.

use std::ops::Deref;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row};

use super::file_state::{FileState, HashJob};
use super::findings::{Findings, Problem};
use super::hash::hash_all;
use super::options::Progress;
use crate::error::RunError;
use crate::item::Sha256;
use crate::ledger::sqlite_error;

/// Drops the problems of images that are no longer delivered, and checks those again that were delivered anew. It ends
/// because a run delivers an image once.
///
/// `fresh` gathers the ledgers of shards again; `None` for an export with one ledger, which `connection` reads live.
pub(super) fn recheck<C: Deref<Target = Connection>>(
    connection: &Connection,
    fresh: impl Fn() -> Result<Option<C>, RunError>,
    out: &Path,
    findings: &mut Findings,
) -> Result<(), RunError> {
    loop {
        if findings.problems.is_empty() {
            return Ok(());
        }
        let gathered = fresh()?;
        let mut again = Vec::new();
        for problem in std::mem::take(&mut findings.problems) {
            let current = match &gathered {
                None => current(connection, &problem.job),
                Some(gathered) => current_at(gathered, &problem.job),
            };
            match current.map_err(sqlite_error)? {
                Some(current) if current == problem.job => findings.problems.push(problem),
                current => {
                    forget(findings, &problem);
                    again.extend(current);
                }
            }
        }
        if again.is_empty() {
            return Ok(());
        }
        let mut again = Some(again);
        let next = || Ok(again.take().unwrap_or_default());
        hash_all(out, next, &Progress::default(), |job, state| {
            findings.add(job, state);
            Ok(())
        })?;
    }
}

/// Takes a file out of the counts.
fn forget(findings: &mut Findings, problem: &Problem) {
    findings.inspected -= 1;
    if matches!(problem.state, FileState::Changed { read: true }) {
        findings.readable -= 1;
    }
}

/// The image as the ledger has it now; `None` if it is not delivered.
fn current(connection: &Connection, job: &HashJob) -> rusqlite::Result<Option<HashJob>> {
    connection
        .prepare_cached("SELECT path, bytes, sha256, stored_at FROM images WHERE id = ?1 AND delivered = 1")?
        .query_row([job.id], |row| read(row, job))
        .optional()
}

/// The image under that path in ledgers that were gathered again: its number may be another one there.
fn current_at(gathered: &Connection, job: &HashJob) -> rusqlite::Result<Option<HashJob>> {
    gathered
        .prepare_cached(
            "SELECT path, bytes, sha256, stored_at FROM images WHERE path = ?1 AND delivered = 1",
        )?
        .query_row([&job.path], |row| read(row, job))
        .optional()
}

fn read(row: &Row<'_>, job: &HashJob) -> rusqlite::Result<HashJob> {
    Ok(HashJob {
        position: job.position,
        id: job.id,
        path: row.get(0)?,
        bytes: Some(row.get::<_, i64>(1)?.unsigned_abs()),
        sha256: Sha256(row.get(2)?),
        stored_at: row.get(3)?,
    })
}
