//! SQLite's errors as errors of the run: a full disk, a damaged ledger, or a defect.

use std::path::{Path, PathBuf};

use rusqlite::{Error, ErrorCode};

use super::paths::LEDGER_FILE;
use crate::error::{LedgerState, RunError};

/// Sorts an error of the ledger in use.
pub(crate) fn sqlite_error(error: Error) -> RunError {
    sqlite_error_in(Path::new(LEDGER_FILE), error)
}

/// Sorts an error of the ledger at `path`.
pub(super) fn sqlite_error_in(path: &Path, error: Error) -> RunError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => RunError::Disk("the disk with the ledger is full".to_owned()),
        Some(ErrorCode::ReadOnly | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            RunError::Disk(format!("the ledger cannot be written ({error})"))
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => RunError::Ledger {
            path: PathBuf::from(path),
            what: format!("is damaged ({error})"),
            kind: LedgerState::Damaged,
        },
        _ => RunError::Sqlite(error),
    }
}
