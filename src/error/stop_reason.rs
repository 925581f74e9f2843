//! [`StopReason`]: why a run ended early.

use std::fmt;

use super::{ErrorCode, ItemError, RunError};
use crate::shutdown::Signal;

/// Why a run ended before it had attempted every row.
#[derive(Debug)]
pub enum StopReason {
    /// A signal.
    Signal(Signal),
    /// `--until` or `--max-duration`.
    Deadline,
    /// The API asks to wait beyond `--until` or `--max-duration`.
    Limited(ItemError),
    /// The run could not go on.
    Error(RunError),
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "stopped by {}", signal.name()),
            Self::Deadline => f.write_str("the time of --until or --max-duration was up"),
            Self::Limited(_) => {
                f.write_str("the API asks to wait beyond the time of --until or --max-duration")
            }
            Self::Error(error) => write!(f, "{error}"),
        }
    }
}

impl StopReason {
    /// Rank of the reason: if several apply, the gravest decides the exit code. An error, then a signal, then the time.
    pub(crate) const fn gravity(&self) -> u8 {
        match self {
            Self::Error(_) => 2,
            Self::Signal(_) => 1,
            Self::Deadline | Self::Limited(_) => 0,
        }
    }

    /// Whether the run could not go on.
    pub(crate) const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The code that the reports give the reason.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Error(error) => error.code(),
            Self::Limited(error) => error.code,
            Self::Signal(_) | Self::Deadline => None,
        }
    }
}
