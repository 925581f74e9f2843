//! Saves which images were checked, so that the next check can start with those checked longest ago.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::{RunError, chain};
use crate::item::Sha256;
use crate::ledger::{self, sqlite_error};
use crate::timestamp;

/// Between two saves: a check of hours that is interrupted keeps what it has done.
const SAVE_INTERVAL: Duration = Duration::from_secs(20);
/// Images kept in memory while a run holds the lock. Those beyond are checked again sooner than necessary.
const UNSAVED_MAX: usize = 200_000;
/// Images saved under one lock: takes some milliseconds.
const SAVED_AT_ONCE: usize = 2_000;
/// How long the lock is left free between two saves: a run that starts asks for it every 20 ms.
const UNLOCKED_PAUSE: Duration = Duration::from_millis(40);

/// Images that were checked and are not saved yet.
pub(super) struct CheckLog {
    out: PathBuf,
    state_dir: Option<PathBuf>,
    /// The caller holds the lock.
    locked: bool,
    unsaved: Vec<(i64, Sha256)>,
    last_save: Instant,
    /// Why nothing can be saved, other than for a run's sake.
    refused: Option<String>,
    lost: u64,
}

impl CheckLog {
    pub fn new(out: &Path, state_dir: Option<&Path>, locked: bool) -> Self {
        Self {
            out: out.to_owned(),
            state_dir: state_dir.map(Path::to_owned),
            locked,
            unsaved: Vec::new(),
            last_save: Instant::now(),
            refused: None,
            lost: 0,
        }
    }

    /// One that cannot save anything, for this reason.
    pub fn refused(why: &str) -> Self {
        Self { refused: Some(why.to_owned()), ..Self::new(Path::new(""), None, false) }
    }

    /// Adds an image that was checked, whatever its state is.
    pub fn add(&mut self, connection: &Connection, id: i64, sha256: Sha256) -> Result<(), RunError> {
        if self.unsaved.len() == UNSAVED_MAX {
            self.lost += 1;
        } else {
            self.unsaved.push((id, sha256));
        }
        if self.last_save.elapsed() >= SAVE_INTERVAL { self.save(connection) } else { Ok(()) }
    }

    /// Saves the rest. Returns what the user should know if that is not possible.
    pub fn finish(mut self, connection: &Connection) -> Result<Option<String>, RunError> {
        self.save(connection)?;
        let lost = self.lost + self.unsaved.len() as u64;
        let why = self.refused.unwrap_or_else(|| "another exporter holds the folder's lock".to_owned());
        Ok((lost > 0)
            .then(|| format!("the time of the check is not written down for {lost} of the images: {why}")))
    }

    fn save(&mut self, connection: &Connection) -> Result<(), RunError> {
        self.last_save = Instant::now();
        if self.unsaved.is_empty() || self.refused.is_some() {
            return Ok(());
        }
        if self.locked {
            save(connection, &self.unsaved)?;
            self.unsaved.clear();
            return Ok(());
        }
        // moments only: a run that starts meanwhile must not be refused
        while !self.unsaved.is_empty() {
            let rest = self.unsaved.len().saturating_sub(SAVED_AT_ONCE);
            match ledger::open_locked(&self.out, self.state_dir.as_deref(), ledger::VERIFY) {
                Ok(state) => {
                    save(&state.connection, &self.unsaved[rest..])?;
                    state.connection.close().map_err(sqlite_error)?;
                }
                Err(RunError::InUse { .. }) => break,
                // an archive may well be on a disk that is read-only
                Err(RunError::Disk(what)) => {
                    self.refused = Some(what);
                    break;
                }
                Err(error) => {
                    self.refused = Some(chain(&error));
                    break;
                }
            }
            self.unsaved.truncate(rest);
            if rest > 0 {
                std::thread::sleep(UNLOCKED_PAUSE);
            }
        }
        Ok(())
    }
}

fn save(connection: &Connection, checked: &[(i64, Sha256)]) -> Result<(), RunError> {
    ledger::mark_checked(connection, checked, &timestamp::now()).map_err(sqlite_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: usize = 3 * SAVED_AT_ONCE;

    #[test]
    fn a_process_that_waits_for_the_lock_gets_it_before_all_is_saved() {
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
        let mut check_log = CheckLog::new(&out, None, false);
        check_log.unsaved = (1..).take(IMAGES).map(|id| (id, Sha256([0; 32]))).collect();
        let path = out.join(".exporter/lock");
        let lock = std::fs::File::open(path).expect("the lock");
        let waiting = std::thread::spawn(move || {
            // first it is held, then it is free
            let start = std::time::Instant::now();
            while lock.try_lock().is_ok() {
                lock.unlock().expect("unlocked");
                assert!(start.elapsed() < Duration::from_secs(60), "the lock was never seen held");
                std::thread::sleep(Duration::from_millis(1));
            }
            while lock.try_lock().is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
            let connection = ledger::open_read_only(&out, None).expect("opened");
            let count = "SELECT count(*) FROM images WHERE checked_at != ''";
            connection.query_row(count, [], |row| row.get::<_, u32>(0)).expect("counted")
        });
        let missed = check_log.finish(&reader).expect("saved");
        let saved = waiting.join().expect("no panic");
        assert!((saved as usize) < IMAGES, "all was saved under one lock");
        assert_eq!(missed, None);
    }
}
