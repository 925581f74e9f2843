//! Before the first request: the manifest is checked and loaded, and the folder is swept.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::sync::Arc;

use rusqlite::Connection;

use super::or_stopped;
use crate::error::RunError;
use crate::event::{Event, Events};
use crate::item::Sha256;
use crate::ledger::{self, Ledger, Loading, RunRow, sqlite_error};
use crate::manifest::{self, Manifest, ManifestError, ManifestOptions, ManifestWarning, Source};
use crate::options::{OnBadRow, RunOptions};
use crate::report;
use crate::shutdown::StopHandle;
use crate::store::Folder;

/// A manifest that passed its check, in a file that can be read again.
pub(super) struct CheckedManifest {
    file: File,
    sha256: Sha256,
    options: ManifestOptions,
}

/// A manifest whose rows are in the ledger.
pub(super) struct LoadedManifest {
    /// The run that was started with them.
    pub run: i64,
    /// Bad rows included.
    pub rows: u64,
    pub bad: u64,
}

/// Opens the manifest and checks it. Creates nothing.
pub(super) async fn read(
    options: &RunOptions,
    stop: &StopHandle,
    events: &Events,
) -> Result<CheckedManifest, RunError> {
    events.send(Event::Reading { manifest: options.source.path() });
    let (options, events) = (options.clone(), events.clone());
    // standard input may be a terminal, or a pipe that never ends
    let reading = tokio::task::spawn_blocking(move || check(&options, &events));
    or_stopped(stop, reading).await?.map_err(|_| RunError::Internal("a panic, see above".to_owned()))?
}

/// Checks every row of the manifest, unless the ledger knows it already.
fn check(options: &RunOptions, events: &Events) -> Result<CheckedManifest, RunError> {
    let path = options.source.path();
    let wrong = |source| RunError::Manifest { path: path.clone(), source: Box::new(source) };
    let io_wrong = |error: io::Error| wrong(error.into());
    let mut file = manifest::open(&options.source).map_err(io_wrong)?;
    let reading = match &options.source {
        Source::File(path) => options.manifest.clone().for_file(path),
        Source::Stdin => options.manifest.clone(),
    };
    let state = options.state_dir.as_deref();
    if let Ok(connection) = ledger::open_read_only(&options.out, state) {
        let sha256 = manifest::fingerprint(&mut file).map_err(io_wrong)?;
        file.rewind().map_err(io_wrong)?;
        let known = ledger::is_loaded(&connection, &sha256, &reading_key(&reading)).unwrap_or(None);
        if known.is_some_and(|loaded| loaded.bad == 0) {
            return Ok(CheckedManifest { file, sha256, options: reading });
        }
    }
    let checked = manifest::check(BufReader::new(&file), &reading).map_err(wrong)?;
    file.rewind().map_err(io_wrong)?;
    for ManifestWarning { what, .. } in checked.warnings {
        events.send(Event::Warning { line: None, what });
    }
    if checked.bad > 0 && options.on_bad_row == OnBadRow::Stop {
        return Err(RunError::BadRows { path, bad: checked.bad, first: checked.first_bad });
    }
    Ok(CheckedManifest { file, sha256: checked.fingerprint, options: reading })
}

/// What must be the same for the rows in the ledger to be those of a manifest with the same bytes.
fn reading_key(options: &ManifestOptions) -> String {
    // the rules by which columns are found and rows are judged: another number if they change
    const RULES: u32 = 3;
    format!("{RULES} {options:?}")
}

/// Loads the rows into the ledger, unless they are there already, and starts the run.
pub(super) async fn load(
    ledger: &Ledger,
    manifest: CheckedManifest,
    options: &RunOptions,
) -> Result<LoadedManifest, RunError> {
    let skip_bad = options.on_bad_row == OnBadRow::Skip;
    let path = options.source.path();
    ledger
        .ask(move |connection| {
            let run = RunRow::starting(manifest.sha256.to_string());
            let key = reading_key(&manifest.options);
            let known = ledger::is_loaded(connection, &manifest.sha256, &key).map_err(sqlite_error)?;
            if let Some(loaded) = known.filter(|loaded| skip_bad || loaded.bad == 0) {
                let run = ledger::insert_run(connection, &run).map_err(sqlite_error)?;
                return Ok(LoadedManifest { run, rows: loaded.rows, bad: loaded.bad });
            }
            let wrong = |source| RunError::Manifest { path: path.clone(), source: Box::new(source) };
            let loaded = load_rows(connection, &manifest, run, skip_bad, wrong)?;
            match loaded.run {
                Some(run) => Ok(LoadedManifest { run, rows: loaded.rows, bad: loaded.bad }),
                None => Err(RunError::BadRows { path, bad: loaded.refused_count, first: loaded.refused }),
            }
        })
        .await
}

