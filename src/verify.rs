//! Are the delivered images still what they were: every one read back, hashed and compared with the ledger.
//!
//! Files are looked at by path and never through a symbolic link. Nothing is created, nothing in `data/` is ever
//! changed. Beside a run this only reads; what was checked is written down in short moments in which no run holds
//! the lock, so that a check of hours keeps nobody out. `--repair` holds the lock from the beginning.

mod adopt;
mod checked_at;
mod foreign;
mod hash;
mod no_follow;
mod repair;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rusqlite::{Connection, params};
use serde::Serialize;

pub use adopt::adopt;
use checked_at::CheckLog;
use hash::{FileState, Job};

use crate::error::RunError;
use crate::item::Sha256;
use crate::ledger::{self, sqlite_error};

/// Images taken from the ledger at a time.
const PAGE: u32 = 512;

/// What is to be verified.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The export folder.
    pub out: PathBuf,
    /// Folder for ledger and lock, where it is not in the export folder.
    pub state_dir: Option<PathBuf>,
    /// What is missing or changed becomes undelivered.
    pub repair: bool,
    /// Only that part of the images, checked longest ago; foreign files are not looked for then.
    pub oldest: Option<Share>,
}

/// A part of the images: `part` of `of`, both from 1, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// At most `of`.
    pub part: u64,
    /// At least 1.
    pub of: u64,
}

