//! Which export the commands look at.

use std::ffi::OsStr;
use std::path::PathBuf;

use exporter::options;

use super::{Refusal, Sources, table};
use crate::cli::FolderArgs;

/// An export folder, and where its ledger is.
#[derive(Debug)]
pub struct Export {
    /// The folder.
    pub out: PathBuf,
    /// Folder for ledger and lock, where it is not in the export folder.
    pub state_dir: Option<PathBuf>,
}

/// Reads the folder of a command that looks at an export.
///
/// # Errors
/// Where a path is empty.
pub fn folder(args: &FolderArgs, sources: &Sources<'_>) -> Result<Export, Refusal> {
    of(args.dir.as_deref(), args.state_dir.as_deref(), sources)
}

/// Reads both paths.
pub fn of(out: Option<&OsStr>, state_dir: Option<&OsStr>, sources: &Sources<'_>) -> Result<Export, Refusal> {
    Ok(Export {
        out: sources.path(&table::OUT, out)?.unwrap_or_else(|| options::OUT.into()),
        state_dir: sources.path(&table::STATE_DIR, state_dir)?,
    })
}
