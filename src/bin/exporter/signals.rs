//! Ctrl-C, SIGTERM and SIGHUP ask the run to stop: the first gently, the second at once, the third takes the
//! process down where even that hangs (a dead network disk). After the run one is enough: then only words are left to
//! be said, and perhaps nobody reads them.
//!
//! A signal that the process was started to ignore stays ignored: `nohup` does that with SIGHUP.

use std::io;
use std::time::{Duration, Instant};

use exporter::options::DRAIN;
use exporter::shutdown::{Signal, StopHandle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::output::{self, format};

/// Listens from now on, as long as the runtime lives. `over` is cancelled when the run has returned.
///
/// # Errors
/// Where the system refuses a handler.
pub fn listen(stop: StopHandle, over: CancellationToken) -> io::Result<()> {
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
    tokio::spawn(pass_on(receiver, stop, over));
    Ok(())
}

/// A terminal that closes often sends its hangup twice, by the kernel and by the shell: that is one request.
const SAME_HANGUP: Duration = Duration::from_secs(1);

async fn pass_on(mut signals: mpsc::UnboundedReceiver<Signal>, stop: StopHandle, over: CancellationToken) {
    let mut before = 0_u32;
    let mut last_hangup: Option<Instant> = None;
    while let Some(signal) = signals.recv().await {
        if signal == Signal::Hangup {
            let echo = last_hangup.is_some_and(|last| last.elapsed() < SAME_HANGUP);
            last_hangup = Some(Instant::now());
            if echo {
                continue;
            }
        }
        if over.is_cancelled() {
            // where somebody does read, the run's own code is given meanwhile
            tokio::time::sleep(output::PATIENCE).await;
        }
        if over.is_cancelled() || before > 1 {
            // the first signal decides the code, as in the run itself
            std::process::exit(stop.signal().unwrap_or(signal).exit_code().into());
        }
        // before any word about it
        stop.request(signal);
        if before == 0 {
            tracing::warn!(
                "stopping: finishing what is in flight, at most {}; {} to stop at once",
                format::duration(DRAIN),
                if signal == Signal::Interrupt { "press Ctrl-C again" } else { "send the signal again" },
            );
        } else {
            tracing::warn!("stopping at once; what is delivered is safe, the next run goes on from there");
        }
        before += 1;
    }
}

/// The mask of ignored signals in Linux' `/proc/self/status`; bit 0 is signal 1.
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
