//! How a run ends: recorded and reported, as far as that is still possible if it had to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::Finished;
use crate::error::{ErrorCode, RunError, StopReason};
use crate::ledger::{self, Ledger, RunCounters, sqlite_error};
use crate::report::{self, Occasion, Written};
use crate::store::Folder;
use crate::timestamp;

/// Records how the run ended and writes the reports.
///
/// # Errors
/// If not even the counts can be read from the ledger.
pub(super) async fn finish(
    ledger: &Ledger,
    run: i64,
    stopped: Option<StopReason>,
    counters: RunCounters,
    folder: Arc<Folder>,
) -> Result<Finished, RunError> {
    ledger
        .ask(move |connection| match folder.ensure_in_place() {
            Ok(()) => record_and_report(connection, run, stopped, &counters, folder.reports()),
            // nothing is written to what is there now, such as an empty mount point
            Err(gone) => {
                record_only(connection, run, stopped, &counters, RunError::Disk(gone.describe().error))
            }
        })
        .await
}

fn record_and_report(
    connection: &mut Connection,
    run: i64,
    stopped: Option<StopReason>,
    counters: &RunCounters,
    folder: &Path,
) -> Result<Finished, RunError> {
    let why = stopped.as_ref().map(|stopped| {
        let code = stopped.code().map_or("", ErrorCode::as_str);
        (code, stopped.to_string())
    });
    let stop = why.as_ref().map(|(code, why)| (*code, why.as_str()));
    // recorded twice, the run has ended once
    let finished_at = timestamp::now();
    let written = report::finish_and_write_all(connection, folder, &Occasion::Run, |counts, refused| {
        let code = if refused.is_some() { 1 } else { report::exit_code(counts, stopped.as_ref()) };
        // a signal or a deadline after the last row stopped nothing
        let stopper = stopped.as_ref().filter(|stopped| counts.untried > 0 || stopped.is_error());
        let refused = refused.map(ToString::to_string);
        let stop = stop.filter(|_| stopper.is_some());
        let stop = stop.or_else(|| Some((ErrorCode::Disk.as_str(), refused.as_deref()?)));
        ledger::finish_run(connection, run, &finished_at, code, stop, counters)
    });
    match written {
        Ok(Written { summary, refused, receipt }) => {
            let code = report::exit_code(&summary.counts, stopped.as_ref());
            let exit_code = if refused.is_some() { 1 } else { code };
            Ok(Finished { summary, exit_code, stopped, reports: refused, receipt })
        }
        Err(error) => record_only(connection, run, stopped, counters, error),
    }
}

/// Records how a run ended whose reports cannot be written, because of `error`.
fn record_only(
    connection: &Connection,
    run: i64,
    stopped: Option<StopReason>,
    counters: &RunCounters,
    error: RunError,
) -> Result<Finished, RunError> {
    // best effort: the disk that the reports are missing from may be the ledger's too
    let (code, why) = match &stopped {
        Some(stopped) => (stopped.code().map_or("", ErrorCode::as_str), stopped.to_string()),
        None => (ErrorCode::Disk.as_str(), error.to_string()),
    };
    let _ = ledger::finish_run(connection, run, &timestamp::now(), 1, Some((code, &why)), counters);
    // the user needs the counts even more if there are no reports
    let summary = report::summary(connection).map_err(sqlite_error)?;
    Ok(Finished { summary, exit_code: 1, stopped, reports: Some(error), receipt: None })
}

/// Records that a run could not start its work, and writes the reports of that.
pub(super) async fn give_up(
    ledger: &Ledger,
    run: i64,
    error: &RunError,
    folder: PathBuf,
) -> Result<(), RunError> {
    let (code, why) = (error.code().map_or("", ErrorCode::as_str), error.to_string());
    let finished_at = timestamp::now();
    ledger
        .ask(move |connection| {
            report::finish_and_write_all(connection, &folder, &Occasion::Run, |_, _| {
                let counters = RunCounters::default();
                ledger::finish_run(connection, run, &finished_at, 1, Some((code, &why)), &counters)
            })
        })
        .await
        .map(drop)
}
