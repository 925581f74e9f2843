//! Files below the export folder, opened without following a symbolic link anywhere on the way.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, Result};

/// Opens files by their path relative to the export folder; remembers the last folder, as images of a note mostly
/// come one after another.
pub(super) struct Opener {
    root: OwnedFd,
    last: Option<(String, OwnedFd)>,
}

impl Opener {
    /// The folder itself may be reached through a link: the user named it.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        Ok(Self { root: File::open(root)?.into(), last: None })
    }

    /// Opens a file for reading. A pipe is opened without waiting for its other end.
    pub fn open(&mut self, path: &str) -> Result<File> {
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Errno::INVAL);
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Some((last, handle)) = &self.last
            && last == folder
        {
            return Ok(openat(handle, name, flags, Mode::empty())?.into());
        }
        let mut handle = None;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            let step = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            handle = Some(openat(handle.as_ref().unwrap_or(&self.root), part, step, Mode::empty())?);
        }
        let Some(handle) = handle else {
            return Ok(openat(&self.root, name, flags, Mode::empty())?.into());
        };
        let file = openat(&handle, name, flags, Mode::empty())?;
        self.last = Some((folder.to_owned(), handle));
        Ok(file.into())
    }
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
        symlink(root.join("data/o/n/i.jpg"), root.join("data/o/n/l.jpg")).expect("linked");
        symlink(root.join("data/o"), root.join("data/p")).expect("linked");
        let mut opener = Opener::new(root).expect("opened");
        for _ in 0..2 {
            let mut text = String::new();
            opener.open("data/o/n/i.jpg").expect("there").read_to_string(&mut text).expect("read");
            assert_eq!(text, "bytes");
        }
        assert_eq!(opener.open("data/o/n/l.jpg").err(), Some(Errno::LOOP));
        assert!(matches!(opener.open("data/p/n/i.jpg").err(), Some(Errno::NOTDIR | Errno::LOOP)));
        assert_eq!(opener.open("data/o/n/none.jpg").err(), Some(Errno::NOENT));
        for path in ["data/../data/o/n/i.jpg", "/etc/passwd", "data//o", ""] {
            assert_eq!(opener.open(path).err(), Some(Errno::INVAL), "{path}");
        }
    }
}
