//! A part file that grows: bytes are gathered, and handed over to a blocking thread that hashes and writes them.
//!
//! Most images are small: their whole body is one hand-over. While a piece of a large one is written the next one
//! is received already. What is hashed is what is written, and nothing else is ever in the file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::failure;
use super::make::{NO_FOLLOW, NO_WAIT, create, create_spread, spread};
use crate::checksum::{Algorithm, Hashes, Sums};
use crate::error::Failure;
use crate::image::{HEAD, TAIL};
use crate::item::Sha256;

/// Bytes gathered before they are handed over: large enough that the hand-over costs nothing beside the write,
/// small enough that 32 images in flight hold 16 MiB at most.
const PIECE: usize = 256 * 1024;

/// Bytes of a large file after which those before are sent to the disk.
const FLUSH_EVERY: u64 = 8 << 20;

/// A piece below this is copied to its neighbours: on its own it would cost more to keep than its bytes, and hold the
/// buffer that it was read into (measured: an image that came byte by byte cost 7 MiB).
const SMALL: usize = 4 * 1024;

/// A whole part file.
#[derive(Debug)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Open, to be flushed.
    pub file: File,
    /// Size.
    pub bytes: u64,
    /// Hashes of all bytes.
    pub sums: Sums,
    /// The first bytes, at most [`HEAD`].
    pub head: Vec<u8>,
    /// The last bytes, at most [`TAIL`].
    pub tail: Vec<u8>,
}

/// What the blocking side owns.
#[derive(Debug)]
struct Sink {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    /// So many of them are on their way to the disk.
    sent: u64,
    hashes: Hashes,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Sink {
    fn new(path: PathBuf, hashes: &[Algorithm]) -> Self {
        let hashes = Hashes::new(hashes);
        Self { path, file: None, bytes: 0, sent: 0, hashes, head: Vec::new(), tail: Vec::new() }
    }

    /// Goes on with the first `from` bytes of a file, which are read and hashed again: they must have this hash.
    fn resume(path: PathBuf, from: u64, sha256: Sha256, hashes: &[Algorithm]) -> Result<Self, Failure> {
        let mut sink = Self::new(path, hashes);
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(NO_FOLLOW | NO_WAIT).open(&sink.path);
        let mut file = match opened {
            Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => file,
            Ok(_) => return Err(Failure::PartWorthless(format!("{} is no plain file", sink.path.display()))),
            // gone, or something else in its place: the image is fetched from its first byte
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) =>
            {
                return Err(Failure::PartWorthless(format!("{} is gone: {error}", sink.path.display())));
            }
            Err(error) => return Err(failure("reading", &sink.path, &error)),
        };
        let mut rest = from;
        let mut piece = vec![0; PIECE];
        while rest > 0 {
            let wanted = usize::try_from(rest).unwrap_or(PIECE).min(PIECE);
            let got =
                file.read(&mut piece[..wanted]).map_err(|error| failure("reading", &sink.path, &error))?;
            if got == 0 {
                return Err(Failure::PartWorthless(format!(
                    "{} is shorter than recorded",
                    sink.path.display()
                )));
            }
            sink.hash(&piece[..got]);
            rest -= got as u64;
        }
        if sink.hashes.clone().finish().sha256 != sha256 {
            return Err(Failure::PartWorthless(format!("{} has changed since", sink.path.display())));
        }
        let placed = file.set_len(from).and_then(|()| file.seek(SeekFrom::Start(from)));
        placed.map_err(|error| failure("writing", &sink.path, &error))?;
        sink.file = Some(file);
        sink.sent = from;
        Ok(sink)
    }

    fn hash(&mut self, piece: &[u8]) {
        self.hashes.update(piece);
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() >= TAIL {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - TAIL..]);
        } else {
            self.tail.extend_from_slice(piece);
            let surplus = self.tail.len().saturating_sub(TAIL);
            self.tail.drain(..surplus);
        }
        self.bytes += piece.len() as u64;
    }

    fn write(&mut self, pieces: &[Bytes]) -> Result<(), Failure> {
        if self.file.is_none() {
            self.file = Some(create(&self.path)?);
        }
        for piece in pieces {
            if let Some(file) = &mut self.file {
                file.write_all(piece).map_err(|error| failure("writing", &self.path, &error))?;
            }
            self.hash(piece);
        }
        self.begin_flush();
        Ok(())
    }

    /// Sends a large file's bytes to the disk while more are received, so that its flush at the end is short, and
    /// gives back the memory of those that are there: 3 x 512 MiB took 1.5 s instead of 1.9 s.
    fn begin_flush(&mut self) {
        if self.bytes - self.sent < FLUSH_EVERY {
            return;
        }
        if let Some(file) = &self.file {
            let from = self.sent.saturating_sub(FLUSH_EVERY);
            let length = std::num::NonZero::new(self.bytes - from);
            // a hint: where it is not taken the flush at the end does all
            let _ = rustix::fs::fadvise(file, from, length, rustix::fs::Advice::DontNeed);
        }
        self.sent = self.bytes;
    }

    fn finish(mut self, pieces: &[Bytes]) -> Result<Part, Failure> {
        if self.file.is_none() {
            self.path = spread(&self.path);
            self.file = Some(create_spread(&self.path)?);
        }
        self.write(pieces)?;
        let Some(file) = self.file else {
            return Err(Failure::Disk(format!("{} was not made", self.path.display())));
        };
        Ok(Part {
            path: self.path,
            file,
            bytes: self.bytes,
            sums: self.hashes.finish(),
            head: self.head,
            tail: self.tail,
        })
    }
}

