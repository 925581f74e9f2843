//! What stops the writing of the reports, and how reports that could not be replaced are named.

use std::io;
use std::path::Path;

use super::replace::{Refused, has_no_room};
use crate::error::RunError;
use crate::ledger::sqlite_error;

/// What stops the writing; `?` accepts errors of SQLite and of files alike.
#[derive(Debug)]
pub(super) enum ReportError {
    Ledger(rusqlite::Error),
    File(io::Error),
}

impl From<rusqlite::Error> for ReportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error)
    }
}

impl From<io::Error> for ReportError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<ReportError> for RunError {
    fn from(error: ReportError) -> Self {
        match error {
            // sorting a large ledger spills into temporary files
            ReportError::Ledger(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) =>
            {
                Self::Disk(format!("the ledger or its temporary files: {error}"))
            }
            ReportError::Ledger(error) => sqlite_error(error),
            ReportError::File(error) if has_no_room(&error) => Self::Disk(error.to_string()),
            ReportError::File(error) => Self::io("the reports could not be written")(error),
        }
    }
}

/// The error that names the reports that could not be replaced; `None` if all were.
pub(super) fn refused(folder: &Path, refused: &[Refused]) -> Option<RunError> {
    let first = refused.first()?;
    let names: Vec<&str> = refused.iter().map(|refused| refused.name).collect();
    let names = names.join(", ");
    Some(match refused.iter().find(|refused| has_no_room(&refused.error)) {
        Some(full) => RunError::Disk(format!("{names} could not be written: {}", full.error)),
        None => RunError::Reports { names, why: first.error.to_string(), folder: folder.to_owned() },
    })
}
