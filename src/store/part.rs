//! A part file that grows: bytes are gathered, and handed over to a blocking thread that hashes and writes them.
//!
//! Most images are small: their whole body is one hand-over. While a piece of a large one is written the next one
//! is received already. What is hashed is what is written, and nothing else is ever in the file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::failure;
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

/// A symbolic link in the way is never followed.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
/// Nor is a pipe in the way waited for.
const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Where a part is made that is whole at once: one of sixteen folders beside the parts that grow, by its name's first
/// letter, which is a hexadecimal digit. Two threads cannot make files in the same folder at the same time: with one
/// folder for all, 10,000 images of 64 KiB took 1.8 times as long on two cores.
pub(super) fn spread(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = name.get(..1).unwrap_or_default();
    path.with_file_name(folder).join(name)
}

/// [`create`] in one of the sixteen folders, which is made with its first file.
fn create_spread(path: &Path) -> Result<File, Failure> {
    let made = match create_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            make_folder(path).and_then(|()| create_file(path))
        }
        other => other,
    };
    made.map_err(|error| failure("making", path, &error))
}

/// Makes a new file; whatever was there is removed first, never written into.
fn create(path: &Path) -> Result<File, Failure> {
    create_file(path).map_err(|error| failure("making", path, &error))
}

fn create_file(path: &Path) -> std::io::Result<File> {
    let attempt = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(NO_FOLLOW)
            .open(path)
    };
    match attempt() {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path).and_then(|()| attempt())
        }
        other => other,
    }
}

/// Tells ext2, ext3 and ext4 that the folders in here have nothing to do with each other (`chattr +T`), so that each
/// gets inodes in another group of blocks. Inodes that were freed within the last minute or so are passed over one by
/// one, which costs 0.4 ms a file in a group where many were: 10,000 images of 64 KiB beside a copy of them that was
/// just removed took 3.9 s in one group, 3.3 s in sixteen. Elsewhere it is refused, or means nothing.
#[cfg(target_os = "linux")]
fn spread_apart(parts: &Path) {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    if let Ok(handle) = File::open(parts)
        && let Ok(flags) = ioctl_getflags(&handle)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = ioctl_setflags(&handle, flags | IFlags::TOPDIR);
    }
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    #[cfg(target_os = "linux")]
    if let Some(parts) = folder.parent() {
        spread_apart(parts);
    }
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
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
mod tests {
    use super::*;
    use sha2::{Digest, Sha256 as Hasher};