/// The asynchronous side of a part file.
#[derive(Debug)]
pub struct PartWriter {
    gathered: Vec<Bytes>,
    /// Small pieces behind them.
    small: BytesMut,
    size: usize,
    state: State,
    received: u64,
}

#[derive(Debug)]
enum State {
    Here(Box<Sink>),
    Busy(JoinHandle<Result<Box<Sink>, Failure>>),
    /// A write failed; the file is not to be trusted.
    Lost,
}

impl PartWriter {
    /// A new part file at `path`, made with its first bytes. `hashes` are computed besides SHA-256.
    #[must_use]
    pub fn new(path: PathBuf, hashes: &[Algorithm]) -> Self {
        Self {
            gathered: Vec::new(),
            small: BytesMut::new(),
            size: 0,
            state: State::Here(Box::new(Sink::new(path, hashes))),
            received: 0,
        }
    }

    /// Goes on behind the first `from` bytes of the part file at `path`, which must have this hash.
    ///
    /// # Errors
    /// [`Failure::PartWorthless`] where the file does not have them, [`Failure::Disk`] where it cannot be read.
    pub async fn resume(
        path: PathBuf,
        from: u64,
        sha256: Sha256,
        hashes: Vec<Algorithm>,
    ) -> Result<Self, Failure> {
        let sink = blocking(move || Sink::resume(path, from, sha256, &hashes).map(Box::new)).await?;
        Ok(Self {
            gathered: Vec::new(),
            small: BytesMut::new(),
            size: 0,
            state: State::Here(sink),
            received: from,
        })
    }

    /// Bytes taken so far.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Takes a piece of the body.
    ///
    /// # Errors
    /// Where an earlier piece could not be written.
    pub async fn push(&mut self, piece: Bytes) -> Result<(), Failure> {
        self.received += piece.len() as u64;
        self.size += piece.len();
        if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
        } else {
            self.join_small();
            self.gathered.push(piece);
        }
        if self.size >= PIECE {
            let mut sink = self.sink().await?;
            let pieces = self.take_gathered();
            self.state = State::Busy(tokio::task::spawn_blocking(move || {
                sink.write(&pieces)?;
                Ok(sink)
            }));
        }
        Ok(())
    }

    /// Writes what is gathered and ends the part.
    ///
    /// # Errors
    /// Where it could not be written.
    pub async fn finish(mut self) -> Result<Part, Failure> {
        let sink = self.sink().await?;
        let pieces = self.take_gathered();
        blocking(move || sink.finish(&pieces)).await
    }

    /// Writes what is gathered and makes it durable; the number of bytes that a later run can go on from, and their
    /// hash.
    ///
    /// # Errors
    /// Where it could not be written.
    pub async fn keep(mut self) -> Result<(u64, Sha256), Failure> {
        let mut sink = self.sink().await?;
        let pieces = self.take_gathered();
        blocking(move || {
            sink.write(&pieces)?;
            if let Some(file) = &sink.file {
                file.sync_all().map_err(|error| failure("flushing", &sink.path, &error))?;
            }
            Ok((sink.bytes, sink.hashes.finish().sha256))
        })
        .await
    }

    /// Writes what is gathered, so that a writer that waits for its next try holds no bytes in memory.
    ///
    /// # Errors
    /// Where it could not be written.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        let mut sink = self.sink().await?;
        let pieces = self.take_gathered();
        if !pieces.is_empty() {
            sink = blocking(move || {
                sink.write(&pieces)?;
                Ok(sink)
            })
            .await?;
        }
        self.state = State::Here(sink);
        Ok(())
    }

    /// Gives the part up, and its file. Waits for a write that is on its way: it would make the file again behind
    /// whoever comes next.
    pub async fn discard(mut self) {
        // what could not be written is not wanted any more
        let Ok(sink) = self.sink().await else { return };
        if sink.file.is_some() {
            // best effort: what stays is swept away at the next start
            let _ = tokio::task::spawn_blocking(move || std::fs::remove_file(&sink.path)).await;
        }
    }

    fn join_small(&mut self) {
        if !self.small.is_empty() {
            self.gathered.push(std::mem::take(&mut self.small).freeze());
        }
    }

    fn take_gathered(&mut self) -> Vec<Bytes> {
        self.join_small();
        self.size = 0;
        std::mem::take(&mut self.gathered)
    }

    async fn sink(&mut self) -> Result<Box<Sink>, Failure> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Here(sink) => Ok(sink),
            State::Busy(task) => task.await.map_err(|_| died())?,
            State::Lost => Err(died()),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| died())?
}

fn died() -> Failure {
    Failure::Disk("an earlier write of this file failed".to_owned())
}

#[cfg(test)]
mod tests;
