//! A new ledger in place of one that is lost or damaged.
//!
//! It is filled under a temporary name and renamed when it is whole; the damaged one is moved aside, never removed.
//! A crash between the two renames leaves a lost ledger, which can be rebuilt again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::fault::sqlite_error_in;
use super::inspect::{Header, VERSION, check_sound, newer};
use super::lock::{VERIFY, locks};
use super::open::{connect, prepare};
use super::paths::{LEDGER_FILE, SQLITE_SUFFIXES, STATE_DIR, ledger_file, state_folder, with_suffix};
use super::read::open_read_only;
use crate::disk::fault::disk_error;
use crate::disk::folder::{self, create_private, create_private_file};
use crate::disk::presence::{self, cannot_look_at};
use crate::error::RunError;

/// The name of a ledger that is not whole yet.
const NEW: &str = "ledger.sqlite.new";

/// Whether a ledger has to be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It can be used.
    Sound,
    /// There is none.
    Lost,
    /// It cannot be used, for this reason.
    Damaged(String),
}

/// Inspects the ledger of a folder and reads all of it.
///
/// # Errors
/// [`RunError::Ledger`] if a newer program wrote it; any other error that keeps it from being read.
pub fn condition(out: &Path, state_dir: Option<&Path>) -> Result<Condition, RunError> {
    let path = ledger_file(out, state_dir);
    if !presence::exists(&path).map_err(cannot_look_at(&path))? {
        return Ok(Condition::Lost);
    }
    match Header::read(&path)? {
        Header::Empty => return Ok(Condition::Damaged("is empty".to_owned())),
        Header::Foreign => return Ok(Condition::Damaged("is no SQLite file".to_owned())),
        Header::Version(version) if version > VERSION => return Err(newer(&path, version)),
        Header::Version(_) => {}
    }
    let sound =
        open_read_only(out, state_dir).and_then(|connection| check_sound(&connection, out, state_dir));
    match sound {
        Ok(()) => Ok(Condition::Sound),
        Err(RunError::Ledger { what, .. }) => Ok(Condition::Damaged(what)),
        Err(error) => Err(error),
    }
}

/// A ledger that is being rebuilt; the folder stays locked until this is dropped.
#[derive(Debug)]
pub struct Rebuild {
    /// The new ledger, to be filled.
    pub connection: Connection,
    state: PathBuf,
    _locks: Vec<File>,
}

impl Rebuild {
    /// Locks the folder and creates a ledger with empty tables.
    ///
    /// # Errors
    /// [`RunError::InUse`], and any error of the disk.
    pub fn start(out: &Path, state_dir: Option<&Path>) -> Result<Self, RunError> {
        let state = state_folder(out, state_dir);
        let mut made = Vec::new();
        create_private(&out.join(STATE_DIR), &mut made)?;
        create_private(&state, &mut made)?;
        let locks = locks(out, &state, VERIFY)?;
        let path = state.join(NEW);
        remove(&path)?;
        create_private_file(&path)?;
        let connection = connect(&path)?;
        prepare(&connection, &path, &state)?;
        Ok(Self { connection, state, _locks: locks })
    }

    /// Renames the new ledger into place. Returns the path to which a damaged one was moved, its name with `suffix`
    /// appended.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn finish(self, suffix: &str) -> Result<Option<PathBuf>, RunError> {
        let (new, path) = (self.state.join(NEW), self.state.join(LEDGER_FILE));
        // folds the write-ahead log into the file
        self.connection.close().map_err(|(_, error)| sqlite_error_in(&new, error))?;
        File::open(&new).and_then(|file| file.sync_all()).map_err(disk_error("flushing", &new))?;
        let aside =
            presence::exists(&path).map_err(cannot_look_at(&path))?.then(|| with_suffix(&path, suffix));
        if let Some(aside) = &aside {
            move_aside(&path, aside)?;
        }
        std::fs::rename(&new, &path).map_err(disk_error("naming", &path))?;
        folder::sync(&self.state)?;
        Ok(aside)
    }

    /// Removes the new ledger and leaves the folder as it was.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn abandon(self) -> Result<(), RunError> {
        let path = self.state.join(NEW);
        drop(self.connection);
        remove(&path)
    }
}

/// Renames a ledger and SQLite's own files beside it.
fn move_aside(path: &Path, aside: &Path) -> Result<(), RunError> {
    std::fs::rename(path, aside).map_err(disk_error("moving aside", path))?;
    for suffix in SQLITE_SUFFIXES {
        let (from, to) = (with_suffix(path, suffix), with_suffix(aside, suffix));
        if_there(std::fs::rename(&from, &to)).map_err(disk_error("moving aside", &from))?;
    }
    Ok(())
}

/// Removes a ledger and SQLite's own files beside it.
fn remove(path: &Path) -> Result<(), RunError> {
    let files = SQLITE_SUFFIXES.map(|suffix| with_suffix(path, suffix));
    for file in std::iter::once(path).chain(files.iter().map(PathBuf::as_path)) {
        if_there(std::fs::remove_file(file)).map_err(disk_error("removing", file))?;
    }
    Ok(())
}

fn if_there(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
