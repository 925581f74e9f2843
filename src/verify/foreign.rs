//! Files in `data/` that no image owns.
//!
//! The tree is walked in the order of its paths' bytes, beside the ledger's paths in the same order: memory grows
//! with the largest folder and with what is found, not with the images.

use std::fs::DirEntry;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::RunError;
use crate::ledger::sqlite_error;

/// Paths that have an owner, in the order of their bytes, and whether it is delivered. One that is not has a file
/// that the next run replaces: an image that no row asks for any more owns none.
pub(super) const OWNED: &str = "SELECT path, delivered FROM images i
     WHERE delivered = 1 OR EXISTS (SELECT 1 FROM rows r WHERE r.key = i.key AND r.note = i.note AND r.name = i.name)
     ORDER BY path";

/// What lies in `data/` besides delivered images.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Nobody owns these.
    pub foreign: Vec<String>,
    /// So many lie where an image was delivered that has to be fetched again.
    pub waiting: u64,
}

/// A run names a file a moment before it writes that down.
const MOMENT: Duration = Duration::from_secs(2);

/// Finds them; `owned` selects as [`OWNED`] does. Links are not followed:
/// one without an owner is foreign itself.
pub(super) fn find(connection: &Connection, root: &Path, owned: &str) -> Result<Found, RunError> {
    // a copy: a ledger that is read for as long as a tree is walked could not be written by a run, on some disks
    connection
        .execute_batch(&format!(
            "CREATE TEMP TABLE owned (n INTEGER PRIMARY KEY, path TEXT NOT NULL, delivered INTEGER NOT NULL)
                 STRICT;
             INSERT INTO owned (path, delivered) {owned};"
        ))
        .map_err(sqlite_error)?;
    let mut owned =
        connection.prepare("SELECT path, delivered FROM owned ORDER BY n").map_err(sqlite_error)?;
    let mut owned = owned.query([]).map_err(sqlite_error)?;
    let mut mine: Option<(Vec<u8>, bool)> = None;
    let mut exhausted = false;
    let mut found = Found::default();
    walk(root, |path| {
        while !exhausted && mine.as_ref().is_none_or(|(mine, _)| &**mine < path) {
            let row = owned.next().map_err(sqlite_error)?;
            exhausted = row.is_none();
            mine = match row {
                None => None,
                Some(row) => {
                    let path: String = row.get(0).map_err(sqlite_error)?;
                    Some((path.into_bytes(), row.get(1).map_err(sqlite_error)?))
                }
            };
        }
        match &mine {
            Some((mine, delivered)) if mine == path => found.waiting += u64::from(!delivered),
            _ => found.foreign.push(String::from_utf8_lossy(path).into_owned()),
        }
        Ok(())
    })?;
    Ok(found)
}

/// Takes out what a run has delivered meanwhile.
pub(super) fn look_again(connection: &Connection, found: &mut Vec<String>) -> Result<(), RunError> {
    std::thread::sleep(MOMENT);
    let look = || {
        connection.execute_batch("CREATE TEMP TABLE foreign_files (path TEXT PRIMARY KEY) WITHOUT ROWID")?;
        let mut insert = connection.prepare("INSERT OR IGNORE INTO foreign_files VALUES (?1)")?;
        for path in found.iter() {
            insert.execute([path])?;
        }
        let mut owned = connection.prepare(
            "SELECT i.path FROM images i JOIN foreign_files f ON f.path = i.path WHERE i.delivered = 1",
        )?;
        let owned = owned.query_map([], |row| row.get(0))?;
        owned.collect::<rusqlite::Result<std::collections::HashSet<String>>>()
    };
    let owned = look().map_err(sqlite_error)?;
    found.retain(|path| !owned.contains(path));
    Ok(())
}

/// Calls `file` for everything in `data/` that is no folder, in the order of the paths' bytes.
fn walk(root: &Path, mut file: impl FnMut(&[u8]) -> Result<(), RunError>) -> Result<(), RunError> {
    // what is still to do, the next one last
    let mut stack = vec![b"data/".to_vec()];
    while let Some(path) = stack.pop() {
        if path.last() != Some(&b'/') {
            file(&path)?;
            continue;
        }
        let mut entries = list(root, &path)?;
        entries.sort_unstable_by(|a, b| b.cmp(a));
        stack.append(&mut entries);
    }
    Ok(())
}

/// What is in a folder; folders with a `/` behind, so that they sort as the paths below them do.
fn list(root: &Path, folder: &[u8]) -> Result<Vec<Vec<u8>>, RunError> {
    let path = root.join(std::ffi::OsString::from_vec(folder.to_vec()));
    let wrong = |error| RunError::io(format!("reading {}", path.display()))(error);
    let entries = match std::fs::read_dir(&path) {
        // `data/` is missing where all its images are, too
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(wrong)?,
    };
    let whole = |entry: std::io::Result<DirEntry>| {
        let entry = entry?;
        let mut whole = folder.to_vec();
        whole.append(&mut entry.file_name().into_vec());
        if entry.file_type()?.is_dir() {
            whole.push(b'/');
        }
        Ok(whole)
    };
    entries.map(whole).collect::<std::io::Result<_>>().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_an_owner_are_found_whatever_their_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let owned = ["data/a-b/n/i.jpg", "data/a/n/i.jpg", "data/a/n-1/i.jpg", "data/b/n/gone.jpg"];
        let foreign =
            ["data/a/n/j.jpg", "data/a.txt", "data/a/n/.hidden", "data/zz/deep/er/x", "data/\u{e9}/n/x"];
        for path in owned[..3].iter().chain(&foreign) {
            std::fs::create_dir_all(root.join(path).parent().expect("a folder")).expect("made");
            std::fs::write(root.join(path), "x").expect("written");
        }
        std::os::unix::fs::symlink("/etc", root.join("data/link")).expect("linked");
        std::fs::create_dir_all(root.join("data/empty/folder")).expect("made");
        std::fs::write(root.join("notes.txt"), "beside data/").expect("written");

        let connection = Connection::open_in_memory().expect("memory");
        connection
            .execute_batch(
                "CREATE TABLE images (path TEXT, delivered INTEGER, key INTEGER, note INTEGER, name TEXT);
                 CREATE TABLE rows (key INTEGER, note INTEGER, name TEXT);
                 INSERT INTO rows VALUES (0, 1, 'i');",
            )
            .expect("the tables");
        // two are not delivered: the first one is asked for, the second one is not
        for (key, path) in (0_i64..).zip(owned) {
            let insert = "INSERT INTO images VALUES (?1, ?2, ?3, 1, 'i')";
            connection.execute(insert, (path, key > 1, key)).expect("inserted");
        }
        let mut expected: Vec<&str> = foreign.into_iter().chain(["data/link", owned[1]]).collect();
        expected.sort_unstable();
        let found = find(&connection, root, OWNED).expect("found");
        assert_eq!((found.foreign, found.waiting), (expected.into_iter().map(str::to_owned).collect(), 1));
        connection.execute_batch("DROP TABLE owned").expect("dropped");
        std::fs::remove_dir_all(root.join("data")).expect("removed");
        assert_eq!(find(&connection, root, OWNED).expect("nothing"), Found::default());
    }
}
