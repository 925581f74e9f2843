//! The right to send one API request, as a guard: whatever becomes of the task that holds it, its slot is accounted
//! for.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Core, Slot, lock};
use crate::remote::rate_headers::RateHeaders;

/// The right to send one API request. Call [`Permit::sent`] right before the request leaves and
/// [`Permit::answered`] when its answer has come.
///
/// A permit that is dropped before its request has left frees its slot. One that is dropped afterwards counts as sent
/// without an answer, since the API has counted it: its slot stays in use for one more window.
#[derive(Debug)]
#[must_use = "a permit that is dropped gives its slot back"]
pub struct Permit {
    core: Arc<Core>,
    slot: Slot,
    stage: Stage,
}

/// How far the request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Granted,
    Sent,
    Answered,
}

impl Permit {
    pub(super) const fn new(core: Arc<Core>, slot: Slot) -> Self {
        Self { core, slot, stage: Stage::Granted }
    }

    /// The request leaves now.
    pub fn sent(&mut self) {
        if self.stage == Stage::Granted {
            self.stage = Stage::Sent;
            lock(&self.core.usage).add(Instant::now());
        }
    }

    /// The answer has come, or the connection is lost: then `headers` are empty.
    pub fn answered(mut self, headers: &RateHeaders) {
        self.sent();
        self.stage = Stage::Answered;
        self.core.answered(&self.slot, headers);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match self.stage {
            Stage::Granted => self.core.release(&self.slot),
            Stage::Sent => self.core.abandon(&self.slot),
            Stage::Answered => {}
        }
    }
}
