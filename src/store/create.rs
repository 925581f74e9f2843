//! How a part file is created: new, private, and never through what is in the way.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::disk::fault::failure;
use crate::error::Failure;

/// A symbolic link in the way is not followed.
pub(super) const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
/// Opening a pipe in the way does not block.
pub(super) const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Creates a new file. Whatever has this name is removed first, never written into.
pub(super) fn create(path: &Path) -> Result<File, Failure> {
    let created = match create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path).and_then(|()| create_new(path))
        }
        other => other,
    };
    created.map_err(failure("making", path))
}

fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(NO_FOLLOW);
    options.open(path)
}
