//! A sign of life beside a shard's lock: which machine works on it.
//!
//! The lock alone is not enough. On some shared disks a lock holds within one machine only, and an engine may run two
//! copies of a shard for a moment. A shard that finds another machine's heartbeat waits until it is seen to beat, and
//! gives up, or has stopped for long enough, and takes over. No clocks are compared.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::sync::oneshot;

use super::home::ShardHome;
use crate::disk::fault::disk_error;
use crate::disk::presence::{self, is_absence};
use crate::error::{RunError, chain};
use crate::machine::{boot_id, host};
use crate::timestamp;

/// The file in the shard's folder.
const HEARTBEAT_FILE: &str = "heartbeat";
/// Between two beats.
const BEAT_INTERVAL: Duration = Duration::from_secs(10);
/// A heartbeat that has not changed for three beats is that of a machine that is gone.
const STALE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often another machine's heartbeat is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long a beat may take that is under way at the end.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is asked whether it has ended: mostly it has.
const END_INTERVAL: Duration = Duration::from_millis(1);

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beat {
    /// The machine's name.
    pub host: String,
    /// Id of its boot, and of the container in it.
    boot: String,
    /// The process.
    pub pid: u32,
    /// When it started to work on the shard, by its own clock.
    since: String,
    /// Of the beat, by its own clock.
    time: String,
}

impl Beat {
    fn first() -> Self {
        let now = timestamp::now();
        let boot = format!("{} {}", boot_id().unwrap_or_default(), namespace());
        Self { host: host(), boot, pid: std::process::id(), since: now.clone(), time: now }
    }

    /// The newest beat in the folder of a shard; `None` if no process works on it, or the file makes no sense.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(folder.join(HEARTBEAT_FILE)) {
            Err(error) if is_absence(&error) => Ok(None),
            bytes => Ok(serde_json::from_slice(&bytes?).ok()),
        }
    }

    /// Replaces the file as a whole; it need not survive a power cut.
    fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = NamedTempFile::with_prefix_in(".heartbeat", folder)?;
        serde_json::to_writer(&mut file, self)?;
        file.flush()?;
        file.persist(folder.join(HEARTBEAT_FILE)).map(drop).map_err(|error| error.error)
    }

    fn is_of_same_start(&self, other: &Self) -> bool {
        (&self.host, &self.boot, self.pid, &self.since) == (&other.host, &other.boot, other.pid, &other.since)
    }

    /// Whether the lock, which the caller holds, would have kept that process out.
    fn is_of_this_machine(&self, own: &Self) -> bool {
        (&self.host, &self.boot) == (&own.host, &own.boot)
    }
}

/// The container: its processes have numbers of their own. Two pods of one shard may have the same name, and see the disk
/// through mounts that do not share locks.
fn namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Whether the heartbeat in the folder is of another machine and may still beat, by the clock of the disk.
pub(super) fn may_beat_elsewhere(folder: &Path) -> io::Result<Option<Beat>> {
    let Some(beat) = Beat::read(folder)? else { return Ok(None) };
    let is_elsewhere = !beat.is_of_this_machine(&Beat::first());
    Ok(if is_elsewhere && age(folder)? < STALE_TIMEOUT { Some(beat) } else { None })
}

/// The age of the file by the clock of its disk, which is the same for all machines.
fn age(folder: &Path) -> io::Result<Duration> {
    let Some(there) = presence::metadata(&folder.join(HEARTBEAT_FILE))? else { return Ok(Duration::MAX) };
    // a file without a name
    let now = tempfile::tempfile_in(folder)
        .and_then(|probe| probe.metadata()?.modified())
        // a disk that only this machine cannot write
        .unwrap_or_else(|_| SystemTime::now());
    Ok(now.duration_since(there.modified()?).unwrap_or_default())
}

/// This process's heartbeat. The file goes when it is dropped.
#[derive(Debug)]
pub struct Heartbeat {
    folder: PathBuf,
    own: Beat,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    lost: Option<oneshot::Receiver<RunError>>,
}

