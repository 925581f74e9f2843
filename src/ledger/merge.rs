//! What the shards' ledgers know, brought into the export's own one.
//!
//! A merge may come at any time and as often as the user likes: whatever was copied before is replaced by what the shard
//! knows now. In the table of runs, a merge stands for the whole job: the newest run of each shard, and those before it
//! that did not come to an end of their own (killed, stopped, sent again). An image that the job delivered is `stored`.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{number, text};
use super::copy::{Notes, copy_images, copy_intents, copy_owners, copy_parts};
use super::fault::sqlite_error;
use super::runs::{RunRow, insert_run, runs};
use super::write::{RowEnd, end_row};
use crate::error::RunError;
use crate::shard::Shard;

/// In `shard_runs`: the merge itself.
const MERGE: i64 = 0;

/// What a shard brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Imported {
    /// The runs of the job, the oldest first, with their numbers in the export's ledger.
    pub job: Vec<RunRow>,
}

/// Copies runs and images of a shard into the export's ledger; all or nothing.
///
/// # Errors
/// [`RunError::Settings`] if the ledgers do not belong to one export, [`RunError::Sqlite`].
pub(crate) fn import_shard(
    to: &mut Connection,
    from: &Connection,
    shard: Shard,
    manifest_sha256: &str,
) -> Result<Imported, RunError> {
    let transaction = to.transaction().map_err(sqlite_error)?;
    // one view of a ledger that its run may be writing
    let from = from.unchecked_transaction().map_err(sqlite_error)?;
    let mut job = job_of(&runs(&from)?, manifest_sha256);
    for run in runs(&from)? {
        let ours = import_run(&transaction, shard, &run).map_err(sqlite_error)?;
        if let Some(run) = job.iter_mut().find(|known| known.id == run.id) {
            run.id = ours;
        }
    }
    copy_owners(&from, &transaction, Notes::WithImages)?;
    let import = || -> rusqlite::Result<()> {
        let run_of = |theirs: i64, known: Option<i64>| match theirs {
            // delivered before the shard began, as the export's ledger knows
            0 => Ok(known.unwrap_or(0)),
            theirs => Ok(run_of_shard(&transaction, shard, theirs)?.unwrap_or(0)),
        };
        copy_images(&from, &transaction, |_, _| true, run_of)?;
        copy_intents(&from, &transaction)
    };
    import().and_then(|()| transaction.commit()).map_err(sqlite_error)?;
    Ok(Imported { job })
}

/// The newest run of a shard, and those before it on the same manifest that left rows untried.
fn job_of(runs: &[RunRow], manifest_sha256: &str) -> Vec<RunRow> {
    let mut job: Vec<RunRow> = Vec::new();
    for run in runs.iter().rev() {
        let has_ended = matches!(run.exit_code, Some(0 | 3));
        if run.manifest_sha256 != manifest_sha256 || !job.is_empty() && has_ended {
            break;
        }
        job.push(run.clone());
    }
    job.reverse();
    job
}

fn run_of_shard(connection: &Connection, shard: Shard, number: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT run FROM shard_runs WHERE shard = ?1 AND number = ?2")?
        .query_row(params![shard.number(), number], |row| row.get(0))
        .optional()
}

fn import_run(connection: &Connection, shard: Shard, run: &RunRow) -> rusqlite::Result<i64> {
    if let Some(known) = run_of_shard(connection, shard, run.id)? {
        replace_run(connection, &RunRow { id: known, ..run.clone() })?;
        return Ok(known);
    }
    let ours = insert_run(connection, run)?;
    remember_run(connection, ours, i64::from(shard.number()), run.id)?;
    Ok(ours)
}

fn remember_run(connection: &Connection, run: i64, shard: i64, number: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO shard_runs (run, shard, number) VALUES (?1, ?2, ?3)")?
        .execute([run, shard, number])?;
    Ok(())
}

/// Writes a run again under its number.
fn replace_run(connection: &Connection, run: &RunRow) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM runs WHERE id = ?1", [run.id])?;
    let inserted = insert_run(connection, run)?;
    connection.execute("UPDATE runs SET id = ?2 WHERE id = ?1", [inserted, run.id])?;
    Ok(())
}

/// Begins the merge `run`, which has loaded the manifest: links its rows to what the shards delivered, and attributes to it
/// what its `job` delivered. Earlier merges that stand for nothing any more leave the table of runs.
///
/// # Errors
/// If the ledger cannot be written.
pub(crate) fn begin_merge(connection: &mut Connection, run: i64, job: &[i64]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    remember_run(&transaction, run, MERGE, run)?;
    super::link::delivered(&transaction)?;
    transaction.execute_batch(
        "DROP TABLE IF EXISTS temp.job; CREATE TEMP TABLE job (run INTEGER PRIMARY KEY) STRICT;",
    )?;
    for own in job {
        transaction.execute("INSERT OR IGNORE INTO temp.job VALUES (?1)", [own])?;
    }
    transaction.execute("UPDATE images SET run = ?1 WHERE run IN (SELECT run FROM temp.job)", [run])?;
    transaction.execute(
        "DELETE FROM runs WHERE id IN (SELECT run FROM shard_runs WHERE shard = ?1 AND run <> ?2)
             AND id NOT IN (SELECT DISTINCT run FROM images)",
        [MERGE, run],
    )?;
    transaction.execute("DELETE FROM shard_runs WHERE run NOT IN (SELECT id FROM runs)", [])?;
    transaction.execute_batch("DROP TABLE temp.job")?;
    transaction.commit()
}

