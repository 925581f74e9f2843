//! Loads a manifest into the table of rows: appended in the manifest's order, indexed, linked to delivered images.
//!
//! All of it is one transaction: a manifest that is refused leaves the ledger as it was. Memory does not grow with
//! the number of rows; orgs and notes are remembered up to a bound.

use std::io;

use rusqlite::{Connection, OptionalExtension, Statement, Transaction, params};

use super::columns::{int, number};
use super::fault::sqlite_error;
use super::link::{self, insert_bad};
use super::manifest::record_warnings;
use super::others::{Others, forget_others};
use super::owners::Owners;
use super::runs::{RunRow, insert_run};
use super::unasked;
use super::write::image_key;
use crate::error::RunError;
use crate::item::Sha256;
use crate::manifest::{BadRow, Entry, FIRST_BAD_ROWS, Row};
use crate::shard::Shard;

/// A manifest to load.
#[derive(Debug)]
pub struct Loading<I> {
    /// Hash of the whole manifest; `None` for one that was not read itself.
    pub sha256: Option<Sha256>,
    /// The delimiter and columns that it is read with.
    pub reading: String,
    /// Its own columns as a CSV line.
    pub header: Vec<u8>,
    /// What is odd about it, in sentences.
    pub warnings: Vec<String>,
    /// Its rows.
    pub entries: I,
    /// Whether rows that contradict an earlier one become bad rows; otherwise they refuse the whole manifest.
    pub skip_bad: bool,
    /// The shard whose rows are kept; `None`: all. The others decide which names are free, and whether the manifest is
    /// sound, as in a run that fetches all of them.
    pub shard: Option<Shard>,
    /// The run that is to fetch the rows, if any: it starts in the same transaction, so that no reader ever attributes
    /// them to an earlier run.
    pub run: Option<RunRow>,
}

/// What was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// All rows that are kept, including bad ones.
    pub rows: u64,
    /// Bad rows among them.
    pub bad: u64,
    /// Bad rows of the whole manifest.
    pub bad_in_all: u64,
    /// The first rows that contradict an earlier one, if they refused the manifest; nothing was loaded then.
    pub refused: Vec<BadRow>,
    /// Number of all such rows.
    pub refused_count: u64,
    /// Number of the run that started.
    pub run: Option<i64>,
}

/// The counts of the loaded manifest, if it is the one with this hash, read in this way.
///
/// # Errors
/// If the ledger cannot be read.
pub fn is_loaded(
    connection: &Connection,
    sha256: &Sha256,
    reading: &str,
) -> rusqlite::Result<Option<Loaded>> {
    connection
        .query_row(
            "SELECT (SELECT count(*) FROM rows), (SELECT count(*) FROM bad_rows), bad FROM manifest
             WHERE sha256 = ?1 AND reading = ?2",
            params![sha256.to_string(), reading],
            |row| {
                let count =
                    |column| -> rusqlite::Result<u64> { Ok(number(row, column)?.unwrap_or_default()) };
                let (rows, bad, bad_in_all) = (count(0)?, count(1)?, count(2)?);
                Ok(Loaded { rows, bad, bad_in_all, ..Loaded::default() })
            },
        )
        .optional()
}

