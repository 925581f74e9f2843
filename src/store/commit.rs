//! Parts → delivered images, many at a time, in the order that makes a crash harmless: the bytes of all parts
//! durable, then renamed, then the folders durable, then one commit in the ledger. Nobody is told "delivered"
//! before all of it has happened.
//!
//! One thread does this. While it works the next parts gather, so that the size of a batch follows the load.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::{Folder, Part};
use crate::disk::FileSystem;
use crate::disk::fault::failure;
use crate::error::{Failure, RunError};
use crate::item::Sha256;
use crate::ledger::{Delivered, Ledger, Write};

/// Parts in a batch at most: bounds how long the first one waits for the last.
const BATCH: usize = 512;
/// From so many files on one flush of the whole file system is cheaper than one of each file.
const FLUSH_ALL: usize = 4;

/// A part to deliver.
#[derive(Debug)]
pub struct Delivery {
    /// The whole, checked part.
    pub part: Part,
    /// What the ledger will say of it, final path included.
    pub record: Delivered,
}

/// A delivered image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its size.
    pub bytes: u64,
    /// What a person should know of it, may be empty.
    pub warning: String,
}

type Answer = oneshot::Sender<Result<Receipt, Failure>>;

/// A handle to the committing thread, which ends with the last handle.
#[derive(Clone, Debug)]
pub struct Committer {
    jobs: Sender<(Delivery, Answer)>,
}

/// The committing thread, to be joined after the last handle is gone.
#[derive(Debug)]
pub struct CommitterThread(JoinHandle<()>);

impl CommitterThread {
    /// Waits until the thread has ended.
    ///
    /// # Errors
    /// Where it panicked.
    pub fn join(self) -> Result<(), RunError> {
        self.0.join().map_err(|_| RunError::Internal("the committing thread failed".to_owned()))
    }
}

impl Committer {
    /// Starts the thread for the run with number `run`.
    ///
    /// # Errors
    /// Where the system refuses a thread.
    pub fn start(folder: Arc<Folder>, ledger: Ledger, run: i64) -> Result<(Self, CommitterThread), RunError> {
        let (jobs, inbox) = mpsc::channel();
        let flush = Flush::of(&folder);
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || serve(&inbox, &folder, &ledger, run, flush))
            .map_err(RunError::io("starting the committing thread"))?;
        Ok((Self { jobs }, CommitterThread(thread)))
    }

    /// Delivers a part and waits until it would survive a power cut.
    ///
    /// # Errors
    /// [`Failure::Disk`] where this file could not be delivered, [`Failure::DiskFatal`] where none can be.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Receipt, Failure> {
        let (answer, wait) = oneshot::channel();
        let gone = || Failure::DiskFatal { what: "the committing thread ended early".to_owned() };
        self.jobs.send((delivery, answer)).map_err(|_| gone())?;
        wait.await.map_err(|_| gone())?
    }
}

fn serve(inbox: &Receiver<(Delivery, Answer)>, folder: &Folder, ledger: &Ledger, run: i64, flush: Flush) {
    // a flush that failed may have been told of bytes of any part: nothing that comes later can be trusted
    let mut lost: Option<Failure> = None;
    while let Ok(first) = inbox.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(more) = inbox.try_recv()
        {
            batch.push(more);
        }
        match &lost {
            Some(failure) => answer_all(batch, failure),
            None => lost = deliver_batch(batch, folder, ledger, run, flush).err(),
        }
    }
}

/// Delivers what can be delivered. An error means that nothing can be any more; everybody was told.
fn deliver_batch(
    batch: Vec<(Delivery, Answer)>,
    folder: &Folder,
    ledger: &Ledger,
    run: i64,
    flush: Flush,
) -> Result<(), Failure> {
    let room = folder.room_for(0);
    let mut alive = Vec::with_capacity(batch.len());
    let flushed = room.and_then(|()| flush_parts(&batch, folder, flush));
    let mut results = match flushed {
        Ok(results) => results,
        Err(failure) => {
            answer_all(batch, &failure);
            return Err(failure);
        }
    };
    if let Err(failure) = announce(&batch, ledger) {
        answer_all(batch, &failure);
        return Err(failure);
    }
    // several files may share a folder: each is flushed once
    let mut folders = BTreeSet::new();
    for ((mut delivery, answer), flushed) in batch.into_iter().zip(results.drain(..)) {
        let named = flushed.and_then(|()| give_name(&mut delivery, folder, &mut folders));
        match named {
            Ok(()) => alive.push((delivery, answer)),
            Err(failure) => drop(answer.send(Err(failure))),
        }
    }
    if let Err(failure) = flush_folders(&folders, folder, flush, alive.len()) {
        answer_all(alive, &failure);
        return Err(failure);
    }
    let writes =
        alive.iter().map(|(delivery, _)| Write::Delivered(run, Box::new(delivery.record.clone()))).collect();
    if let Err(failure) = write_down(writes, ledger) {
        answer_all(alive, &failure);
        return Err(failure);
    }
    for (delivery, answer) in alive {
        remove_replaced(&delivery, folder);
        let Delivered { bytes, warning, .. } = delivery.record;
        // a task that was dropped does not need to know
        drop(answer.send(Ok(Receipt { bytes, warning })));
    }
    Ok(())
}

