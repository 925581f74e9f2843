//! SQLite's errors as errors of the run: a full disk, a damaged ledger, a folder it cannot work in, or a defect.

use std::path::{Path, PathBuf};

use rusqlite::{Error, ErrorCode, ffi};

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

/// Sorts an error of the first use of the ledger at `path`, with every journal that could work: if locks or shared
/// memory are the reason, another folder helps.
pub(super) fn opening_error(path: &Path, error: Error) -> RunError {
    if !is_about_the_folder(&error) {
        return sqlite_error_in(path, error);
    }
    RunError::Disk(format!(
        "the ledger {} cannot be used in its folder ({error}): locks or shared memory may not work there, or another \
         program holds them; --state-dir keeps ledger and lock in a folder on a local disk",
        path.display()
    ))
}

fn is_about_the_folder(error: &Error) -> bool {
    let Error::SqliteFailure(failure, _) = error else { return false };
    matches!(
        failure.code,
        ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::PermissionDenied
            | ErrorCode::NoLargeFileSupport
    ) || matches!(
        failure.extended_code,
        ffi::SQLITE_IOERR_LOCK
            | ffi::SQLITE_IOERR_UNLOCK
            | ffi::SQLITE_IOERR_RDLOCK
            | ffi::SQLITE_IOERR_CHECKRESERVEDLOCK
            | ffi::SQLITE_IOERR_SHMOPEN
            | ffi::SQLITE_IOERR_SHMSIZE
            | ffi::SQLITE_IOERR_SHMLOCK
            | ffi::SQLITE_IOERR_SHMMAP
            | ffi::SQLITE_READONLY_CANTINIT
            | ffi::SQLITE_READONLY_CANTLOCK
            | ffi::SQLITE_READONLY_RECOVERY
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(code: i32) -> String {
        let error = Error::SqliteFailure(ffi::Error::new(code), None);
        opening_error(Path::new("s/ledger.sqlite"), error).to_string()
    }

    #[test]
    fn a_folder_that_supports_no_locks_is_told_with_the_remedy() {
        for code in [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_PROTOCOL,
            ffi::SQLITE_IOERR_LOCK,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_CANTOPEN,
        ] {
            let text = text(code);
            assert!(text.contains("s/ledger.sqlite") && text.contains("--state-dir"), "{code}: {text}");
        }
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_CORRUPT, ffi::SQLITE_IOERR_READ] {
            assert!(!text(code).contains("--state-dir keeps"), "{code}: {}", text(code));
        }
    }
}
