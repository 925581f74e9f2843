//! A new ledger in place of one that is lost or damaged.
//!
//! It is filled under a temporary name and renamed when it is whole. Before that, whatever is there of the old one is
//! moved aside, never removed: also a log without its database, which would damage the new one. A kill before the first
//! rename leaves the old ledger, one between two renames a lost ledger; both can be rebuilt again.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::fault::sqlite_error_in;
use super::files::{NEW_LEDGER, move_aside, refuse_unfinished, remove};
use super::handles::{self, LedgerConnection};
use super::identity;
use super::inspect::{Header, VERSION, check_sound, newer};
use super::lock::{VERIFY, locks};
use super::open::{connect, prepare};
use super::paths::{LEDGER_FILE, STATE_DIR, ledger_file, state_folder, with_suffix};
use super::read::open_read_only;
use crate::disk::fault::disk_error;
use crate::disk::folder::{self, create_private, create_private_file};
use crate::disk::presence::{self, cannot_look_at};
use crate::error::RunError;

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
        Header::Version(_) | Header::Open => {}
    }
    let sound =
        open_read_only(out, state_dir).and_then(|connection| check_sound(&connection, out, state_dir));
    match sound {
        Ok(()) => Ok(Condition::Sound),
        Err(RunError::Ledger { what, .. }) => Ok(Condition::Damaged(what)),
        // a program that was killed in its first moment made it
        Err(RunError::NoExport(_)) => Ok(Condition::Damaged("has no tables".to_owned())),
        Err(error) => Err(error),
    }
}

/// A ledger that is being rebuilt; the folder stays locked until this is dropped.
#[derive(Debug)]
pub struct Rebuild {
    /// The new ledger, to be filled.
    pub connection: LedgerConnection,
    out: PathBuf,
    state: PathBuf,
    _locks: Vec<File>,
}

impl Rebuild {
    /// Locks the folder and creates a ledger with empty tables.
    ///
    /// # Errors
    /// [`RunError::InUse`], [`RunError::Settings`] if another process has rebuilt the ledger meanwhile, and any error of
    /// the disk.
    pub fn start(out: &Path, state_dir: Option<&Path>) -> Result<Self, RunError> {
        let mut made = Vec::new();
        create_private(&out.join(STATE_DIR), &mut made)?;
        create_private(&state_folder(out, state_dir), &mut made)?;
        let state = state_folder(out, state_dir);
        let locks = locks(out, &state, VERIFY)?;
        if condition(out, state_dir)? == Condition::Sound {
            let what = format!("the ledger of {} is sound by now: there is nothing to adopt", out.display());
            return Err(RunError::Settings(what));
        }
        let path = state.join(NEW_LEDGER);
        remove(&path)?;
        create_private_file(&path)?;
        let connection = connect(&path, &state)?;
        prepare(&connection, &path, &state)?;
        Ok(Self { connection, out: out.to_owned(), state, _locks: locks })
    }

    /// Renames the new ledger into place. Returns the path to which a damaged one was moved, its name with `suffix`
    /// appended.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn finish(self, suffix: &str) -> Result<Option<PathBuf>, RunError> {
        let (new, path) = (self.state.join(NEW_LEDGER), self.state.join(LEDGER_FILE));
        identity::bind(&self.connection, &self.out, &self.state)?;
        // folds the write-ahead log into the file
        self.connection.close().map_err(|error| sqlite_error_in(&new, error))?;
        refuse_unfinished(&new)?;
        handles::sync(&new).map_err(disk_error("flushing", &new))?;
        let aside = with_suffix(&path, suffix);
        let moved = move_aside(&path, &aside)?;
        std::fs::rename(&new, &path).map_err(disk_error("naming", &path))?;
        folder::sync(&self.state)?;
        Ok(moved.then_some(aside))
    }

    /// Removes the new ledger and leaves the folder as it was.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn abandon(self) -> Result<(), RunError> {
        drop(self.connection);
        remove(&self.state.join(NEW_LEDGER))
    }
}