/// Takes back that an image is delivered whose name is about to get other bytes: should the run end between the two,
/// the ledger must not vouch for the old ones.
fn announce(batch: &[(Delivery, Answer)], ledger: &Ledger) -> Result<(), Failure> {
    let replaces =
        |delivery: &Delivery| delivery.record.item.replaces.as_deref() == Some(&*delivery.record.path);
    let replacing = batch.iter().filter(|(delivery, _)| replaces(delivery));
    let writes: Vec<Write> =
        replacing.map(|(delivery, _)| Write::Replacing(delivery.record.item.seq)).collect();
    if writes.is_empty() { Ok(()) } else { write_down(writes, ledger) }
}

fn write_down(writes: Vec<Write>, ledger: &Ledger) -> Result<(), Failure> {
    ledger.write_blocking(writes).map_err(|error| Failure::ledger(&error))
}

fn answer_all(batch: Vec<(Delivery, Answer)>, failure: &Failure) {
    for (_, answer) in batch {
        drop(answer.send(Err(match failure {
            Failure::DiskFatal { what } => Failure::DiskFatal { what: what.clone() },
            other => Failure::Disk(other.describe().error),
        })));
    }
}

/// How bytes are made durable.
#[derive(Clone, Copy, Debug)]
struct Flush {
    /// `syncfs` tells of failed writes (Linux 5.8 and newer, on file systems that pass it on), so that it may stand
    /// for many `fsync`s.
    whole_file_system: bool,
}

impl Flush {
    fn of(folder: &Folder) -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self { whole_file_system: FileSystem::of(folder.root()).syncfs_reports_errors() && version >= (5, 8) }
    }
}

#[cfg(target_os = "linux")]
fn sync_file_system(handle: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(handle)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(handle: &File) -> io::Result<()> {
    handle.sync_all()
}

/// Makes the bytes of all parts durable. A flush that failed is never asked again: the page may count as clean
/// then. Where one file's failed, that part is to be written from the start; where the file system's did, it may
/// have been about any file, also one of a later batch, so the run stops.
fn flush_parts(
    batch: &[(Delivery, Answer)],
    folder: &Folder,
    flush: Flush,
) -> Result<Vec<Result<(), Failure>>, Failure> {
    if flush.whole_file_system && batch.len() >= FLUSH_ALL {
        sync_file_system(&folder.handle).map_err(|error| flush_lost(&folder.root, &error))?;
        return Ok(batch.iter().map(|_| Ok(())).collect());
    }
    Ok(batch
        .iter()
        .map(|(delivery, _)| {
            let part = &delivery.part;
            part.file.sync_all().map_err(failure("flushing", &part.path))
        })
        .collect())
}

fn flush_folders(
    folders: &BTreeSet<PathBuf>,
    folder: &Folder,
    flush: Flush,
    files: usize,
) -> Result<(), Failure> {
    if flush.whole_file_system && files >= FLUSH_ALL {
        return sync_file_system(&folder.handle).map_err(|error| flush_lost(&folder.root, &error));
    }
    for path in folders {
        let flushed = File::open(path).and_then(|handle| handle.sync_all());
        flushed.map_err(|error| flush_lost(path, &error))?;
    }
    Ok(())
}

fn flush_lost(path: &Path, error: &io::Error) -> Failure {
    Failure::DiskFatal { what: format!("flushing {}: {error}", path.display()) }
}

/// What gets the final name must be the file that was written and hashed: another program, or another run with a
/// ledger of its own, may have put its own in the place.
fn still_the_part(part: &Part) -> Result<(), Failure> {
    let written = part.file.metadata().map_err(failure("inspecting", &part.path))?;
    let named = std::fs::symlink_metadata(&part.path).map_err(failure("inspecting", &part.path))?;
    let same = (written.dev(), written.ino()) == (named.dev(), named.ino());
    if same && written.len() == part.bytes {
        Ok(())
    } else {
        Err(Failure::Disk(format!("{} was changed by another program", part.path.display())))
    }
}

/// Moves a durable part to its final name.
fn give_name(
    delivery: &mut Delivery,
    folder: &Folder,
    folders: &mut BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    let target = folder.root.join(&delivery.record.path);
    let parent = target.parent().unwrap_or(&folder.root);
    make_folders(folder, parent, folders)?;
    match std::fs::symlink_metadata(&target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failure("inspecting", &target)(error)),
        Ok(there) if !there.is_file() => {
            let what = format!("{} is in the way and is no plain file; move it away", target.display());
            return Err(Failure::Disk(what));
        }
        Ok(_) => note_replacement(delivery, &target)?,
    }
    still_the_part(&delivery.part)?;
    std::fs::rename(&delivery.part.path, &target).map_err(failure("naming", &target))?;
    folders.insert(parent.to_owned());
    Ok(())
}

