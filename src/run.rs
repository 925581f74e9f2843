//! Placeholder until the pipeline lands.
use std::sync::Arc;

use crate::error::RunError;
use crate::event::{Events, Progress};
use crate::options::RunOptions;
use crate::report::Summary;
use crate::stop::{Signal, StopHandle};

/// Why a run ended before all rows were tried.
#[derive(Debug)]
pub enum Stopped {
    /// A signal.
    Signal(Signal),
    /// `--until` or `--max-duration`.
    Deadline,
    /// It could not go on.
    Error(RunError),
}

/// A run that was begun and has written its reports.
#[derive(Debug)]
pub struct Finished {
    /// What was done.
    pub summary: Summary,
    /// Why it ended early, if it did.
    pub stopped: Option<Stopped>,
}

/// Does the whole job: see the crate's documentation.
///
/// # Errors
/// Where the run did not begin, or where not even the reports could be written.
pub async fn run(
    _options: RunOptions,
    _stop: StopHandle,
    _events: Events,
    _progress: Arc<Progress>,
) -> Result<Finished, RunError> {
    Err(RunError::Internal("not there yet".to_owned()))
}
