//! How much of the allowance this run has used: a figure for the summary. It limits nothing.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Usage {
    requests: u64,
    /// When the first and the last request were sent.
    span: Option<(Instant, Instant)>,
}

impl Usage {
    pub(super) fn add(&mut self, now: Instant) {
        self.requests += 1;
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
    }

    /// Requests divided by those that `limit` a window allows from the first to the last one, at least in one window.
    #[expect(clippy::cast_precision_loss, reason = "a share to three digits")]
    pub(super) fn share(&self, limit: u32, window: Duration) -> Option<f64> {
        let (first, last) = self.span?;
        let windows = ((last - first).as_secs_f64() / window.as_secs_f64()).max(1.0);
        let share = self.requests as f64 / (f64::from(limit) * windows);
        Some((share.min(1.0) * 1000.0).round() / 1000.0)
    }
}
