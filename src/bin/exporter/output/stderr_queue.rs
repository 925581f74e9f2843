//! Standard error, written by a thread of its own.
//!
//! Invariant: a reader that stops reading without going away (`| less`, Ctrl-S on a terminal) blocks that thread and
//! no other. A task queues its line and continues. Lines for which the queue has no room are left out; their number
//! is logged once there is room again. Not `tracing-appender`: it has no flush, so that lines and answers on one
//! terminal change their order, and it prints to standard output when its queue stays full (see `doc/design.md`).

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Texts in the queue: seconds of the most talkative run, and less than 1 MiB.
const QUEUE_MAX: usize = 4_096;
/// More texts than this in the queue mean that no reader sees a bar.
const STUCK_MIN: usize = 8;

#[derive(Debug)]
struct Queue {
    texts: VecDeque<String>,
    /// The thread has taken a text and has not written it yet.
    writing: bool,
    /// Lines for which there was no room.
    left_out: u64,
    /// Whether the thread could be started; `None` before the first text.
    thread: Option<bool>,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue::new());
static CHANGED: Condvar = Condvar::new();

/// Queues a line; one that finds no room is counted.
pub fn line(line: &str) {
    put(format!("{line}\n"), true);
}

/// Queues what redraws the bar; if it finds no room, it is dropped.
pub fn draw(text: String) {
    if !text.is_empty() {
        put(text, false);
    }
}

/// Whether the reader of standard error has stopped reading.
pub fn is_stuck() -> bool {
    lock().texts.len() > STUCK_MIN
}

/// Waits until the queue is written, at most for `timeout`.
pub fn flush(timeout: Duration) {
    let _ = CHANGED.wait_timeout_while(lock(), timeout, |queue| !queue.is_written());
}

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(text: String, is_line: bool) {
    let mut queue = lock();
    let start = || std::thread::Builder::new().name("stderr".to_owned()).spawn(write_queue).is_ok();
    if *queue.thread.get_or_insert_with(start) {
        queue.put(text, is_line);
        drop(queue);
        CHANGED.notify_all();
    } else {
        drop(queue);
        write(&text);
    }
}

fn write_queue() {
    loop {
        let mut queue = lock();
        queue.writing = false;
        CHANGED.notify_all();
        let filled = CHANGED.wait_while(queue, |queue| queue.texts.is_empty());
        let (text, left_out) = filled.unwrap_or_else(PoisonError::into_inner).take();
        write(&text);
        if left_out > 0 {
            // queued behind the lines that wait, which is where those left out belong
            tracing::warn!("standard error was not read for a while: {left_out} lines are left out here");
        }
    }
}

/// An error is dropped: there is no other stream to report it on.
fn write(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

impl Queue {
    const fn new() -> Self {
        Self { texts: VecDeque::new(), writing: false, left_out: 0, thread: None }
    }

    fn put(&mut self, text: String, is_line: bool) {
        if self.texts.len() < QUEUE_MAX {
            self.texts.push_back(text);
        } else if is_line {
            self.left_out += 1;
        }
    }

    /// The next text, and how many lines were left out since the last one.
    fn take(&mut self) -> (String, u64) {
        self.writing = true;
        (self.texts.pop_front().unwrap_or_default(), std::mem::take(&mut self.left_out))
    }

    fn is_written(&self) -> bool {
        self.texts.is_empty() && !self.writing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_left_out_and_counted() {
        let mut queue = Queue::new();
        for number in 0..QUEUE_MAX + 7 {
            queue.put(number.to_string(), true);
        }
        queue.put("a bar".to_owned(), false);
        assert_eq!((queue.texts.len(), queue.is_written()), (QUEUE_MAX, false));
        assert_eq!(queue.take(), ("0".to_owned(), 7));
        queue.put("one more".to_owned(), true);
        assert_eq!(queue.take(), ("1".to_owned(), 0), "they are counted once");
        assert_eq!(queue.texts.back().map(String::as_str), Some("one more"));
    }
}
