//! Manifest → rows: appended in the manifest's order, indexed afterwards, linked to what is delivered.
//!
//! All of it is one transaction: a manifest that is refused leaves the ledger as it was. Memory does not grow
//! with the number of rows; orgs and notes are remembered up to a bound.

use std::collections::HashMap;
use std::io;

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::columns::int;
use super::link;
use super::runs::{RunRow, insert_run};
use super::sqlite_error;
use crate::error::RunError;
use crate::item::{NoteId, OrgId, Sha256};
use crate::layout;
use crate::manifest::{BadRow, Entry, FIRST_BAD_ROWS, Row};

/// Ids remembered before they are looked up again: rows of a note mostly stand together.
const REMEMBERED: usize = 4096;

/// A manifest to load.
#[derive(Debug)]
pub struct Loading<I> {
    /// Hash of the whole manifest.
    pub sha256: Sha256,
    /// Delimiter and columns it is read with.
    pub reading: String,
    /// Its own columns as a CSV line.
    pub header: Vec<u8>,
    /// Its rows.
    pub entries: I,
    /// Whether rows that contradict an earlier one become bad rows instead of refusing the whole.
    pub skip_bad: bool,
    /// The run that is to fetch them, where one is: it begins with the rows, so that they are never told of as an
    /// earlier one's.
    pub run: Option<RunRow>,
}

/// What was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows, bad ones too.
    pub rows: u64,
    /// Bad rows.
    pub bad: u64,
    /// The first bad rows that only the whole manifest shows. Not empty only where nothing was loaded.
    pub refused: Vec<BadRow>,
    /// Number of those.
    pub refused_count: u64,
    /// Number of the run that began.
    pub run: Option<i64>,
}

/// Whether these rows are in the ledger already, and how many of them there are.
///
/// # Errors
/// Where the ledger cannot be read.
pub fn is_loaded(
    connection: &Connection,
    sha256: &Sha256,
    reading: &str,
) -> rusqlite::Result<Option<Loaded>> {
    connection
        .query_row(
            "SELECT rows, bad FROM manifest WHERE sha256 = ?1 AND reading = ?2",
            params![sha256.to_string(), reading],
            |row| {
                let (rows, bad): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok(Loaded { rows: rows.unsigned_abs(), bad: bad.unsigned_abs(), ..Loaded::default() })
            },
        )
        .optional()
}

/// Replaces the rows of the ledger by those of a manifest. `sound` is asked when all rows were read, whether they
/// are those that were checked.
///
/// # Errors
/// Where the manifest cannot be read, is not sound, or the ledger cannot be written; the ledger is then as it was.
pub fn load<I>(
    connection: &mut Connection,
    mut loading: Loading<I>,
    sound: impl FnOnce(I) -> Result<(), RunError>,
) -> Result<Loaded, RunError>
where
    I: Iterator<Item = io::Result<Entry>>,
{
    let transaction = connection.transaction().map_err(sqlite_error)?;
    transaction
        .execute_batch(
            "DROP INDEX IF EXISTS rows_key; DELETE FROM rows; DELETE FROM bad_rows; DELETE FROM manifest;",
        )
        .map_err(sqlite_error)?;
    let mut loaded = append(&transaction, &mut loading.entries)?;
    sound(loading.entries)?;
    transaction.execute_batch("CREATE INDEX rows_key ON rows (key)").map_err(sqlite_error)?;
    let contradictions = link::duplicates(&transaction).map_err(sqlite_error)?;
    if !contradictions.is_empty() && !loading.skip_bad {
        loaded.refused_count = contradictions.len() as u64;
        let named = contradictions.iter().take(FIRST_BAD_ROWS).map(|it| it.bad_row(&transaction));
        loaded.refused = named.collect::<rusqlite::Result<_>>().map_err(sqlite_error)?;
        return Ok(loaded); // dropping the transaction takes everything back
    }
    for contradiction in contradictions {
        let bad = contradiction.bad_row(&transaction).map_err(sqlite_error)?;
        link::make_bad(&transaction, contradiction.seq, &bad).map_err(sqlite_error)?;
        loaded.bad += 1;
    }
    link::delivered(&transaction).map_err(sqlite_error)?;
    transaction
        .execute(
            "INSERT INTO manifest (id, sha256, reading, header, rows, bad) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            params![
                loading.sha256.to_string(),
                loading.reading,
                loading.header,
                int(loaded.rows),
                int(loaded.bad)
            ],
        )
        .map_err(sqlite_error)?;
    let begun = loading.run.map(|run| insert_run(&transaction, &run)).transpose();
    loaded.run = begun.map_err(sqlite_error)?;
    transaction.commit().map_err(sqlite_error)?;
    Ok(loaded)
}

