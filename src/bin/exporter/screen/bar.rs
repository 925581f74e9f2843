//! The bar on a terminal. The only file that knows indicatif; the text is [`super::line`]'s.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::line;
use super::state::State;
use crate::output;

/// Columns and rows where the terminal does not tell.
const USUAL: (u16, u16) = (80, 24);
/// Columns left free: the terminal writes `^C` there, and a full last column wraps on some terminals.
const FREE: usize = 3;
/// Draws a second at most.
const HZ: u8 = 20;

/// Two lines that are drawn over and over; log lines go above them.
pub struct Bars {
    bar: ProgressBar,
}

impl Bars {
    /// Takes the lower end of the screen.
    pub fn new() -> Self {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Terminal::default()), HZ);
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let behind = bar.clone();
        output::set_curtain(Some(Box::new(move |print| behind.suspend(print))));
        Self { bar }
    }

    /// Draws what is known.
    pub fn show(&self, state: &State) {
        self.set(|width| line::lines(state, width).join("\n"));
    }

    /// Draws one line, cut to the width.
    pub fn draw(&self, text: &str) {
        self.set(|width| line::cut(text, width));
    }

    fn set(&self, text: impl FnOnce(usize) -> String) {
        // a drawing that got lost would leave its remains on the screen
        if !output::is_stuck() {
            self.bar.set_message(text(usize::from(size().0).saturating_sub(FREE)));
        }
    }

    /// Leaves the screen as if there had been no bar.
    pub fn close(self) {
        output::set_curtain(None);
        self.bar.finish_and_clear();
    }
}

fn size() -> (u16, u16) {
    size_of(io::stderr())
}

/// Columns of standard output that may be written to.
pub fn width_of_output() -> usize {
    usize::from(size_of(io::stdout()).0).saturating_sub(FREE)
}

fn size_of(stream: impl AsFd) -> (u16, u16) {
    rustix::termios::tcgetwinsize(stream)
        .ok()
        .filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map_or(USUAL, |size| (size.ws_col, size.ws_row))
}

/// Standard error as a terminal. Writes what is drawn in one piece, and ends lines by a line end: indicatif would
/// fill each up to the last column, and the `^C` that the terminal writes there would then shift the bar by a line.
#[derive(Debug, Default)]
struct Terminal(Mutex<Drawing>);

/// What is to be written at the next flush.
#[derive(Debug, Default)]
struct Drawing {
    text: String,
    line_ended: bool,
}

impl Drawing {
    fn put(&mut self, text: &str) {
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
    fn put(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(text);
    }

    fn step(&self, count: usize, direction: char) {
        if count > 0 {
            self.put(&format!("\u{1b}[{count}{direction}"));
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
        self.step(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.step(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.step(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.step(n, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.put(&format!("{text}\n"));
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.put(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        output::drawing(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_by_a_line_end_and_the_last_one_by_nothing() {
        let mut drawing = Drawing::default();
        for text in ["\r\u{1b}[2K", "one", "     ", "two", "  "] {
            drawing.put(text);
        }
        assert_eq!(drawing.take(), "\r\u{1b}[2Kone\ntwo");
        drawing.put("\u{1b}[1A");
        assert_eq!(drawing.take(), "\u{1b}[1A");
    }
}
