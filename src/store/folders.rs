//! The folders of the export's files: private, never through a link, and durable before a file in them is delivered.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Folder;
use super::obstacle::{linked, not_a_folder};
use crate::disk::fault::failure;
use crate::disk::presence::Presence;
use crate::error::Failure;

/// Makes a folder such as `data/<org>/<note>`, and adds every folder above it to those to be made durable: one that exists may have been
/// made moments before an earlier run was killed. A link in the way is refused: the image
/// would leave the export.
pub(super) fn make_folders(
    path: &Path,
    folder: &Folder,
    folders: &mut BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    if path == folder.root || folders.contains(path) {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(&folder.root);
    make_folders(parent, folder, folders)?;
    folders.insert(parent.to_owned());
    match Presence::of(path).map_err(failure("inspecting", path))? {
        Presence::Folder(_) => Ok(()),
        Presence::Absent => match std::fs::DirBuilder::new().mode(0o700).create(path) {
            // another shard has just made it: what it is, is looked at again
            Err(error) if error.kind() == ErrorKind::AlreadyExists => make_folders(path, folder, folders),
            made => made.map_err(failure("making", path)),
        },
        Presence::Link(target) => Err(Failure::DiskFatal { what: linked(path, &target) }),
        _ => Err(Failure::Obstacle(not_a_folder(path))),
    }
}
