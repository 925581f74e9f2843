//! The bar on a terminal. The only file that knows indicatif; the text is [`super::line`]'s.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::line;
use super::state::State;
use crate::out;

/// Width where the terminal does not tell.
const USUAL: u16 = 80;

/// Two lines that are drawn over and over; log lines go above them.
pub struct Bars {
    bar: ProgressBar,
}

impl Bars {
    /// Takes the lower end of the screen.
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let behind = bar.clone();
        out::set_curtain(Some(Box::new(move |print| behind.suspend(print))));
        Self { bar }
    }

    /// Draws what is known.
    pub fn show(&self, state: &State) {
        let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
        let columns = if columns == 0 { USUAL } else { columns };
        // a line that fills the last column wraps on some terminals
        let lines = line::lines(state, usize::from(columns).saturating_sub(1));
        self.bar.set_message(lines.join("\n"));
    }

    /// Leaves the screen as if there had been no bar.
    pub fn close(self) {
        out::set_curtain(None);
        self.bar.finish_and_clear();
    }
}
