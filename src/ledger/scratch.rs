//! A ledger without a name for a plan: a manifest is loaded into it as into the export's own ledger, which stays as it
//! is.

use std::path::Path;

use rusqlite::Connection;

use super::fault::sqlite_error;
use super::handles::LedgerConnection;
use super::open::CACHE_KIB;
use super::paths::ledger_file;
use super::read::{open_read_only, uri_of};
use super::schema::SCHEMA;
use crate::error::RunError;

/// A scratch ledger, and the connection to the export's own ledger if there is one.
#[derive(Debug)]
pub struct Scratch {
    /// An empty ledger that knows the export's orgs, notes and images.
    pub connection: Connection,
    /// Keeps SQLite's own files beside the export's ledger as they are, and removes them at its end.
    _reader: Option<LedgerConnection>,
}

/// Opens a scratch ledger for an export, which need not exist.
///
/// # Errors
/// If the system's folder for temporary files cannot be written, or the export's ledger cannot be used.
pub fn open_scratch(out: &Path, state_dir: Option<&Path>) -> Result<Scratch, RunError> {
    let connection = open_nameless().map_err(sqlite_error)?;
    let reader = match open_read_only(out, state_dir) {
        Ok(reader) => Some(reader),
        Err(RunError::NoExport(_)) => None,
        Err(error) => return Err(error),
    };
    if let Some(reader) = &reader {
        attach(&connection, reader, &ledger_file(out, state_dir)).map_err(sqlite_error)?;
    }
    Ok(Scratch { connection, _reader: reader })
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
