//! The request clock's own thread: all that touches the shared file happens here, one job after the other.
//!
//! So a wait for a job measures the file's disk and no queue: tokio's blocking threads may all hang in the disk of the
//! export. If this thread hangs, jobs gather, and run when the disk answers again. It ends when it is dropped and its
//! last job is done; the process does not wait for it.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;

use super::table::Table;

type Job = Box<dyn FnOnce(&mut Option<Table>) + Send>;

/// Starts with its first job.
#[derive(Debug, Default)]
pub(super) struct Thread {
    jobs: Mutex<Option<Sender<Job>>>,
}

impl Thread {
    /// Runs `job` behind those that were given before. It gets the table, if that is open.
    ///
    /// # Errors
    /// If there is no thread and none can be started.
    pub(super) fn run(&self, job: impl FnOnce(&mut Option<Table>) + Send + 'static) -> io::Result<()> {
        let mut job = in_this_runtime(job);
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*jobs {
            match sender.send(job) {
                Ok(()) => return Ok(()),
                // a job panicked
                Err(unsent) => job = unsent.0,
            }
        }
        let (sender, receiver) = channel();
        std::thread::Builder::new().name("request-clock".to_owned()).spawn(move || work(&receiver))?;
        // its receiver lives as long as the thread, which has just begun
        let _ = sender.send(job);
        *jobs = Some(sender);
        Ok(())
    }
}

fn work(jobs: &Receiver<Job>) {
    let mut table = None;
    while let Ok(job) = jobs.recv() {
        job(&mut table);
    }
}

/// The job with the clock of the runtime that it comes from, which may be paused.
fn in_this_runtime(job: impl FnOnce(&mut Option<Table>) + Send + 'static) -> Job {
    let runtime = Handle::try_current().ok();
    #[cfg(test)]
    let held = runtime.as_ref().map(hold_paused_clock);
    Box::new(move |table| {
        let _entered = runtime.as_ref().map(Handle::enter);
        job(table);
        #[cfg(test)]
        drop(held);
    })
}

/// A paused clock stands still until the guard is dropped, as it does while one of tokio's own threads is at work.
#[cfg(test)]
fn hold_paused_clock(runtime: &Handle) -> Sender<()> {
    let (guard, dropped) = channel();
    runtime.spawn_blocking(move || dropped.recv());
    guard
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_run_in_their_order_on_one_thread_and_a_panic_ends_none_but_its_own() {
        let thread = Thread::default();
        let (sender, receiver) = channel();
        for n in 0..3 {
            let sender = sender.clone();
            thread
                .run(move |_| sender.send((n, std::thread::current().id())).expect("received"))
                .expect("a thread");
        }
        let ran: Vec<_> = receiver.iter().take(3).collect();
        assert!(ran.iter().map(|(n, _)| *n).eq(0..3));
        assert!(ran.iter().all(|(_, id)| *id == ran[0].1), "{ran:?}");
        thread.run(|_| std::panic::resume_unwind(Box::new("a job panics"))).expect("sent");
        // sooner or later the thread is gone, and another one takes over
        let mut after = receiver.recv_timeout(Duration::from_millis(20));
        while after.is_err() {
            let sender = sender.clone();
            thread
                .run(move |_| sender.send((9, std::thread::current().id())).expect("received"))
                .expect("a thread");
            after = receiver.recv_timeout(Duration::from_millis(20));
        }
        assert_eq!(after.expect("a job ran").0, 9);
    }
}
