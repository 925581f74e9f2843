//! Files that a run has named but not recorded yet.
//!
//! A run renames the files of a batch, flushes their folders, and only then records them. Between the two, for as long as
//! the disk takes, they look foreign. Such a file is recognized by its name: it is that of an image that the run still
//! has to deliver.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::Connection;

use super::options::VerifyOptions;
use crate::disk::presence;
use crate::error::RunError;
use crate::layout;
use crate::ledger::{self, sqlite_error};

/// Takes out of the foreign files those that a run has recorded or removed meanwhile, or is about to record.
pub(super) fn drop_pending(
    connection: &Connection,
    options: &VerifyOptions,
    foreign: &mut Vec<String>,
) -> Result<(), RunError> {
    // asked before the ledger is read: a run that ends in between has recorded all its files by then
    let running = is_running(options);
    let read = || {
        let snapshot = connection.unchecked_transaction()?;
        let delivered = delivered(&snapshot, foreign)?;
        let wanted = if running { wanted(&snapshot, foreign)? } else { HashSet::new() };
        Ok((delivered, wanted))
    };
    let (delivered, wanted) = read().map_err(sqlite_error)?;
    // a run that delivers an image in another format removes the old file after that
    let is_gone = |path: &String| matches!(presence::exists(&options.out.join(path)), Ok(false));
    foreign.retain(|path| !delivered.contains(path) && !wanted.contains(stem(path)) && !is_gone(path));
    Ok(())
}

/// As [`drop_pending`], for the ledgers of shards that were gathered again: those know every name that a shard is about to
/// give to a file.
pub(super) fn drop_owned(
    gathered: &Connection,
    out: &Path,
    foreign: &mut Vec<String>,
) -> Result<(), RunError> {
    let owned = |path: &String| -> rusqlite::Result<bool> {
        gathered
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM images WHERE path = ?1 AND delivered = 1)
                     OR EXISTS (SELECT 1 FROM intents WHERE path = ?1)",
            )?
            .query_row([path], |row| row.get(0))
    };
    let mut kept = Vec::new();
    for path in std::mem::take(foreign) {
        let is_gone = matches!(presence::exists(&out.join(&path)), Ok(false));
        if !is_gone && !owned(&path).map_err(sqlite_error)? {
            kept.push(path);
        }
    }
    *foreign = kept;
    Ok(())
}

/// Whether a run may be working in the folder.
fn is_running(options: &VerifyOptions) -> bool {
    match ledger::holder(&options.out, options.state_dir.as_deref()) {
        Ok(holder) => holder.is_some_and(|holder| holder.command != ledger::VERIFY),
        // unknown: nothing is called foreign that a run may have delivered
        Err(_) => true,
    }
}

/// The paths among `foreign` that are now those of delivered images.
fn delivered(connection: &Connection, foreign: &[String]) -> rusqlite::Result<HashSet<String>> {
    connection.execute_batch("CREATE TEMP TABLE foreign_files (path TEXT PRIMARY KEY) WITHOUT ROWID")?;
    let mut insert = connection.prepare("INSERT OR IGNORE INTO foreign_files VALUES (?1)")?;
    for path in foreign {
        insert.execute([path])?;
    }
    let mut select = connection.prepare(
        "SELECT i.path FROM images i JOIN foreign_files f ON f.path = i.path WHERE i.delivered = 1",
    )?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// The stems of `foreign` under which the newest run will record an image: its rows that are neither delivered nor
/// given up.
fn wanted(connection: &Connection, foreign: &[String]) -> rusqlite::Result<HashSet<String>> {
    let stems: HashSet<&str> = foreign.iter().map(|path| stem(path)).collect();
    let mut select = connection.prepare(
        "SELECT o.segment, n.segment, n.name, r.segment, r.name
         FROM rows r JOIN notes n ON n.id = r.note JOIN orgs o ON o.id = n.org LEFT JOIN images i ON i.id = r.image
         WHERE r.first IS NULL AND coalesce(i.delivered, 0) = 0
             AND (r.run IS NOT (SELECT max(id) FROM runs) OR r.failed = 0)",
    )?;
    let mut rows = select.query([])?;
    let mut wanted = HashSet::new();
    while let Some(row) = rows.next()? {
        let segment = |segment: usize| -> rusqlite::Result<String> {
            let natural = || Ok(layout::segment(row.get_ref(segment + 1)?.as_str()?));
            row.get::<_, Option<String>>(segment)?.map_or_else(natural, Ok)
        };
        let stem = layout::path(row.get_ref(0)?.as_str()?, &segment(1)?, &segment(3)?);
        if stems.contains(&*stem) {
            wanted.insert(stem);
        }
    }
    Ok(wanted)
}

/// A path without its extension.
fn stem(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}
