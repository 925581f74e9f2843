//! Many files hashed at once, on all cores.
//!
//! The caller hands out the files and receives the results on its own thread, in no certain order. The threads end
//! with the call, for whatever reason it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use super::file_state::{FileState, HashJob, inspect};
use super::no_follow::Opener;
use super::options::Progress;
use crate::disk::presence::cannot_look;
use crate::error::RunError;

/// Files that a thread takes at a time: few enough that the last ones do not keep the other threads idle.
const BATCH_FILES: usize = 16;
/// Bytes of one read: a usual image takes one or two calls, and the disk serves large requests best.
const BUFFER_BYTES: usize = 1 << 20;
/// More threads than this gain nothing on any disk, and each has a buffer.
const THREADS_MAX: usize = 16;

type Batch = Vec<HashJob>;
type Inspected = Result<Vec<(HashJob, FileState)>, RunError>;

/// Hashes every file that `next` returns, until it returns none, and calls `done` for each. Both are called on the
/// calling thread.
///
/// # Errors
/// Those of `next` and `done`; a folder that cannot be entered or is a link.
pub(super) fn hash_all(
    root: &Path,
    next: impl FnMut() -> Result<Batch, RunError>,
    progress: &Progress,
    done: impl FnMut(HashJob, FileState) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let (jobs, inbox) = sync_channel::<Batch>(2 * threads);
    let (outbox, inspected) = channel::<Inspected>();
    let inbox = Mutex::new(inbox);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (outbox, inbox) = (outbox.clone(), &inbox);
            scope.spawn(move || serve(root, inbox, progress, &outbox));
        }
        // without these ends of the channels, which are dropped whatever the reason is, the threads end
        drop(outbox);
        feed(jobs, inspected, 2 * threads, next, done)
    })
}

/// Keeps up to `limit` batches with the threads until all files are done.
#[expect(clippy::needless_pass_by_value, reason = "the threads end when the channels are dropped here")]
fn feed(
    jobs: SyncSender<Batch>,
    inspected: Receiver<Inspected>,
    limit: usize,
    mut next: impl FnMut() -> Result<Batch, RunError>,
    mut done: impl FnMut(HashJob, FileState) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let mut ready = Vec::new();
    let (mut exhausted, mut in_flight) = (false, 0);
    loop {
        while in_flight < limit && !(exhausted && ready.is_empty()) {
            if ready.is_empty() {
                ready = next()?;
                exhausted = ready.is_empty();
                continue;
            }
            let batch = ready.drain(..ready.len().min(BATCH_FILES)).collect();
            jobs.send(batch).map_err(|_| ended_early())?;
            in_flight += 1;
        }
        if in_flight == 0 {
            return Ok(());
        }
        for (job, state) in inspected.recv().map_err(|_| ended_early())?? {
            done(job, state)?;
        }
        in_flight -= 1;
    }
}

fn ended_early() -> RunError {
    RunError::Internal("the hashing threads ended early".to_owned())
}

/// One thread. A panic is reported like an error: otherwise the caller would wait for the batch forever.
fn serve(root: &Path, inbox: &Mutex<Receiver<Batch>>, progress: &Progress, outbox: &Sender<Inspected>) {
    let mut opener = match Opener::new(root) {
        Ok(opener) => opener,
        Err(error) => {
            // a caller that has ended does not need to know
            drop(outbox.send(Err(cannot_look(root)(error))));
            return;
        }
    };
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let batch = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return };
        let inspected = catch_unwind(AssertUnwindSafe(|| {
            let inspect = |job: HashJob| {
                let state = inspect(&mut opener, &job, &mut buffer, progress)?;
                progress.seen.fetch_add(1, Ordering::Relaxed);
                Ok((job, state))
            };
            batch.into_iter().map(inspect).collect()
        }));
        let panicked = |_| Err(RunError::Internal("a panic while hashing".to_owned()));
        if outbox.send(inspected.unwrap_or_else(panicked)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::*;
    use crate::item::Sha256;

    fn sha256(bytes: &[u8]) -> Sha256 {
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    #[test]
    fn every_file_is_inspected_once_and_its_state_is_right() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let job = |id: i64, path: &str, bytes: &[u8]| HashJob {
            position: id,
            id,
            path: path.to_owned(),
            bytes: Some(bytes.len() as u64),
            sha256: sha256(bytes),
            stored_at: String::new(),
        };
        let mut jobs = Vec::new();
        for n in 0..100_i64 {
            let bytes = vec![u8::try_from(n).expect("small"); 3000];
            std::fs::write(root.join(n.to_string()), &bytes).expect("written");
            jobs.push(job(n, &n.to_string(), &bytes));
        }
        let large = vec![9; 2 * BUFFER_BYTES + 7];
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
        hash_all(root, next, &progress, |job, state| {
            assert_eq!(found.insert(job.id, state), None, "twice");
            Ok(())
        })
        .expect("inspected");
        assert_eq!(found.len(), 101);
        assert_eq!((found[&100], found[&7]), (FileState::Right(large.len() as u64), FileState::Missing));
        let changed: Vec<i64> = found
            .iter()
            .filter(|(_, state)| matches!(state, FileState::Changed { .. }))
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(changed, [5, 6, 8, 9, 11]);
        assert_eq!(progress.seen.load(Ordering::Relaxed), 101);
    }

    #[test]
    fn an_error_of_the_caller_ends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut count = 0;
        let next = || {
            count += 1;
            let job = HashJob {
                position: count,
                id: count,
                path: "none".to_owned(),
                bytes: None,
                sha256: Sha256([0; 32]),
                stored_at: String::new(),
            };
            Ok(vec![job; 100])
        };
        let stop = |_: HashJob, _: FileState| Err(RunError::Internal("enough".to_owned()));
        let error = hash_all(folder.path(), next, &Progress::default(), stop).expect_err("stopped");
        assert!(error.to_string().contains("enough"));
    }
}
