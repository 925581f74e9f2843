//! The file of a part, as the blocking threads see it: it holds what was written, and nothing else.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::buffer::BUFFER_SIZE;
use super::create::{NO_FOLLOW, NO_WAIT, create};
use super::direct_io::IoMode;
use crate::disk::fault::failure;
use crate::error::Failure;

/// A large file's cached bytes are sent to the disk each time this many are new.
const WRITEBACK_INTERVAL: u64 = 8 << 20;

/// A part file that grows.
#[derive(Debug)]
pub(super) struct PartFile {
    path: PathBuf,
    /// `None` until its first byte is written.
    file: Option<File>,
    bytes: u64,
    /// How many of them are on their way to the disk.
    sent: u64,
    io_mode: IoMode,
}

impl PartFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, bytes: 0, sent: 0, io_mode: IoMode::default() }
    }

    /// Opens a file to continue after its first `from` bytes, which are passed to `hash`.
    pub(super) fn resume(path: PathBuf, from: u64, hash: impl FnMut(&[u8])) -> Result<Self, Failure> {
        let mut file = open_existing(&path)?;
        read_exactly(&mut file, &path, from, hash)?;
        Ok(Self { file: Some(file), bytes: from, sent: from, ..Self::new(path) })
    }

    /// Cuts off what follows the bytes that it continues after.
    pub(super) fn truncate(&mut self) -> Result<(), Failure> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let truncated = file.set_len(self.bytes).and_then(|()| file.seek(SeekFrom::Start(self.bytes)));
        truncated.map(drop).map_err(failure("writing", &self.path))
    }

    /// Its path, once it exists.
    pub(super) fn created(&self) -> Option<&PathBuf> {
        self.file.as_ref().map(|_| &self.path)
    }

    /// Appends bytes; the file is created with its first ones.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file = Some(self.append(bytes)?);
        Ok(())
    }

    /// Appends bytes and returns the open file, which an error closes: its contents are not known then.
    fn append(&mut self, bytes: &[u8]) -> Result<File, Failure> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => create(&self.path)?,
        };
        // a full buffer begins at a multiple of its size, too
        let aligned = bytes.len() == BUFFER_SIZE;
        let written = self.io_mode.write_all(&mut file, &self.path, bytes, aligned);
        written.map_err(failure("writing", &self.path))?;
        self.bytes += bytes.len() as u64;
        self.start_writeback(&file);
        Ok(file)
    }

    /// Sends a large file's bytes to the disk while more are received, so that its sync at the end is short, and frees
    /// the memory of those that have arrived there.
    fn start_writeback(&mut self, file: &File) {
        if self.bytes - self.sent < WRITEBACK_INTERVAL {
            return;
        }
        let from = self.sent.saturating_sub(WRITEBACK_INTERVAL);
        // only a hint: if it is ignored, the sync at the end does all the work
        let _ =
            rustix::fs::fadvise(file, from, NonZero::new(self.bytes - from), rustix::fs::Advice::DontNeed);
        self.sent = self.bytes;
    }

    /// Makes what is written durable.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_all().map_err(failure("flushing", &self.path))
    }

    /// Appends the last bytes; its path, and the open file.
    pub(super) fn finish(mut self, last: &[u8]) -> Result<(PathBuf, File), Failure> {
        let file = self.append(last)?;
        Ok((self.path, file))
    }
}

/// Opens the part of an earlier run. If it is gone or something else has its name, the image is fetched from its first
/// byte.
fn open_existing(path: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(NO_FOLLOW | NO_WAIT).open(path);
    match opened {
        Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => Ok(file),
        Ok(_) => Err(Failure::PartUnusable(format!("{} is no plain file", path.display()))),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || Errno::from_io_error(&error) == Some(Errno::LOOP) =>
        {
            Err(Failure::PartUnusable(format!("{} is gone: {error}", path.display())))
        }
        Err(error) => Err(failure("reading", path)(error)),
    }
}

/// Passes the first `length` bytes of a file to `hash`.
fn read_exactly(
    file: &mut File,
    path: &Path,
    length: u64,
    mut hash: impl FnMut(&[u8]),
) -> Result<(), Failure> {
    let mut rest = length;
    let mut piece = vec![0; BUFFER_SIZE];
    while rest > 0 {
        let wanted = usize::try_from(rest).unwrap_or(BUFFER_SIZE).min(BUFFER_SIZE);
        let got = file.read(&mut piece[..wanted]).map_err(failure("reading", path))?;
        if got == 0 {
            return Err(Failure::PartUnusable(format!("{} is shorter than recorded", path.display())));
        }
        hash(&piece[..got]);
        rest -= got as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileSystem;
    use crate::store::buffer::Buffer;

    fn bytes(length: usize) -> Vec<u8> {
        (0..251).cycle().take(length).collect()
    }

    #[test]
    fn full_buffers_are_written_directly_if_the_disk_supports_it_and_the_rest_is_cached() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.part");
        let body = bytes(2 * BUFFER_SIZE);
        let mut buffer = Buffer::default();
        let mut part = PartFile::new(path.clone());
        for half in body.chunks(BUFFER_SIZE) {
            buffer.clear();
            buffer.extend(half);
            part.write(buffer.bytes()).expect("written");
        }
        let supported = FileSystem::of(&path).supports_direct_io();
        assert_eq!(part.io_mode, if supported { IoMode::Direct } else { IoMode::Cached });
        let (path, _file) = part.finish(b"the end").expect("written");
        assert!(std::fs::read(path).expect("readable") == [&*body, b"the end"].concat());
    }

    #[test]
    fn bytes_that_the_disk_does_not_accept_directly_go_through_the_cache() {
        let dir = tempfile::tempdir().expect("a folder");
        let body = bytes(BUFFER_SIZE + 1);
        // an odd address, from which no disk accepts a direct write
        let unaligned = &body[usize::from(body.as_ptr().align_offset(2) == 0)..][..BUFFER_SIZE];
        let mut part = PartFile::new(dir.path().join("a.part"));
        part.write(unaligned).expect("written");
        part.write(unaligned).expect("written");
        let (path, _file) = part.finish(b"").expect("written");
        assert!(std::fs::read(path).expect("readable") == [unaligned, unaligned].concat());
    }
}
