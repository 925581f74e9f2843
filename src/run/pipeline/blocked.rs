//! Rows that cannot be delivered whatever comes over the network: something else is in the place of their file or their
//! folder. They end before a request is spent on them.

use std::sync::Arc;

use super::Pipeline;
use crate::error::{Failure, RunError, StopReason};
use crate::layout::without_names;
use crate::ledger::{EndState, NotDelivered, Work};
use crate::remote::Remote;
use crate::store::Obstacles;

impl<R: Remote> Pipeline<R> {
    /// Queues the rows of a chunk, and ends those that are blocked.
    pub(super) async fn accept(&mut self, chunk: Vec<Work>) -> Result<(), RunError> {
        let folder = Arc::clone(&self.fetcher.folder);
        let inspect = move || {
            let mut obstacles = Obstacles::default();
            let inspected = chunk.into_iter().map(|work| {
                let found = obstacles.of(&work.item, &folder);
                (work, found)
            });
            inspected.collect::<Vec<_>>()
        };
        let inspected = tokio::task::spawn_blocking(inspect).await;
        for (work, found) in inspected.map_err(|error| RunError::Internal(error.to_string()))? {
            match found {
                Ok(()) => self.ready.push_back(work),
                Err(failure) => self.end_blocked(&work, &failure)?,
            }
        }
        Ok(())
    }

    fn end_blocked(&mut self, work: &Work, failure: &Failure) -> Result<(), RunError> {
        let error = failure.describe();
        let state = if matches!(failure, Failure::DiskFatal { .. }) {
            let what = without_names(&error.error, self.fetcher.folder.root());
            self.fetcher.admission.drain.stop(StopReason::Error(RunError::Disk(what)));
            EndState::Untried
        } else {
            EndState::Failed
        };
        self.record(work, NotDelivered { seq: work.item.seq, state, attempts: 0, error })
    }
}
