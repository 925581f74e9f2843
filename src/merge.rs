//! One export of what several machines have delivered: one ledger, one report, one bag, one exit code.
//!
//! It may be made at any time, beside shards that are at work, and as often as the user likes. The rows of a shard that is
//! missing, at work or cut short are untried, and the shard is named: a merge is never better than what its shards have
//! earned. Whatever the shards' ledgers say is brought into the export's own one first; the reports are then those of any
//! export.

mod collect;
mod finish;
mod job;

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::disk::folder::refuse_link;
use crate::error::RunError;
use crate::ledger::{self, Imported, RunRow, ShardHome, ShardLook, ShardSet, Standing, State, sqlite_error};
use crate::manifest::{ManifestOptions, Source};
use crate::options::OnBadRow;
use crate::report::{self, Occasion, Summary, Written};
use crate::run::checked::{CheckedManifest, LoadedManifest};
use crate::shard::Shard;

/// Shards that are named one by one in the reason of a merge that is not complete.
const NAMED_MAX: usize = 8;

/// What is to be merged.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// The manifest that all shards worked on; `None`: the one that the first shard was given.
    pub source: Option<Source>,
    /// How to read it.
    pub manifest: ManifestOptions,
    /// What becomes of bad rows.
    pub on_bad_row: OnBadRow,
    /// The export folder.
    pub out: PathBuf,
    /// Folder of ledgers and locks, if they are not in the export folder.
    pub state_dir: Option<PathBuf>,
    /// Other export folders, whose shards are taken into this one first.
    pub folders: Vec<PathBuf>,
    /// Leave an ordinary export, without shards.
    pub finish: bool,
}

/// A shard that is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Which one.
    pub shard: Shard,
    /// How it stands.
    pub standing: Standing,
    /// Its rows that are untried.
    pub untried: u64,
    /// In a few words.
    pub remark: String,
}

