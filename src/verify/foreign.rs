//! Files in `data/` that belong to no image.
//!
//! The tree is walked in the order of its paths' bytes, beside the ledger's paths in the same order: memory grows with
//! the largest folder and with what is found, not with the images. Links are not followed.

use std::fs::DirEntry;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rusqlite::{Connection, Rows};

use super::litter::is_litter;
use super::verified::Verified;
use crate::disk::presence::{cannot_look, known};
use crate::error::RunError;
use crate::ledger::sqlite_error;

/// Paths that belong to an image, in the order of their bytes, and whether it is delivered. The file of one that is not
/// will be replaced by the next run, unless no row asks for it any more: then it owns no path. A name that a run has
/// intended is about to be recorded, or will be cleared by the next run.
pub(super) const OWNED: &str = "SELECT path, max(delivered) FROM (
         SELECT path, delivered FROM images i
         WHERE delivered = 1
             OR EXISTS (SELECT 1 FROM rows r WHERE r.key = i.key AND r.note = i.note AND r.name = i.name)
         UNION ALL SELECT path, 0 FROM intents)
     GROUP BY path ORDER BY path";

/// What is in `data/` besides delivered images.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// These belong to no image.
    pub foreign: Vec<String>,
    /// Nor do these, but an operating system left them.
    pub litter: Vec<String>,
    /// Files of images that have to be fetched again.
    pub waiting: u64,
}

impl Found {
    /// Moves the lists into the result.
    pub fn report(self, verified: &mut Verified) {
        (verified.foreign, verified.litter, verified.waiting) = (self.foreign, self.litter, self.waiting);
    }
}

/// Searches `data/`; `owned` selects as [`OWNED`] does. A link that belongs to no image is foreign itself.
///
/// # Errors
/// If the ledger cannot be read or a folder cannot be listed.
pub(super) fn find(connection: &Connection, root: &Path, owned: &str) -> Result<Found, RunError> {
    // a copy: on some disks, a ledger that is read for as long as the walk takes could not be written by a run
    connection
        .execute_batch(&format!(
            "CREATE TEMP TABLE owned (n INTEGER PRIMARY KEY, path TEXT NOT NULL, delivered INTEGER NOT NULL)
                 STRICT;
             INSERT INTO owned (path, delivered) {owned};"
        ))
        .map_err(sqlite_error)?;
    let mut owned =
        connection.prepare("SELECT path, delivered FROM owned ORDER BY n").map_err(sqlite_error)?;
    let mut owned = Owned { rows: owned.query([]).map_err(sqlite_error)?, current: None, exhausted: false };
    let mut found = Found::default();
    walk(root, |path| {
        let text = || String::from_utf8_lossy(path).into_owned();
        match owned.find(path).map_err(sqlite_error)? {
            Some(delivered) => found.waiting += u64::from(!delivered),
            None if is_litter(path) => found.litter.push(text()),
            None => found.foreign.push(text()),
        }
        Ok(())
    })?;
    Ok(found)
}

/// The owned paths, read along with the walk.
struct Owned<'a> {
    rows: Rows<'a>,
    current: Option<(Vec<u8>, bool)>,
    exhausted: bool,
}

impl Owned<'_> {
    /// Whether the image that owns `path` is delivered; `None` if no image owns it. Paths come in ascending order.
    fn find(&mut self, path: &[u8]) -> rusqlite::Result<Option<bool>> {
        while !self.exhausted && self.current.as_ref().is_none_or(|(owned, _)| &**owned < path) {
            self.current = match self.rows.next()? {
                Some(row) => Some((row.get::<_, String>(0)?.into_bytes(), row.get(1)?)),
                None => {
                    self.exhausted = true;
                    None
                }
            };
        }
        Ok(self.current.as_ref().filter(|(owned, _)| owned == path).map(|(_, delivered)| *delivered))
    }
}

/// Calls `file` for everything in `data/` that is not a folder, in the order of the paths' bytes.
fn walk(root: &Path, mut file: impl FnMut(&[u8]) -> Result<(), RunError>) -> Result<(), RunError> {
    // what is still to do, the next one last
    let mut stack = vec![b"data/".to_vec()];
    while let Some(path) = stack.pop() {
        let Some(folder) = path.strip_suffix(b"/") else {
            file(&path)?;
            continue;
        };
        match list(root, &path) {
            Ok(mut entries) => {
                entries.sort_unstable_by(|a, b| b.cmp(a));
                stack.append(&mut entries);
            }
            // a file server's own folder, which the user often may not enter
            Err(_) if is_litter(folder) => file(folder)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is in a folder; folders with a `/` behind, so that they sort as the paths below them do.
fn list(root: &Path, folder: &[u8]) -> Result<Vec<Vec<u8>>, RunError> {
    let path = root.join(std::ffi::OsString::from_vec(folder.to_vec()));
    // `data/` is missing if all its images are; any folder may be removed after it was seen
    let Some(entries) = known(std::fs::read_dir(&path)).map_err(cannot_look(&path))? else {
        return Ok(Vec::new());
    };
    let whole = |entry: io::Result<DirEntry>| -> io::Result<Option<Vec<u8>>> {
        let entry = entry?;
        let Some(kind) = known(entry.file_type())? else { return Ok(None) };
        let mut whole = folder.to_vec();
        whole.append(&mut entry.file_name().into_vec());
        if kind.is_dir() {
            whole.push(b'/');
        }
        Ok(Some(whole))
    };
    let entries = entries.filter_map(|entry| whole(entry).transpose());
    entries.collect::<io::Result<_>>().map_err(cannot_look(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_an_owner_are_found_in_any_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let owned = ["data/a-b/n/i.jpg", "data/a/n/i.jpg", "data/a/n-1/i.jpg", "data/b/n/gone.jpg"];
        let foreign =
            ["data/a/n/j.jpg", "data/a.txt", "data/a/n/.hidden", "data/zz/deep/er/x", "data/\u{e9}/n/x"];
        let litter = ["data/.DS_Store", "data/@eaDir/n/i.jpg", "data/a/n/._i.jpg"];
        let intended = ["data/a/n/intended.jpg"];
        for path in owned[..3].iter().chain(&foreign).chain(&litter).chain(&intended) {
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
                 CREATE TABLE intents (path TEXT);
                 INSERT INTO intents VALUES ('data/a/n/intended.jpg'), ('data/a/n-1/i.jpg');
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
        let texts = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((found.foreign, found.waiting), (texts(expected), 2));
        assert_eq!(found.litter, texts(litter.to_vec()));
        connection.execute_batch("DROP TABLE owned").expect("dropped");
        std::fs::remove_dir_all(root.join("data")).expect("removed");
        assert_eq!(find(&connection, root, OWNED).expect("nothing"), Found::default());
    }
}
