//! Many files read and hashed, on all cores.

use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use sha2::Digest;

use super::Progress;
use super::no_follow::Opener;
use crate::error::RunError;
use crate::item::Sha256;

/// Files that a thread takes at a time: few enough that the last ones do not keep the others waiting.
const BATCH: usize = 16;
/// Read at a time: a usual image is one or two calls, and the disk is asked for large pieces.
const BUFFER: usize = 1 << 20;
/// More threads than this find nothing to do on any disk; each has a buffer.
const THREADS: usize = 16;

/// A file to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// The caller's name for it.
    pub id: i64,
    /// Relative to the export folder.
    pub path: String,
    /// The size that it must have, where that is known.
    pub bytes: Option<u64>,
    /// The hash that it must have.
    pub sha256: Sha256,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// As it must be, with so many bytes.
    Right(u64),
    /// Not there.
    Missing,
    /// Something else.
    Changed,
}

type Batch = Vec<Job>;
type Looked = Result<Vec<(Job, FileState)>, RunError>;

/// Looks at every file that `next` gives, until it gives none. `done` hears of each, in no certain order, on the
/// calling thread, as `next` is asked there.
pub(super) fn look_at_all(
    root: &Path,
    mut next: impl FnMut() -> Result<Batch, RunError>,
    progress: &Progress,
    mut done: impl FnMut(Job, FileState) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let (jobs, inbox) = sync_channel::<Batch>(2 * threads);
    let (outbox, looked) = channel::<Looked>();
    let inbox = Mutex::new(inbox);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (outbox, inbox) = (outbox.clone(), &inbox);
            scope.spawn(move || work(root, inbox, progress, |looked| outbox.send(looked).is_ok()));
        }
        // moved in here, so that the threads end when this closure does, whatever its reason
        let (jobs, looked) = (jobs, looked);
        drop(outbox);
        let mut ready = Vec::new();
        let (mut ended, mut under_way) = (false, 0);
        loop {
            while under_way < 2 * threads && !(ended && ready.is_empty()) {
                if ready.is_empty() {
                    ready = next()?;
                    ended = ready.is_empty();
                    continue;
                }
                let batch = ready.drain(..ready.len().min(BATCH)).collect();
                jobs.send(batch).map_err(|_| gone())?;
                under_way += 1;
            }
            if under_way == 0 {
                return Ok(());
            }
            for (job, seen) in looked.recv().map_err(|_| gone())?? {
                done(job, seen)?;
            }
            under_way -= 1;
        }
    })
}

fn gone() -> RunError {
    RunError::Internal("the hashing threads ended early".to_owned())
}

/// One thread. A panic is told like an error: whoever waits for the batch must not wait for ever.
fn work(root: &Path, inbox: &Mutex<Receiver<Batch>>, progress: &Progress, tell: impl Fn(Looked) -> bool) {
    let mut tools = match Opener::new(root) {
        Ok(opener) => (opener, vec![0; BUFFER]),
        Err(error) => {
            tell(Err(RunError::io(format!("opening {}", root.display()))(error)));
            return;
        }
    };
    loop {
        let batch = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return };
        let looked = catch_unwind(AssertUnwindSafe(|| {
            let look = |job: Job| {
                let seen = look(&mut tools.0, &job, &mut tools.1, progress)?;
                progress.seen.fetch_add(1, Ordering::Relaxed);
                Ok((job, seen))
            };
            batch.into_iter().map(look).collect()
        }));
        if !tell(looked.unwrap_or_else(|_| Err(RunError::Internal("a panic while hashing".to_owned())))) {
            return;
        }
    }
}

fn look(
    opener: &mut Opener,
    job: &Job,
    buffer: &mut [u8],
    progress: &Progress,
) -> Result<FileState, RunError> {
    let wrong = |error: io::Error| RunError::io(format!("reading {}", job.path))(error);
    let mut file = match opener.open(&job.path) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(FileState::Missing),
        // a link, a file or a socket in the place of a folder or a file
        Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::IO) => return Ok(FileState::Changed),
        // everything else would be met by every file: rights, open files, a dead share
        Err(error) => return Err(wrong(error.into())),
    };
    let meta = file.metadata().map_err(wrong)?;
    if !meta.is_file() || job.bytes.is_some_and(|bytes| bytes != meta.len()) {
        return Ok(FileState::Changed);
    }
    match hash(&mut file, meta.len(), buffer, progress) {
        Ok((bytes, sha256)) if sha256 == job.sha256 => Ok(FileState::Right(bytes)),
        Ok(_) => Ok(FileState::Changed),
        // bytes that the disk does not give back are not those of the delivery
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(FileState::Changed),
        Err(error) => Err(wrong(error)),
    }
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

/// A hint; a system that knows none is no worse off.
#[cfg(target_os = "linux")]
fn read_ahead(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
}

#[cfg(not(target_os = "linux"))]
fn read_ahead(_file: &File) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    #[test]
    fn every_file_is_looked_at_once_and_what_it_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let job = |id: i64, path: &str, bytes: &[u8]| Job {
            id,
            path: path.to_owned(),
            bytes: Some(bytes.len() as u64),
            sha256: sha256(bytes),
        };
        let mut jobs = Vec::new();
        for n in 0..100_i64 {
            let bytes = vec![u8::try_from(n).expect("small"); 3000];
            std::fs::write(root.join(n.to_string()), &bytes).expect("written");
            jobs.push(job(n, &n.to_string(), &bytes));
        }
        let large = vec![9; 2 * BUFFER + 7];
        std::fs::write(root.join("large"), &large).expect("written");
        jobs.push(job(100, "large", &large));
        std::fs::write(root.join("5"), [4; 3000]).expect("same size, other bytes");
        std::fs::write(root.join("6"), [6; 2999]).expect("another size");
        std::fs::remove_file(root.join("7")).expect("removed");
        std::fs::remove_file(root.join("8")).expect("removed");
        std::fs::create_dir(root.join("8")).expect("made");
        std::fs::remove_file(root.join("9")).expect("removed");
        std::os::unix::fs::symlink("10", root.join("9")).expect("linked");
        std::fs::remove_file(root.join("11")).expect("removed");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("11"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a pipe");

        let mut jobs = Some(jobs);
        let progress = Progress::default();
        let mut found = std::collections::BTreeMap::new();
        let next = || Ok(jobs.take().unwrap_or_default());
        look_at_all(root, next, &progress, |job, seen| {
            assert_eq!(found.insert(job.id, seen), None, "twice");
            Ok(())
        })
        .expect("looked");
        assert_eq!(found.len(), 101);
        assert_eq!((found[&100], found[&7]), (FileState::Right(large.len() as u64), FileState::Missing));
        let changed: Vec<i64> =
            found.iter().filter(|(_, seen)| **seen == FileState::Changed).map(|(id, _)| *id).collect();
        assert_eq!(changed, [5, 6, 8, 9, 11]);
        assert_eq!(progress.seen.load(Ordering::Relaxed), 101);
    }

    #[test]
    fn an_error_of_the_caller_ends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut count = 0;
        let next = || {
            count += 1;
            let job = Job { id: count, path: "none".to_owned(), bytes: None, sha256: Sha256([0; 32]) };
            Ok(vec![job; 100])
        };
        let stop = |_: Job, _: FileState| Err(RunError::Internal("enough".to_owned()));
        let error = look_at_all(folder.path(), next, &Progress::default(), stop).expect_err("stopped");
        assert!(error.to_string().contains("enough"));
    }
}
