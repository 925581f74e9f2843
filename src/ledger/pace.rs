//! How many images a run keeps in flight, and what its rows wait for, as of its last counters.
//!
//! For people who look at the run from outside; nothing of the run depends on it.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::columns::{int, number};
use crate::event::Progress;

/// How many images are in flight, and what the other rows that were started wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// Images that may be in flight at a time.
    pub concurrency: u64,
    /// Images in flight.
    pub downloading: u64,
    /// Rows that wait for the API's answer.
    pub asking: u64,
    /// Rows that wait for the allowance.
    pub waiting: u64,
    /// Rows that are not asked for yet since the line is busy, or a service is out.
    pub queued: u64,
    /// Rows that have their URL and wait for a place in flight.
    pub ready: u64,
}

impl Pace {
    /// As it was sampled last.
    #[must_use]
    pub fn of(progress: &Progress) -> Self {
        Self {
            concurrency: Progress::get(&progress.concurrency),
            downloading: Progress::get(&progress.downloading),
            asking: Progress::get(&progress.asking),
            waiting: Progress::get(&progress.waiting),
            queued: Progress::get(&progress.queued),
            ready: Progress::get(&progress.ready),
        }
    }
}

pub(super) fn write_pace(connection: &Connection, run: i64, pace: &Pace) -> rusqlite::Result<()> {
    let Pace { concurrency, downloading, asking, waiting, queued, ready } = *pace;
    connection.prepare_cached("INSERT OR REPLACE INTO pace VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
        params![run, int(concurrency), int(downloading), int(asking), int(waiting), int(queued), int(ready)],
    )?;
    Ok(())
}

/// What run `run` recorded, if it recorded anything.
///
/// # Errors
/// If the ledger cannot be read.
pub fn pace_of(connection: &Connection, run: i64) -> rusqlite::Result<Option<Pace>> {
    let read = |row: &rusqlite::Row<'_>| {
        let value = |at| number(row, at).map(Option::unwrap_or_default);
        Ok(Pace {
            concurrency: value(0)?,
            downloading: value(1)?,
            asking: value(2)?,
            waiting: value(3)?,
            queued: value(4)?,
            ready: value(5)?,
        })
    };
    connection
        .query_row(
            "SELECT concurrency, downloading, asking, waiting, queued, ready FROM pace WHERE run = ?1",
            [run],
            read,
        )
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_pace_is_read_back() {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(super::super::schema::SCHEMA).expect("the schema");
        assert_eq!(pace_of(&connection, 1), Ok(None));
        let pace = Pace { concurrency: 48, downloading: 32, asking: 3, waiting: 200, queued: 7, ready: 5 };
        connection.execute_batch("PRAGMA foreign_keys = OFF").expect("set");
        write_pace(&connection, 1, &Pace::default()).expect("written");
        write_pace(&connection, 1, &pace).expect("replaced");
        assert_eq!(pace_of(&connection, 1), Ok(Some(pace)));
        assert_eq!(pace_of(&connection, 2), Ok(None));
    }
}
