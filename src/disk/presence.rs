//! What is at a path, and whether the question was answered at all.
//!
//! Looking at a path has three outcomes: something is there, nothing is there, or the look failed. Only `ENOENT` and
//! `ENOTDIR` prove that nothing is there. Any other error (permission, `EIO`, a stale share, too many links) says
//! nothing about the file, and no caller may read it as an absence. Links are never followed at the last component.

use std::fs::{FileType, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::RunError;
use crate::error::disk_cause::CANNOT_LOOK;

/// What is at a path.
#[derive(Debug)]
pub enum Presence {
    /// Nothing: no such file, or no such folder on the way to it.
    Absent,
    /// A regular file.
    File(Metadata),
    /// A folder.
    Folder(Metadata),
    /// A symbolic link, with its target.
    Link(PathBuf),
    /// Something else, in words: "a pipe", "a device", "a socket".
    Other(&'static str),
}

impl Presence {
    /// Looks at a path without following a link in its last component.
    ///
    /// # Errors
    /// If the look failed, so that nothing is known about the path.
    pub fn of(path: &Path) -> io::Result<Self> {
        let Some(there) = metadata(path)? else { return Ok(Self::Absent) };
        let kind = there.file_type();
        Ok(if kind.is_file() {
            Self::File(there)
        } else if kind.is_dir() {
            Self::Folder(there)
        } else if kind.is_symlink() {
            Self::Link(std::fs::read_link(path)?)
        } else {
            Self::Other(special(kind))
        })
    }
}

/// The word for a file that is neither a regular file nor a folder nor a link.
fn special(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Whether the error proves that nothing is at the path.
#[must_use]
pub fn is_absence(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR))
}

/// The metadata of what is at a path, of a link itself; `None` if nothing is there.
///
/// # Errors
/// If the look failed, so that nothing is known about the path.
pub fn metadata(path: &Path) -> io::Result<Option<Metadata>> {
    known(std::fs::symlink_metadata(path))
}

/// The metadata of what a path leads to, links followed; `None` if nothing is there.
///
/// # Errors
/// If the look failed, so that nothing is known about the path.
pub fn metadata_following(path: &Path) -> io::Result<Option<Metadata>> {
    known(std::fs::metadata(path))
}

/// Whether anything is at a path, a broken link included.
///
/// # Errors
/// If the look failed, so that nothing is known about the path.
pub fn exists(path: &Path) -> io::Result<bool> {
    Ok(metadata(path)?.is_some())
}

/// Whether a path is a folder, or leads to one.
///
/// # Errors
/// If the look failed, so that nothing is known about the path.
pub fn is_folder(path: &Path) -> io::Result<bool> {
    Ok(metadata_following(path)?.is_some_and(|there| there.is_dir()))
}

/// Turns an absence into `None` and leaves every other error an error.
///
/// # Errors
/// Those that say nothing about the path.
pub fn known<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The run's error for a look into a folder that failed: `cannot look into DIR: Permission denied`.
pub fn cannot_look(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |error| RunError::Disk(format!("{CANNOT_LOOK}{}: {error}", path.display()))
}

/// [`cannot_look`] for a look at `path` itself: without the permission, it names the folder that may not be entered.
pub fn cannot_look_at(path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |error| {
        let closed = match error.kind() {
            io::ErrorKind::PermissionDenied => closed_folder(&path),
            _ => &path,
        };
        cannot_look(closed)(error)
    }
}

/// The nearest folder above `path` that can itself be looked at.
fn closed_folder(path: &Path) -> &Path {
    let mut above = path.ancestors().skip(1);
    above.find(|folder| matches!(metadata(folder), Ok(Some(_)))).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_enoent_and_enotdir_prove_an_absence() {
        for errno in [
            Errno::ACCESS,
            Errno::PERM,
            Errno::IO,
            Errno::STALE,
            Errno::TIMEDOUT,
            Errno::LOOP,
            Errno::NAMETOOLONG,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::NXIO,
        ] {
            let answer: io::Result<()> = Err(errno.into());
            assert!(known(answer).is_err(), "{errno}");
        }
        for errno in [Errno::NOENT, Errno::NOTDIR] {
            let answer: io::Result<()> = Err(errno.into());
            assert!(matches!(known(answer), Ok(None)), "{errno}");
        }
    }

    #[test]
    fn each_kind_of_thing_is_told_apart_and_no_link_is_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), b"x").expect("written");
        std::fs::create_dir(at("folder")).expect("made");
        std::os::unix::fs::symlink("file", at("link")).expect("linked");
        std::os::unix::fs::symlink("nowhere", at("broken")).expect("linked");
        std::os::unix::fs::symlink("loop", at("loop")).expect("linked");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a pipe");
        assert!(matches!(Presence::of(&at("file")), Ok(Presence::File(_))));
        assert!(matches!(Presence::of(&at("folder")), Ok(Presence::Folder(_))));
        assert!(
            matches!(Presence::of(&at("link")), Ok(Presence::Link(target)) if target == Path::new("file"))
        );
        assert!(matches!(Presence::of(&at("broken")), Ok(Presence::Link(_))));
        assert!(matches!(Presence::of(&at("pipe")), Ok(Presence::Other("a pipe"))));
        assert!(matches!(Presence::of(&at("gone")), Ok(Presence::Absent)));
        assert!(matches!(Presence::of(&at("file/below")), Ok(Presence::Absent)), "a file on the way");
        assert!(Presence::of(&at("loop/below")).is_err(), "too many links: nothing is known");
        assert!(Presence::of(&at(&"n".repeat(300))).is_err(), "a name too long: nothing is known");
    }
}
