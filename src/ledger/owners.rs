//! Orgs and notes get their numbers and the folders that they own, when a manifest is loaded and when a ledger is
//! rebuilt. No two orgs own one folder, and no two notes of an org.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Statement, params};

use crate::item::{NoteId, OrgId};
use crate::layout;

/// Ids kept in memory: rows of a note mostly stand together.
const REMEMBERED_MAX: usize = 4096;

/// Gives the orgs and notes of a manifest their numbers, and a folder to each new one.
pub(super) struct Owners<'c> {
    connection: &'c Connection,
    org_by_name: Statement<'c>,
    note_by_name: Statement<'c>,
    note_by_key: Statement<'c>,
    orgs: HashMap<String, i64>,
    /// The last note of each key.
    notes: HashMap<i64, (String, i64)>,
}

impl<'c> Owners<'c> {
    pub fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            org_by_name: connection.prepare("SELECT id FROM orgs WHERE name = ?1")?,
            note_by_name: connection
                .prepare("SELECT id FROM notes WHERE key = ?1 AND name = ?2 AND org = ?3")?,
            note_by_key: connection.prepare("SELECT 1 FROM notes WHERE key = ?1")?,
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
        if self.orgs.len() == REMEMBERED_MAX {
            self.orgs.clear();
        }
        self.orgs.insert(name.to_owned(), id);
        Ok(id)
    }

    fn new_org(&self, name: &str) -> rusqlite::Result<i64> {
        let mut segment = layout::segment(name);
        let taken = self
            .connection
            .prepare_cached("SELECT 1 FROM orgs WHERE folded = ?1")?
            .exists([layout::fold(&segment)])?;
        if taken || layout::needs_hash(&segment) {
            segment = layout::hashed(name);
        }
        insert_org(self.connection, name, &segment)
    }

    /// The number of a note.
    pub fn note(&mut self, org_name: &str, name: &str) -> rusqlite::Result<i64> {
        let org = self.org(org_name)?;
        let segment = layout::segment(name);
        let key = note_key(org_name, &segment);
        if let Some((_, id)) = self.notes.get(&key).filter(|(known, _)| known == name) {
            return Ok(*id);
        }
        let known = self.note_by_name.query_row(params![key, name, org], |row| row.get(0)).optional()?;
        let id = match known {
            Some(id) => id,
            None => {
                let taken = self.note_by_key.exists([key])?;
                let own = (taken || layout::needs_hash(&segment)).then(|| layout::hashed(name));
                insert_note(self.connection, org, name, key, own.as_deref())?
            }
        };
        if self.notes.len() >= REMEMBERED_MAX {
            self.notes.clear();
        }
        self.notes.insert(key, (name.to_owned(), id));
        Ok(id)
    }
}

/// An org or a note with the folder that it owned when an image was delivered there.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Its id.
    pub name: &'a str,
    /// Its folder's name.
    pub segment: &'a str,
}

/// The number of a note whose folder exists already; `None` if another org owns the folder of this one.
///
/// # Errors
/// If the ledger cannot be read or written.
pub fn adopt_note(connection: &Connection, org: Owner, note: Owner) -> rusqlite::Result<Option<i64>> {
    let Some(org_number) = adopt_org(connection, org)? else { return Ok(None) };
    let natural = layout::segment(note.name);
    let key = note_key(org.name, &natural);
    let known: Option<i64> = connection
        .prepare_cached("SELECT id FROM notes WHERE key = ?1 AND org = ?2 AND name = ?3")?
        .query_row(params![key, org_number, note.name], |row| row.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(known);
    }
    let own = (natural != note.segment).then_some(note.segment);
    insert_note(connection, org_number, note.name, key, own).map(Some)
}

fn adopt_org(connection: &Connection, org: Owner) -> rusqlite::Result<Option<i64>> {
    let known: Option<i64> = connection
        .prepare_cached("SELECT id FROM orgs WHERE name = ?1 AND segment = ?2")?
        .query_row([org.name, org.segment], |row| row.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(known);
    }
    let taken = connection
        .prepare_cached("SELECT 1 FROM orgs WHERE name = ?1 OR folded = ?2")?
        .exists([org.name, &layout::fold(org.segment)])?;
    if taken { Ok(None) } else { insert_org(connection, org.name, org.segment).map(Some) }
}

fn insert_org(connection: &Connection, name: &str, segment: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("INSERT INTO orgs (name, segment, folded) VALUES (?1, ?2, ?3)")?
        .insert(params![name, segment, layout::fold(segment)])
}

/// `own` is the folder's name if it is not the one that [`layout::segment`] makes of the id.
fn insert_note(
    connection: &Connection,
    org: i64,
    name: &str,
    key: i64,
    own: Option<&str>,
) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("INSERT INTO notes (org, name, key, segment) VALUES (?1, ?2, ?3, ?4)")?
        .insert(params![org, name, key, own])
}

/// A hash of a note's org and its folder's folded name. It stands for no image's key: an org's id is never empty.
fn note_key(org: &str, segment: &str) -> i64 {
    layout::key(&OrgId::new(""), &NoteId::new(org), &layout::fold(segment))
}
