//! A ledger without a name for a plan: a manifest is loaded into it as into the export's own ledger, which stays as it
//! is.

use std::path::Path;

use rusqlite::Connection;

use super::copy::{Notes, copy_asked, copy_images, copy_intents, copy_owners};
use super::fault::sqlite_error;
use super::handles::LedgerConnection;
use super::open::CACHE_KIB;
use super::paths::ledger_file;
use super::read::{open_read_only, uri_of};
use super::runs::{RunRow, insert_run, runs};
use super::schema::SCHEMA;
use super::shards::{ShardHome, ShardSet, open_shard_read_only};
use crate::error::RunError;
use crate::shard::Shard;

/// A scratch ledger, and the connection to the export's own ledger if there is one.
#[derive(Debug)]
pub struct Scratch {
    /// An empty ledger that knows the export's orgs, notes and images.
    pub connection: Connection,
    /// All runs on the export so far, those of its shards too.
    pub runs: Vec<RunRow>,
    /// Keeps SQLite's own files beside the export's ledger as they are, and removes them at its end.
    _reader: Option<LedgerConnection>,
}

/// Everything that an export's ledgers know of delivered images, in one nameless ledger: its own, and those of its shards.
/// What a run may be writing is as it was at some moment of this call.
///
/// # Errors
/// As [`open_scratch`], and that of a shard's ledger.
pub fn open_gathered(out: &Path, state_dir: Option<&Path>, set: &ShardSet) -> Result<Connection, RunError> {
    let gathered = open_nameless().map_err(sqlite_error)?;
    match open_read_only(out, state_dir) {
        Ok(own) => gather(&own, &gathered)?,
        // nothing was delivered before the shards, or merged
        Err(RunError::NoExport(_) | RunError::Settings(_)) => {}
        Err(error) => return Err(error),
    }
    for shard in Shard::all(set.shards) {
        if let Some(ledger) = open_shard_read_only(out, &ShardHome::of(out, state_dir, shard))? {
            gather(&ledger, &gathered)?;
        }
    }
    // what is found under a path is looked up here
    gathered.execute_batch("CREATE INDEX images_path ON images (path)").map_err(sqlite_error)?;
    Ok(gathered)
}

fn gather(from: &Connection, to: &Connection) -> Result<(), RunError> {
    let snapshot = from.unchecked_transaction().map_err(sqlite_error)?;
    let transaction = to.unchecked_transaction().map_err(sqlite_error)?;
    for run in runs(&snapshot)? {
        insert_run(&transaction, &run).map_err(sqlite_error)?;
    }
    copy_owners(&snapshot, &transaction, Notes::All)?;
    copy_images(&snapshot, &transaction, |_, _| true, |_, _| Ok(0))
        .and_then(|()| copy_asked(&snapshot, &transaction))
        .and_then(|()| copy_intents(&snapshot, &transaction))
        .and_then(|()| transaction.commit())
        .map_err(sqlite_error)
}

/// Opens a scratch ledger for an export, which need not exist.
///
/// # Errors
/// If the system's folder for temporary files cannot be written, or the export's ledger cannot be used.
pub fn open_scratch(out: &Path, state_dir: Option<&Path>) -> Result<Scratch, RunError> {
    if let Some(set) = ShardSet::read(out)? {
        let connection = open_gathered(out, state_dir, &set)?;
        let runs = runs(&connection)?;
        return Ok(Scratch { connection, runs, _reader: None });
    }
    let connection = open_nameless().map_err(sqlite_error)?;
    let reader = match open_read_only(out, state_dir) {
        Ok(reader) => Some(reader),
        Err(RunError::NoExport(_)) => None,
        Err(error) => return Err(error),
    };
    if let Some(reader) = &reader {
        attach(&connection, reader, &ledger_file(out, state_dir)).map_err(sqlite_error)?;
    }
    let runs = reader.as_deref().map_or_else(|| Ok(Vec::new()), runs)?;
    Ok(Scratch { connection, runs, _reader: reader })
}

/// An empty ledger in an unnamed temporary file: it is gone when it is closed, and need not be durable.
fn open_nameless() -> rusqlite::Result<Connection> {
    let connection = Connection::open("")?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "temp_store", "FILE")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Lets the scratch ledger read the export's images, and copies its orgs and notes, to which loading adds.
fn attach(connection: &Connection, reader: &Connection, path: &Path) -> rusqlite::Result<()> {
    connection.execute("ATTACH ?1 AS export", [uri_of(reader, path)?])?;
    // SQLite finds a table that is missing here in the attached ledger; the index on rows must be the one here
    connection.execute_batch(
        "DROP VIEW main.results;
         DROP TABLE main.images;
         INSERT INTO main.orgs SELECT * FROM export.orgs;
         INSERT INTO main.notes SELECT * FROM export.notes;
         CREATE INDEX main.rows_key ON rows (key);",
    )
}
