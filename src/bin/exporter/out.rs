//! The one place that writes to standard output and standard error.
//!
//! Invariant: a closed or broken stream never panics and never ends a run. While a bar is on the screen, whole
//! lines are written above it: the bar leaves a [`Curtain`] here.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

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
    let mut stream = io::stdout().lock();
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    }
}

/// Writes one line to standard error. What becomes of it is nobody's concern: there is no place left to tell.
pub fn stderr_line(line: &str) {
    let mut print = || {
        let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    };
    match &*CURTAIN.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(behind) => behind(&mut print),
        None => print(),
    }
}
