//! Progress of a long command that is not a run (`verify`): one line, redrawn in place on a terminal, otherwise
//! logged now and then.

use std::time::Duration;

use super::Mode;
use super::bar::Bar;
use super::plain::due;
use crate::output::log;

/// The line. Dropping it leaves the screen as if there had been none.
pub struct TaskProgress {
    bar: Option<Bar>,
    plain: bool,
    /// When the last line was logged.
    last: Duration,
}

impl TaskProgress {
    /// How often the line may be shown.
    pub const TICK_INTERVAL: Duration = Duration::from_millis(250);
    /// A command that ends within this time shows no progress.
    const QUIET_TIME: Duration = Duration::from_secs(1);

    /// Nothing is drawn yet.
    pub fn new(mode: Mode) -> Self {
        Self { bar: (mode == Mode::Bar).then(Bar::new), plain: mode == Mode::Plain, last: Duration::ZERO }
    }

    /// Shows `text` if a line is due `time` after the start.
    pub fn show(&mut self, time: Duration, text: impl FnOnce() -> String) {
        if time < Self::QUIET_TIME {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.draw(&text());
        } else if self.plain && due(time, time.saturating_sub(self.last), true) {
            self.last = time;
            tracing::info!(target: log::PROGRESS, "{}", text());
        }
    }
}
