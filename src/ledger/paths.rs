//! The names of the ledger, its lock and the state folder that holds both.

use std::path::{Path, PathBuf};

use crate::disk::presence::{self, cannot_look_at};
use crate::error::RunError;

/// The state folder in the export folder; part files are always there.
pub const STATE_DIR: &str = ".exporter";
/// The ledger in the state folder.
pub const LEDGER_FILE: &str = "ledger.sqlite";
/// The lock in the state folder.
pub const LOCK_FILE: &str = "lock";

/// The folder of all shards in a state folder.
pub(super) const SHARDS_DIR: &str = "shards";
/// What the shards of an export have in common, in the folder of the shards.
const SHARDS_FILE: &str = "shards.json";

/// The file that makes an export one of shards.
pub(super) fn shards_file(out: &Path) -> PathBuf {
    out.join(STATE_DIR).join(SHARDS_DIR).join(SHARDS_FILE)
}

/// Whether several machines share the rows of an export, and are not merged for good.
pub(super) fn is_sharded(out: &Path) -> Result<bool, RunError> {
    let path = shards_file(out);
    presence::exists(&path).map_err(cannot_look_at(&path))
}

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
