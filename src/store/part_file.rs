//! The file of a part, written by blocking threads.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::buffer::SIZE;
use super::create::{NO_FOLLOW, NO_WAIT, create, create_spread, spread};
use crate::disk::FileSystem;
use crate::disk::fault::failure;
use crate::error::Failure;

/// Bytes of a large file after which those before are sent to the disk, where they are cached.
const FLUSH_EVERY: u64 = 8 << 20;

/// A part file that grows. What is in it is what was written, and nothing else.
#[derive(Debug)]
pub(super) struct PartFile {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    /// So many of them are on their way to the disk.
    sent: u64,
    cache: Cache,
}

/// Whether a whole block passes by the page cache: on its way to the disk it then costs no copy, no page and no
/// writeback. 400 x 4 MiB took 1.6 s instead of 2.1 s, and instead of 3.4 s where a virtual machine had yet to be given
/// the memory for the cache; 3 x 512 MiB took the same or a seventh less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    /// Nobody has asked yet.
    Unknown,
    /// Everything goes through it.
    Always,
    /// Blocks can pass by it, but the file is set to go through it.
    Used,
    /// The file is set to pass by it.
    PassedBy,
}

impl PartFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, file: None, bytes: 0, sent: 0, cache: Cache::Unknown }
    }

    /// Goes on behind the first `from` bytes of a file, which `seen` is given.
    pub(super) fn resume(path: PathBuf, from: u64, mut seen: impl FnMut(&[u8])) -> Result<Self, Failure> {
        let mut sink = Self::new(path);
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(NO_FOLLOW | NO_WAIT).open(&sink.path);
        let mut file = match opened {
            Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => file,
            Ok(_) => return Err(Failure::PartUnusable(format!("{} is no plain file", sink.path.display()))),
            // gone, or something else in its place: the image is fetched from its first byte
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || Errno::from_io_error(&error) == Some(Errno::LOOP) =>
            {
                return Err(Failure::PartUnusable(format!("{} is gone: {error}", sink.path.display())));
            }
            Err(error) => return Err(failure("reading", &sink.path)(error)),
        };
        let mut rest = from;
        let mut piece = vec![0; SIZE];
        while rest > 0 {
            let wanted = usize::try_from(rest).unwrap_or(SIZE).min(SIZE);
            let got = file.read(&mut piece[..wanted]).map_err(failure("reading", &sink.path))?;
            if got == 0 {
                return Err(Failure::PartUnusable(format!(
                    "{} is shorter than recorded",
                    sink.path.display()
                )));
            }
            seen(&piece[..got]);
            rest -= got as u64;
        }
        sink.file = Some(file);
        sink.bytes = from;
        sink.sent = from;
        Ok(sink)
    }

    /// Cuts off what lies behind the bytes that it goes on from.
    pub(super) fn cut(&mut self) -> Result<(), Failure> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let placed = file.set_len(self.bytes).and_then(|()| file.seek(SeekFrom::Start(self.bytes)));
        placed.map(drop).map_err(failure("writing", &self.path))
    }

    /// Where it is; `None` before its first byte is written.
    pub(super) fn made(&self) -> Option<&PathBuf> {
        self.file.as_ref().map(|_| &self.path)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => create(&self.path)?,
        };
        self.write_to(&mut file, bytes)?;
        self.file = Some(file);
        Ok(())
    }

    fn write_to(&mut self, file: &mut File, bytes: &[u8]) -> Result<(), Failure> {
        self.put(file, bytes).map_err(failure("writing", &self.path))?;
        self.bytes += bytes.len() as u64;
        self.begin_flush(file);
        Ok(())
    }

    fn put(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        // a whole block begins at a multiple of its size, too
        let whole = bytes.len() == SIZE;
        if whole && self.cache == Cache::Unknown {
            let passes = FileSystem::of(&self.path).supports_direct_io();
            self.cache = if passes { Cache::Used } else { Cache::Always };
        }
        match self.cache {
            Cache::Used if whole => self.cache = pass_by(file, true),
            Cache::PassedBy if !whole => self.cache = pass_by(file, false),
            _ => {}
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // the rest of a write that was cut short is not aligned, and there are disks with larger blocks
                Err(error)
                    if self.cache == Cache::PassedBy
                        && Errno::from_io_error(&error) == Some(Errno::INVAL) =>
                {
                    pass_by(file, false);
                    self.cache = Cache::Always;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends a large file's bytes to the disk while more are received, so that its flush at the end is short, and
    /// gives back the memory of those that are there.
    fn begin_flush(&mut self, file: &File) {
        if self.bytes - self.sent < FLUSH_EVERY {
            return;
        }
        let from = self.sent.saturating_sub(FLUSH_EVERY);
        let length = std::num::NonZero::new(self.bytes - from);
        // a hint: where it is not taken the flush at the end does all
        let _ = rustix::fs::fadvise(file, from, length, rustix::fs::Advice::DontNeed);
        self.sent = self.bytes;
    }

    /// Makes what is written durable.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_all().map_err(failure("flushing", &self.path))
    }

    /// Writes the last bytes; the file, and where it is.
    pub(super) fn finish(mut self, last: &[u8]) -> Result<(PathBuf, File), Failure> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                self.path = spread(&self.path);
                create_spread(&self.path)?
            }
        };
        self.write_to(&mut file, last)?;
        Ok((self.path, file))
    }
}

/// Sets a file to pass by the page cache, or to go through it again.
#[cfg(target_os = "linux")]
fn pass_by(file: &File, pass_by: bool) -> Cache {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let set = fcntl_getfl(file).and_then(|mut flags| {
        flags.set(OFlags::DIRECT, pass_by);
        fcntl_setfl(file, flags)
    });
    match (set, pass_by) {
        (Ok(()), true) => Cache::PassedBy,
        (Ok(()), false) => Cache::Used,
        (Err(_), _) => Cache::Always,
    }
}

#[cfg(not(target_os = "linux"))]
fn pass_by(_file: &File, _pass_by: bool) -> Cache {
    Cache::Always
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::buffer::Buffer;

    fn bytes(length: usize) -> Vec<u8> {
        (0..251).cycle().take(length).collect()
    }

    #[test]
    fn whole_blocks_pass_by_the_cache_where_the_disk_takes_them_and_the_rest_does_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.part");
        let body = bytes(2 * SIZE);
        let mut block = Buffer::default();
        let mut sink = PartFile::new(path.clone());
        for half in body.chunks(SIZE) {
            block.clear();
            block.extend(half);
            sink.write(block.bytes()).expect("written");
        }
        let takes = FileSystem::of(&path).supports_direct_io();
        assert_eq!(sink.cache, if takes { Cache::PassedBy } else { Cache::Always });
        let (path, _file) = sink.finish(b"the end").expect("written");
        assert!(std::fs::read(path).expect("readable") == [&*body, b"the end"].concat());
    }

    #[test]
    fn a_block_that_is_not_taken_as_it_is_goes_through_the_cache() {
        let dir = tempfile::tempdir().expect("a folder");
        let body = bytes(SIZE + 1);
        // an odd place in memory, which no disk reads from
        let block = &body[usize::from(body.as_ptr().align_offset(2) == 0)..][..SIZE];
        let mut sink = PartFile::new(dir.path().join("a.part"));
        sink.write(block).expect("written");
        sink.write(block).expect("written");
        let (path, _file) = sink.finish(b"").expect("written");
        assert!(std::fs::read(path).expect("readable") == [block, block].concat());
    }
}
