//! The folder is watched while rows wait or download: one that was unmounted ends the run within seconds, also if no
//! file is written for minutes.

use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

use super::Pipeline;
use crate::error::{RunError, StopReason};
use crate::remote::Remote;

impl<R: Remote> Pipeline<R> {
    /// Starts a look at the folder, unless the one before is not answered yet: a share may hang.
    pub(super) fn watch_folder(&mut self) {
        if self.watching.as_ref().is_some_and(|look| !look.is_finished()) {
            return;
        }
        let fetcher = Arc::clone(&self.fetcher);
        let look: JoinHandle<()> = spawn_blocking(move || {
            if let Err(gone) = fetcher.folder.ensure_in_place() {
                let drain = &fetcher.admission.drain;
                drain.stop(StopReason::Error(RunError::Disk(gone.describe().error)));
                // nothing that is still coming can be kept
                drain.cut();
            }
        });
        self.watching = Some(look);
    }
}