fn load_rows(
    connection: &mut Connection,
    manifest: &CheckedManifest,
    run: RunRow,
    skip_bad: bool,
    wrong: impl Fn(ManifestError) -> RunError,
) -> Result<ledger::Loaded, RunError> {
    let CheckedManifest { file, sha256, options, .. } = manifest;
    let entries = Manifest::open(BufReader::new(file), options).map_err(&wrong)?;
    let header = entries.header().raw().to_vec();
    // the file may have changed since it was checked
    let same = |read: Manifest<_>| {
        let read = read.fingerprint().map_err(RunError::io("reading the manifest"))?;
        if read == *sha256 { Ok(()) } else { Err(wrong(ManifestError::Changed)) }
    };
    let reading = reading_key(options);
    let loading = Loading { sha256: Some(*sha256), reading, header, entries, skip_bad, run: Some(run) };
    ledger::load(connection, loading, same)
}

/// Removes what a killed run left, checks which delivered images are still there, and lists the rows to fetch.
/// Returns how many there are.
pub(super) async fn sweep(
    ledger: &Ledger,
    folder: &Arc<Folder>,
    events: &Events,
    loaded: &LoadedManifest,
) -> Result<u64, RunError> {
    folder.ensure_free(0).map_err(|failure| RunError::Disk(failure.describe().error))?;
    report::remove_leftovers(folder.root())?;
    let parts = ledger.ask(|connection| ledger::wanted_parts(connection).map_err(sqlite_error)).await?;
    folder.sweep_parts(|name| parts.contains(name))?;
    let root = folder.root().to_owned();
    clear_unrecorded(ledger, folder, events).await?;
    events.send(Event::Checking);
    let &LoadedManifest { rows, bad, .. } = loaded;
    let (vanished, skipped, todo) = ledger
        .ask(move |connection| {
            let found = ledger::inspect_delivered(connection, &root)?;
            ledger::mark_vanished(connection, &found.vanished).map_err(sqlite_error)?;
            let vanished = found.vanished.len() as u64;
            let skipped = found.inspected - vanished;
            // if every row is delivered or bad, there is no other row to prepare
            let todo = if skipped + bad == rows { Ok(0) } else { ledger::prepare_work(connection) };
            Ok((vanished, skipped, todo.map_err(sqlite_error)?))
        })
        .await?;
    if vanished > 0 {
        let are = if vanished == 1 { "image is" } else { "images are" };
        let what = format!("{vanished} delivered {are} gone or changed in size; fetched again");
        events.send(Event::Warning { line: None, what });
    }
    events.send(Event::Begin {
        folder: folder.root().to_owned(),
        rows,
        bad,
        duplicates: rows - bad - skipped - todo,
        skipped,
        todo,
    });
    Ok(todo)
}

/// Clears the files that a killed run named and did not record.
async fn clear_unrecorded(ledger: &Ledger, folder: &Arc<Folder>, events: &Events) -> Result<(), RunError> {
    let folder = Arc::clone(folder);
    let cleared = ledger
        .ask(move |connection| {
            let intents = ledger::unsettled_intents(connection).map_err(sqlite_error)?;
            let cleared = folder
                .clear_unrecorded(intents)
                .map_err(|failure| RunError::Disk(failure.describe().error))?;
            ledger::settle_intents(connection, &cleared.restored, &cleared.kept).map_err(sqlite_error)?;
            Ok(cleared)
        })
        .await?;
    for what in cleared.warnings {
        events.send(Event::Warning { line: None, what });
    }
    if cleared.removed > 0 {
        let files = if cleared.removed == 1 { "file" } else { "files" };
        let what = format!("removed {} {files} that a killed run had not recorded", cleared.removed);
        events.send(Event::Notice { what });
    }
    Ok(())
}
