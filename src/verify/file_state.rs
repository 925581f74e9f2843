//! One file: is it the one that was delivered?

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use sha2::Digest;

use super::no_follow::{OpenError, Opener};
use super::options::Progress;
use crate::error::RunError;
use crate::item::Sha256;

/// A file to hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HashJob {
    /// Its position in the order of the check.
    pub position: i64,
    /// The caller's number for it.
    pub id: i64,
    /// Relative to the export folder.
    pub path: String,
    /// The size that it must have, if that is known.
    pub bytes: Option<u64>,
    /// The hash that it must have.
    pub sha256: Sha256,
    /// When it was delivered, as the ledger has it; empty if that is unknown.
    pub stored_at: String,
}

/// What was found in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// The right file, of this many bytes.
    Right(u64),
    /// Nothing.
    Missing,
    /// Something else.
    Changed {
        /// Its bytes were read: the medium can be read.
        read: bool,
    },
    /// The system did not say: nothing is known about the file.
    Unreadable(Errno),
}

/// Reads a file and compares it with what it must be.
///
/// # Errors
/// If its folder cannot be entered or is a link.
pub(super) fn inspect(
    opener: &mut Opener,
    job: &HashJob,
    buffer: &mut [u8],
    progress: &Progress,
) -> Result<FileState, RunError> {
    let file = match opener.open(&job.path) {
        Ok(file) => file,
        Err(OpenError::Missing) => return Ok(FileState::Missing),
        Err(OpenError::NotAFile) => return Ok(FileState::Changed { read: false }),
        Err(OpenError::Unreadable(error)) => return Ok(FileState::Unreadable(error)),
        Err(OpenError::Folder(error)) => return Err(error),
    };
    let state = compare(file, job, buffer, progress);
    Ok(state.unwrap_or_else(|error| FileState::Unreadable(Errno::from_io_error(&error).unwrap_or(Errno::IO))))
}

fn compare(mut file: File, job: &HashJob, buffer: &mut [u8], progress: &Progress) -> io::Result<FileState> {
    let found = file.metadata()?;
    if !found.is_file() || job.bytes.is_some_and(|bytes| bytes != found.len()) {
        return Ok(FileState::Changed { read: false });
    }
    let (bytes, sha256) = hash(&mut file, found.len(), buffer, progress)?;
    Ok(if sha256 == job.sha256 { FileState::Right(bytes) } else { FileState::Changed { read: true } })
}

fn hash(file: &mut File, size: u64, buffer: &mut [u8], progress: &Progress) -> io::Result<(u64, Sha256)> {
    if size > buffer.len() as u64 {
        read_ahead(file);
    }
    let mut digest = sha2::Sha256::new();
    let mut bytes = 0;
    loop {
        let count = match file.read(buffer) {
            Ok(0) => return Ok((bytes, Sha256(digest.finalize().into()))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(&buffer[..count]);
        bytes += count as u64;
        progress.read.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// A hint: a system that ignores it reads correctly too.
#[cfg(target_os = "linux")]
fn read_ahead(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
}

#[cfg(not(target_os = "linux"))]
fn read_ahead(_file: &File) {}
