//! Symbolic links in the place of folders: one problem of the whole export, found before any file is read.
//!
//! `data` and the organizations' folders are checked here. A link in the place of a note's folder is met when a file in
//! it is opened.

use std::io;
use std::path::Path;

use rusqlite::Connection;

use crate::disk::presence::{Presence, cannot_look};
use crate::error::RunError;
use crate::ledger::sqlite_error;

/// Refuses an export whose `data` or one of whose organizations is a symbolic link.
pub(super) fn refuse_links(connection: &Connection, out: &Path) -> Result<(), RunError> {
    refuse_link(out, "data")?;
    let data = out.join("data");
    let mut select = connection.prepare("SELECT segment FROM orgs").map_err(sqlite_error)?;
    let mut rows = select.query([]).map_err(sqlite_error)?;
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        let segment: String = row.get(0).map_err(sqlite_error)?;
        refuse_link(&data, &segment)?;
    }
    Ok(())
}

/// Refuses a symbolic link called `name` in `folder`.
pub(super) fn refuse_link(folder: &Path, name: &str) -> Result<(), RunError> {
    let path = folder.join(name);
    match Presence::of(&path).map_err(cannot_look(folder))? {
        Presence::Link(target) => Err(link_error(&path, &target)),
        _ => Ok(()),
    }
}

/// The error for a link in the place of a folder.
pub(super) fn link_error(path: &Path, target: &Path) -> RunError {
    RunError::Io {
        what: format!("{} is a symbolic link to {}", path.display(), target.display()),
        source: io::Error::other(
            "links in data/ are not followed, and nothing was marked; put the folder itself there, or mount it there",
        ),
    }
}
