//! Bytes → part file → final name, so that no final name ever holds anything but a whole image.
//!
//! [`PartWriter`] takes the body as it comes and hashes it on its way to the part file; [`commit`] makes parts
//! durable, gives them their final names and tells the ledger, many at a time. Modes are 0600 and 0700 whatever
//! the umask is.

mod buffer;
pub mod commit;
mod create;
mod part;
mod part_file;

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use commit::{Committer, CommitterThread, Delivery, Receipt};
pub use part::{Part, PartWriter};

use crate::disk::FreeSpace;
use crate::disk::fault::disk_error;
use crate::error::{Failure, RunError};
use crate::ledger::STATE_DIR;

/// How the names of part files end.
const PART: &str = ".part";

/// The export folder, looked at once at the start: it must stay the same file system to the end.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    parts: PathBuf,
    handle: File,
    device: u64,
    min_free: u64,
}

impl Folder {
    /// Takes a folder that exists; makes `data/` in it.
    ///
    /// # Errors
    /// Where it cannot be opened or written.
    pub fn open(root: &Path, min_free: u64) -> Result<Self, RunError> {
        let data = root.join("data");
        match std::fs::symlink_metadata(&data) {
            Ok(there) if there.is_dir() => {}
            // a link would lead every image out of the export
            Ok(_) => {
                let what = format!("{} is in the way and is no folder; move it away", data.display());
                return Err(RunError::Disk(what));
            }
            Err(_) => {
                std::fs::DirBuilder::new().mode(0o700).create(&data).map_err(disk_error("making", &data))?;
            }
        }
        let handle = File::open(root).map_err(disk_error("opening", root))?;
        handle.sync_all().map_err(disk_error("flushing", root))?;
        let device = handle.metadata().map_err(disk_error("reading", root))?.dev();
        let inner = std::fs::metadata(&data).map_err(disk_error("reading", &data))?.dev();
        if inner != device {
            return Err(RunError::Disk(format!(
                "{} is on another disk than {}: images are moved into it when they are whole, which must be one step; \
                 mount the disk at the export folder itself",
                data.display(),
                root.display()
            )));
        }
        Ok(Self { root: root.to_owned(), parts: root.join(STATE_DIR), handle, device, min_free })
    }

    /// What a person should know of it: what is in it is its owner's, but others may list names or change them.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let mode = self.handle.metadata().map_or(0, |meta| meta.mode());
        let can = match mode & 0o007 {
            0 => return None,
            others if others & 0o002 != 0 => {
                "others may write in it: they can take the place of what is delivered"
            }
            _ => "others may enter it: they cannot read what is in it, but see names",
        };
        Some(format!("the export folder {}: {can}; chmod 700 keeps them out", self.root.display()))
    }

    /// Its path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of a part file.
    #[must_use]
    pub fn part(&self, name: &str) -> PathBuf {
        self.parts.join(name)
    }

    /// Whether there is room for `more` bytes above what must stay free, on the disk that the run began with.
    ///
    /// # Errors
    /// [`Failure::DiskFatal`] where there is not.
    pub fn room_for(&self, more: u64) -> Result<(), Failure> {
        let lost = |what: String| Failure::DiskFatal { what };
        let show = self.root.display();
        let here = std::fs::metadata(&self.root).map_err(|error| lost(format!("{show}: {error}")))?;
        if here.dev() != self.device {
            return Err(lost(format!("{show} is another file system than at the start (unmounted?)")));
        }
        let free = FreeSpace::of(&self.handle).map_err(|error| lost(format!("{show}: {error}")))?.bytes;
        if free < self.min_free.saturating_add(more) {
            return Err(lost(format!(
                "{show} has {free} bytes free; {more} more must leave {} free (--min-free)",
                self.min_free
            )));
        }
        Ok(())
    }

    /// Removes a part file wherever it is, if it is anywhere.
    pub fn remove_part(&self, name: &str) {
        let path = self.part(name);
        for path in [create::spread(&path), path] {
            // best effort: what stays is swept away at the next start
            let _ = std::fs::remove_file(path);
        }
    }

    /// Removes part files that are not in `keep`: what a killed run left behind. Parts that were whole at once are
    /// never kept.
    ///
    /// # Errors
    /// Where the folder cannot be read or a file not be removed.
    pub fn sweep_parts(&self, keep: impl Fn(&str) -> bool) -> Result<(), RunError> {
        sweep(&self.parts, keep)?;
        for folder in self.spread() {
            sweep(&folder, |_| false)?;
        }
        self.tidy();
        Ok(())
    }

    /// Removes the folders of parts that were whole at once, where they are empty.
    pub fn tidy(&self) {
        for folder in self.spread() {
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// Those folders, as far as they are there.
    fn spread(&self) -> impl Iterator<Item = PathBuf> {
        let folders = "0123456789abcdef".chars().map(|digit| self.parts.join(digit.to_string()));
        folders.filter(|folder| std::fs::symlink_metadata(folder).is_ok_and(|there| there.is_dir()))
    }
}

fn sweep(folder: &Path, keep: impl Fn(&str) -> bool) -> Result<(), RunError> {
    for entry in std::fs::read_dir(folder).map_err(disk_error("reading", folder))? {
        let entry = entry.map_err(disk_error("reading", folder))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(PART) && !keep(name) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(disk_error("removing", &path))?;
        }
    }
    Ok(())
}
