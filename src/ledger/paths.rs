//! The names of the ledger, its lock and the state folder that holds both.

use std::path::{Path, PathBuf};

/// The state folder in the export folder; part files are always there.
pub const STATE_DIR: &str = ".exporter";
/// The ledger in the state folder.
pub const LEDGER_FILE: &str = "ledger.sqlite";
/// The lock in the state folder.
pub const LOCK_FILE: &str = "lock";

/// The folder of an export's ledger and lock: `state_dir` if the user named one, else in the export folder. That one has
/// a single name here, however the user spells it.
#[must_use]
pub fn state_folder(out: &Path, state_dir: Option<&Path>) -> PathBuf {
    let own = out.join(STATE_DIR);
    let Some(named) = state_dir else { return own };
    let same = matches!((named.canonicalize(), own.canonicalize()), (Ok(named), Ok(own)) if named == own);
    if same { own } else { named.to_owned() }
}

/// The ledger of an export.
pub(super) fn ledger_file(out: &Path, state_dir: Option<&Path>) -> PathBuf {
    state_folder(out, state_dir).join(LEDGER_FILE)
}

/// The path with `suffix` appended to its file name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
