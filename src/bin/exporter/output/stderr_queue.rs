//! Standard error, behind a thread of its own.
//!
//! Invariant: a reader that stops reading without going away (`| less`, Ctrl-S on a terminal) holds that thread and
//! nobody else. Whoever writes leaves a text here and goes on; what finds no room is left out, and so many lines are
//! told of when there is room again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Texts that wait at most: seconds of the most talkative run, and hardly 1 MiB.
const MOST: usize = 4_096;
/// With so many waiting nobody is there to look at a bar.
const BEHIND: usize = 8;

/// What is to be written.
#[derive(Debug)]
struct Queue {
    texts: VecDeque<String>,
    /// One has been taken and is not written yet.
    writing: bool,
    /// Lines for which there was no room.
    left_out: u64,
    /// Whether there is a thread; `None` before the first text.
    thread: Option<bool>,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue::new());
static CHANGED: Condvar = Condvar::new();

/// Writes a line, some time.
pub fn line(line: &str) {
    put(format!("{line}\n"), true);
}

/// Writes what moves the cursor, some time, or never.
pub fn drawing(text: String) {
    if !text.is_empty() {
        put(text, false);
    }
}

/// Whether nobody reads what is written.
pub fn is_stuck() -> bool {
    lock().texts.len() > BEHIND
}

/// Waits until all is written, but no longer than `patience`.
pub fn flush(patience: Duration) {
    let _ = CHANGED.wait_timeout_while(lock(), patience, |queue| !queue.is_done());
}

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(text: String, counts: bool) {
    let mut queue = lock();
    let start = || std::thread::Builder::new().name("stderr".to_owned()).spawn(write_on).is_ok();
    if *queue.thread.get_or_insert_with(start) {
        queue.put(text, counts);
        drop(queue);
        CHANGED.notify_all();
    } else {
        drop(queue);
        write(&text);
    }
}

fn write_on() {
    loop {
        let mut queue = lock();
        queue.writing = false;
        CHANGED.notify_all();
        let waiting = CHANGED.wait_while(queue, |queue| queue.texts.is_empty());
        let (text, left_out) = waiting.unwrap_or_else(PoisonError::into_inner).take();
        write(&text);
        if left_out > 0 {
            // behind what waits already, where the others would have come
            tracing::warn!("{left_out} lines are left out here: nobody read standard error");
        }
    }
}

/// What becomes of it is nobody's concern: there is no place left to tell.
fn write(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

impl Queue {
    const fn new() -> Self {
        Self { texts: VecDeque::new(), writing: false, left_out: 0, thread: None }
    }

    fn put(&mut self, text: String, counts: bool) {
        if self.texts.len() < MOST {
            self.texts.push_back(text);
        } else if counts {
            self.left_out += 1;
        }
    }

    /// The next text, and how many lines were left out meanwhile.
    fn take(&mut self) -> (String, u64) {
        self.writing = true;
        (self.texts.pop_front().unwrap_or_default(), std::mem::take(&mut self.left_out))
    }

    fn is_done(&self) -> bool {
        self.texts.is_empty() && !self.writing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_left_out_and_counted() {
        let mut queue = Queue::new();
        for number in 0..MOST + 7 {
            queue.put(number.to_string(), true);
        }
        queue.put("a bar".to_owned(), false);
        assert_eq!((queue.texts.len(), queue.is_done()), (MOST, false));
        assert_eq!(queue.take(), ("0".to_owned(), 7));
        queue.put("in its place".to_owned(), true);
        assert_eq!(queue.take(), ("1".to_owned(), 0), "they are told of once");
        assert_eq!(queue.texts.back().map(String::as_str), Some("in its place"));
    }
}
