//! The body of one image as it comes: hashed, gathered in a buffer, and handed to a blocking thread that writes it.
//!
//! Most images are small: their whole body is one write. While a full buffer of a large one is written, the next one is
//! received and hashed. Hashing stays on the thread that has the bytes in its cache. The largest pieces seen (400 KiB,
//! SHA-256 alone) cost it a quarter of a millisecond; hashing them on the writing thread made 3 x 512 MiB take 1.8 s
//! instead of 1.5 s. The bytes that are hashed are those in the buffer that is written.

use std::fs::File;
use std::path::PathBuf;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::buffer::{self, Buffer};
use super::part_file::PartFile;
use crate::checksum::{Algorithm, Digests, MultiHasher};
use crate::error::Failure;
use crate::image::{EndFinder, HEAD};
use crate::item::Sha256;

/// A whole part file.
#[derive(Debug)]
pub struct Part {
    /// Path in the state folder.
    pub path: PathBuf,
    /// Still open: it is made durable, and compared with what has its path.
    pub file: File,
    /// Size.
    pub bytes: u64,
    /// Digests of all bytes.
    pub digests: Digests,
    /// The first bytes, at most [`HEAD`].
    pub head: Vec<u8>,
    /// Whether the end of an image is among the bytes.
    pub end: EndFinder,
}

/// What is known about the bytes received so far.
#[derive(Debug)]
struct Received {
    bytes: u64,
    hasher: MultiHasher,
    head: Vec<u8>,
    end: EndFinder,
}

impl Received {
    fn new(algorithms: &[Algorithm]) -> Self {
        Self { bytes: 0, hasher: MultiHasher::new(algorithms), head: Vec::new(), end: EndFinder::default() }
    }

    fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        let missing = HEAD - self.head.len();
        self.head.extend_from_slice(&piece[..piece.len().min(missing)]);
        self.end.update(piece);
        self.bytes += piece.len() as u64;
    }
}

/// The asynchronous side of a part file.
#[derive(Debug)]
pub struct PartWriter {
    received: Received,
    /// The last of the bytes received, not handed over yet.
    buffer: Buffer,
    /// A buffer that has been written, for its memory.
    spare: Option<Buffer>,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle(Box<PartFile>),
    Writing(JoinHandle<Result<(Box<PartFile>, Buffer), Failure>>),
    /// A write failed; the contents of the file are unknown.
    Failed,
}

impl PartWriter {
    /// A new part file at `path`, created with its first bytes. `algorithms` are computed besides SHA-256.
    #[must_use]
    pub fn new(path: PathBuf, algorithms: &[Algorithm]) -> Self {
        Self::over(PartFile::new(path), Received::new(algorithms))
    }

    /// Continues after the first `from` bytes of the part file at `path`, which must have this hash: they are read and
    /// hashed again.
    ///
    /// # Errors
    /// [`Failure::PartUnusable`] if the file does not have them, [`Failure::Disk`] if it cannot be read.
    pub async fn resume(
        path: PathBuf,
        from: u64,
        sha256: Sha256,
        algorithms: Vec<Algorithm>,
    ) -> Result<Self, Failure> {
        blocking(move || {
            let mut received = Received::new(&algorithms);
            let shown = path.display().to_string();
            let mut file = PartFile::resume(path, from, |piece| received.update(piece))?;
            if received.hasher.clone().finish().sha256 != sha256 {
                return Err(Failure::PartUnusable(format!("{shown} has changed since")));
            }
            file.truncate()?;
            Ok(Self::over(file, received))
        })
        .await
    }

    fn over(file: PartFile, received: Received) -> Self {
        Self { received, buffer: Buffer::default(), spare: None, state: State::Idle(Box::new(file)) }
    }

    /// Bytes received so far, those before a resume included.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received.bytes
    }

    /// Accepts a piece of the body.
    ///
    /// # Errors
    /// If an earlier piece could not be written.
    pub async fn push(&mut self, piece: Bytes) -> Result<(), Failure> {
        let mut rest = &*piece;
        while !rest.is_empty() {
            let room = buffer::room_at(self.received.bytes);
            let (now, later) = rest.split_at(rest.len().min(room));
            self.received.update(self.buffer.extend(now));
            rest = later;
            if now.len() == room {
                self.start_write().await?;
            }
        }
        Ok(())
    }

    /// Hands the full buffer to a blocking thread, as soon as the one before it is written.
    async fn start_write(&mut self) -> Result<(), Failure> {
        let mut file = self.file().await?;
        let mut full = std::mem::replace(&mut self.buffer, self.spare.take().unwrap_or_default());
        self.state = State::Writing(tokio::task::spawn_blocking(move || {
            file.write(full.bytes())?;
            full.clear();
            Ok((file, full))
        }));
        Ok(())
    }

    /// Writes what is in the buffer and ends the part.
    ///
    /// # Errors
    /// If it could not be written.
    pub async fn finish(mut self) -> Result<Part, Failure> {
        let file = self.file().await?;
        let Self { received: Received { bytes, hasher, head, end }, buffer, .. } = self;
        let (path, file) = blocking(move || file.finish(buffer.bytes())).await?;
        Ok(Part { path, file, bytes, digests: hasher.finish(), head, end })
    }

    /// Writes what is in the buffer and makes the part durable: the number of bytes that a later run can continue
    /// after, and their hash.
    ///
    /// # Errors
    /// If it could not be written.
    pub async fn persist(mut self) -> Result<(u64, Sha256), Failure> {
        let mut file = self.file().await?;
        let Self { received, buffer, .. } = self;
        blocking(move || {
            file.write(buffer.bytes())?;
            file.sync()
        })
        .await?;
        Ok((received.bytes, received.hasher.finish().sha256))
    }

    /// Writes what is in the buffer and frees its memory: a writer that waits for its next attempt holds no bytes.
    ///
    /// # Errors
    /// If it could not be written.
    pub async fn flush_buffer(&mut self) -> Result<(), Failure> {
        let mut file = self.file().await?;
        let buffer = std::mem::take(&mut self.buffer);
        self.spare = None;
        if !buffer.is_empty() {
            file = blocking(move || {
                file.write(buffer.bytes())?;
                Ok(file)
            })
            .await?;
        }
        self.state = State::Idle(file);
        Ok(())
    }

    /// Abandons the part and removes its file, unless a write failed: then the next writer of this row replaces it.
    /// Waits for a write in progress, which would otherwise create the file again.
    pub async fn discard(mut self) {
        // a write error no longer matters
        let Ok(file) = self.file().await else { return };
        if let Some(path) = file.created().cloned() {
            // best effort: what stays is removed at the next start
            let _ = tokio::task::spawn_blocking(move || std::fs::remove_file(path)).await;
        }
    }

    /// Takes the file out, after the write in progress. Until it is put back the writer counts as failed.
    async fn file(&mut self) -> Result<Box<PartFile>, Failure> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(file) => Ok(file),
            State::Writing(task) => {
                let (file, written) = task.await.map_err(|_| write_failed())??;
                self.spare = Some(written);
                Ok(file)
            }
            State::Failed => Err(write_failed()),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| write_failed())?
}

fn write_failed() -> Failure {
    Failure::Disk("an earlier write of this file failed".to_owned())
}

#[cfg(test)]
mod tests;
