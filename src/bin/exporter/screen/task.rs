//! How far a long command is that is no run: one line, drawn over and over on a terminal, else now and then.

use std::time::Duration;

use super::Mode;
use super::bar::Bars;
use super::plain::due;
use crate::output::log;

/// What is shown of it.
pub struct Steps {
    bars: Option<Bars>,
    plain: bool,
    last: Duration,
}

impl Steps {
    /// How often there may be something to show.
    pub const TICK: Duration = Duration::from_millis(250);
    /// A command that is done by then says nothing.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Nothing is drawn yet.
    pub fn new(mode: Mode) -> Self {
        Self { bars: (mode == Mode::Bar).then(Bars::new), plain: mode == Mode::Plain, last: Duration::ZERO }
    }

    /// Shows `text`, if it is time for it.
    pub fn show(&mut self, time: Duration, text: impl FnOnce() -> String) {
        if time < Self::PATIENCE {
            return;
        }
        if let Some(bars) = &self.bars {
            bars.draw(&text());
        } else if self.plain && due(time, time.saturating_sub(self.last), true) {
            self.last = time;
            tracing::info!(target: log::PROGRESS, "{}", text());
        }
    }

    /// Leaves the screen as if there had been nothing.
    pub fn close(self) {
        if let Some(bars) = self.bars {
            bars.close();
        }
    }
}
