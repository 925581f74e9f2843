//! A new ledger from what is on the disk: every file that matches its line in `manifest-sha256.txt` is delivered
//! again, under the ids that the reports or its path tell. Files and reports stay as they are.

mod owners;
mod rows;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, params};

use super::hash::{FileState, Job, look_at_all};
use super::{PAGE, Progress, Verified, VerifyOptions, foreign, seconds};
use crate::disk::presence::{self, cannot_look_at};
use crate::error::RunError;
use crate::item::{NoteId, OrgId, Sha256};
use crate::ledger::{self, Condition, ImageRow, Owner, Rebuild, sqlite_error};
use crate::report::{self, archive};
use crate::timestamp;

/// The list of what was delivered.
const LIST: &str = "manifest-sha256.txt";
/// What the table of runs says of an adoption.
const STOP: &str = "the ledger was rebuilt by verify --adopt; run again";
/// Exit code of an adoption that restored no row.
const NOTHING_KNOWN: u8 = 1;
/// Owners of paths after an adoption: images, and files that are listed but are not what they were.
const OWNED: &str =
    "SELECT path, 1 FROM images UNION SELECT path, 1 FROM listed WHERE changed = 1 ORDER BY path";

/// Rebuilds the ledger of an export.
///
/// # Errors
/// [`RunError::Settings`] where there is nothing to adopt, [`RunError::Ledger`] where the ledger is newer,
/// [`RunError::InUse`], and any file error. The ledger is then as it was.
pub fn adopt(options: &VerifyOptions, progress: &Progress) -> Result<Verified, RunError> {
    let began = Instant::now();
    let (out, state_dir) = (&*options.out, options.state_dir.as_deref());
    let (list, data) = (out.join(LIST), out.join("data"));
    let lists =
        presence::metadata_following(&list).map_err(cannot_look_at(&list))?.is_some_and(|it| it.is_file());
    if !lists && !presence::is_folder(&data).map_err(cannot_look_at(&data))? {
        let what = format!("{} has no {LIST}: there is nothing to adopt", out.display());
        return Err(RunError::Settings(what));
    }
    let damaged = match ledger::condition(out, state_dir)? {
        Condition::Sound => {
            let mut what = format!("the ledger of {} is sound: there is nothing to adopt", out.display());
            if !lists {
                what.push_str("; `exporter report` writes manifest-sha256.txt again");
            }
            return Err(RunError::Settings(what));
        }
        Condition::Lost => None,
        Condition::Damaged(why) => Some(why),
    };
    if !lists {
        return Err(RunError::Settings(format!(
            "{} has no {LIST}: there is nothing to adopt. Move data/ and the ledger aside, or name another folder \
             with -o, and run again: all images are fetched",
            out.display()
        )));
    }
    let mut rebuild = Rebuild::start(out, state_dir)?;
    let mut verified = match fill(&mut rebuild.connection, out, progress) {
        Ok(verified) => verified,
        Err(error) => {
            rebuild.abandon()?;
            return Err(error);
        }
    };
    let now = timestamp::now().replace(':', "-");
    let aside = rebuild.finish(&format!(".damaged-{now}"))?;
    if let (Some(path), Some(why)) = (aside, damaged) {
        verified.notices.push(format!("the old ledger {why}; it is kept as {}", path.display()));
    }
    verified.bytes = progress.read.load(std::sync::atomic::Ordering::Relaxed);
    verified.seconds = seconds(began);
    Ok(verified)
}

fn fill(connection: &mut Connection, out: &Path, progress: &Progress) -> Result<Verified, RunError> {
    let listed = list(connection, out)?;
    Progress::set(&progress.images, listed);
    let mut verified = Verified { checked: listed, ..Verified::default() };
    let last = learn(connection, out, &mut verified.notices)?;
    images(connection, out, progress, &mut verified)?;
    verified.foreign = foreign::find(connection, out, OWNED)?.foreign;
    let manifest_sha256 = last.map(|run| run.manifest_sha256).unwrap_or_default();
    let now = timestamp::now();
    let run = ledger::insert_run(
        connection,
        &ledger::RunRow { started_at: now.clone(), ..ledger::RunRow::starting(manifest_sha256.clone()) },
    )
    .map_err(sqlite_error)?;
    let restored = rows::rows(connection, &out.join("report.csv"), &manifest_sha256, run);
    if let Err(error) = &restored {
        // the next run reads its manifest anyway
        verified.notices.push(format!("the rows of report.csv are not known again: {error}"));
    }
    let end = || {
        let counts = report::counts(connection)?;
        // what nobody knows the rows of is no success
        let known = restored.is_ok_and(|rows| rows > 0);
        let code = if known { report::exit_code(&counts, None) } else { NOTHING_KNOWN };
        ledger::finish_run(connection, run, &now, code, Some(("", STOP)), &ledger::RunCounters::default())
    };
    end().map_err(sqlite_error)?;
    Ok(verified)
}