/// A merge that has written its reports.
#[derive(Debug)]
pub struct Merged {
    /// Counts of all rows.
    pub summary: Summary,
    /// Exit code, computed from the rows' states and the shards.
    pub exit_code: u8,
    /// How many shards there are.
    pub shards: u32,
    /// Those that are not complete.
    pub unfinished: Vec<Unfinished>,
    /// Whether the export is an ordinary one now.
    pub finished: bool,
    /// SHA-256 of the merge's line in `receipts.jsonl`, in hex, if it has one.
    pub receipt: Option<String>,
    /// Why the reports could not be written, if so.
    pub reports: Option<RunError>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Merges the shards of an export.
///
/// # Errors
/// [`RunError::Settings`] if there are no shards, or if they worked on another manifest; [`RunError::InUse`] if another
/// process writes the export's ledger; those of a manifest that a run would refuse; [`RunError::Ledger`],
/// [`RunError::Disk`].
pub fn merge(options: &MergeOptions) -> Result<Merged, RunError> {
    let (out, state_dir) = (&*options.out, options.state_dir.as_deref());
    let set = shards_of(options)?;
    let mut warnings = Vec::new();
    let manifest = read_manifest(options, &set, &mut warnings)?;
    for folder in options.folders.iter().map(PathBuf::as_path) {
        refuse_other_manifests(&look_at_all(folder, None, set.shards)?, &manifest)?;
    }
    refuse_other_manifests(&look_at_all(out, state_dir, set.shards)?, &manifest)?;
    refuse_link(&out.join("data"))?;
    // the locks of the export itself; shards have others
    let State { mut connection, locks, .. } = ledger::open_merged(out, state_dir)?;
    for folder in &options.folders {
        collect::collect(folder, options, set.shards, &mut warnings)?;
    }
    let shards = look_at_all(out, state_dir, set.shards)?;
    report::remove_leftovers(out)?;
    let (run, mut unfinished) = gather(&mut connection, &shards, &manifest)?;
    let written = write_reports(&connection, out, &run, &unfinished)?;
    let finished = options.finish && finish::finish(&mut connection, options, &shards)?;
    if options.finish && !finished {
        warnings.push(
            "shards are at work: the export stays one of shards; merge again when they have ended".to_owned(),
        );
    }
    drop(connection);
    drop(locks);
    let Written { summary, refused, receipt } = written;
    let exit_code = if refused.is_some() { 1 } else { exit_code(&summary, &unfinished) };
    unfinished.sort_by_key(|unfinished| unfinished.shard);
    Ok(Merged {
        summary,
        exit_code,
        shards: set.shards,
        unfinished,
        finished,
        receipt,
        reports: refused,
        warnings,
    })
}

/// What the shards of the export, or of those to be collected, have in common.
fn shards_of(options: &MergeOptions) -> Result<ShardSet, RunError> {
    let mut known = ShardSet::read(&options.out)?;
    for folder in &options.folders {
        let Some(theirs) = ShardSet::read(folder)? else {
            let folder = folder.display();
            return Err(RunError::Settings(format!(
                "{folder} holds no shards: give the export folder of a shard"
            )));
        };
        if let Some(known) = known.as_ref().filter(|known| known.shards != theirs.shards) {
            return Err(RunError::Settings(format!(
                "{} is exported in {} shards, the others in {}; nothing was attempted",
                folder.display(),
                theirs.shards,
                known.shards
            )));
        }
        known = known.or(Some(theirs));
    }
    known.ok_or_else(|| {
        let out = options.out.display();
        RunError::Settings(format!(
            "{out} holds no shards: there is nothing to merge. Shards are made by `exporter run --shard K/N`"
        ))
    })
}

/// Checks the manifest, or the one that the first shard was given.
fn read_manifest(
    options: &MergeOptions,
    set: &ShardSet,
    warnings: &mut Vec<String>,
) -> Result<CheckedManifest, RunError> {
    let source = match (&options.source, &set.manifest) {
        (Some(source), _) => source.clone(),
        (None, Some(path)) => Source::File(path.clone()),
        (None, None) => {
            return Err(RunError::Settings("name the manifest that the shards worked on".to_owned()));
        }
    };
    // one that cannot be used is refused later, in its own words
    let known = ledger::open_read_only(&options.out, options.state_dir.as_deref()).ok();
    CheckedManifest::check(&source, &options.manifest, options.on_bad_row, known.as_deref(), |what| {
        warnings.push(what);
    })
}

fn look_at_all(out: &Path, state_dir: Option<&Path>, of: u32) -> Result<Vec<ShardLook>, RunError> {
    Shard::all(of).map(|shard| ShardLook::at(out, ShardHome::of(out, state_dir, shard))).collect()
}

/// Refuses shards whose rows are those of another manifest, or of this one read in another way.
fn refuse_other_manifests(shards: &[ShardLook], manifest: &CheckedManifest) -> Result<(), RunError> {
    let sha256 = manifest.sha256.to_string();
    for look in shards {
        let Some(ledger) = &look.ledger else { continue };
        let loaded = ledger::loaded_manifest(ledger).map_err(sqlite_error)?;
        // a run that was killed, or is still reading, has none
        let Some((theirs, reading)) = loaded else { continue };
        let what = match (theirs == sha256, reading == manifest.reading()) {
            (true, true) => continue,
            (false, _) => "worked on another manifest",
            (true, false) => "read the manifest with other --columns, --delimiter or version",
        };
        return Err(RunError::Settings(format!(
            "shard {} {what} (SHA-256 {} there, {} here); nothing was merged. Name the manifest of the shards, or run all \
             of them with this one",
            look.home.shard,
            theirs.get(..12).unwrap_or(&theirs),
            sha256.get(..12).unwrap_or(&sha256)
        )));
    }
    Ok(())
}

/// Brings what the shards know into the export's ledger. Returns the merge as a run, without its end, and the shards that
/// are not complete.
fn gather(
    connection: &mut Connection,
    shards: &[ShardLook],
    manifest: &CheckedManifest,
) -> Result<(RunRow, Vec<Unfinished>), RunError> {
    let sha256 = manifest.sha256.to_string();
    let mut job = Vec::new();
    for look in shards {
        if let Some(ledger) = &look.ledger {
            let Imported { job: own } = ledger::import_shard(connection, ledger, look.home.shard, &sha256)?;
            job.extend(own);
        }
    }
    let LoadedManifest { run, .. } = manifest.load(connection, None)?;
    let numbers: Vec<i64> = job.iter().map(|run| run.id).collect();
    ledger::begin_merge(connection, run, &numbers).map_err(sqlite_error)?;
    for ledger in shards.iter().filter_map(|look| look.ledger.as_ref()) {
        ledger::import_ends(connection, ledger, run).map_err(sqlite_error)?;
    }
    let of = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    let reasons: Vec<String> = shards.iter().map(ShardLook::reason).collect();
    let reason = |shard: Shard| reasons.get(shard.number() as usize - 1).cloned().unwrap_or_default();
    let untried = ledger::explain_untried(connection, run, of, reason).map_err(sqlite_error)?;
    let is_unfinished = |look: &&ShardLook| {
        look.standing == Standing::Running || untried.contains_key(&look.home.shard.number())
    };
    let unfinished = shards.iter().filter(is_unfinished).map(|look| Unfinished {
        shard: look.home.shard,
        standing: look.standing,
        untried: untried.get(&look.home.shard.number()).copied().unwrap_or_default(),
        remark: look.remark(),
    });
    Ok((job::as_run(run, sha256, &job), unfinished.collect()))
}

/// Records the end of the merge and writes the reports.
fn write_reports(
    connection: &Connection,
    out: &Path,
    run: &RunRow,
    unfinished: &[Unfinished],
) -> Result<Written, RunError> {
    let stop = stop(unfinished);
    report::finish_and_write_all(connection, out, &Occasion::Merge, |counts, refused| {
        let code = match refused {
            None if unfinished.is_empty() => report::exit_code(counts, None),
            _ => 1,
        };
        let stop = stop.clone().or_else(|| refused.map(ToString::to_string));
        ledger::record_merge(connection, &RunRow { exit_code: Some(code), stop, ..run.clone() })
    })
}

fn exit_code(summary: &Summary, unfinished: &[Unfinished]) -> u8 {
    if unfinished.is_empty() { report::exit_code(&summary.counts, None) } else { 1 }
}

/// Why rows are left untried; `None` if the shards are complete.
fn stop(unfinished: &[Unfinished]) -> Option<String> {
    let named: Vec<&str> = unfinished.iter().take(NAMED_MAX).map(|shard| &*shard.remark).collect();
    let more = unfinished.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| named.join("; ") + &more)
}
