//! A new ledger from what is on the disk: every file that matches its line in `manifest-sha256.txt` is delivered again,
//! under the ids that the reports or its path give. Files and reports stay as they are.

mod list;
mod owners;
mod rows;

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use super::file_state::{FileState, HashJob};
use super::findings::Findings;
use super::hash::hash_all;
use super::links::refuse_link;
use super::{Progress, Verified, VerifyOptions, foreign};
use crate::disk::presence::{self, cannot_look};
use crate::error::RunError;
use crate::item::{NoteId, OrgId};
use crate::ledger::{self, Condition, ImageRow, Owner, Rebuild, sqlite_error};
use crate::report::receipts::{Adoption, append_adoption};
use crate::report::{self, archive};
use crate::timestamp;
use list::LIST;

/// What the table of runs says of an adoption.
const STOP: &str = "the ledger was rebuilt by verify --adopt; run again";
/// Exit code of an adoption that restored no row.
const NO_ROWS_CODE: u8 = 1;

/// Rebuilds the ledger of an export.
///
/// # Errors
/// [`RunError::Settings`] if there is nothing to adopt, [`RunError::Ledger`] if the ledger is newer,
/// [`RunError::InUse`], and any file error but those of a single image. The ledger is then as it was.
pub fn adopt(options: &VerifyOptions, progress: &Progress) -> Result<Verified, RunError> {
    let (start, started_at) = (Instant::now(), timestamp::now());
    let (out, state_dir) = (&*options.out, options.state_dir.as_deref());
    if let Some(set) = ledger::ShardSet::read(out)? {
        return Err(RunError::Settings(format!(
            "{} is exported in {} shards, each with a ledger of its own: remove the folder of a shard whose ledger is lost \
             or damaged, and run that shard again",
            out.display(),
            set.shards
        )));
    }
    let damage = check(out, state_dir)?;
    refuse_link(out, "data")?;
    let mut rebuild = Rebuild::start(out, state_dir)?;
    let filled = fill(&mut rebuild.connection, out, progress).and_then(|(verified, manifest_sha256)| {
        let adoption = Adoption {
            started_at: &started_at,
            manifest_sha256: &manifest_sha256,
            is_well: verified.is_well(),
        };
        append_adoption(&rebuild.connection, out, &adoption).map(|()| verified)
    });
    let mut verified = match filled {
        Ok(verified) => verified,
        Err(error) => {
            rebuild.abandon()?;
            return Err(error);
        }
    };
    let now = timestamp::now().replace(':', "-");
    let aside = rebuild.finish(&format!(".damaged-{now}"))?;
    if let (Some(path), Some(why)) = (aside, damage) {
        verified.notices.push(format!("the old ledger {why}; it is kept as {}", path.display()));
    }
    Ok(verified.measured(progress, start))
}

/// Refuses an export whose ledger is sound, and one without a list. Returns what is wrong with a damaged ledger.
fn check(out: &Path, state_dir: Option<&Path>) -> Result<Option<String>, RunError> {
    let is_listed = matches!(
        presence::metadata_following(&out.join(LIST)).map_err(cannot_look(out))?,
        Some(there) if there.is_file()
    );
    if !is_listed && !presence::exists(&out.join("data")).map_err(cannot_look(out))? {
        let what = format!("{} has no {LIST}: there is nothing to adopt", out.display());
        return Err(RunError::Settings(what));
    }
    let damage = match ledger::condition(out, state_dir)? {
        Condition::Sound => {
            let mut what = format!("the ledger of {} is sound: there is nothing to adopt", out.display());
            if !is_listed {
                what.push_str("; `exporter report` writes manifest-sha256.txt again");
            }
            return Err(RunError::Settings(what));
        }
        Condition::Lost => None,
        Condition::Damaged(why) => Some(why),
    };
    if !is_listed {
        return Err(RunError::Settings(format!(
            "{} has no {LIST}: there is nothing to adopt. Move data/ and the ledger aside, or name another folder \
             with -o, and run again: all images are fetched",
            out.display()
        )));
    }
    Ok(damage)
}

/// Fills the new ledger: runs, images, rows. Returns the hash of the last manifest, too.
fn fill(
    connection: &mut Connection,
    out: &Path,
    progress: &Progress,
) -> Result<(Verified, String), RunError> {
    let listed = list::load(connection, out)?;
    Progress::set(&progress.images, listed);
    let mut verified = Verified::default();
    let last = learn(connection, out, &mut verified.notices)?;
    adopt_files(connection, out, progress, &mut verified)?;
    foreign::find(connection, out, list::OWNED)?.report(&mut verified);
    let manifest_sha256 = last.map(|run| run.manifest_sha256).unwrap_or_default();
    restore_rows(connection, out, &manifest_sha256, &mut verified.notices)?;
    Ok((verified, manifest_sha256))
}

