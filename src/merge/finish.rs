//! The end of the shards: what they still have goes to the export's own ledger, and their folders go.

use rusqlite::Connection;

use super::MergeOptions;
use crate::disk::fault::disk_error;
use crate::disk::presence::{self, cannot_look_at, is_absence};
use crate::error::RunError;
use crate::ledger::{self, Dissolving, STATE_DIR, ShardLook, Standing};

/// Leaves an ordinary export. False: a shard is at work, and nothing has changed.
pub(super) fn finish(
    connection: &mut Connection,
    options: &MergeOptions,
    shards: &[ShardLook],
) -> Result<bool, RunError> {
    if shards.iter().any(|look| look.standing == Standing::Running) {
        return Ok(false);
    }
    let out = &options.out;
    // from here on no shard can start; one that has since it was looked at holds its lock
    let dissolving = Dissolving::begin(out, options.state_dir.as_deref())?;
    let mut locks = Vec::new();
    for look in shards {
        let home = &look.home;
        let is_there = presence::is_folder(&home.folder).map_err(cannot_look_at(&home.folder))?
            && presence::is_folder(&home.state).map_err(cannot_look_at(&home.state))?;
        if !is_there {
            continue;
        }
        match ledger::lock_shard(out, home) {
            Ok(Some(own)) => locks.extend(own),
            Ok(None) => return dissolving.restore().map(|()| false),
            Err(error) => {
                dissolving.restore()?;
                return Err(error);
            }
        }
    }
    for look in shards {
        take_parts(connection, options, look)?;
    }
    dissolving.finish()?;
    Ok(true)
}

/// Moves the partial downloads of a shard to where a run of the whole export goes on with them.
fn take_parts(connection: &mut Connection, options: &MergeOptions, look: &ShardLook) -> Result<(), RunError> {
    let Some(ledger) = &look.ledger else { return Ok(()) };
    for file in ledger::import_parts(connection, ledger)? {
        let (from, to) = (look.home.folder.join(&file), options.out.join(STATE_DIR).join(&file));
        match std::fs::rename(&from, &to) {
            // the run begins such a download anew
            Err(error) if is_absence(&error) => {}
            renamed => renamed.map_err(disk_error("moving", &from))?,
        }
    }
    Ok(())
}
