//! Where a shard lives.

use std::path::{Path, PathBuf};

use crate::ledger::paths::{LEDGER_FILE, SHARDS_DIR, STATE_DIR, state_folder};
use crate::shard::Shard;

/// The folders of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardHome {
    /// Whose they are.
    pub shard: Shard,
    /// In the export: part files, heartbeat and reports.
    pub folder: PathBuf,
    /// Ledger and lock: the same, unless the user named a state folder.
    pub state: PathBuf,
}

impl ShardHome {
    /// The home of `shard` in the export `out`.
    #[must_use]
    pub fn of(out: &Path, state_dir: Option<&Path>, shard: Shard) -> Self {
        let name = shard.folder_name();
        let below = |state: &Path| state.join(SHARDS_DIR).join(&name);
        Self { shard, folder: below(&out.join(STATE_DIR)), state: below(&state_folder(out, state_dir)) }
    }

    /// Its ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.state.join(LEDGER_FILE)
    }
}
