//! Disk errors sorted by how far they reach: this file only, or every file.

use std::io;
use std::path::Path;

use crate::error::RunError;

/// An I/O error as an error of the run: a disk that is full or read-only is [`RunError::Disk`], anything else names
/// what was being done (`doing`, such as "opening") and to which path.
pub(crate) fn disk_error(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let what = format!("{doing} {}", path.display());
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
            RunError::Disk(format!("{what}: {error}"))
        }
        _ => RunError::Io { what, source: error },
    }
}
