//! `--metrics-file`: the newest run in numbers, in Prometheus' text format, for node_exporter's textfile collector.
//!
//! A thread of its own writes it, so that a disk that hangs blocks nothing else. The file is replaced as a whole and
//! readable by all users: it holds numbers and a hash only. An error is logged once and does not touch the run.

mod text;

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use exporter::event::Progress;
use exporter::report::{Counts, Summary};
use jiff::Timestamp;

use self::text::{Before, Numbers};
use crate::output::redact;

/// The documentation promises a new file at least every 15 s.
const WRITE_INTERVAL: Duration = Duration::from_secs(10);
/// A disk that hangs must not keep a finished run from ending.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// The collector runs as another user.
const FILE_MODE: u32 = 0o644;
/// How much is read of the file that is there: this program's has less than 4 KiB.
const READ_MAX: u64 = 1 << 20;

/// The work of a run, once it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub rows: u64,
    /// Bad rows, counted as failed.
    pub bad: u64,
    pub duplicates: u64,
    pub skipped: u64,
}

/// The thread that writes the file.
pub struct Metrics {
    plan: Arc<OnceLock<Plan>>,
    end: SyncSender<End>,
    written: Receiver<()>,
}

impl Metrics {
    /// Writes the file now, and every few seconds until [`Metrics::end`].
    pub fn start(path: PathBuf, progress: Arc<Progress>) -> Self {
        Self::start_with(path, progress, WRITE_INTERVAL)
    }

    fn start_with(path: PathBuf, progress: Arc<Progress>, every: Duration) -> Self {
        let (end, ended) = sync_channel(1);
        let (over, written) = sync_channel(1);
        let plan = Arc::new(OnceLock::new());
        let running = Running { plan: Arc::clone(&plan), progress, started: Instant::now() };
        std::thread::spawn(move || {
            Writer { before: before(&path), path, every, warned: false }.work(&running, &ended);
            let _ = over.send(());
        });
        Self { plan, end, written }
    }

    /// To be filled in once the work is known.
    pub fn plan(&self) -> Arc<OnceLock<Plan>> {
        Arc::clone(&self.plan)
    }

    /// Writes how the run ended; a run that did not start has no summary.
    /// `receipt` is the hash of its line in `receipts.jsonl`.
    pub fn end(self, summary: Option<&Summary>, exit_code: u8, receipt: Option<&str>) {
        let receipt = receipt.map(str::to_owned);
        if self.end.send(End { numbers: summary.map(numbers), exit_code, receipt }).is_ok() {
            let _ = self.written.recv_timeout(END_TIMEOUT);
        }
    }
}

/// How a run ended.
struct End {
    numbers: Option<Numbers>,
    exit_code: u8,
    receipt: Option<String>,
}

/// A run that is going on.
struct Running {
    plan: Arc<OnceLock<Plan>>,
    progress: Arc<Progress>,
    started: Instant,
}

impl Running {
    fn numbers(&self) -> Numbers {
        let plan = self.plan.get().copied().unwrap_or_default();
        let get = Progress::get;
        let (stored, failed) = (get(&self.progress.stored), get(&self.progress.failed) + plan.bad);
        let done = plan.skipped + plan.duplicates + stored + failed;
        Numbers {
            counts: Counts {
                rows: plan.rows,
                stored,
                skipped: plan.skipped,
                duplicate: plan.duplicates,
                failed,
                untried: plan.rows.saturating_sub(done),
            },
            bytes: get(&self.progress.bytes),
            api_requests: get(&self.progress.api_requests),
            api_429: get(&self.progress.api_429),
            retries: get(&self.progress.retries),
            #[expect(clippy::cast_precision_loss, reason = "at most 1000")]
            allowance_share: get(&self.progress.allowance_permille) as f64 / 1000.0,
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }
}

fn numbers(summary: &Summary) -> Numbers {
    Numbers {
        counts: summary.counts,
        bytes: summary.bytes,
        api_requests: summary.api_requests,
        api_429: summary.api_429,
        retries: summary.retries,
        allowance_share: summary.allowance_share.unwrap_or_default(),
        seconds: summary.seconds,
    }
}

struct Writer {
    path: PathBuf,
    every: Duration,
    before: Before,
    /// An error has been logged.
    warned: bool,
}

impl Writer {
    fn work(mut self, running: &Running, ended: &Receiver<End>) {
        loop {
            self.write(&running.numbers(), None);
            match ended.recv_timeout(self.every) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(End { numbers, exit_code, receipt }) => {
                    self.before.receipt = receipt.or(self.before.receipt);
                    return self.write(&numbers.unwrap_or_else(|| running.numbers()), Some(exit_code));
                }
            }
        }
    }

