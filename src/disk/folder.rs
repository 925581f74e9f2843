//! Folders and files that only their owner may read, created durably and never through a symbolic link.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::fault::disk_error;
use super::presence::{self, Presence, cannot_look_at};
use crate::error::RunError;
use crate::error::disk_cause::IN_THE_WAY;

/// What the user can do about a file that occupies the path of a folder.
pub(crate) const OBSTACLE_ADVICE: &str = "move it away, or choose another with -o";

/// Says that something other than a folder occupies the path of a folder.
pub(crate) fn not_a_folder(path: &Path) -> String {
    format!("{}{IN_THE_WAY}no folder", path.display())
}

/// Says that something that is never followed or replaced occupies a path.
pub(crate) fn obstacle(path: &Path, kind: &str) -> RunError {
    RunError::Disk(format!("{}{IN_THE_WAY}{kind}; move it away", path.display()))
}

/// Says that a link occupies the path of `data` or of a folder in it.
pub(crate) fn link_in_the_way(path: &Path, target: &Path) -> RunError {
    RunError::Disk(format!(
        "{}{IN_THE_WAY}a symbolic link to {}: links in data/ are not followed, and nothing was marked; put \
         the folder itself there, or mount it there",
        path.display(),
        target.display()
    ))
}

/// Refuses a link in the place of `data` or of a folder in it; anything else passes, and so does nothing.
pub(crate) fn refuse_link(path: &Path) -> Result<(), RunError> {
    match Presence::of(path).map_err(cannot_look_at(path))? {
        Presence::Link(target) => Err(link_in_the_way(path, &target)),
        _ => Ok(()),
    }
}

/// Refuses a link, a pipe or a device where a file is expected; a path without anything passes.
pub(crate) fn refuse_special(path: &Path) -> Result<(), RunError> {
    match Presence::of(path).map_err(cannot_look_at(path))? {
        Presence::Absent | Presence::File(_) => Ok(()),
        _ => Err(obstacle(path, "no plain file")),
    }
}

/// Creates a folder, and the folders above it, with mode 0700, each durable in its parent; an existing folder keeps
/// its mode. Appends the created ones to `made`, the outermost first.
pub(crate) fn create_private(path: &Path, made: &mut Vec<PathBuf>) -> Result<(), RunError> {
    if path.as_os_str().is_empty() || presence::is_folder(path).map_err(cannot_look_at(path))? {
        return Ok(());
    }
    if presence::exists(path).map_err(cannot_look_at(path))? {
        let advice = io::Error::new(io::ErrorKind::NotADirectory, OBSTACLE_ADVICE);
        return Err(RunError::Io { what: not_a_folder(path), source: advice });
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_private(parent, made)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => made.push(path.to_owned()),
        // another machine's shard has just made it
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return create_private(path, made),
        Err(error) => return Err(disk_error("making", path)(error)),
    }
    sync(parent)
}

/// Creates an empty file with mode 0600; an existing one is an error.
pub(crate) fn create_private_file(path: &Path) -> Result<(), RunError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map(drop).map_err(disk_error("making", path))
}

/// Makes what was created, renamed or removed in a folder survive a power cut.
pub(crate) fn sync(folder: &Path) -> Result<(), RunError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk_error("flushing", folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn created_folders_are_private_and_listed_from_the_outermost() {
        let folder = tempfile::tempdir().expect("a folder");
        let (outer, inner) = (folder.path().join("a"), folder.path().join("a/b"));
        let mut made = Vec::new();
        create_private(&inner, &mut made).expect("created");
        assert_eq!(made, [outer, inner.clone()]);
        assert_eq!(std::fs::metadata(&inner).expect("created").mode() & 0o777, 0o700);
        create_private(&inner, &mut made).expect("left as it is");
        assert_eq!(made.len(), 2);
    }

    #[test]
    fn a_file_on_the_path_of_a_folder_and_a_link_on_that_of_a_file_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        create_private_file(&file).expect("created");
        assert!(create_private_file(&file).is_err(), "never overwritten");
        let error = create_private(&file.join("below"), &mut Vec::new()).expect_err("refused").to_string();
        assert!(error.contains("file is in the way"), "{error}");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        refuse_special(&file).expect("a file");
        refuse_special(&folder.path().join("none")).expect("nothing there");
        assert!(refuse_special(&link).is_err());
    }
}