/// Replaces the rows of the ledger by those of a manifest. After the last row, `is_unchanged` decides whether they
/// are the rows that were checked before.
///
/// # Errors
/// If the manifest cannot be read or has changed, or the ledger cannot be written; the ledger is then as it was.
pub fn load<I>(
    connection: &mut Connection,
    mut loading: Loading<I>,
    is_unchanged: impl FnOnce(I) -> Result<(), RunError>,
) -> Result<Loaded, RunError>
where
    I: Iterator<Item = io::Result<Entry>>,
{
    let transaction = connection.transaction().map_err(sqlite_error)?;
    let before = unasked::remember_asked(&transaction).map_err(sqlite_error)?;
    transaction
        .execute_batch(
            "DROP INDEX IF EXISTS rows_key; DELETE FROM rows; DELETE FROM bad_rows; DELETE FROM manifest;",
        )
        .map_err(sqlite_error)?;
    let mut loaded = append(&transaction, &mut loading.entries, loading.shard)?;
    is_unchanged(loading.entries)?;
    link_rows(&transaction, loading.skip_bad, &mut loaded).map_err(sqlite_error)?;
    if loaded.refused_count > 0 {
        return Ok(loaded); // dropping the transaction rolls everything back
    }
    let finish = || {
        let in_all = loaded.rows;
        if loading.shard.is_some() {
            (loaded.rows, loaded.bad) = forget_others(&transaction)?;
        }
        unasked::record_unasked(&transaction, before)?;
        record_warnings(&transaction, &loading.warnings)?;
        let sha256 = loading.sha256.map(|hash| hash.to_string()).unwrap_or_default();
        transaction.execute(
            "INSERT INTO manifest (id, sha256, reading, header, rows, bad) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            params![sha256, loading.reading, loading.header, int(in_all), int(loaded.bad_in_all)],
        )?;
        loaded.run = loading.run.map(|run| insert_run(&transaction, &run)).transpose()?;
        transaction.commit()?;
        Ok(loaded)
    };
    finish().map_err(sqlite_error)
}

/// Links the appended rows to each other and to delivered images. Contradicting rows become bad ones, or are named in
/// `loaded` as the reason to refuse the manifest.
fn link_rows(transaction: &Transaction, skip_bad: bool, loaded: &mut Loaded) -> rusqlite::Result<()> {
    transaction.execute_batch("CREATE INDEX rows_key ON rows (key)")?;
    let contradictions = link::duplicates(transaction)?;
    if !contradictions.is_empty() && !skip_bad {
        loaded.refused_count = contradictions.len() as u64;
        let first = contradictions.iter().take(FIRST_BAD_ROWS);
        loaded.refused = first.map(|it| it.bad_row(transaction)).collect::<rusqlite::Result<_>>()?;
        return Ok(());
    }
    for contradiction in contradictions {
        let bad = contradiction.bad_row(transaction)?;
        link::make_bad(transaction, contradiction.seq, &bad)?;
        loaded.bad_in_all += 1;
    }
    loaded.bad = loaded.bad_in_all;
    link::delivered(transaction)
}

