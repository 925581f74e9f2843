//! What is set for the process before anything else: no core dumps (the key would be in them), files for the
//! owner only, errors instead of death where a file would grow too large, and the runtime.

use std::io;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit, umask};
use tokio::signal::unix::{SignalKind, signal};

/// Hashing and TLS share the worker threads: two keep a slow core from holding everything, more than eight find
/// nothing to do at the pace the API allows.
const THREADS: std::ops::RangeInclusive<usize> = 2..=8;

/// Threads for file work and name lookups: more than a disk can use at a time, and few enough that what each keeps
/// of freed memory stays small (measured: 512, the default, cost 15 MiB at 100,000 rows).
const BLOCKING: usize = 16;

/// No core dumps; new files and folders belong to their owner alone; as many open files as the system allows.
pub fn harden() {
    // refused only where the limit is zero already
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    umask(Mode::RWXG | Mode::RWXO);
    // the soft limit is for programs that use select(); where this is refused the run takes fewer images at a time
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
}

/// The runtime that a run lives in.
///
/// A write beyond `ulimit -f` raises SIGXFSZ, which ends a process that does not handle it. Once it is listened to
/// (nobody needs to hear) the write fails with EFBIG, and that is an error of the disk as any other.
///
/// # Errors
/// Where the system gives no threads, no event queue or no signal handler.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(*THREADS.start(), usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(*THREADS.start(), *THREADS.end()))
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build()?;
    let inside = runtime.enter();
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    drop(inside);
    Ok(runtime)
}
