//! Before the first request: the manifest is checked and loaded, and the folder is swept.

use std::sync::Arc;

use super::checked::{CheckedManifest, LoadedManifest};
use super::or_stopped;
use crate::error::RunError;
use crate::event::{Event, Events};
use crate::ledger::{self, Ledger, ShardHome, sqlite_error};
use crate::options::RunOptions;
use crate::report;
use crate::shard::Shard;
use crate::shutdown::StopHandle;
use crate::store::Folder;

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
    let (out, state_dir) = (&*options.out, options.state_dir.as_deref());
    // one that cannot be used is refused later, in its own words
    let known = match options.shard {
        None => ledger::open_read_only(out, state_dir).ok(),
        Some(shard) => {
            ledger::open_shard_read_only(out, &ShardHome::of(out, state_dir, shard)).unwrap_or(None)
        }
    };
    CheckedManifest::check(&options.source, &options.manifest, options.on_bad_row, known.as_deref(), |what| {
        events.send(Event::Warning { line: None, what });
    })
}

/// Loads the rows into the ledger, unless they are there already, and starts the run.
pub(super) async fn load(
    ledger: &Ledger,
    manifest: CheckedManifest,
    shard: Option<Shard>,
) -> Result<LoadedManifest, RunError> {
    ledger.ask(move |connection| manifest.load(connection, shard)).await
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
    report::remove_leftovers(folder.reports())?;
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
