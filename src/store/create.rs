//! How a part file is made: where, and never through what is in the way.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::disk::fault::failure;
use crate::error::Failure;

/// A symbolic link in the way is never followed.
pub(super) const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
/// Nor is a pipe in the way waited for.
pub(super) const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Where a part is made that is whole at once: one of sixteen folders beside the parts that grow, by its name's first
/// letter, which is a hexadecimal digit. Two threads cannot make files in the same folder at the same time: with one
/// folder for all, 10,000 images of 64 KiB took 1.8 times as long on two cores.
pub(super) fn spread(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = name.get(..1).unwrap_or_default();
    path.with_file_name(folder).join(name)
}

/// [`create`] in one of the sixteen folders, which is made with its first file.
pub(super) fn create_spread(path: &Path) -> Result<File, Failure> {
    let made = match create_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make_folder(path).and_then(|()| create_file(path))
        }
        other => other,
    };
    made.map_err(failure("making", path))
}

/// Makes a new file; whatever was there is removed first, never written into.
pub(super) fn create(path: &Path) -> Result<File, Failure> {
    create_file(path).map_err(failure("making", path))
}

fn create_file(path: &Path) -> std::io::Result<File> {
    let attempt = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(NO_FOLLOW)
            .open(path)
    };
    match attempt() {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path).and_then(|()| attempt())
        }
        other => other,
    }
}

/// Tells ext2, ext3 and ext4 that the folders in here have nothing to do with each other (`chattr +T`), so that each
/// gets inodes in another group of blocks. Inodes that were freed within the last minute or so are passed over one by
/// one, which costs 0.4 ms a file in a group where many were: 10,000 images of 64 KiB beside a copy of them that was
/// just removed took 3.9 s in one group, 3.3 s in sixteen. Elsewhere it is refused, or means nothing.
#[cfg(target_os = "linux")]
fn spread_apart(parts: &Path) {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    if let Ok(handle) = File::open(parts)
        && let Ok(flags) = ioctl_getflags(&handle)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = ioctl_setflags(&handle, flags | IFlags::TOPDIR);
    }
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    #[cfg(target_os = "linux")]
    if let Some(parts) = folder.parent() {
        spread_apart(parts);
    }
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