/// A final name that the ledger does not know as delivered: replaced, and named where its bytes were others.
fn note_replacement(delivery: &mut Delivery, target: &Path) -> Result<(), Failure> {
    let expected = delivery.record.item.replaces.as_deref() == Some(&*delivery.record.path);
    let there = hash_file(target).map_err(failure("reading", target))?;
    if there != delivery.record.sha256 {
        let warning = &mut delivery.record.warning;
        if !warning.is_empty() {
            warning.push_str("; ");
        }
        warning.push_str(match (expected, delivery.record.item.wanted) {
            (true, None) => "replaced a file that had changed since it was delivered",
            // it may also be as it was delivered, and the manifest asks for another one
            (true, Some(_)) => "replaced a file of other content from an earlier delivery",
            (false, _) => "replaced a file of other content that was not recorded as delivered",
        });
    }
    Ok(())
}

fn hash_file(path: &Path) -> io::Result<Sha256> {
    crate::manifest::fingerprint(File::open(path)?)
}

/// Makes `data/<org>/<note>`, and lists the folders above it to be flushed: one that is there may be as young as
/// a run that was killed. A link in place of a folder is refused: it would lead the image out of the export.
fn make_folders(folder: &Folder, path: &Path, folders: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    if path == folder.root || folders.contains(path) {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(&folder.root);
    make_folders(folder, parent, folders)?;
    folders.insert(parent.to_owned());
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => {
            Err(Failure::Disk(format!("{} is in the way and is no folder; move it away", path.display())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = std::fs::DirBuilder::new().mode(0o700).create(path);
            made.map_err(failure("making", path))
        }
        Err(error) => Err(failure("inspecting", path)(error)),
    }
}

/// The file of an earlier delivery under another extension is no longer the image's.
fn remove_replaced(delivery: &Delivery, folder: &Folder) {
    if let Some(old) = &delivery.record.item.replaces
        && *old != delivery.record.path
        && let Err(error) = std::fs::remove_file(folder.root.join(old))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(line = delivery.record.item.line, "the file of an earlier delivery stays: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::PartWriter;

    async fn part(path: &Path) -> Part {
        let mut writer = PartWriter::new(path.to_owned(), &[]);
        writer.push(bytes::Bytes::from_static(b"image")).await.expect("taken");
        writer.settle().await.expect("written");
        writer.finish().await.expect("written")
    }

    #[tokio::test]
    async fn only_the_file_that_was_written_gets_the_final_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.part");
        let fine = part(&path).await;
        assert_eq!(still_the_part(&fine), Ok(()));
        std::fs::write(dir.path().join("other"), b"other").expect("written");
        std::fs::rename(dir.path().join("other"), &path).expect("replaced");
        assert!(still_the_part(&fine).is_err(), "another file of that size");
        let cut = part(&path).await;
        cut.file.set_len(3).expect("cut");
        assert!(still_the_part(&cut).is_err());
        let gone = part(&path).await;
        std::fs::remove_file(&path).expect("removed");
        assert!(still_the_part(&gone).is_err());
    }
}
