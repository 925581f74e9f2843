//! The bar on a terminal. The only file that knows indicatif; [`super::line`] makes the text.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::line;
use super::state::State;
use crate::output;

/// Columns and rows of a terminal that does not report its size.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// Columns left free at the end: terminals print `^C` there, and some wrap a line that fills the last column.
const MARGIN: usize = 3;
/// Redraws a second.
const DRAW_RATE_MAX: u8 = 20;

/// Up to two lines that are redrawn in place; log lines go above them. Dropping it leaves the screen as if there had
/// been no bar.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// Claims the last lines of the screen.
    pub fn new() -> Self {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Terminal::default()), DRAW_RATE_MAX);
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let suspended = bar.clone();
        output::set_suspend(Some(Box::new(move |print| suspended.suspend(print))));
        Self { bar }
    }

    /// Draws the run's state.
    pub fn show(&self, state: &State) {
        self.set(|width| line::lines(state, width).join("\n"));
    }

    /// Draws one line, cut to the width.
    pub fn draw(&self, text: &str) {
        self.set(|width| line::cut(text, width));
    }

    fn set(&self, text: impl FnOnce(usize) -> String) {
        // a drawing dropped halfway would leave its remains on the screen
        if !output::is_stuck() {
            self.bar.set_message(text(usize::from(size().0).saturating_sub(MARGIN)));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        output::set_suspend(None);
        self.bar.finish_and_clear();
    }
}

fn size() -> (u16, u16) {
    size_of(io::stderr())
}

/// Columns of standard output that may be written to.
pub fn width_of_stdout() -> usize {
    usize::from(size_of(io::stdout()).0).saturating_sub(MARGIN)
}

fn size_of(stream: impl AsFd) -> (u16, u16) {
    rustix::termios::tcgetwinsize(stream)
        .ok()
        .filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map_or(DEFAULT_SIZE, |size| (size.ws_col, size.ws_row))
}

/// Standard error as a terminal. Writes each drawing in one piece, and separates lines by a line feed: indicatif pads
/// each to the last column, and a `^C` that the terminal prints there would shift the bar by a line.
#[derive(Debug, Default)]
struct Terminal(Mutex<Drawing>);

/// What the next flush writes.
#[derive(Debug, Default)]
struct Drawing {
    text: String,
    line_ended: bool,
}

impl Drawing {
    fn push(&mut self, text: &str) {
        if text.chars().all(|char| char == ' ') {
            self.line_ended = true;
            return;
        }
        if std::mem::take(&mut self.line_ended) {
            self.text.push('\n');
        }
        self.text.push_str(text);
    }

    fn take(&mut self) -> String {
        self.line_ended = false;
        std::mem::take(&mut self.text)
    }
}

impl Terminal {
    fn push(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn move_cursor(&self, count: usize, direction: char) {
        if count > 0 {
            self.push(&format!("\u{1b}[{count}{direction}"));
        }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        size().0
    }

    fn height(&self) -> u16 {
        size().1
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.push(&format!("{text}\n"));
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.push(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        output::draw(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_separated_by_a_line_feed_and_padding_is_left_out() {
        let mut drawing = Drawing::default();
        for text in ["\r\u{1b}[2K", "one", "     ", "two", "  "] {
            drawing.push(text);
        }
        assert_eq!(drawing.take(), "\r\u{1b}[2Kone\ntwo");
        drawing.push("\u{1b}[1A");
        assert_eq!(drawing.take(), "\u{1b}[1A");
    }
}
