//! The file in which runs of one user on one machine tell each other what they sent: a ring of small entries behind
//! a lock that dies with its holder.
//!
//! Times are those of `CLOCK_BOOTTIME`: it is the same for all processes, no correction of the wall clock moves it,
//! and it counts while the machine sleeps, as the server does. It begins anew with every boot, so the file carries
//! the boot's id and is begun anew under another one. Entries that are torn, garbage or of the future are passed
//! over; nothing is ever waited for but the lock, and that not for long.

mod entry;

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use sha2::{Digest, Sha256};

pub(super) use self::entry::{Entry, Fact};
use self::entry::{Header, SIZE};

/// Entries in the ring: two for each request of two windows.
const RING: u64 = 16_384;
/// The largest allowance whose two windows fit into the ring.
pub(super) const LARGEST: u32 = 4_096;
/// The lock is held for microseconds. Who holds it for so long is stopped, or its disk is.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time since the boot.
pub(super) type Now = fn() -> io::Result<Duration>;

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    boot: [u8; 16],
    now: Now,
    /// Entries that were read, or written by this one.
    seen: u64,
}

/// The name says which API and key it is for, and cannot be turned back into them.
pub(super) fn file_name(address: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["exporter request clock", address, key] {
        hash.update(part);
        hash.update([0]);
    }
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}.clock")
}

impl Journal {
    /// Opens the file, or makes it, and its folder.
    pub(super) fn open(path: PathBuf, now: Now) -> io::Result<Self> {
        now()?;
        let boot = boot_id()?;
        let file = open(&path)?;
        Ok(Self { path, file, boot, now, seen: 0 })
    }

    /// Time since the boot.
    pub(super) fn now(&self) -> io::Result<Duration> {
        (self.now)()
    }

    /// Takes the lock, reads what is new, and lets `act` answer with what is to be added.
    ///
    /// # Errors
    /// The outer one where `act` was not asked. What it said counts also where it could not be written down, which
    /// the inner one tells.
    pub(super) fn visit<T>(
        &mut self,
        act: impl FnOnce(Duration, Vec<Entry>) -> (T, Vec<Entry>),
    ) -> io::Result<(T, io::Result<()>)> {
        self.lock()?;
        let result = self.visit_locked(act);
        let unlocked = flock(&self.file, FlockOperation::Unlock);
        let (result, written) = result?;
        Ok((result, written.and_then(|()| Ok(unlocked?))))
    }

    fn visit_locked<T>(
        &mut self,
        act: impl FnOnce(Duration, Vec<Entry>) -> (T, Vec<Entry>),
    ) -> io::Result<(T, io::Result<()>)> {
        let mut bytes = [0; SIZE];
        let read = read_up_to(&self.file, &mut bytes, 0)?;
        let known = Header::read(&bytes[..read]).filter(|header| header.boot == self.boot);
        let head = known.map_or(0, |header| header.head);
        // begun anew by another one
        if head < self.seen {
            self.seen = 0;
        }
        let news = self.read(self.seen.max(head.saturating_sub(RING)), head)?;
        let now = self.now()?;
        let news = news.into_iter().filter(|entry| entry.at <= now).collect();
        self.seen = head;
        let (result, added) = act(now, news);
        Ok((result, self.add(head, &added)))
    }

    fn add(&mut self, mut head: u64, added: &[Entry]) -> io::Result<()> {
        if added.is_empty() {
            return Ok(());
        }
        for entry in added {
            self.file.write_all_at(&entry.write(head), place(head))?;
            head += 1;
        }
        // last: whoever dies before it has written nothing
        self.file.write_all_at(&Header { boot: self.boot, head }.write(), 0)?;
        self.seen = head;
        Ok(())
    }

    /// From now on every write fails, as on a full disk.
    #[cfg(test)]
    pub(super) fn fill_disk(&mut self) {
        self.file = File::open(&self.path).expect("the file");
    }

    fn read(&self, from: u64, head: u64) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut next = from;
        while next < head {
            // up to the ring's end in one piece
            let count = (head - next).min(RING - next % RING);
            let mut bytes = vec![0; usize::try_from(count).unwrap_or(0) * SIZE];
            let read = read_up_to(&self.file, &mut bytes, place(next))?;
            for (number, bytes) in (next..).zip(bytes[..read].chunks_exact(SIZE)) {
                entries.extend(Entry::read(bytes, number));
            }
            next += count;
        }
        Ok(entries)
    }

    fn lock(&mut self) -> io::Result<()> {
        // somebody tidied up: the others have a new file by now
        if self.file.metadata()?.nlink() == 0 {
            self.file = open(&self.path)?;
            self.seen = 0;
        }
        let mut pause = Duration::from_micros(100);
        let mut waited = Duration::ZERO;
        loop {
            match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::WOULDBLOCK) if waited < PATIENCE => {
                    std::thread::sleep(pause);
                    waited += pause;
                    pause = (2 * pause).min(Duration::from_millis(5));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds its lock"));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn place(number: u64) -> u64 {
    SIZE as u64 * (1 + number % RING)
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        private(&File::open(folder)?, 0o700)?;
    }
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    private(&file, 0o600)?;
    Ok(file)
}

/// For the user alone, whatever made it.
fn private(file: &File, mode: u32) -> io::Result<()> {
    if file.metadata()?.mode() & 0o777 == mode {
        return Ok(());
    }
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

fn read_up_to(file: &File, bytes: &mut [u8], from: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], from + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Time since the boot, sleep included.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "other systems have no such clock")]
pub(super) fn since_boot() -> io::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn since_boot() -> io::Result<Duration> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no clock that all processes share"))
}

fn boot_id() -> io::Result<[u8; 16]> {
    let text = std::fs::read("/proc/sys/kernel/random/boot_id")?;
    Ok(Sha256::digest(text).first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests;
