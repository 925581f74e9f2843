//! The only module that writes to standard output and standard error.
//!
//! Invariant: a closed or broken stream never panics and never ends a run, and a reader of standard error that stops
//! reading blocks no task. While a progress bar is on the screen, log lines are written above it: the bar registers
//! a [`Suspend`] here.

pub mod facts;
pub mod format;
pub mod log;
pub mod redact;
mod stderr_queue;

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice, stream::RawStream};

pub use stderr_queue::{draw, is_stuck};

/// How long a command that has nothing else to do waits for a reader to take what is left.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Removes the bar from the screen, calls the function, and draws the bar again.
pub type Suspend = Box<dyn Fn(&mut dyn FnMut()) + Send>;

static SUSPEND: Mutex<Option<Suspend>> = Mutex::new(None);

/// Lines go above this bar from now on; `None`: the bar is gone.
pub fn set_suspend(suspend: Option<Suspend>) {
    *SUSPEND.lock().unwrap_or_else(PoisonError::into_inner) = suspend;
}

/// Writes to standard output. A reader that has gone away (`| head`) is no error, a full disk is.
///
/// # Errors
/// Every error of the stream but a closed pipe.
pub fn stdout(text: &str) -> io::Result<()> {
    stdout_is_read(text).map(drop)
}

/// As [`stdout`]; false once the reader has gone away.
///
/// # Errors
/// As [`stdout`].
pub fn stdout_is_read(text: &str) -> io::Result<bool> {
    // both streams may go to one terminal: what was logged before comes first
    flush();
    let mut stream = io::stdout().lock();
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    }
}

/// As [`stdout`], for a process that was asked to end: a reader that does not read is given up after a while.
///
/// # Errors
/// As [`stdout`].
pub fn stdout_with_timeout(text: String) -> io::Result<()> {
    let (sender, result) = mpsc::channel();
    std::thread::spawn(move || sender.send(stdout(&text)));
    result.recv_timeout(2 * FLUSH_TIMEOUT).unwrap_or(Ok(()))
}

/// Waits until standard error is written, at most [`FLUSH_TIMEOUT`].
pub fn flush() {
    stderr_queue::flush(FLUSH_TIMEOUT);
}

/// Queues one line for standard error.
pub fn stderr_line(line: &str) {
    let mut print = || stderr_queue::line(line);
    match &*SUSPEND.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(suspend) => suspend(&mut print),
        None => print(),
    }
}

/// Whether a stream takes colours: a terminal does, unless `NO_COLOR`, `CLICOLOR` or `TERM` say otherwise
/// (<https://no-color.org>, <https://bixense.com/clicolors>).
pub fn is_coloured(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}
