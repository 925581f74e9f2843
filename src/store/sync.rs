//! How bytes and names are made durable: one call for all of them, or one for each, many at a time.
//!
//! A sync that failed is never repeated: the kernel may count the page as clean by then, and report success. If one
//! file's `fsync` failed, that image is fetched again. If `syncfs` or the sync of a folder failed, the bytes of any file
//! may be lost, so the run stops.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Folder, Part, parallel};
use crate::disk::FileSystem;
use crate::disk::fault::failure;
use crate::error::Failure;

/// From this many files on, one `syncfs` is cheaper than an `fsync` of each.
const SYNCFS_MIN_FILES: usize = 4;

/// Files that are flushed one by one are flushed this many at a time: on a file server each flush waits for an answer,
/// 60 ms on a busy one, and a batch needs one for its bytes and one for its folders.
const FLUSHES_MAX: usize = 32;

/// Pauses after attempts to open a folder that is to be flushed. All images of the batch wait meanwhile.
const OPEN_PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];

/// The first Linux on which `syncfs` reports failed writes.
const SYNCFS_REPORTS_ERRORS_SINCE: (u32, u32) = (5, 8);

/// How this run makes files durable.
#[derive(Clone, Copy, Debug)]
pub(super) enum SyncStrategy {
    /// One `fsync` for each file, beside each other.
    EachFile,
    /// One `syncfs` for many files.
    FileSystem,
}

impl SyncStrategy {
    /// `syncfs` only if both the kernel and the file system report writes that failed.
    pub(super) fn of(folder: &Folder) -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let reports_errors = FileSystem::of(folder.root()).syncfs_reports_errors()
            && kernel_version(&release) >= SYNCFS_REPORTS_ERRORS_SINCE;
        if reports_errors { Self::FileSystem } else { Self::EachFile }
    }

    const fn at_once(self, files: usize) -> bool {
        matches!(self, Self::FileSystem) && files >= SYNCFS_MIN_FILES
    }

    /// Makes the bytes of all parts durable: a result for each of them, or the error that concerns all.
    pub(super) fn sync_parts<'a>(
        self,
        parts: impl ExactSizeIterator<Item = &'a Part>,
        folder: &Folder,
    ) -> Result<Vec<Result<(), Failure>>, Failure> {
        if self.at_once(parts.len()) {
            sync_file_system(folder)?;
            return Ok(parts.map(|_| Ok(())).collect());
        }
        let parts: Vec<_> = parts.collect();
        Ok(parallel::for_each(&parts, FLUSHES_MAX, |part| {
            part.file.sync_all().map_err(failure("flushing", &part.path))
        }))
    }

    /// Makes the names in these folders durable, `files` of them new.
    pub(super) fn sync_folders(
        self,
        folders: &BTreeSet<PathBuf>,
        files: usize,
        folder: &Folder,
    ) -> Result<(), Failure> {
        if self.at_once(files) {
            return sync_file_system(folder);
        }
        sync_each(folders)
    }
}

/// Makes the names in each of these folders durable.
pub(super) fn sync_each(folders: &BTreeSet<PathBuf>) -> Result<(), Failure> {
    let folders: Vec<_> = folders.iter().collect();
    let synced = parallel::for_each(&folders, FLUSHES_MAX, |path| {
        let synced = open_folder(path).and_then(|handle| handle.sync_all());
        synced.map_err(|error| lost(path, &error))
    });
    synced.into_iter().collect()
}

/// A scanner may hold a folder for a moment. Unlike a sync, opening it may be attempted again.
fn open_folder(path: &Path) -> io::Result<File> {
    for pause in OPEN_PAUSES {
        if let Ok(handle) = File::open(path) {
            return Ok(handle);
        }
        std::thread::sleep(pause);
    }
    File::open(path)
}

fn sync_file_system(folder: &Folder) -> Result<(), Failure> {
    syncfs(&folder.handle).map_err(|error| lost(&folder.root, &error))
}

#[cfg(target_os = "linux")]
fn syncfs(handle: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(handle)?)
}

#[cfg(not(target_os = "linux"))]
fn syncfs(handle: &File) -> io::Result<()> {
    handle.sync_all()
}

/// Whatever the error is: it may be about any file.
fn lost(path: &Path, error: &io::Error) -> Failure {
    Failure::DiskFatal { what: format!("flushing {}: {error}", path.display()) }
}

/// Major and minor number of a release such as `6.1.0-18-amd64`.
fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_compared_by_its_first_two_numbers() {
        for (release, version) in [
            ("6.1.0-18-amd64", (6, 1)),
            ("5.8-rc1", (5, 8)),
            ("5.10.0", (5, 10)),
            ("6", (6, 0)),
            ("x", (0, 0)),
        ] {
            assert_eq!(kernel_version(release), version, "{release}");
        }
    }

    #[test]
    fn one_sync_stands_for_many_files_only_if_it_reports_errors() {
        assert!(SyncStrategy::FileSystem.at_once(SYNCFS_MIN_FILES));
        assert!(!SyncStrategy::FileSystem.at_once(SYNCFS_MIN_FILES - 1));
        assert!(!SyncStrategy::EachFile.at_once(SYNCFS_MIN_FILES));
    }
}