impl Heartbeat {
    /// Begins to beat. The caller holds the shard's lock. Waits while another machine may be at work.
    ///
    /// # Errors
    /// [`RunError::ShardInUse`] if another machine is seen to beat; [`RunError::Disk`].
    pub(super) fn begin(out: &Path, home: &ShardHome) -> Result<Self, RunError> {
        let (folder, own) = (&home.folder, Beat::first());
        let in_use = {
            let (out, shard) = (out.to_owned(), home.shard);
            move |beat: Beat| RunError::ShardInUse {
                folder: out.clone(),
                shard,
                host: beat.host,
                pid: Some(beat.pid),
            }
        };
        let other = Beat::read(folder).map_err(disk_error("reading", folder))?;
        if let Some(other) = other.filter(|other| !other.is_of_this_machine(&own))
            && let Some(alive) = still_beats(folder, &other).map_err(disk_error("reading", folder))?
        {
            return Err(in_use(alive));
        }
        own.write(folder).map_err(disk_error("writing", &folder.join(HEARTBEAT_FILE)))?;
        let (stop, stopped) = mpsc::channel();
        let (report, lost) = oneshot::channel();
        let (beating, at) = (own.clone(), folder.clone());
        let thread = std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                if let Some(other) = beat(&at, beating, &stopped) {
                    // the run may have ended meanwhile
                    let _ = report.send(in_use(other));
                }
            })
            .map_err(RunError::io("starting the heartbeat's thread"))?;
        Ok(Self { folder: folder.clone(), own, stop: Some(stop), thread: Some(thread), lost: Some(lost) })
    }

    /// Yields the error of a run whose shard another machine has taken over; once.
    pub(crate) fn lost(&mut self) -> Option<oneshot::Receiver<RunError>> {
        self.lost.take()
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        let start = Instant::now();
        // a disk that hangs in the middle of a beat must not hold the run
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if start.elapsed() > END_TIMEOUT {
                return;
            }
            std::thread::sleep(END_INTERVAL);
        }
        let is_own = matches!(Beat::read(&self.folder), Ok(Some(beat)) if beat.is_of_same_start(&self.own));
        if is_own {
            // best effort: a file that stays is seen to beat no more
            let _ = std::fs::remove_file(self.folder.join(HEARTBEAT_FILE));
        }
    }
}

/// Beats until `stopped` ends. Returns another process's beat if one has taken over.
fn beat(folder: &Path, mut own: Beat, stopped: &Receiver<()>) -> Option<Beat> {
    let mut is_told = false;
    while stopped.recv_timeout(BEAT_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        match Beat::read(folder) {
            Ok(Some(other)) if !other.is_of_same_start(&own) => return Some(other),
            _ => {}
        }
        own.time = timestamp::now();
        if let Err(error) = own.write(folder)
            && !std::mem::replace(&mut is_told, true)
        {
            let error = disk_error("writing", &folder.join(HEARTBEAT_FILE))(error);
            tracing::warn!("other machines may take this shard for a dead one: {}", chain(&error));
        }
    }
    None
}

/// Waits until the other machine's heartbeat changes, or has not changed for long enough.
fn still_beats(folder: &Path, other: &Beat) -> io::Result<Option<Beat>> {
    let end = Instant::now() + STALE_TIMEOUT.saturating_sub(age(folder)?);
    while Instant::now() < end {
        std::thread::sleep(LOOK_INTERVAL);
        match Beat::read(folder)? {
            Some(now) if now != *other => return Ok(Some(now)),
            Some(_) => {}
            // it has ended
            None => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Shard;

    fn home(out: &Path) -> ShardHome {
        let home = ShardHome::of(out, None, Shard::new(1, 2).expect("a shard"));
        std::fs::create_dir_all(&home.folder).expect("made");
        home
    }

    fn elsewhere(time: &str) -> Beat {
        Beat { host: "node7".into(), boot: "b".into(), pid: 7, since: "s".into(), time: time.into() }
    }

    #[test]
    fn a_machine_that_is_seen_to_beat_keeps_its_shard() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = home(dir.path());
        elsewhere("1").write(&home.folder).expect("written");
        let folder = home.folder.clone();
        let beating = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            elsewhere("2").write(&folder).expect("written");
        });
        let error = Heartbeat::begin(dir.path(), &home).map(drop).expect_err("in use").to_string();
        assert!(error.contains("shard 1 of 2") && error.contains("in use on node7 (process 7)"), "{error}");
        beating.join().expect("no panic");
        assert!(may_beat_elsewhere(&home.folder).expect("read").is_some());
    }

    #[test]
    fn a_heartbeat_that_has_stopped_is_taken_over_and_removed_at_the_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = home(dir.path());
        elsewhere("1").write(&home.folder).expect("written");
        let file =
            std::fs::File::options().write(true).open(home.folder.join(HEARTBEAT_FILE)).expect("there");
        file.set_modified(SystemTime::now() - STALE_TIMEOUT - BEAT_INTERVAL).expect("aged");
        assert_eq!(may_beat_elsewhere(&home.folder).expect("read"), None);
        let start = Instant::now();
        let heartbeat = Heartbeat::begin(dir.path(), &home).expect("taken over");
        assert!(start.elapsed() < Duration::from_secs(10), "it is not waited for");
        let beat = Beat::read(&home.folder).expect("read").expect("there");
        assert_eq!((beat.pid, beat.host), (std::process::id(), host()));
        drop(heartbeat);
        assert_eq!(Beat::read(&home.folder).expect("read"), None);
        let left: Vec<_> = std::fs::read_dir(&home.folder).expect("listed").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_dead_process_of_this_machine_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = home(dir.path());
        Beat { pid: 1, ..Beat::first() }.write(&home.folder).expect("written");
        let start = Instant::now();
        drop(Heartbeat::begin(dir.path(), &home).expect("the lock decides"));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
