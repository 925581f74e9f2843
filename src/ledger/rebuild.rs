//! A new ledger in the place of one that is lost or damaged.
//!
//! It is made under a name of its own and takes its place when it is whole; the damaged one is moved aside, never
//! removed. A crash between the two leaves a lost ledger, and the same can be done again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::existing::{Header, beside, check_sound, newer, open_read_only};
use super::open::{
    LEDGER_FILE, STATE_DIR, VERSION, disk, locks, make_dir, migrate, named, prepare, state_folder,
};
use crate::error::RunError;

/// The name of a ledger that is being made.
const NEW: &str = "ledger.sqlite.new";
/// SQLite's own files beside one.
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How a ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It can be used.
    Sound,
    /// There is none.
    Lost,
    /// It cannot be used, for this reason.
    Damaged(String),
}

/// How the ledger of a folder is. Reads all of it.
///
/// # Errors
/// [`RunError::Ledger`] where it was written by a newer program, and where it cannot be read at all.
pub fn condition(out: &Path, state_dir: Option<&Path>) -> Result<Condition, RunError> {
    let path = state_folder(out, state_dir).join(LEDGER_FILE);
    if !path.exists() {
        return Ok(Condition::Lost);
    }
    match Header::read(&path)? {
        Header::Empty => return Ok(Condition::Damaged("is empty".to_owned())),
        Header::Foreign => return Ok(Condition::Damaged("is no SQLite file".to_owned())),
        Header::Version(version) if version > VERSION => {
            return Err(newer(&path, version));
        }
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

/// A ledger that is being made; the folder is locked meanwhile.
#[derive(Debug)]
pub struct Rebuild {
    /// To be filled.
    pub connection: Connection,
    state: PathBuf,
    _locks: Vec<File>,
}

impl Rebuild {
    /// Takes the lock and begins with empty tables.
    ///
    /// # Errors
    /// [`RunError::InUse`], and where the disk refuses.
    pub fn begin(out: &Path, state_dir: Option<&Path>) -> Result<Self, RunError> {
        let state = state_folder(out, state_dir);
        let mut made = Vec::new();
        make_dir(&out.join(STATE_DIR), &mut made)?;
        make_dir(&state, &mut made)?;
        let locks = locks(out, &state, "verify")?;
        let path = state.join(NEW);
        remove(&path)?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(disk("making", &path))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|error| named(&path, error))?;
        prepare(&connection, &state).map_err(|error| named(&path, error))?;
        migrate(&connection, &path)?;
        Ok(Self { connection, state, _locks: locks })
    }

    /// Puts it in its place. Returns where the damaged one was moved, if there was one; `aside` is what its name
    /// gets behind.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn finish(self, aside: &str) -> Result<Option<PathBuf>, RunError> {
        let (new, path) = (self.state.join(NEW), self.state.join(LEDGER_FILE));
        // folds the write-ahead log into the file
        self.connection.close().map_err(|(_, error)| named(&new, error))?;
        File::open(&new).and_then(|file| file.sync_all()).map_err(disk("flushing", &new))?;
        let mut moved = None;
        if path.exists() {
            let target = beside(&path, aside);
            std::fs::rename(&path, &target).map_err(disk("moving aside", &path))?;
            for suffix in SIDE_FILES {
                let (from, to) = (beside(&path, suffix), beside(&target, suffix));
                match std::fs::rename(&from, &to) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    result => result.map_err(disk("moving aside", &from))?,
                }
            }
            moved = Some(target);
        }
        std::fs::rename(&new, &path).map_err(disk("naming", &path))?;
        File::open(&self.state)
            .and_then(|folder| folder.sync_all())
            .map_err(disk("flushing", &self.state))?;
        Ok(moved)
    }

    /// Takes back what was made.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn abandon(self) -> Result<(), RunError> {
        let path = self.state.join(NEW);
        drop(self.connection);
        remove(&path)
    }
}

fn remove(path: &Path) -> Result<(), RunError> {
    let files = std::iter::once(path.to_owned()).chain(SIDE_FILES.map(|suffix| beside(path, suffix)));
    for file in files {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(disk("removing", &file))?,
        }
    }
    Ok(())
}
