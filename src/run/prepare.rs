//! Before the first request: the manifest checked and loaded, the folder looked through.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::RunError;
use crate::event::{Event, Events};
use crate::item::Sha256;
use crate::ledger::{self, Ledger, Loading, RunRow, sqlite_error};
use crate::manifest::{self, Manifest, ManifestError, ManifestOptions, Source};
use crate::options::{OnBadRow, RunOptions};
use crate::report;
use crate::store::Folder;

/// A manifest that can be read: a file that can be read twice, and its hash.
pub(super) struct CheckedManifest {
    file: File,
    sha256: Sha256,
    options: ManifestOptions,
    /// What a person should know of it.
    pub warning: Option<String>,
}

/// Rows in the ledger.
pub(super) struct LoadedManifest {
    /// The run that began with them.
    pub run: i64,
    /// Rows, bad ones too.
    pub rows: u64,
    /// Bad ones among them.
    pub bad: u64,
}

/// Opens the manifest and checks every row of it, unless the ledger knows it already. Makes nothing.
pub(super) fn read(options: &RunOptions) -> Result<CheckedManifest, RunError> {
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
            return Ok(CheckedManifest { file, sha256, options: reading, warning: None });
        }
    }
    let checked = manifest::check(BufReader::new(&file), &reading).map_err(wrong)?;
    file.rewind().map_err(io_wrong)?;
    if checked.bad > 0 && options.on_bad_row == OnBadRow::Stop {
        return Err(RunError::BadRows { path, bad: checked.bad, first: checked.first_bad });
    }
    let warning = checked.rounded.map(|(rows, line)| {
        format!(
            "{rows} {} an id like 1.23E+15 (the first on line {line}): did a spreadsheet round it?",
            if rows == 1 { "row has" } else { "rows have" }
        )
    });
    Ok(CheckedManifest { file, sha256: checked.fingerprint, options: reading, warning })
}

/// What has to be the same for the rows in the ledger to be those of a manifest with the same bytes.
fn reading_key(options: &ManifestOptions) -> String {
    format!("{options:?}")
}

/// Brings the rows into the ledger, where they are not there already, and begins the run.
pub(super) async fn load(
    ledger: &Ledger,
    readable: CheckedManifest,
    options: &RunOptions,
) -> Result<LoadedManifest, RunError> {
    let CheckedManifest { file, sha256, options: reading, .. } = readable;
    let skip_bad = options.on_bad_row == OnBadRow::Skip;
    let path = options.source.path();
    let run = RunRow::starting(sha256.to_string());
    ledger
        .ask(move |connection| {
            let key = reading_key(&reading);
            let known = ledger::is_loaded(connection, &sha256, &key).map_err(sqlite_error)?;
            if let Some(loaded) = known.filter(|loaded| skip_bad || loaded.bad == 0) {
                let run = ledger::insert_run(connection, &run).map_err(sqlite_error)?;
                return Ok(LoadedManifest { run, rows: loaded.rows, bad: loaded.bad });
            }
            let wrong = |source| RunError::Manifest { path: path.clone(), source: Box::new(source) };
            let manifest = Manifest::open(BufReader::new(&file), &reading).map_err(wrong)?;
            let header = manifest.header().raw().to_vec();
            let same = |manifest: Manifest<_>| {
                let read = manifest.fingerprint().map_err(RunError::io("reading the manifest"))?;
                if read == sha256 {
                    return Ok(());
                }
                let changed = ManifestError::Changed;
                Err(RunError::Manifest { path: path.clone(), source: Box::new(changed) })
            };
            let loading =
                Loading { sha256, reading: key, header, entries: manifest, skip_bad, run: Some(run) };
            let loaded = ledger::load(connection, loading, same)?;
            match loaded.run {
                Some(run) => Ok(LoadedManifest { run, rows: loaded.rows, bad: loaded.bad }),
                None => Err(RunError::BadRows { path, bad: loaded.refused_count, first: loaded.refused }),
            }
        })
        .await
}

/// Looks which images are still there, clears away what a killed run left, and lists what is to be done.
pub(super) async fn work(
    ledger: &Ledger,
    folder: &Arc<Folder>,
    events: &Events,
    in_ledger: &LoadedManifest,
) -> Result<u64, RunError> {
    folder.room_for(0).map_err(|failure| RunError::Disk(failure.describe().error))?;
    report::remove_leftovers(folder.root())?;
    let parts = ledger.ask(|connection| ledger::wanted_parts(connection).map_err(sqlite_error)).await?;
    folder.sweep_parts(|name| parts.contains(name))?;
    let root = folder.root().to_owned();
    events.send(Event::Checking);
    let &LoadedManifest { rows, bad, .. } = in_ledger;
    let (vanished, skipped, todo) = ledger
        .ask(move |connection| {
            let (looked, vanished) = ledger::mark_vanished(connection, &root).map_err(sqlite_error)?;
            let skipped = looked - vanished;
            // every other row is worth a look only where there is one
            let todo = if skipped + bad == rows { Ok(0) } else { ledger::prepare_work(connection) };
            Ok((vanished, skipped, todo.map_err(sqlite_error)?))
        })
        .await?;
    if vanished > 0 {
        let what = format!(
            "{vanished} delivered {} gone or changed in size; fetched again",
            if vanished == 1 { "image is" } else { "images are" }
        );
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

/// Takes back what a first run made before its manifest was refused: files first, then the folders around them.
pub(super) fn take_back(made: &[PathBuf]) {
    for path in made {
        // best effort; a folder that holds anything else stays
        let _ = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
    }
}