/// Copies how the rows of a shard ended in its newest run.
///
/// # Errors
/// If a ledger cannot be read or written.
pub(crate) fn import_ends(to: &Connection, from: &Connection, run: i64) -> rusqlite::Result<()> {
    let transaction = to.unchecked_transaction()?;
    let mut select = from.prepare(
        "SELECT seq, failed, attempts, code, error, trace_id FROM rows
         WHERE run = (SELECT max(id) FROM runs) AND failed IS NOT NULL",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let end = RowEnd {
            seq: row.get(0)?,
            failed: row.get(1)?,
            attempts: row.get(2)?,
            code: text(row, 3)?,
            error: text(row, 4)?,
            trace_id: text(row, 5)?,
        };
        end_row(&transaction, run, &end)?;
    }
    drop(rows);
    drop(select);
    transaction.commit()
}

/// Gives every row that the shards left without an end the reason of its shard. Returns the rows that each shard, by its
/// number, leaves untried.
///
/// # Errors
/// If the ledger cannot be read or written.
pub(crate) fn explain_untried(
    connection: &Connection,
    run: i64,
    of: u32,
    reason: impl Fn(Shard) -> String,
) -> rusqlite::Result<BTreeMap<u32, u64>> {
    let mut untried = BTreeMap::new();
    let transaction = connection.unchecked_transaction()?;
    let mut select = transaction.prepare(
        "SELECT r.seq, o.name, n.name, r.run IS ?1 FROM rows r JOIN notes n ON n.id = r.note JOIN orgs o ON o.id = n.org
         LEFT JOIN images i ON i.id = r.image
         WHERE r.first IS NULL AND coalesce(i.delivered, 0) = 0 AND NOT (r.run IS ?1 AND r.failed = 1)",
    )?;
    let mut rows = select.query([run])?;
    while let Some(row) = rows.next()? {
        let shard = Shard::of_note(text(row, 1)?, text(row, 2)?, of);
        *untried.entry(shard.number()).or_default() += 1;
        if row.get::<_, bool>(3)? {
            continue; // it has a reason of its own
        }
        let error = reason(shard);
        let end =
            RowEnd { seq: row.get(0)?, failed: false, attempts: 0, code: "", error: &error, trace_id: "" };
        end_row(&transaction, run, &end)?;
    }
    drop(rows);
    drop(select);
    transaction.commit()?;
    Ok(untried)
}

/// Records the merge in the table of runs, with what its job did.
///
/// # Errors
/// If the ledger cannot be written.
pub(crate) fn record_merge(connection: &Connection, run: &RunRow) -> rusqlite::Result<()> {
    replace_run(connection, run)
}

/// Takes the partial downloads of a shard over into the export's ledger. Returns their files.
///
/// # Errors
/// If a ledger cannot be read or written.
pub(crate) fn import_parts(to: &mut Connection, from: &Connection) -> Result<Vec<String>, RunError> {
    let transaction = to.transaction().map_err(sqlite_error)?;
    copy_owners(from, &transaction, Notes::All)?;
    copy_parts(from, &transaction)
        .and_then(|files| transaction.commit().map(|()| files))
        .map_err(sqlite_error)
}

/// The manifest whose rows a shard has loaded, and how it was read; `None`: none yet.
///
/// # Errors
/// If the ledger cannot be read.
pub(crate) fn loaded_manifest(connection: &Connection) -> rusqlite::Result<Option<(String, String)>> {
    connection
        .query_row("SELECT sha256, reading FROM manifest", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Rows of the whole manifest whose rows a shard has loaded; `None`: none yet.
///
/// # Errors
/// If the ledger cannot be read.
pub(crate) fn rows_in_all(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let rows = connection.query_row("SELECT rows FROM manifest", [], |row| number(row, 0)).optional()?;
    Ok(rows.flatten())
}

/// Images that the ledger knows as delivered: number, path, size and hash, in the order of their delivery.
///
/// # Errors
/// If the ledger cannot be read, or `visit` fails.
pub(crate) fn delivered_files<E: From<rusqlite::Error>>(
    connection: &Connection,
    mut visit: impl FnMut(i64, &str, u64, [u8; 32]) -> Result<(), E>,
) -> Result<(), E> {
    let mut select =
        connection.prepare("SELECT id, path, bytes, sha256 FROM images WHERE delivered = 1 ORDER BY id")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let bytes = number(row, 2)?.unwrap_or_default();
        visit(row.get(0)?, text(row, 1)?, bytes, row.get(3)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: i64, exit_code: Option<u8>, manifest: &str) -> RunRow {
        RunRow { id, exit_code, manifest_sha256: manifest.to_owned(), ..RunRow::default() }
    }

    #[test]
    fn a_job_is_the_newest_run_and_those_before_it_that_left_rows_untried() {
        let job = |runs: &[RunRow]| job_of(runs, "m").iter().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(job(&[]), [0; 0]);
        assert_eq!(job(&[run(1, Some(0), "m")]), [1]);
        let sent_again =
            [run(1, Some(0), "m"), run(2, None, "m"), run(3, Some(143), "m"), run(4, Some(3), "m")];
        assert_eq!(job(&sent_again), [2, 3, 4]);
        assert_eq!(job(&[run(1, Some(3), "m"), run(2, Some(0), "m")]), [2], "a second job has skipped rows");
        assert_eq!(job(&[run(1, None, "other"), run(2, None, "m")]), [2]);
        assert_eq!(job(&[run(1, None, "other")]), [0; 0]);
    }
}
