//! Opens files below the export folder without following a symbolic link anywhere on the way.
//!
//! An error says whether it concerns the file alone or its folder. A folder that cannot be entered, or that is a link,
//! ends the verification: it says nothing about the files in it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;

use super::links::link_error;
use crate::disk::presence::cannot_look;
use crate::error::RunError;

/// Why a file could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// There is no such file, or no such folder on its path.
    Missing,
    /// Something other than a regular file is there.
    NotAFile,
    /// Nothing is known about the file.
    Unreadable(Errno),
    /// Nothing is known about any file of its folder.
    Folder(RunError),
}

/// Opens files by their path relative to the export folder. It keeps the last folder open, since images of a note
/// mostly follow each other.
pub(super) struct Opener {
    path: PathBuf,
    root: OwnedFd,
    last: Option<(String, OwnedFd)>,
}

impl Opener {
    /// The export folder itself may be reached through a link: the user named it.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self { path: root.to_owned(), root: File::open(root)?.into(), last: None })
    }

    /// Opens a file for reading. A pipe is opened without waiting for its other end.
    pub fn open(&mut self, path: &str) -> Result<File, OpenError> {
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(OpenError::Unreadable(Errno::INVAL));
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if self.last.as_ref().is_none_or(|(last, _)| last != folder) {
            self.last = Some((folder.to_owned(), self.enter(folder)?));
        }
        let handle = self.last.as_ref().map_or(&self.root, |(_, handle)| handle);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(handle, name, flags, Mode::empty()) {
            Ok(file) => Ok(file.into()),
            Err(error) => Err(self.not_opened(handle, folder, name, error)),
        }
    }

    fn enter(&self, folder: &str) -> Result<OwnedFd, OpenError> {
        let mut path = self.path.clone();
        let failed = |path: &Path, error| OpenError::Folder(cannot_look(path)(error));
        let mut handle = self.root.try_clone().map_err(|error| failed(&path, error))?;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = openat(&handle, part, flags, Mode::empty());
            handle = next.map_err(|error| not_entered(&handle, part, &path, error))?;
        }
        Ok(handle)
    }

    /// What an error at opening `name` in the open folder means.
    fn not_opened(&self, handle: &OwnedFd, folder: &str, name: &str, error: Errno) -> OpenError {
        if error == Errno::NOENT {
            return OpenError::Missing;
        }
        match statat(handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
                OpenError::NotAFile
            }
            Ok(_) => OpenError::Unreadable(error),
            Err(Errno::NOENT) => OpenError::Missing,
            // a folder that may be listed but not entered refuses even its own entry
            Err(_) => match statat(handle, ".", AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => OpenError::Unreadable(error),
                Err(error) => OpenError::Folder(cannot_look(&self.path.join(folder))(error.into())),
            },
        }
    }
}

/// What an error at opening the folder `part` of the folder `parent` means; `path` is its whole path.
fn not_entered(parent: &OwnedFd, part: &str, path: &Path, error: Errno) -> OpenError {
    if error == Errno::NOENT {
        return OpenError::Missing;
    }
    if matches!(error, Errno::NOTDIR | Errno::LOOP)
        && let Ok(target) = readlinkat(parent, part, Vec::new())
    {
        let target = PathBuf::from(target.to_string_lossy().into_owned());
        return OpenError::Folder(link_error(path, &target));
    }
    if error == Errno::NOTDIR {
        // a file in the place of the folder: the image's own file cannot be there
        return OpenError::Missing;
    }
    OpenError::Folder(cannot_look(path)(error.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_is_followed_on_the_way_or_at_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir_all(root.join("data/o/n")).expect("made");
        std::fs::write(root.join("data/o/n/i.jpg"), "bytes").expect("written");
        std::fs::write(root.join("data/file"), "bytes").expect("written");
        symlink(root.join("data/o/n/i.jpg"), root.join("data/o/n/l.jpg")).expect("linked");
        symlink(root.join("data/o"), root.join("data/p")).expect("linked");
        let mut opener = Opener::new(root).expect("opened");
        for _ in 0..2 {
            let mut text = String::new();
            opener.open("data/o/n/i.jpg").expect("there").read_to_string(&mut text).expect("read");
            assert_eq!(text, "bytes");
        }
        assert!(matches!(opener.open("data/o/n/l.jpg"), Err(OpenError::NotAFile)));
        assert!(matches!(opener.open("data/o/n/none.jpg"), Err(OpenError::Missing)));
        for path in ["data/none/n/i.jpg", "data/file/n/i.jpg", "data/o/n/i.jpg/x.jpg"] {
            assert!(matches!(opener.open(path), Err(OpenError::Missing)), "{path}");
        }
        let Err(OpenError::Folder(link)) = opener.open("data/p/n/i.jpg") else {
            panic!("a link was followed")
        };
        let link = crate::error::chain(&link);
        let (own, target) = (root.join("data/p"), root.join("data/o"));
        assert!(
            link.contains(&format!("{} is a symbolic link to {}", own.display(), target.display())),
            "{link}"
        );
        for path in ["data/../data/o/n/i.jpg", "/etc/passwd", "data//o", ""] {
            assert!(matches!(opener.open(path), Err(OpenError::Unreadable(Errno::INVAL))), "{path}");
        }
    }
}