impl Share {
    /// So many of `all`, rounded up.
    #[must_use]
    pub fn of_all(self, all: u64) -> u64 {
        let count = (u128::from(all) * u128::from(self.part)).div_ceil(u128::from(self.of.max(1)));
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

/// What was found. Serialized it is the answer in JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verified {
    /// Delivered images that were looked at.
    pub checked: u64,
    /// Those that are there with the bytes of their delivery.
    pub ok: u64,
    /// Bytes read.
    pub bytes: u64,
    /// To the millisecond.
    pub seconds: f64,
    /// Paths relative to the export folder: no file is there.
    pub missing: Vec<String>,
    /// Another size, other bytes, no plain file, or a file that cannot be read.
    pub changed: Vec<String>,
    /// Files in `data/` that no image owns.
    pub foreign: Vec<String>,
    /// Files where an image was delivered that is to be fetched again: a repair has found them changed, or a run that
    /// could not replace them. They are counted as nothing else.
    pub waiting: u64,
    /// Images that became undelivered.
    pub repaired: u64,
    /// Images that a rebuilt ledger knows as delivered.
    pub adopted: u64,
    /// What a person should know besides.
    #[serde(skip)]
    pub notices: Vec<String>,
}

impl Verified {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_well(&self) -> bool {
        self.missing.is_empty() && self.changed.is_empty() && self.foreign.is_empty()
    }
}

/// How far it is, for a screen to sample.
#[derive(Debug, Default)]
pub struct Progress {
    /// Images to look at.
    pub images: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Images looked at.
    pub seen: AtomicU64,
    /// Bytes read.
    pub read: AtomicU64,
}

impl Progress {
    fn set(counter: &AtomicU64, value: u64) {
        counter.store(value, Ordering::Relaxed);
    }
}

/// An image that is not as it was delivered.
struct Problem {
    job: Job,
    seen: FileState,
}

/// Verifies an export.
///
/// # Errors
/// [`RunError::NoExport`], [`RunError::Ledger`], [`RunError::InUse`] for a repair, and any file error but those of a
/// single image. What was found before is lost then; nothing was marked.
pub fn verify(options: &VerifyOptions, progress: &Progress) -> Result<Verified, RunError> {
    let began = Instant::now();
    let (out, state_dir) = (&*options.out, options.state_dir.as_deref());
    let (connection, locks) = if options.repair {
        let state = ledger::open_locked(out, state_dir, ledger::VERIFY)?;
        (state.connection, Some(state.locks))
    } else {
        (ledger::open_read_only(out, state_dir)?, None)
    };
    ledger::check_sound(&connection, out, state_dir)?;
    if options.repair && state_dir.is_some() && !out.join("data").is_dir() {
        // the ledger is elsewhere: a disk that is not mounted would undo everything
        let what = format!("{} has no data/ in it: is its disk mounted", out.display());
        return Err(RunError::Disk(what));
    }
    choose(&connection, options.oldest, progress).map_err(sqlite_error)?;

    let mut verified = Verified::default();
    let mut noter = CheckLog::new(out, state_dir, locks.is_some());
    let mut problems = Vec::new();
    let mut after = 0;
    let next = || page(&connection, &mut after).map_err(sqlite_error);
    hash::look_at_all(out, next, progress, |job, seen| {
        verified.checked += 1;
        match seen {
            FileState::Right(_) => noter.right(&connection, job.id, job.sha256)?,
            seen => problems.push(Problem { job, seen }),
        }
        Ok(())
    })?;
    if locks.is_none() {
        look_again(&connection, out, &mut problems, &mut verified)?;
    }
    if options.oldest.is_none() {
        let found = foreign::find(&connection, out, foreign::OWNED)?;
        (verified.foreign, verified.waiting) = (found.foreign, found.waiting);
        if locks.is_none() && !verified.foreign.is_empty() {
            foreign::look_again(&connection, &mut verified.foreign)?;
        }
    }
    verified.notices.extend(noter.finish(&connection)?);
    if options.repair && !problems.is_empty() {
        repair::repair(&connection, out, &problems)?;
        verified.repaired = problems.len() as u64;
    }
    verified.ok = verified.checked - problems.len() as u64;
    for Problem { job, seen } in problems {
        let list = if seen == FileState::Missing { &mut verified.missing } else { &mut verified.changed };
        list.push(job.path);
    }
    verified.missing.sort_unstable();
    verified.changed.sort_unstable();
    verified.bytes = progress.read.load(Ordering::Relaxed);
    verified.seconds = seconds(began);
    drop(locks);
    Ok(verified)
}

fn seconds(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}

/// Lists what is to be looked at: all in the order of delivery, which is much like that on the disk, or those
/// checked longest ago.
fn choose(connection: &Connection, oldest: Option<Share>, progress: &Progress) -> rusqlite::Result<()> {
    connection
        .execute_batch("CREATE TEMP TABLE chosen (n INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT")?;
    let all: i64 =
        connection.query_row("SELECT count(*) FROM images WHERE delivered = 1", [], |row| row.get(0))?;
    let (order, count) = match oldest {
        None => ("id", all),
        Some(share) => {
            let count = share.of_all(all.unsigned_abs());
            ("checked_at, id", i64::try_from(count).unwrap_or(i64::MAX))
        }
    };
    connection.execute(
        &format!(
            "INSERT INTO chosen (id) SELECT id FROM images WHERE delivered = 1 ORDER BY {order} LIMIT ?1"
        ),
        [count],
    )?;
    let (images, bytes): (i64, i64) = connection.query_row(
        "SELECT count(*), coalesce(sum(i.bytes), 0) FROM chosen c JOIN images i ON i.id = c.id",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Progress::set(&progress.images, images.unsigned_abs());
    Progress::set(&progress.bytes, bytes.unsigned_abs());
    Ok(())
}

fn page(connection: &Connection, after: &mut i64) -> rusqlite::Result<Vec<Job>> {
    let mut select = connection.prepare_cached(
        "SELECT c.n, i.id, i.path, i.bytes, i.sha256 FROM chosen c JOIN images i ON i.id = c.id
         WHERE c.n > ?1 ORDER BY c.n LIMIT ?2",
    )?;
    let mut rows = select.query(params![*after, PAGE])?;
    let mut jobs = Vec::with_capacity(PAGE as usize);
    while let Some(row) = rows.next()? {
        *after = row.get(0)?;
        jobs.push(Job {
            id: row.get(1)?,
            path: row.get(2)?,
            bytes: Some(row.get::<_, i64>(3)?.unsigned_abs()),
            sha256: Sha256(row.get(4)?),
        });
    }
    Ok(jobs)
}

/// A run may have replaced files meanwhile: what it delivered anew is looked at again, what it found gone itself is
/// no delivered image any more.
fn look_again(
    connection: &Connection,
    out: &std::path::Path,
    problems: &mut Vec<Problem>,
    verified: &mut Verified,
) -> Result<(), RunError> {
    let mut again = Vec::new();
    let mut kept = Vec::new();
    {
        let mut select = connection
            .prepare("SELECT path, bytes, sha256 FROM images WHERE id = ?1 AND delivered = 1")
            .map_err(sqlite_error)?;
        for problem in std::mem::take(problems) {
            let id = problem.job.id;
            let now = select.query_map([id], |row| {
                let bytes: i64 = row.get(1)?;
                Ok(Job {
                    id,
                    path: row.get(0)?,
                    bytes: Some(bytes.unsigned_abs()),
                    sha256: Sha256(row.get(2)?),
                })
            });
            let now = now.and_then(|mut rows| rows.next().transpose()).map_err(sqlite_error)?;
            match now {
                None => verified.checked -= 1,
                Some(now) if now.sha256 == problem.job.sha256 && now.path == problem.job.path => {
                    kept.push(problem);
                }
                Some(now) => again.push(now),
            }
        }
    }
    *problems = kept;
    if !again.is_empty() {
        let mut again = Some(again);
        let next = || Ok(again.take().unwrap_or_default());
        hash::look_at_all(out, next, &Progress::default(), |job, seen| {
            if !matches!(seen, FileState::Right(_)) {
                problems.push(Problem { job, seen });
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up() {
        let seventh = Share { part: 1, of: 7 };
        for (all, expected) in [(0, 0), (1, 1), (7, 1), (8, 2), (700, 100)] {
            assert_eq!(seventh.of_all(all), expected, "{all}");
        }
        assert_eq!(Share { part: 7, of: 7 }.of_all(u64::MAX), u64::MAX);
    }
}
