//! Are the delivered images still what was delivered? Every one is read again, hashed and compared with the ledger.
//!
//! Files are opened by path and never through a symbolic link. Nothing is created, and nothing in `data/` is ever
//! changed. What cannot be read is no fact about a file: it is listed, and marked only if the bytes of that file alone
//! are lost. Beside a run, a verification only reads; check times are saved in short moments in which no run holds the
//! lock, so that a check of hours never blocks a run. `--repair` holds the lock until it ends.

mod adopt;
mod checked_at;
mod chosen;
mod file_state;
mod findings;
mod foreign;
mod hash;
mod links;
mod litter;
mod no_follow;
mod options;
mod pending;
mod receipts;
mod recheck;
mod repair;
mod verified;

use std::fs::File;
use std::ops::Deref;
use std::time::Instant;

use rusqlite::Connection;

pub use adopt::adopt;
use checked_at::CheckLog;
use findings::Findings;
pub use options::{Progress, Share, VerifyOptions};
pub use receipts::{VerifiedReceipts, verify_receipts};
pub use verified::Verified;

use crate::disk::presence::{self, cannot_look};
use crate::error::RunError;
use crate::error::disk_cause::IS_IT_MOUNTED;
use crate::ledger::{self, LedgerConnection, ShardSet, sqlite_error};
use crate::timestamp;

/// Verifies an export.
///
/// # Errors
/// [`RunError::NoExport`], [`RunError::Ledger`]; [`RunError::InUse`] for a repair, and its refusal if the medium cannot
/// be read; a folder that cannot be entered or is a link. Nothing was marked then.
pub fn verify(options: &VerifyOptions, progress: &Progress) -> Result<Verified, RunError> {
    let (start, started_at) = (Instant::now(), timestamp::now());
    let set = ShardSet::read(&options.out)?;
    let (connection, locks) = match &set {
        None => open(options)?,
        Some(set) => (open_shards(options, set)?, Vec::new()),
    };
    links::refuse_links(&connection, &options.out)?;
    chosen::choose(&connection, options.oldest, progress).map_err(sqlite_error)?;

    let mut verified = Verified::default();
    let mut check_log = match &set {
        None => CheckLog::new(&options.out, options.state_dir.as_deref(), options.repair),
        Some(_) => CheckLog::refused("the export is one of shards; `exporter merge --finish` ends that"),
    };
    let mut findings = check_files(&connection, options, progress, &mut check_log)?;
    if options.repair {
        findings.refuse_unreadable_medium()?;
    } else {
        let fresh = || match &set {
            None => Ok(None),
            Some(set) => open_shards(options, set).map(Some),
        };
        recheck::recheck(&connection, fresh, &options.out, &mut findings)?;
    }
    if options.oldest.is_none() {
        let mut found = foreign::find(&connection, &options.out, foreign::OWNED)?;
        if !options.repair && !found.foreign.is_empty() {
            match &set {
                None => pending::drop_pending(&connection, options, &mut found.foreign)?,
                Some(set) => {
                    pending::drop_owned(&*open_shards(options, set)?, &options.out, &mut found.foreign)?;
                }
            }
        }
        found.report(&mut verified);
    }
    verified.notices.extend(check_log.finish(&connection)?);
    if options.repair {
        verified.repaired = repair::repair(&connection, &options.out, &findings.problems, &started_at)?;
    }
    findings.report(&mut verified);
    connection.close()?;
    drop(locks);
    Ok(verified.measured(progress, start))
}

/// The ledger of an export, or what those of its shards know together.
enum Opened {
    Own(LedgerConnection),
    Gathered(Connection),
}

impl Deref for Opened {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Own(connection) => connection,
            Self::Gathered(connection) => connection,
        }
    }
}

impl Opened {
    /// Closes the file, and says so if that failed.
    fn close(self) -> Result<(), RunError> {
        match self {
            Self::Own(connection) => connection.close().map_err(sqlite_error),
            Self::Gathered(connection) => connection.close().map_err(|(_, error)| sqlite_error(error)),
        }
    }
}

/// Gathers what the ledgers of all shards know. Nothing can be written down there.
fn open_shards(options: &VerifyOptions, set: &ShardSet) -> Result<Opened, RunError> {
    let flag = match (options.repair, options.oldest) {
        (true, _) => "--repair",
        (_, Some(_)) => "--oldest",
        _ => {
            return ledger::open_gathered(&options.out, options.state_dir.as_deref(), set)
                .map(Opened::Gathered);
        }
    };
    let out = options.out.display();
    Err(RunError::Settings(format!(
        "{out} is exported in {} shards: {flag} needs one ledger of all. Make it first: `exporter merge MANIFEST -o {out} \
         --finish`",
        set.shards
    )))
}

/// Opens the ledger and reads it for damage; for a repair, with the folder's locks.
fn open(options: &VerifyOptions) -> Result<(Opened, Vec<File>), RunError> {
    let (out, state_dir) = (&*options.out, options.state_dir.as_deref());
    let (connection, locks) = if options.repair {
        let state = ledger::open_locked(out, state_dir, ledger::VERIFY)?;
        (state.connection, state.locks)
    } else {
        (ledger::open_read_only(out, state_dir)?, Vec::new())
    };
    ledger::check_sound(&connection, out, state_dir)?;
    if options.repair && state_dir.is_some() {
        // the ledger is elsewhere: with a disk that is not mounted, a repair would undo everything
        let data = out.join("data");
        if !presence::is_folder(&data).map_err(cannot_look(&data))? {
            let what = format!("{} has no data/ in it: {IS_IT_MOUNTED}", out.display());
            return Err(RunError::Disk(what));
        }
    }
    Ok((Opened::Own(connection), locks))
}

/// Hashes the chosen images. Each one counts as checked, whatever was found: otherwise those that are missing would
/// always be the oldest ones, and keep the others from their turn.
fn check_files(
    connection: &Connection,
    options: &VerifyOptions,
    progress: &Progress,
    check_log: &mut CheckLog,
) -> Result<Findings, RunError> {
    let mut findings = Findings::default();
    let mut after = 0;
    let next = || chosen::page(connection, &mut after).map_err(sqlite_error);
    hash::hash_all(&options.out, next, progress, |job, state| {
        check_log.add(connection, job.id, job.sha256)?;
        findings.add(job, state);
        Ok(())
    })?;
    Ok(findings)
}
