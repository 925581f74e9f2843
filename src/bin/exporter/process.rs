//! What is set for the process before anything else: no core dumps (the key would be in them), no other process may
//! read its memory or its environment, files for the owner only, an error instead of a deadly signal when a file grows too large; and the runtime.

use std::io;

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use tokio::signal::unix::{SignalKind, signal};

/// Hashing and TLS share the worker threads: with two, one busy thread does not stop everything; more than eight have
/// nothing to do at the rate the API allows.
const WORKER_THREADS: std::ops::RangeInclusive<usize> = 2..=8;

/// The disk's threads: more than a disk can use at a time, and few enough that the freed memory which each keeps stays
/// small (measured: 512, the default, cost 15 MiB at 100,000 rows). They do nothing else: if all of them hang, name
/// look-ups, ledger and request clock go on, which have threads of their own.
const DISK_THREADS_MAX: usize = 16;

/// No core dumps, and no look from outside; new files and folders belong to their owner alone; as many open files as the system allows.
pub fn harden() {
    // refused only if the limit is zero already
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // a kernel whose core pattern is a pipe ignores that limit; this also closes /proc/PID/environ and /proc/PID/mem,
    // where other processes of the same user could read the key
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    umask(Mode::RWXG | Mode::RWXO);
    // the soft limit protects programs that use select(); if this is refused, the run fetches fewer images at a time
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
}

/// The runtime of a run.
///
/// A write beyond `ulimit -f` raises SIGXFSZ, which ends a process that has no handler for it. With a handler, even one
/// that does nothing, the write fails with EFBIG, an error of the disk like any other.
///
/// # Errors
/// If the system refuses threads, an event queue or a signal handler.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(*WORKER_THREADS.start(), usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(*WORKER_THREADS.start(), *WORKER_THREADS.end()))
        .max_blocking_threads(DISK_THREADS_MAX)
        .enable_all()
        .build()?;
    let inside = runtime.enter();
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    drop(inside);
    Ok(runtime)
}