    fn write(&mut self, numbers: &Numbers, exit_code: Option<u8>) {
        let now = Timestamp::now().as_duration().as_secs_f64();
        let last_success = if exit_code == Some(0) { now } else { self.before.last_success };
        let before = Before { last_success, ..self.before.clone() };
        let text = text::text(numbers, now, &before, exit_code);
        if let Err(error) = replace(&self.path, &text)
            && !std::mem::replace(&mut self.warned, true)
        {
            let path = redact::safe(&self.path.to_string_lossy());
            tracing::warn!(
                "the metrics file {path} cannot be written, the run continues without it: {error}"
            );
        }
    }
}

/// What an earlier run recorded in the file.
fn before(path: &Path) -> Before {
    let mut bytes = Vec::new();
    let mut read = || {
        check_regular_file(path)?;
        std::fs::File::open(path)?.take(READ_MAX).read_to_end(&mut bytes)
    };
    read().ok().and_then(|_| std::str::from_utf8(&bytes).ok()).map(Before::read).unwrap_or_default()
}

/// Only a regular file is replaced: anything else may be a device.
fn check_regular_file(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() => Err(io::Error::other("it is there and no plain file")),
        _ => Ok(()),
    }
}

/// The error without the random name of the temporary file.
fn without_path(error: &io::Error) -> io::Error {
    let text = error.to_string();
    io::Error::new(error.kind(), text.split_once(" at path ").map_or(&*text, |(what, _)| what))
}

/// Writes a temporary file and renames it over `path`. The folder is not flushed: after a power cut one timestamp would
/// be missing, and no more.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    check_regular_file(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // a collector reads *.prom only, so it never sees half a file
    let mut file = tempfile::Builder::new()
        .prefix(".exporter-metrics.")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(|error| without_path(&error))?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(FILE_MODE))?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|refused| refused.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_run_that_is_going_on_add_up() {
        let progress = Arc::new(Progress::default());
        let running =
            Running { plan: Arc::default(), progress: Arc::clone(&progress), started: Instant::now() };
        assert_eq!(running.numbers().counts, Counts::default());
        running.plan.set(Plan { rows: 20, bad: 1, duplicates: 2, skipped: 3 }).expect("the first");
        Progress::add(&progress.stored, 4);
        Progress::add(&progress.failed, 5);
        let counts = running.numbers().counts;
        assert_eq!(counts, Counts { rows: 20, stored: 4, skipped: 3, duplicate: 2, failed: 6, untried: 5 });
    }

    #[test]
    fn a_success_is_remembered_and_a_failure_takes_nothing_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exporter.prom");
        let end = |code| {
            let metrics = Metrics::start(path.clone(), Arc::default());
            metrics.end(None, code, None);
            before(&path).last_success
        };
        assert!(end(3).abs() < f64::EPSILON);
        let success = end(0);
        assert!(success > 1.7e9);
        for code in [1, 2, 3, 4, 130] {
            assert!((end(code) - success).abs() < 0.002, "{code}");
        }
        assert!(end(0) >= success);
        let mode = std::fs::metadata(&path).expect("written").permissions().mode();
        assert_eq!(mode & 0o7777, FILE_MODE);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn the_file_is_written_every_few_seconds_while_the_run_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exporter.prom");
        let progress = Arc::new(Progress::default());
        let metrics = Metrics::start_with(path.clone(), Arc::clone(&progress), Duration::from_millis(5));
        let begin = Instant::now();
        for stored in 1..4 {
            Progress::add(&progress.stored, 1);
            let line = format!("exporter_rows{{state=\"stored\"}} {stored}\n");
            while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&line)) {
                assert!(begin.elapsed() < Duration::from_secs(20), "{line} never came");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        metrics.end(None, 1, None);
    }

    #[test]
    fn a_device_a_folder_or_a_link_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
        for path in [Path::new("/dev/null"), folder.path(), &link] {
            assert!(replace(path, "").is_err_and(|error| error.to_string().contains("no plain file")));
        }
        assert!(link.is_symlink());
    }

    #[test]
    fn a_file_that_cannot_be_written_delays_no_run_and_is_written_once_it_can_be() {
        let started = Instant::now();
        let metrics = Metrics::start("/no/such/folder/exporter.prom".into(), Arc::default());
        metrics.end(Some(&Summary::default()), 0, None);
        assert!(started.elapsed() < END_TIMEOUT, "the run waited for the file");

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("later/exporter.prom");
        let mut writer =
            Writer { path: path.clone(), every: WRITE_INTERVAL, before: Before::default(), warned: false };
        writer.write(&Numbers::default(), None);
        assert!(writer.warned);
        std::fs::create_dir(folder.path().join("later")).expect("made");
        writer.write(&Numbers::default(), Some(0));
        assert!(before(&path).last_success > 1.7e9);
    }
}
