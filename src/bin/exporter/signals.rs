//! Ctrl-C, SIGTERM and SIGHUP ask the run to stop: the first signal gently, the second at once, the third ends the
//! process even if the run hangs (a dead network disk). After the run one signal is enough: only output is left, and
//! its reader may have stopped reading.
//!
//! Every other command, and a run before it listens itself, ends at the first signal. That needs a handler, too: process
//! 1 of a container gets no signal without one.
//!
//! A signal that the process inherited as ignored stays ignored: `nohup` does that with SIGHUP.

use std::io;
use std::time::{Duration, Instant};

use exporter::options::DRAIN;
use exporter::shutdown::{Signal, StopHandle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::output::{self, format};

/// Listens from now on until the runtime ends. `over` is cancelled when the run has returned.
///
/// # Errors
/// If the system refuses a handler.
pub fn listen(stop: StopHandle, over: CancellationToken) -> io::Result<()> {
    tokio::spawn(act_on(subscribe()?, stop, over));
    Ok(())
}

/// Ends the process at the first signal until it is dropped: then the run listens.
#[must_use]
pub struct EndAtOnce {
    _until_dropped: DropGuard,
}

/// Ends the process at the first signal. What a command changes survives that at any moment, as it survives a kill.
///
/// # Errors
/// If the system refuses a thread or a handler.
pub fn end_at_once() -> io::Result<EndAtOnce> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let inside = runtime.enter();
    let mut signals = subscribe()?;
    drop(inside);
    let handed_over = CancellationToken::new();
    let until_dropped = handed_over.clone().drop_guard();
    let end = async move {
        tokio::select! {
            biased;
            () = handed_over.cancelled() => {}
            Some(signal) = signals.recv() => std::process::exit(signal.exit_code().into()),
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(end))?;
    Ok(EndAtOnce { _until_dropped: until_dropped })
}

/// The signals as they come, but for those that the process inherited as ignored.
fn subscribe() -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    let ignored = fs_err::read_to_string("/proc/self/status").map_or(0, |status| ignored(&status));
    let (sender, receiver) = mpsc::unbounded_channel();
    for (kind, name) in [
        (SignalKind::interrupt(), Signal::Interrupt),
        (SignalKind::terminate(), Signal::Terminate),
        (SignalKind::hangup(), Signal::Hangup),
    ] {
        if ignored & (1 << (kind.as_raw_value() - 1)) != 0 {
            continue;
        }
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move { while signals.recv().await.is_some() && sender.send(name).is_ok() {} });
    }
    Ok(receiver)
}

/// A terminal that closes often sends SIGHUP twice, from the kernel and from the shell: that is one request.
const SAME_HANGUP_INTERVAL: Duration = Duration::from_secs(1);

async fn act_on(mut signals: mpsc::UnboundedReceiver<Signal>, stop: StopHandle, over: CancellationToken) {
    let mut requests = 0_u32;
    let mut last_hangup: Option<Instant> = None;
    while let Some(signal) = signals.recv().await {
        if signal == Signal::Hangup {
            let echo = last_hangup.is_some_and(|last| last.elapsed() < SAME_HANGUP_INTERVAL);
            last_hangup = Some(Instant::now());
            if echo {
                continue;
            }
        }
        if over.is_cancelled() {
            // if the reader does read, the process ends meanwhile with the run's own code
            tokio::time::sleep(output::FLUSH_TIMEOUT).await;
        }
        if over.is_cancelled() || requests > 1 {
            // the first signal decides the exit code, as in the run itself
            std::process::exit(stop.signal().unwrap_or(signal).exit_code().into());
        }
        // first of all: logging must not delay it
        stop.request(signal);
        if requests == 0 {
            tracing::warn!(
                "stopping: finishing the images in flight, at most {}; {} to stop at once",
                format::duration(DRAIN),
                if signal == Signal::Interrupt { "press Ctrl-C again" } else { "send the signal again" },
            );
        } else {
            tracing::warn!(
                "stopping at once; delivered images are safe, and the next run continues from there"
            );
        }
        requests += 1;
    }
}

/// The mask of ignored signals in Linux's `/proc/self/status`; bit 0 is signal 1.
fn ignored(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read_from_the_status_file() {
        assert_eq!(
            ignored("Name:\texporter\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n"),
            0x1001
        );
        assert_eq!(ignored("Name:\texporter\n"), 0);
    }
}
