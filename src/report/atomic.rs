//! One report file, replaced as a whole.
//!
//! The bytes go to a temporary file beside the final name and are hashed on the way; the rename to the final name
//! comes only when they are on the disk. A draft that is dropped takes its temporary file with it. An error does not
//! stop the writing of the other reports: the draft keeps it, drops its file, and ignores what is written afterwards.
//! The caller makes the folder itself durable, once for all files.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::error::RunError;

/// All reports; a temporary file left by a kill is recognized by the name of its report.
const REPORT_NAMES: [&str; 11] = [
    "report.csv",
    "failed.csv",
    "notes.csv",
    "index.csv",
    "gone.csv",
    "report.html",
    "manifest-sha256.txt",
    "bagit.txt",
    "bag-info.txt",
    "summary.json",
    "tagmanifest-sha256.txt",
];

/// Large enough that system calls and hash calls cost little beside the formatting.
const BUFFER_SIZE: usize = 128 * 1024;

/// A report that is being written.
pub(super) struct Draft {
    name: &'static str,
    out: io::Result<BufWriter<Hashed>>,
}

/// A report whose bytes are on the disk, but not yet under its name.
pub(super) struct Durable {
    pub name: &'static str,
    file: NamedTempFile<fs_err::File>,
    sha256: [u8; 32],
}

/// A finished report. Reports are "tag files" of the bag (RFC 8493).
pub(super) struct TagFile {
    pub name: &'static str,
    pub sha256: [u8; 32],
}

impl Draft {
    /// Creates `.<name>.XXXXXX.tmp` in the folder, readable by its owner only.
    pub fn create(folder: &Path, name: &'static str) -> Self {
        debug_assert!(REPORT_NAMES.contains(&name), "{name} would not be found by remove_leftovers");
        let file =
            tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(".tmp").make_in(folder, |path| {
                fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
            });
        let hashed = file.map(|file| Hashed { file, sha256: Sha256::new() });
        Self { name, out: hashed.map(|hashed| BufWriter::with_capacity(BUFFER_SIZE, hashed)) }
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Makes the bytes durable.
    ///
    /// # Errors
    /// The first error since the draft was created.
    pub fn finish(self) -> io::Result<Durable> {
        let Hashed { file, sha256 } = self.out?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        Ok(Durable { name: self.name, file, sha256: sha256.finalize().into() })
    }

    /// Keeps the first error, and drops the file: its room may be what the other reports lack.
    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<Hashed>) -> io::Result<()>) {
        if let Ok(out) = &mut self.out
            && let Err(error) = write(out)
        {
            let failed = std::mem::replace(&mut self.out, Err(error));
            // without writing what is left in the buffer
            drop(failed.map(BufWriter::into_parts));
        }
    }
}

/// Never fails: the error comes from [`Draft::finish`].
impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.attempt(|out| out.write_all(bytes));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(BufWriter::flush);
        Ok(())
    }
}

impl Durable {
    /// Renames the file to its final name.
    ///
    /// # Errors
    /// The file, so that the rename can be tried again, and why it was refused.
    pub fn replace(self, folder: &Path) -> Result<TagFile, (Self, io::Error)> {
        let Self { name, file, sha256 } = self;
        let path = folder.join(name);
        match file.persist(&path) {
            Ok(_) => Ok(TagFile { name, sha256 }),
            Err(refused) => {
                let error = refused.error;
                let what = format!("failed to rename to `{}`: {error}", path.display());
                Err((Self { name, file: refused.file, sha256 }, io::Error::new(error.kind(), what)))
            }
        }
    }
}

#[derive(Debug)]
struct Hashed {
    file: NamedTempFile<fs_err::File>,
    sha256: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.as_file_mut().write(bytes)?;
        self.sha256.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// Removes temporary files that a killed process left in the export folder. A missing folder has none. The caller
/// must hold the folder's lock and must not have a `Draft` open.
///
/// # Errors
/// [`RunError::Io`] if the folder cannot be listed or a file cannot be removed.
pub fn remove_leftovers(folder: &Path) -> Result<(), RunError> {
    let remove = || -> io::Result<()> {
        let entries = match fs_err::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_leftover) && entry.file_type()?.is_file() {
                fs_err::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(RunError::io("leftovers of an earlier run could not be removed"))
}

fn is_leftover(name: &str) -> bool {
    let Some(inner) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")) else {
        return false;
    };
    REPORT_NAMES.into_iter().any(|report| {
        let random = inner.strip_prefix(report).and_then(|rest| rest.strip_prefix('.'));
        random.is_some_and(|random| random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric()))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs_err::read_dir(folder)
            .expect("listed")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_committed_file_replaces_the_old_one_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("folder");
        fs_err::write(folder.path().join("notes.csv"), "old").expect("written");
        let mut file = Draft::create(folder.path(), "notes.csv");
        file.write_all(b"new").expect("written");
        let tag = file.finish().expect("durable").replace(folder.path()).map_err(|(_, error)| error);
        let tag = tag.expect("replaced");
        assert_eq!(tag.sha256[..], Sha256::digest(b"new")[..]);
        assert_eq!(names(folder.path()), ["notes.csv"]);
        let path = folder.path().join("notes.csv");
        assert_eq!(fs_err::read(&path).expect("read"), b"new");
        let mode = fs_err::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_dropped_file_leaves_the_old_one_and_nothing_else() {
        let folder = tempfile::tempdir().expect("folder");
        fs_err::write(folder.path().join("notes.csv"), "old").expect("written");
        let mut file = Draft::create(folder.path(), "notes.csv");
        file.write_all(&vec![b'x'; 2 * BUFFER_SIZE]).expect("written");
        drop(file);
        assert_eq!(names(folder.path()), ["notes.csv"]);
        assert_eq!(fs_err::read(folder.path().join("notes.csv")).expect("read"), b"old");
    }

    #[test]
    fn leftovers_are_removed_and_nothing_that_only_looks_alike() {
        let folder = tempfile::tempdir().expect("folder");
        let file = Draft::create(folder.path(), "report.csv");
        let (_, leftover) =
            file.out.expect("begun").into_inner().expect("flushed").file.keep().expect("kept");
        assert!(leftover.exists());
        let kept = [".hidden.tmp", ".report.csv.swp", ".report.csv.tmp", "report.csv.abcdef.tmp"];
        for name in kept {
            fs_err::write(folder.path().join(name), "").expect("written");
        }
        remove_leftovers(folder.path()).expect("removed");
        assert_eq!(names(folder.path()), kept);
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_leftovers() {
        let folder = tempfile::tempdir().expect("folder");
        remove_leftovers(&folder.path().join("nowhere")).expect("nothing to do");
    }
}
