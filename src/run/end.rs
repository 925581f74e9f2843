//! How a run ends: counted, written down, reported. Also where it had to stop, as far as that is still possible.

use std::path::PathBuf;

use super::{Finished, Stopped};
use crate::error::RunError;
use crate::ledger::{self, Ledger, Tally, sqlite_error};
use crate::report;
use crate::time;

pub(super) async fn end(
    ledger: &Ledger,
    run: i64,
    stopped: Option<Stopped>,
    tally: Tally,
    folder: PathBuf,
) -> Result<Finished, RunError> {
    ledger
        .ask(move |connection| {
            let counts = report::counts(connection).map_err(sqlite_error)?;
            let code = report::exit_code(&counts, stopped.as_ref());
            // a signal or a deadline after the last row stopped nothing
            let stopper = stopped.as_ref().filter(|stopped| counts.untried > 0 || stopped.is_error());
            let why = stopper.map(|stopped| {
                let code = stopped.code().map_or("", crate::error::ErrorCode::as_str);
                (code, stopped.to_string())
            });
            let stop = why.as_ref().map(|(code, why)| (*code, why.as_str()));
            let written =
                ledger::end_run(connection, run, &time::now(), code, stop, &tally).map_err(sqlite_error);
            match written.and_then(|()| report::write_all(connection, &folder)) {
                Ok(summary) => Ok(Finished { summary, exit_code: code, stopped, reports: None }),
                Err(error) => {
                    // a run that says nothing of what it did is worse than one without files
                    let summary = report::summary(connection).map_err(sqlite_error)?;
                    Ok(Finished { summary, exit_code: 1, stopped, reports: Some(error) })
                }
            }
        })
        .await
}