fn append(
    connection: &Connection,
    entries: &mut impl Iterator<Item = io::Result<Entry>>,
    shard: Option<Shard>,
) -> Result<Loaded, RunError> {
    let mut loaded = Loaded::default();
    let mut owners = Owners::new(connection).map_err(sqlite_error)?;
    let mut others = Others::new(connection, shard).map_err(sqlite_error)?;
    let mut insert = connection
        .prepare(
            "INSERT INTO rows (seq, line, note, name, key, wanted, raw) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .map_err(sqlite_error)?;
    for entry in entries {
        let entry = entry.map_err(RunError::io("reading the manifest"))?;
        loaded.rows += 1;
        let seq = int(loaded.rows);
        match entry {
            // a row without a hash contradicts none: of another shard it only names its note
            Entry::Row(row) if row.sha256.is_none() && others.has(row.org.as_str(), row.note.as_str()) => {
                owners.note(row.org.as_str(), row.note.as_str()).map_err(sqlite_error)?;
            }
            Entry::Row(row) => {
                others.remember(seq, row.org.as_str(), row.note.as_str()).map_err(sqlite_error)?;
                insert_row(&mut insert, &mut owners, seq, &row).map_err(sqlite_error)?;
            }
            Entry::Bad(bad) => {
                loaded.bad_in_all += 1;
                others.remember(seq, &bad.org, &bad.note).map_err(sqlite_error)?;
                let none = rusqlite::types::Null;
                insert
                    .execute(params![seq, int(bad.line), none, none, none, none, none])
                    .and_then(|_| insert_bad(connection, seq, &bad))
                    .map_err(sqlite_error)?;
            }
        }
    }
    Ok(loaded)
}

fn insert_row(insert: &mut Statement, owners: &mut Owners, seq: i64, row: &Row) -> rusqlite::Result<()> {
    let note = owners.note(row.org.as_str(), row.note.as_str())?;
    let key = image_key(&row.org, &row.note, row.image.as_str());
    let wanted = row.sha256.map(|hash| hash.0);
    insert.execute(params![seq, int(row.line), note, row.image.as_str(), key, wanted, row.raw])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::layout;
    use crate::ledger::open_state;
    use crate::manifest::{Manifest, ManifestOptions, fingerprint};

    fn loading(text: &str) -> Loading<Manifest<&[u8]>> {
        let entries = Manifest::open(text.as_bytes(), &ManifestOptions::default()).expect("a manifest");
        let sha256 = fingerprint(text.as_bytes()).expect("read");
        Loading {
            sha256: Some(sha256),
            reading: String::new(),
            header: Vec::new(),
            warnings: Vec::new(),
            entries,
            skip_bad: false,
            shard: None,
            run: None,
        }
    }

    #[test]
    fn a_manifest_that_is_not_sound_leaves_the_rows_of_the_one_before() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut state = open_state(dir.path(), None).expect("a ledger");
        let first = loading("org,note,image\no,n,a\n");
        let hash = first.sha256.expect("a hash");
        load(&mut state.connection, first, |_| Ok(())).expect("loaded");
        let second = loading("org,note,image\no,n,a\no,n,b\n");
        let refused = load(&mut state.connection, second, |entries| {
            assert_eq!(entries.count(), 0, "asked when all rows were read");
            Err(RunError::Settings("changed".to_owned()))
        });
        assert!(refused.is_err());
        let known = is_loaded(&state.connection, &hash, "").expect("readable").expect("as it was");
        assert_eq!(known.rows, 1);
        let rows: i64 =
            state.connection.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).expect("readable");
        assert_eq!(rows, 1);
    }

    #[test]
    fn ids_that_differ_in_case_only_get_paths_that_differ_when_folded_and_keep_them() {
        const IDS: usize = 1000;
        let id = |number: usize| -> String {
            let letter = |(at, letter): (usize, char)| {
                if number >> at & 1 == 1 { letter.to_ascii_uppercase() } else { letter }
            };
            "abcdefghij".chars().enumerate().map(letter).collect()
        };
        let rows = (0..IDS).map(|number| format!("o,{0},i\no,n,{0}\n", id(number)));
        let text: String = std::iter::once("org,note,image\n".to_owned()).chain(rows).collect();
        let dir = tempfile::tempdir().expect("a folder");
        let mut state = open_state(dir.path(), None).expect("a ledger");
        let mut paths = || {
            let loaded = load(&mut state.connection, loading(&text), |_| Ok(())).expect("loaded");
            assert_eq!((loaded.rows, loaded.bad), (2 * IDS as u64, 0));
            let mut select = state
                .connection
                .prepare(
                    "SELECT n.name, n.segment, r.name, r.segment, r.first FROM rows r JOIN notes n ON n.id = r.note
                     ORDER BY r.seq",
                )
                .expect("prepared");
            let path = |row: &rusqlite::Row<'_>| {
                assert_eq!(row.get::<_, Option<i64>>(4)?, None, "no duplicate");
                let segment = |id: String, own: Option<String>| own.unwrap_or_else(|| layout::segment(&id));
                Ok((segment(row.get(0)?, row.get(1)?), segment(row.get(2)?, row.get(3)?)))
            };
            let paths = select.query_map([], path).expect("read").collect::<rusqlite::Result<Vec<_>>>();
            paths.expect("read")
        };
        let first = paths();
        let folded: HashSet<_> =
            first.iter().map(|(note, image)| (layout::fold(note), layout::fold(image))).collect();
        assert_eq!(folded.len(), 2 * IDS);
        assert_eq!(paths(), first, "loaded again, each has the path that it had");
    }
}
