//! The ledger's tables: created in an empty file, and brought up to date in one of an earlier program.

use std::path::Path;

use rusqlite::Connection;

use super::fault::sqlite_error_in;
use super::inspect::{VERSION, check_version};
use crate::error::RunError;

/// All tables of a new ledger.
pub(super) const SCHEMA: &str = include_str!("schema.sql");
/// The line of [`SCHEMA`] that separates the tables of version 1 from those that came with version 2.
const SINCE_2: &str = "-- Since version 2:";

/// Creates the tables in a new ledger, or those that are missing in an earlier one; all or nothing.
pub(super) fn complete(connection: &Connection, path: &Path) -> Result<(), RunError> {
    let tables = match check_version(connection, path)? {
        VERSION => return Ok(()),
        0 => SCHEMA.to_owned(),
        _ => format!("{INDEXES} {}", since_2()),
    };
    connection
        .execute_batch(&format!("BEGIN IMMEDIATE; {tables} PRAGMA user_version = {VERSION}; COMMIT;"))
        .map_err(|error| {
            // a transaction that failed halfway must not stay open
            let _ = connection.execute_batch("ROLLBACK");
            sqlite_error_in(path, error)
        })
}

/// The indexes of the schema. With keys alone, ids that differ in case only were found by reading all of them.
const INDEXES: &str = "CREATE INDEX IF NOT EXISTS notes_name ON notes (key, name);
     CREATE INDEX IF NOT EXISTS images_name ON images (key, name);
     DROP INDEX IF EXISTS notes_key;
     DROP INDEX IF EXISTS images_key;";

fn since_2() -> &'static str {
    SCHEMA.split_once(SINCE_2).map_or("", |(_, tables)| tables.split_once('\n').map_or("", |(_, sql)| sql))
}

/// Lets a reader of an earlier ledger, which it must not change, select from the tables that are missing there.
pub(super) fn complete_for_reading(connection: &Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version < VERSION {
        connection.execute_batch(
            "CREATE TEMP TABLE intents (path TEXT PRIMARY KEY, sha256 BLOB);
             CREATE TEMP TABLE shard (number INTEGER, shards INTEGER);
             CREATE TEMP TABLE manifest_warnings (id INTEGER PRIMARY KEY, what TEXT);
             CREATE TEMP TABLE receipts (id INTEGER PRIMARY KEY, run INTEGER, line TEXT);
             CREATE TEMP TABLE pace (
                 run INTEGER, concurrency INTEGER, downloading INTEGER, asking INTEGER, waiting INTEGER,
                 queued INTEGER, ready INTEGER
             );
             INSERT INTO receipts SELECT 0, coalesce(max(id), 0), '' FROM runs;",
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{open_locked, open_read_only, open_state};

    const TABLES: &str = "SELECT name || ' ' || sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";

    fn texts(connection: &Connection, sql: &str) -> Vec<String> {
        let mut select = connection.prepare(sql).expect("prepared");
        let texts = select.query_map([], |row| row.get(0)).expect("asked");
        texts.collect::<rusqlite::Result<_>>().expect("read")
    }

    /// Takes the ledger of an export back to version 1, as the first programs made it, with two runs and an image that
    /// the loaded manifest does not ask for.
    fn make_version_1(out: &Path) {
        let connection = Connection::open(out.join(".exporter/ledger.sqlite")).expect("a ledger");
        let back = "PRAGMA foreign_keys = OFF; DROP TABLE identity; DROP TABLE intents; DROP TABLE pace;
                    DROP TABLE unasked; DROP TABLE receipts; DROP TABLE manifest_warnings; DROP TABLE samples;
                    DROP TABLE spans; DROP TABLE shard; DROP TABLE shard_runs;
                    DROP INDEX notes_name; DROP INDEX images_name;
                    CREATE INDEX notes_key ON notes (key); CREATE INDEX images_key ON images (key);
                    INSERT INTO runs (id, started_at, manifest_sha256, host, user, version)
                        VALUES (1, '', 'aaaa', '', '', ''), (2, '', 'bbbb', '', '', '');
                    INSERT INTO images VALUES (7, 1, 'i', 8, 1, 'data/o/n/i.jpg', 1, x'', '', '', NULL, '', 1, '', '', 1, '');
                    PRAGMA user_version = 1;";
        connection.execute_batch(back).expect("taken back");
    }

    #[test]
    fn an_earlier_ledger_is_read_as_it_is_and_completed_by_the_first_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path();
        let new = open_state(out, None).expect("made").connection;
        let (tables, first_id) = (texts(&new, TABLES), texts(&new, "SELECT export FROM identity"));
        new.close().expect("closed");
        make_version_1(out);
        let reader = open_read_only(out, None).expect("read");
        assert_eq!(texts(&reader, "SELECT path FROM intents"), [""; 0]);
        assert_eq!(texts(&reader, "SELECT what FROM manifest_warnings"), [""; 0]);
        assert_eq!(texts(&reader, "SELECT run || line FROM receipts"), ["2"]);
        let version =
            |connection: &Connection| texts(connection, "SELECT user_version || '' FROM pragma_user_version");
        assert_eq!(version(&reader), ["1"], "a reader changes nothing");
        drop(reader);
        let writer = open_locked(out, None, "report").expect("opened").connection;
        assert_eq!((texts(&writer, TABLES), version(&writer)), (tables, vec!["2".to_owned()]));
        let id = texts(&writer, "SELECT export FROM identity");
        assert!(id != first_id && id[0].len() == 32, "an id of its own: {id:?}");
        assert_eq!(texts(&writer, "SELECT run || line FROM receipts"), ["2"], "earlier runs have none");
        assert_eq!(texts(&writer, "SELECT image || manifest_sha256 FROM unasked"), ["7aaaa"]);
        drop(writer);
        drop(open_state(out, None).expect("opened"));
    }
}
