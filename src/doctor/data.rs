//! What earlier runs left in the export: a run stops where `data/` or a folder in it is a link or closed to this user.
//!
//! It is looked at and never written to: a file that a killed doctor left there would be a file of the export.

use std::fs::DirEntry;
use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::disk::presence::Presence;

const LINK: &str = "a run does not follow links: make it a folder, or mount the disk at the export folder";
pub(super) const CLOSED: &str = "run as its owner, or give this user access to it";
const BROKEN: &str = "mend the disk or its connection";

/// What would stop a run.
pub(super) struct Obstacle {
    pub found: String,
    pub remedy: &'static str,
}

impl Obstacle {
    fn link(path: &Path, target: &Path) -> Self {
        Self {
            found: format!("{} is no folder but a link to {}", path.display(), target.display()),
            remedy: LINK,
        }
    }

    fn unusable(path: &Path, error: &io::Error) -> Self {
        let remedy = if error.kind() == io::ErrorKind::PermissionDenied { CLOSED } else { BROKEN };
        Self { found: format!("{} cannot be used: {error}", path.display()), remedy }
    }
}

/// The first obstacle in `data/`, which is a folder.
pub(super) fn obstacle(data: &Path) -> Option<Obstacle> {
    check_folder(data).and_then(|()| each_entry(data, check_org)).err()
}

fn check_org(entry: &DirEntry) -> Result<(), Obstacle> {
    let path = entry.path();
    match Presence::of(&path) {
        Ok(Presence::Folder(_)) => check_folder(&path).and_then(|()| each_entry(&path, check_note)),
        Ok(Presence::Link(target)) => Err(Obstacle::link(&path, &target)),
        // a file in the place of a folder fails its rows only, if it has any
        Ok(_) => Ok(()),
        Err(error) => Err(Obstacle::unusable(&path, &error)),
    }
}

/// There may be many thousands of notes: the list of their folders says which of them are links, and nothing else is
/// asked.
fn check_note(entry: &DirEntry) -> Result<(), Obstacle> {
    let path = entry.path();
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => {
            Err(Obstacle::link(&path, &std::fs::read_link(&path).unwrap_or_default()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(Obstacle::unusable(&path, &error)),
    }
}

/// Whether this user may list the folder, enter it and make files in it.
fn check_folder(path: &Path) -> Result<(), Obstacle> {
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    match accessat(CWD, path, needed, AtFlags::EACCESS) {
        // a system that cannot answer for the effective user
        Ok(()) | Err(rustix::io::Errno::NOSYS) => Ok(()),
        Err(error) => Err(Obstacle::unusable(path, &error.into())),
    }
}

fn each_entry(folder: &Path, check: impl Fn(&DirEntry) -> Result<(), Obstacle>) -> Result<(), Obstacle> {
    let unusable = |error: io::Error| Obstacle::unusable(folder, &error);
    for entry in std::fs::read_dir(folder).map_err(unusable)? {
        check(&entry.map_err(unusable)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_the_place_of_an_organizations_or_a_notes_folder_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("o/n")).expect("made");
        std::fs::write(data.join(".DS_Store"), "").expect("written");
        assert!(obstacle(&data).is_none());
        for link in ["o/m", "p"] {
            symlink(dir.path(), data.join(link)).expect("linked");
            let found = obstacle(&data).map(|obstacle| obstacle.found).unwrap_or_default();
            assert!(found.contains(&format!("data/{link} is no folder but a link to ")), "{found}");
            std::fs::remove_file(data.join(link)).expect("removed");
        }
    }
}
