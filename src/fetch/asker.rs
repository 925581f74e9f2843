//! The asker: one task that hands out the right to ask the API, one permit and one row at a time.
//!
//! The permit comes first, the row second: a row that waits holds nothing, and the row that is first in the ledger's order when
//! the allowance has room gets the permit.

use super::Fetcher;
use crate::remote::Remote;

impl<R: Remote> Fetcher<R> {
    /// Hands out turns until the run drains.
    pub(crate) async fn hand_out_turns(&self) {
        let admission = &self.admission;
        let turns = async {
            loop {
                self.queue.until_one_may_ask(admission).await;
                let permit = admission.limiter.acquire_for(|| admission.demand.requests()).await;
                self.queue.hand_out(permit, admission);
            }
        };
        let _ = admission.drain.or_stopped::<()>(turns).await;
    }
}