fn append(
    connection: &Connection,
    entries: &mut impl Iterator<Item = io::Result<Entry>>,
) -> Result<Loaded, RunError> {
    let mut loaded = Loaded::default();
    let mut names = Names::new(connection).map_err(sqlite_error)?;
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
            Entry::Row(row) => insert_row(&mut insert, &mut names, seq, &row).map_err(sqlite_error)?,
            Entry::Bad(bad) => {
                loaded.bad += 1;
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

fn insert_row(insert: &mut Statement, names: &mut Names, seq: i64, row: &Row) -> rusqlite::Result<()> {
    let note = names.note(row.org.as_str(), row.note.as_str())?;
    let folded = layout::fold(&layout::segment(row.image.as_str()));
    let key = layout::key(&row.org, &row.note, &folded);
    let wanted = row.sha256.map(|hash| hash.0);
    insert.execute(params![seq, int(row.line), note, row.image.as_str(), key, wanted, row.raw])?;
    Ok(())
}

pub(super) fn insert_bad(connection: &Connection, seq: i64, bad: &BadRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO bad_rows (seq, org, note, image, reason) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![seq, bad.org, bad.note, bad.image, bad.reason])?;
    Ok(())
}

/// Gives orgs and notes their numbers and their folders.
struct Names<'c> {
    connection: &'c Connection,
    org_by_name: Statement<'c>,
    notes_by_key: Statement<'c>,
    insert_note: Statement<'c>,
    orgs: HashMap<String, i64>,
    notes: HashMap<i64, Vec<(String, i64)>>,
}

impl<'c> Names<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            org_by_name: connection.prepare("SELECT id FROM orgs WHERE name = ?1")?,
            notes_by_key: connection.prepare("SELECT id, org, name FROM notes WHERE key = ?1")?,
            insert_note: connection
                .prepare("INSERT INTO notes (org, name, key, segment) VALUES (?1, ?2, ?3, ?4)")?,
            orgs: HashMap::new(),
            notes: HashMap::new(),
        })
    }

    fn org(&mut self, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.orgs.get(name) {
            return Ok(*id);
        }
        let known: Option<i64> = self.org_by_name.query_row([name], |row| row.get(0)).optional()?;
        let id = match known {
            Some(id) => id,
            None => self.new_org(name)?,
        };
        if self.orgs.len() == REMEMBERED {
            self.orgs.clear();
        }
        self.orgs.insert(name.to_owned(), id);
        Ok(id)
    }

    fn new_org(&mut self, name: &str) -> rusqlite::Result<i64> {
        let mut segment = layout::segment(name);
        let taken = self
            .connection
            .prepare_cached("SELECT 1 FROM orgs WHERE folded = ?1")?
            .exists([layout::fold(&segment)])?;
        if taken || layout::needs_hash(&segment) {
            segment = layout::hashed(name);
        }
        self.connection.execute(
            "INSERT INTO orgs (name, segment, folded) VALUES (?1, ?2, ?3)",
            params![name, segment, layout::fold(&segment)],
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    fn note(&mut self, org_name: &str, name: &str) -> rusqlite::Result<i64> {
        let org = self.org(org_name)?;
        let segment = layout::segment(name);
        // an org's name cannot be empty, so that no image has such a key
        let key = layout::key(&OrgId::new(""), &NoteId::new(org_name), &layout::fold(&segment));
        if let Some((_, id)) =
            self.notes.get(&key).and_then(|same| same.iter().find(|(known, _)| known == name))
        {
            return Ok(*id);
        }
        let mut taken = false;
        let mut found = None;
        let mut rows = self.notes_by_key.query([key])?;
        while let Some(row) = rows.next()? {
            let (id, its_org, its_name): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if its_org == org && its_name == name {
                found = Some(id);
            }
            taken = true;
        }
        drop(rows);
        let id = match found {
            Some(id) => id,
            None => {
                let own = (taken || layout::needs_hash(&segment)).then(|| layout::hashed(name));
                self.insert_note.execute(params![org, name, key, own])?;
                self.connection.last_insert_rowid()
            }
        };
        if self.notes.len() >= REMEMBERED {
            self.notes.clear();
        }
        self.notes.entry(key).or_default().push((name.to_owned(), id));
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::open_state;
    use crate::manifest::{Manifest, ManifestOptions, fingerprint};

    fn loading(text: &str) -> Loading<Manifest<&[u8]>> {
        let entries = Manifest::open(text.as_bytes(), &ManifestOptions::default()).expect("a manifest");
        let sha256 = fingerprint(text.as_bytes()).expect("read");
        Loading { sha256, reading: String::new(), header: Vec::new(), entries, skip_bad: false, run: None }
    }

    #[test]
    fn a_manifest_that_is_not_sound_leaves_the_rows_of_the_one_before() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut state = open_state(dir.path(), None).expect("a ledger");
        let first = loading("org,note,image\no,n,a\n");
        let hash = first.sha256;
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
}
