//! How many requests to the API the run still has to send: the limiter does not pace a job that fits into what is free.
//!
//! A row counts from its start until its request is sent, and again from when it finds that it needs another URL. Rows
//! that wait for an answer or download an image do not count, unlike in the number of rows that have not ended.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// Rows that have not been started.
    waiting: AtomicU64,
    /// Started rows that have still to send a request.
    started: AtomicU64,
}

impl Demand {
    pub(crate) fn set_waiting(&self, rows: u64) {
        self.waiting.store(rows, Ordering::Relaxed);
    }

    /// Requests that are still to be sent.
    pub(crate) fn requests(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed) + self.started.load(Ordering::Relaxed)
    }

    /// A row is started.
    pub(crate) fn start(&self) -> RowDemand<'_> {
        let mut row = RowDemand { demand: self, counts: false };
        row.needs_request();
        row
    }
}

/// One started row's part in the run's demand, until it is dropped.
#[derive(Debug)]
pub(crate) struct RowDemand<'a> {
    demand: &'a Demand,
    counts: bool,
}

impl RowDemand<'_> {
    /// The row has to send a request.
    pub(crate) fn needs_request(&mut self) {
        if !std::mem::replace(&mut self.counts, true) {
            self.demand.started.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its request is sent, or is not needed any more.
    pub(crate) fn sent(&mut self) {
        if std::mem::replace(&mut self.counts, false) {
            self.demand.started.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for RowDemand<'_> {
    fn drop(&mut self) {
        self.sent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_while_it_has_a_request_to_send() {
        let demand = Demand::default();
        demand.set_waiting(3);
        let (mut one, two) = (demand.start(), demand.start());
        assert_eq!(demand.requests(), 5);
        one.sent();
        one.sent();
        assert_eq!(demand.requests(), 4, "its answer is under way");
        one.needs_request();
        one.needs_request();
        assert_eq!(demand.requests(), 5, "its URL has expired");
        drop(two);
        assert_eq!(demand.requests(), 4, "it ended without a request");
        one.sent();
        drop(one);
        assert_eq!(demand.requests(), 3);
    }
}
