//! The one place that writes to standard output and standard error.
//!
//! Invariant: a closed or broken stream never panics and never ends a run; standard error that nobody reads holds
//! nobody. While a bar is on the screen, whole lines are written above it: the bar leaves a [`Curtain`] here.

pub mod format;
pub mod log;
mod stderr_queue;

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

pub use stderr_queue::{drawing, is_stuck};

/// A reader gets so long to take what is left, where the process has nothing else to do.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Takes the bar off the screen, calls the function, and draws the bar again.
pub type Curtain = Box<dyn Fn(&mut dyn FnMut()) + Send>;

static CURTAIN: Mutex<Option<Curtain>> = Mutex::new(None);

/// Lines go above this bar from now on; `None`: there is no bar any more.
pub fn set_curtain(curtain: Option<Curtain>) {
    *CURTAIN.lock().unwrap_or_else(PoisonError::into_inner) = curtain;
}

/// Writes to standard output. A reader that went away (`| head`) is no error, a full disk is.
///
/// # Errors
/// What the stream said, but for a closed pipe.
pub fn stdout(text: &str) -> io::Result<()> {
    written(text).map(drop)
}

/// As [`stdout`]; says whether somebody still reads.
///
/// # Errors
/// As [`stdout`].
pub fn written(text: &str) -> io::Result<bool> {
    // both may go to one terminal
    flush();
    let mut stream = io::stdout().lock();
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    }
}

/// As [`stdout`], for a process that was asked to end: a reader that does not read is not waited for.
///
/// # Errors
/// As [`stdout`].
pub fn last_words(text: String) -> io::Result<()> {
    let (sender, written) = mpsc::channel();
    std::thread::spawn(move || sender.send(stdout(&text)));
    written.recv_timeout(2 * PATIENCE).unwrap_or(Ok(()))
}

/// Waits a little until standard error is written.
pub fn flush() {
    stderr_queue::flush(PATIENCE);
}

/// Writes one line to standard error, some time soon.
pub fn stderr_line(line: &str) {
    let mut print = || stderr_queue::line(line);
    match &*CURTAIN.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(behind) => behind(&mut print),
        None => print(),
    }
}
