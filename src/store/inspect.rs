//! Is the export folder still the one of the start, and can it be written? Asked whenever the disk has failed a file.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{Folder, PART_SUFFIX};
use crate::disk::presence;
use crate::disk::{FileSystem, FreeSpace, fault};
use crate::error::Failure;
use crate::error::disk_cause::{CHANGED_SINCE_START, GONE};

/// The file that is written to see whether any can be. One that stays is swept with the parts.
const PROBE: &str = "probe";

impl Folder {
    /// Inspects the folder after a failure.
    ///
    /// # Errors
    /// [`Failure::DiskFatal`] if the failure is every row's: the folder is gone, the disk is full or cannot be written.
    pub(crate) fn inspect(&self) -> Result<(), Failure> {
        self.ensure_free(0)?;
        self.ensure_parts_folder()?;
        self.ensure_data_folder()?;
        unless_writable(&self.parts, self.probe())
    }

    /// Nothing is written to `data/` to find out: what a killed run left there would be a file of the export.
    fn ensure_data_folder(&self) -> Result<(), Failure> {
        let data = self.root.join("data");
        let allowed = accessat(CWD, &data, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
        unless_writable(&data, allowed.map_err(io::Error::from))
    }

    /// Checks that the path still leads to the folder that was opened at the start.
    ///
    /// # Errors
    /// [`Failure::DiskFatal`] if it does not: it was unmounted, removed or renamed.
    pub(crate) fn ensure_in_place(&self) -> Result<(), Failure> {
        let shown = self.root.display();
        let there = std::fs::metadata(&self.root).map_err(|error| {
            let gone = if presence::is_absence(&error) { GONE } else { "" };
            fatal(format!("{shown}{gone}: {error}"))
        })?;
        if there.dev() != self.device {
            return Err(fatal(format!("{shown} is another file system{CHANGED_SINCE_START}unmounted?)")));
        }
        let opened = self.handle.metadata().map_err(|error| fatal(format!("{shown}: {error}")))?;
        // a share may give a folder another number at any time
        if opened.ino() != there.ino() && FileSystem::of(&self.root).has_stable_inodes() {
            return Err(fatal(format!("{shown} is another folder{CHANGED_SINCE_START}renamed?)")));
        }
        Ok(())
    }

    /// Checks that the folder is in place, and that `more` bytes fit on its disk beside those that must stay free.
    ///
    /// # Errors
    /// [`Failure::DiskFatal`] if it is not, or they do not.
    pub(crate) fn ensure_free(&self, more: u64) -> Result<(), Failure> {
        self.ensure_in_place()?;
        let shown = self.root.display();
        let free = FreeSpace::of(&self.handle).map_err(|error| fatal(format!("{shown}: {error}")))?.bytes;
        if free < self.min_free.saturating_add(more) {
            return Err(fatal(format!(
                "{shown} has {free} bytes free; {more} more must leave {} free (--min-free)",
                self.min_free
            )));
        }
        Ok(())
    }

    fn ensure_parts_folder(&self) -> Result<(), Failure> {
        match presence::is_folder(&self.parts) {
            Ok(true) => Ok(()),
            Ok(false) => Err(fatal(format!("{}{GONE}", self.parts.display()))),
            Err(error) => Err(fatal(format!("{}: {error}", self.parts.display()))),
        }
    }

    fn probe(&self) -> io::Result<()> {
        let _one_at_a_time = self.probing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = self.parts.join(format!("{PROBE}{PART_SUFFIX}"));
        let written = std::fs::write(&path, PROBE);
        let removed = std::fs::remove_file(&path);
        written.and(removed)
    }
}

/// An error that may concern one file only leaves the question open: more rows will tell.
fn unless_writable(folder: &Path, attempt: io::Result<()>) -> Result<(), Failure> {
    match attempt {
        Err(error) if fault::closes_folder(&error) => {
            Err(fatal(format!("{} cannot be written: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}

fn fatal(what: String) -> Failure {
    Failure::DiskFatal { what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::STATE_DIR;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("export");
        std::fs::create_dir_all(root.join(STATE_DIR)).expect("made");
        (dir, Folder::open(&root, None, 0).expect("opened"))
    }

    #[test]
    fn a_sound_folder_passes_and_keeps_nothing_of_the_probe() {
        let (_dir, folder) = folder();
        assert_eq!(folder.inspect(), Ok(()));
        assert_eq!(std::fs::read_dir(&folder.parts).expect("there").count(), 0);
    }

    #[test]
    fn a_folder_that_is_gone_or_another_one_is_every_rows_trouble() {
        let (dir, folder) = folder();
        let root = folder.root().to_owned();
        std::fs::rename(&root, dir.path().join("away")).expect("renamed");
        assert!(matches!(folder.inspect(), Err(Failure::DiskFatal { .. })));
        std::fs::create_dir_all(root.join(STATE_DIR)).expect("made");
        let another = matches!(folder.inspect(), Err(Failure::DiskFatal { .. }));
        assert_eq!(another, FileSystem::of(&root).has_stable_inodes());
    }

    #[test]
    fn a_folder_for_parts_that_is_gone_is_every_rows_trouble() {
        let (_dir, folder) = folder();
        std::fs::remove_dir(&folder.parts).expect("removed");
        assert!(matches!(folder.inspect(), Err(Failure::DiskFatal { .. })));
    }

    #[test]
    fn too_little_room_names_the_setting() {
        let (_dir, mut folder) = folder();
        folder.min_free = u64::MAX / 2;
        let Err(Failure::DiskFatal { what }) = folder.inspect() else { panic!("enough room?") };
        assert!(what.contains("--min-free"), "{what}");
    }
}