/// Reads the list into the temporary table `listed`; returns its length.
fn list(connection: &Connection, out: &Path) -> Result<u64, RunError> {
    let path = out.join(LIST);
    let reading = || format!("reading {}", path.display());
    connection
        .execute_batch(
            "CREATE TEMP TABLE listed (
                n INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, sha256 BLOB NOT NULL,
                changed INTEGER NOT NULL DEFAULT 0
             ) STRICT",
        )
        .map_err(sqlite_error)?;
    let transaction = connection.unchecked_transaction().map_err(sqlite_error)?;
    let mut lines = 0;
    {
        let mut insert =
            transaction.prepare("INSERT INTO listed (path, sha256) VALUES (?1, ?2)").map_err(sqlite_error)?;
        let file = std::fs::File::open(&path).map_err(RunError::io(reading()))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(RunError::io(reading()))?;
            lines += 1;
            let wrong = || {
                let what = format!("line {lines} of {} is no checksum of a file in data/", path.display());
                RunError::Settings(what)
            };
            let (hash, name) = read(&line).ok_or_else(wrong)?;
            insert.execute(params![name, hash.0]).map_err(|_| wrong())?;
        }
    }
    transaction.commit().map_err(sqlite_error)?;
    Ok(lines)
}

/// `<64 hex digits>  data/…`.
fn read(line: &str) -> Option<(Sha256, &str)> {
    let (hash, name) = line.split_once(' ')?;
    let name = name.strip_prefix([' ', '*'])?;
    let plain = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    (plain && name.starts_with("data/")).then_some((Sha256::from_hex(hash)?, name))
}

/// Learns the runs and the ids of images from all reports, the oldest first. Returns the newest run.
fn learn(
    connection: &Connection,
    out: &Path,
    notices: &mut Vec<String>,
) -> Result<Option<ledger::RunRow>, RunError> {
    owners::begin(connection).map_err(sqlite_error)?;
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
                notices.push(format!("{error}: ids that it would tell are read from the paths"));
            }
            learnt => learnt?,
        }
        last = summarized.or(last);
    }
    Ok(last)
}

/// Looks at every listed file; the right ones become images.
fn images(
    connection: &Connection,
    out: &Path,
    progress: &Progress,
    verified: &mut Verified,
) -> Result<(), RunError> {
    let transaction = connection.unchecked_transaction().map_err(sqlite_error)?;
    let now = timestamp::now();
    let mut after = 0;
    let mut nameless = 0_u64;
    let next = || page(connection, &mut after).map_err(sqlite_error);
    look_at_all(out, next, progress, |job, seen| {
        match seen {
            FileState::Right(bytes) => {
                verified.ok += 1;
                let stored_at = || modified(&out.join(&job.path)).unwrap_or_else(|| now.clone());
                if adopt_file(connection, &job, bytes, &now, stored_at).map_err(sqlite_error)? {
                    verified.adopted += 1;
                } else {
                    nameless += 1;
                }
            }
            FileState::Missing => verified.missing.push(job.path),
            FileState::Changed => {
                connection
                    .prepare_cached("UPDATE listed SET changed = 1 WHERE n = ?1")
                    .and_then(|mut update| update.execute([job.id]))
                    .map_err(sqlite_error)?;
                verified.changed.push(job.path);
            }
        }
        Ok(())
    })?;
    transaction.commit().map_err(sqlite_error)?;
    verified.missing.sort_unstable();
    verified.changed.sort_unstable();
    if nameless > 0 {
        verified.notices.push(format!(
            "{nameless} of the files match, but no report tells whose they are: they are listed as foreign"
        ));
    }
    Ok(())
}

fn page(connection: &Connection, after: &mut i64) -> rusqlite::Result<Vec<Job>> {
    let mut select =
        connection.prepare_cached("SELECT n, path, sha256 FROM listed WHERE n > ?1 ORDER BY n LIMIT ?2")?;
    let mut rows = select.query(params![*after, PAGE])?;
    let mut jobs = Vec::with_capacity(PAGE as usize);
    while let Some(row) = rows.next()? {
        *after = row.get(0)?;
        jobs.push(Job { id: *after, path: row.get(1)?, bytes: None, sha256: Sha256(row.get(2)?) });
    }
    Ok(jobs)
}

/// Adds a file to the ledger as a delivered image. False: neither a report nor its path names its ids, or the ledger
/// knows another file for them.
fn adopt_file(
    connection: &Connection,
    job: &Job,
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

/// When a file was written: what is left of the time of its delivery where no report tells it.
fn modified(path: &Path) -> Option<String> {
    let time = std::fs::symlink_metadata(path).ok()?.modified().ok()?;
    let time = jiff::Timestamp::try_from(time).ok()?;
    Some(time.round(jiff::Unit::Millisecond).unwrap_or(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_names_a_file_in_data_and_nothing_else() {
        let hash = "a".repeat(64);
        let line = format!("{hash}  data/o/n/i.jpg");
        assert_eq!(read(&line).map(|(_, name)| name), Some("data/o/n/i.jpg"));
        assert_eq!(read(&format!("{hash} *data/o/n/i.jpg")).map(|(_, name)| name), Some("data/o/n/i.jpg"));
        for line in [
            "",
            "short  data/o",
            &format!("{hash} data/o/n/i.jpg"),
            &format!("{hash}  ../data/o"),
            &format!("{hash}  data/../../etc/passwd"),
            &format!("{hash}  /data/o"),
            &format!("{hash}  report.csv"),
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
