//! How a run is asked to end: first gently, then at once.
//!
//! The caller owns the handle (signals, tests); the run only listens. A first request drains: nothing new is
//! taken, waits end, what is in flight has [`crate::options::DRAIN`] to finish. A second one drops everything
//! that is in flight; parts and ledger stay as they are.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// The signal that asked.
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
    /// 128 + the signal's number, as shells have it.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::Hangup => 129,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        }
    }
}

/// Asks a run to stop; clones ask the same run.
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

    /// The first call drains the run, every later one stops it at once.
    pub fn request(&self, signal: Signal) {
        if self.signal.set(signal).is_ok() {
            self.drain.cancel();
        } else {
            self.abort.cancel();
        }
    }

    /// The first signal that came.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        self.signal.get().copied()
    }

    /// Ends when the run is asked to drain.
    pub async fn drained(&self) {
        self.drain.cancelled().await;
    }

    /// Ends when the run is asked to stop at once.
    pub async fn aborted(&self) {
        self.abort.cancelled().await;
    }
}
