//! How a run is asked to end: first gently, then at once.
//!
//! The caller (signals, tests) owns the handle, the run only listens. The first request drains the run: no new image is
//! started, waits end, images in flight have [`crate::options::DRAIN`] to finish. The second one drops all images in
//! flight; parts and ledger stay as they are.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// The signal that asked the run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Hangup,
}

impl Signal {
    /// 128 + the signal's number, as shells report it.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::Hangup => 129,
        }
    }

    /// The name that users know it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// Asks a run to stop; all clones ask the same run.
#[derive(Clone, Debug, Default)]
pub struct StopHandle {
    drain: CancellationToken,
    abort: CancellationToken,
    signal: Arc<OnceLock<Signal>>,
}

impl StopHandle {
    /// A handle for one run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first call drains the run, a later one stops it at once.
    pub fn request(&self, signal: Signal) {
        if self.signal.set(signal).is_ok() {
            self.drain.cancel();
        } else {
            self.abort.cancel();
        }
    }

    /// The first signal that arrived.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        self.signal.get().copied()
    }

    /// Completes when the run is asked to drain.
    pub async fn drained(&self) {
        self.drain.cancelled().await;
    }

    /// Completes when the run is asked to stop at once.
    pub async fn aborted(&self) {
        self.abort.cancelled().await;
    }
}