    fn hash(bytes: &[u8]) -> Sha256 {
        Sha256(Hasher::digest(bytes).into())
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[tokio::test]
    async fn what_is_hashed_is_what_is_in_the_file() {
        let dir = folder();
        let path = dir.path().join("a.part");
        let mut writer = PartWriter::new(path.clone(), &[Algorithm::Md5]);
        let body: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
        // large pieces and small ones, in any order
        let (mut rest, mut lengths) = (&*body, [77_777, 1, 5, SMALL - 1, SMALL, 3].into_iter().cycle());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(lengths.next().expect("without an end")));
            writer.push(Bytes::copy_from_slice(piece)).await.expect("written");
            rest = more;
        }
        let part = writer.finish().await.expect("finished");
        let on_disk = std::fs::read(&path).expect("readable");
        assert_eq!(on_disk, body);
        assert_eq!(part.sums.sha256.0, <[u8; 32]>::from(Hasher::digest(&on_disk)));
        assert_eq!(part.sums.of(Algorithm::Md5), Some(&*md5::Md5::digest(&on_disk)));
        assert_eq!(part.head, body[..HEAD]);
        assert_eq!(part.tail, body[body.len() - TAIL..]);
        assert_eq!(part.bytes, 1_000_003);
    }

    #[tokio::test]
    async fn a_resumed_part_forgets_what_lies_behind_the_recorded_bytes() {
        let dir = folder();
        let path = dir.path().join("a.part");
        std::fs::write(&path, b"0123456789garbage").expect("written");
        let mut writer =
            PartWriter::resume(path.clone(), 10, hash(b"0123456789"), Vec::new()).await.expect("resumed");
        writer.push(Bytes::from_static(b"abc")).await.expect("written");
        let part = writer.finish().await.expect("finished");
        assert_eq!(std::fs::read(&path).expect("readable"), b"0123456789abc");
        assert_eq!(part.sums.sha256.0, <[u8; 32]>::from(Hasher::digest(b"0123456789abc")));
    }

    #[tokio::test]
    async fn a_part_that_is_shorter_than_recorded_is_worthless() {
        let dir = folder();
        let path = dir.path().join("a.part");
        std::fs::write(&path, b"0123").expect("written");
        let resumed = PartWriter::resume(path, 10, hash(b"0123456789"), Vec::new()).await;
        assert!(matches!(resumed, Err(Failure::PartWorthless(_))), "{resumed:?}");
    }

    #[tokio::test]
    async fn a_part_that_is_gone_or_is_a_link_now_is_worthless() {
        let dir = folder();
        let (target, path) = (dir.path().join("target"), dir.path().join("a.part"));
        let resumed = PartWriter::resume(path.clone(), 4, hash(b"0123"), Vec::new()).await;
        assert!(matches!(resumed, Err(Failure::PartWorthless(_))), "{resumed:?}");
        std::fs::write(&target, b"precious").expect("written");
        std::os::unix::fs::symlink(&target, &path).expect("linked");
        let resumed = PartWriter::resume(path, 4, hash(b"0123"), Vec::new()).await;
        assert!(matches!(resumed, Err(Failure::PartWorthless(_))), "{resumed:?}");
        assert_eq!(std::fs::read(&target).expect("readable"), b"precious");
    }

    #[tokio::test]
    async fn a_part_that_is_a_pipe_or_a_folder_now_is_worthless_and_not_waited_for() {
        let dir = folder();
        let pipe = dir.path().join("a.part");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("made");
        let resumed = tokio::time::timeout(
            std::time::Duration::from_secs(20),
            PartWriter::resume(pipe.clone(), 4, hash(b"0123"), Vec::new()),
        );
        let resumed = resumed.await.expect("it does not wait");
        assert!(matches!(resumed, Err(Failure::PartWorthless(_))), "{resumed:?}");
        let mut writer = PartWriter::new(pipe.clone(), &[]);
        writer.push(Bytes::from_static(b"image")).await.expect("taken");
        writer.settle().await.expect("written");
        assert_eq!(std::fs::read(&pipe).expect("a file now"), b"image");
    }

    #[tokio::test]
    async fn a_settled_writer_has_written_all_it_took_and_goes_on() {
        let dir = folder();
        let path = dir.path().join("a.part");
        let mut writer = PartWriter::new(path.clone(), &[]);
        for _ in 0..2 {
            writer.push(Bytes::from_static(b"abc")).await.expect("taken");
            writer.settle().await.expect("written");
        }
        assert_eq!(std::fs::read(&path).expect("readable"), b"abcabc");
        writer.push(Bytes::from_static(b"d")).await.expect("taken");
        assert_eq!(writer.finish().await.expect("finished").bytes, 7);
        assert_eq!(std::fs::read(&path).expect("readable"), b"abcabcd");
    }

    #[tokio::test]
    async fn a_part_that_is_whole_at_once_lies_in_the_folder_of_its_first_letter() {
        let dir = folder();
        for round in 0..2 {
            let mut writer = PartWriter::new(dir.path().join("a.part"), &[]);
            writer.push(Bytes::from(vec![round; PIECE - 1])).await.expect("taken");
            let part = writer.finish().await.expect("written");
            assert_eq!(part.path, dir.path().join("a/a.part"));
            assert_eq!(std::fs::read(&part.path).expect("readable"), vec![round; PIECE - 1]);
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(dir.path().join("a")).expect("there").permissions(),
        );
        assert_eq!(mode & 0o777, 0o700);
        let mut writer = PartWriter::new(dir.path().join("b.part"), &[]);
        writer.push(Bytes::from(vec![1; PIECE])).await.expect("taken");
        assert_eq!(writer.finish().await.expect("written").path, dir.path().join("b.part"));
    }

    #[tokio::test]
    async fn nothing_writes_behind_a_discarded_part() {
        let dir = folder();
        let path = dir.path().join("a.part");
        let mut writer = PartWriter::new(path.clone(), &[]);
        writer.push(Bytes::from(vec![0; PIECE])).await.expect("taken");
        writer.discard().await;
        assert!(!path.exists(), "the write had ended, and its file is gone");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_part_whose_bytes_changed_is_worthless() {
        let dir = folder();
        let path = dir.path().join("a.part");
        std::fs::write(&path, b"0123X56789").expect("written");
        let resumed = PartWriter::resume(path, 10, hash(b"0123456789"), Vec::new()).await;
        assert!(matches!(resumed, Err(Failure::PartWorthless(_))), "{resumed:?}");
    }

    #[tokio::test]
    async fn a_part_that_is_kept_tells_its_hash() {
        let dir = folder();
        let mut writer = PartWriter::new(dir.path().join("a.part"), &[]);
        writer.push(Bytes::from_static(b"0123456789")).await.expect("written");
        assert_eq!(writer.keep().await.expect("kept"), (10, hash(b"0123456789")));
    }

    #[tokio::test]
    async fn a_symbolic_link_in_the_way_is_replaced_and_never_written_through() {
        let dir = folder();
        let (target, path) = (dir.path().join("target"), dir.path().join("a.part"));
        std::fs::write(&target, b"precious").expect("written");
        std::os::unix::fs::symlink(&target, &path).expect("linked");
        let mut writer = PartWriter::new(path.clone(), &[]);
        writer.push(Bytes::from_static(b"image")).await.expect("written");
        writer.settle().await.expect("written");
        assert_eq!(std::fs::read(&target).expect("readable"), b"precious");
        assert!(!std::fs::symlink_metadata(&path).expect("there").is_symlink());
    }
}
