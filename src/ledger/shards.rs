//! The shards of an export that several machines fill: how many there are, where each one lives, and which machine works
//! on it.
//!
//! Each shard has ledger, lock, heartbeat, part files and reports of its own; only `data/` is common. As long as
//! `shards.json` is there, the export consists of the shards' ledgers and of the export's own one, which knows what was
//! delivered before the first shard, and what was merged.

mod heartbeat;
mod home;
mod look;
mod open;
mod set;

pub(crate) use heartbeat::Heartbeat;
pub use home::ShardHome;
pub use look::{ShardLook, Standing};
pub use open::{ShardState, open_shard, open_shard_read_only, shard_of};
pub(crate) use open::{lock_shard, withdraw};
pub(crate) use set::Dissolving;
pub use set::ShardSet;
pub(super) use set::remove_leftovers;
