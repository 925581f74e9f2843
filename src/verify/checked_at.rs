//! Writes down which images were found right, so that the next check can begin with those checked longest ago.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::{RunError, chain};
use crate::item::Sha256;
use crate::ledger::{self, sqlite_error};
use crate::timestamp;

/// Written down at least so often: what a check of hours has done is kept where it is stopped.
const EVERY: Duration = Duration::from_secs(20);
/// Images kept in memory while a run holds the lock; those beyond are checked again sooner than they would have to.
const KEPT: usize = 200_000;

/// Written down under one lock: some milliseconds.
const CHUNK: usize = 2_000;
/// The lock is left free for so long in between: a run that begins asks for it every 20 ms.
const PAUSE: Duration = Duration::from_millis(40);

/// Images that were found right and are not written down yet.
pub(super) struct CheckLog {
    out: PathBuf,
    state_dir: Option<PathBuf>,
    /// The caller holds the lock.
    locked: bool,
    right: Vec<(i64, Sha256)>,
    last: Instant,
    /// Why it cannot be written down, other than for a run's sake.
    refused: Option<String>,
    lost: u64,
}

impl CheckLog {
    pub fn new(out: &Path, state_dir: Option<&Path>, locked: bool) -> Self {
        Self {
            out: out.to_owned(),
            state_dir: state_dir.map(Path::to_owned),
            locked,
            right: Vec::new(),
            last: Instant::now(),
            refused: None,
            lost: 0,
        }
    }

    /// An image is right.
    pub fn right(&mut self, connection: &Connection, id: i64, sha256: Sha256) -> Result<(), RunError> {
        if self.right.len() == KEPT {
            self.lost += 1;
        } else {
            self.right.push((id, sha256));
        }
        if self.last.elapsed() >= EVERY { self.write(connection) } else { Ok(()) }
    }

    /// Writes down the rest. Says what could not be.
    pub fn finish(mut self, connection: &Connection) -> Result<Option<String>, RunError> {
        self.write(connection)?;
        let lost = self.lost + self.right.len() as u64;
        let why = self.refused.unwrap_or_else(|| "another exporter holds the folder's lock".to_owned());
        Ok((lost > 0)
            .then(|| format!("the time of the check is not written down for {lost} of the images: {why}")))
    }

    fn write(&mut self, connection: &Connection) -> Result<(), RunError> {
        self.last = Instant::now();
        if self.right.is_empty() || self.refused.is_some() {
            return Ok(());
        }
        if self.locked {
            write(connection, &self.right)?;
            self.right.clear();
            return Ok(());
        }
        // moments only: a run that begins meanwhile is not to be refused
        while !self.right.is_empty() {
            let rest = self.right.len().saturating_sub(CHUNK);
            match ledger::open_locked(&self.out, self.state_dir.as_deref(), ledger::VERIFY) {
                Ok(state) => write(&state.connection, &self.right[rest..])?,
                Err(RunError::InUse { .. }) => break,
                // a disk that can only be read is a good place for an archive
                Err(RunError::Disk(what)) => {
                    self.refused = Some(what);
                    break;
                }
                Err(error) => {
                    self.refused = Some(chain(&error));
                    break;
                }
            }
            self.right.truncate(rest);
            if rest > 0 {
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}

fn write(connection: &Connection, right: &[(i64, Sha256)]) -> Result<(), RunError> {
    ledger::mark_checked(connection, right, &timestamp::now()).map_err(sqlite_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: usize = 3 * CHUNK;

    #[test]
    fn whoever_waits_for_the_lock_gets_it_before_all_is_written_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().to_owned();
        let state = ledger::open_state(&out, None).expect("made");
        let fill = format!(
            "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {IMAGES})
             INSERT INTO images (id, note, name, key, delivered, path, bytes, sha256, content_type, etag, checked_by,
                 attempts, stored_at, checked_at, run, warning)
             SELECT id, 1, id, id, 1, id, 1, zeroblob(32), '', '', '', 1, '', '', 1, '' FROM n"
        );
        state.connection.execute_batch(&fill).expect("filled");
        drop(state);
        let reader = ledger::open_read_only(&out, None).expect("opened");
        let mut noter = CheckLog::new(&out, None, false);
        noter.right = (1..).take(IMAGES).map(|id| (id, Sha256([0; 32]))).collect();
        let path = out.join(".exporter/lock");
        let lock = std::fs::File::open(path).expect("the lock");
        let waiting = std::thread::spawn(move || {
            // first it is held, then it is free
            let begun = std::time::Instant::now();
            while lock.try_lock().is_ok() {
                lock.unlock().expect("unlocked");
                assert!(begun.elapsed() < Duration::from_secs(60), "the lock was never seen held");
                std::thread::sleep(Duration::from_millis(1));
            }
            while lock.try_lock().is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
            let connection = ledger::open_read_only(&out, None).expect("opened");
            let count = "SELECT count(*) FROM images WHERE checked_at != ''";
            connection.query_row(count, [], |row| row.get::<_, u32>(0)).expect("counted")
        });
        let missed = noter.finish(&reader).expect("written");
        let written = waiting.join().expect("no panic");
        assert!((written as usize) < IMAGES, "all was written down under one lock");
        assert_eq!(missed, None);
    }
}