/// Restores the rows of the last report, and adds the adoption to the table of runs.
fn restore_rows(
    connection: &mut Connection,
    out: &Path,
    manifest_sha256: &str,
    notices: &mut Vec<String>,
) -> Result<(), RunError> {
    let now = timestamp::now();
    let run = ledger::insert_run(
        connection,
        &ledger::RunRow { started_at: now.clone(), ..ledger::RunRow::starting(manifest_sha256.to_owned()) },
    )
    .map_err(sqlite_error)?;
    let restored = rows::rows(connection, &out.join("report.csv"), manifest_sha256, run);
    if let Err(error) = &restored {
        // the next run reads its manifest anyway
        notices.push(format!("the rows of report.csv are not known again: {error}"));
    }
    let finish = || {
        let counts = report::counts(connection)?;
        // an export of unknown rows is no success
        let is_known = restored.is_ok_and(|rows| rows > 0);
        let code = if is_known { report::exit_code(&counts, None) } else { NO_ROWS_CODE };
        ledger::finish_run(connection, run, &now, code, Some(("", STOP)), &ledger::RunCounters::default())
    };
    finish().map_err(sqlite_error)
}

/// Learns the runs and the ids of images from all reports, the oldest first. Returns the newest run.
fn learn(
    connection: &Connection,
    out: &Path,
    notices: &mut Vec<String>,
) -> Result<Option<ledger::RunRow>, RunError> {
    owners::create(connection).map_err(sqlite_error)?;
    let mut folders =
        archive::folders(out).map_err(RunError::io(format!("reading {}", out.join("reports").display())))?;
    folders.push(out.to_owned());
    let mut last = None;
    for folder in folders {
        let summarized = rows::summarized_run(&folder.join("summary.json"));
        let run = match &summarized {
            Some(run) => ledger::insert_run(connection, run).map_err(sqlite_error)?,
            None => 0,
        };
        match owners::learn(connection, &folder.join("report.csv"), run) {
            Err(error @ RunError::Io { .. }) => {
                notices.push(format!("{error}: the ids that it would give are read from the paths"));
            }
            learnt => learnt?,
        }
        last = summarized.or(last);
    }
    Ok(last)
}

/// Checks every listed file; the right ones become images.
fn adopt_files(
    connection: &Connection,
    out: &Path,
    progress: &Progress,
    verified: &mut Verified,
) -> Result<(), RunError> {
    let transaction = connection.unchecked_transaction().map_err(sqlite_error)?;
    let now = timestamp::now();
    let (mut after, mut nameless) = (0, 0_u64);
    let mut findings = Findings::default();
    let next = || list::page(connection, &mut after).map_err(sqlite_error);
    hash_all(out, next, progress, |job, state| {
        match state {
            FileState::Right(bytes) => {
                let stored_at = || modified(&out.join(&job.path)).unwrap_or_else(|| now.clone());
                if adopt_file(connection, &job, bytes, &now, stored_at).map_err(sqlite_error)? {
                    verified.adopted += 1;
                } else {
                    nameless += 1;
                }
            }
            FileState::Missing => {}
            FileState::Changed { .. } | FileState::Unreadable(_) => {
                list::keep(connection, job.id).map_err(sqlite_error)?;
            }
        }
        findings.add(job, state);
        Ok(())
    })?;
    findings.refuse_unreadable_medium()?;
    transaction.commit().map_err(sqlite_error)?;
    findings.report(verified);
    if nameless > 0 {
        verified.notices.push(format!(
            "{nameless} of the files match, but no report says whose they are: they are listed as foreign"
        ));
    }
    Ok(())
}

/// Adds a file to the ledger as a delivered image. Returns false if neither a report nor its path gives its ids, or the
/// ledger knows another file for them.
fn adopt_file(
    connection: &Connection,
    job: &HashJob,
    bytes: u64,
    now: &str,
    modified: impl FnOnce() -> String,
) -> rusqlite::Result<bool> {
    let (Some(known), Some([org_segment, note_segment, _])) =
        (owners::of(connection, &job.path)?, owners::segments(&job.path))
    else {
        return Ok(false);
    };
    let org = Owner { name: &known.org, segment: org_segment };
    let note = Owner { name: &known.note, segment: note_segment };
    let Some(note) = ledger::adopt_note(connection, org, note)? else { return Ok(false) };
    let stored_at = if known.stored_at.is_empty() { modified() } else { known.stored_at };
    let image = ImageRow {
        note,
        name: &known.image,
        key: ledger::image_key(&OrgId::new(&*known.org), &NoteId::new(&*known.note), &known.image),
        path: &job.path,
        bytes,
        sha256: job.sha256,
        content_type: &known.content_type,
        etag: &known.etag,
        object: None,
        checked_by: &known.checked_by,
        attempts: known.attempts,
        stored_at: &stored_at,
        checked_at: now,
        run: known.run,
        warning: &known.warning,
    };
    ledger::adopt_image(connection, &image)
}

/// When a file was written: what is left of the time of its delivery if no report has it.
fn modified(path: &Path) -> Option<String> {
    let time = std::fs::symlink_metadata(path).ok()?.modified().ok()?;
    let time = jiff::Timestamp::try_from(time).ok()?;
    Some(time.round(jiff::Unit::Millisecond).unwrap_or(time).to_string())
}
