//! `--metrics-file`: the newest run in numbers, in Prometheus' text format, for node_exporter's textfile collector.
//!
//! A thread of its own writes it, so that a disk that hangs holds nothing else. The file is replaced as a whole and
//! readable by all: it has numbers only. Trouble with it is told once and does not touch the run.

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

use self::text::Numbers;
use crate::output::format;

/// How often it is written: at least every 15 s is promised.
const EVERY: Duration = Duration::from_secs(10);
/// A disk that hangs must not keep a finished run from ending.
const PATIENCE: Duration = Duration::from_secs(5);
/// The collector runs as another user.
const MODE: u32 = 0o644;
/// What was there before is read so far: a file of ours is below 4 KiB.
const LONGEST: u64 = 1 << 20;

/// The work of a run, once it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rows of the manifest.
    pub rows: u64,
    /// Bad ones among them, counted as failed.
    pub bad: u64,
    /// Rows that name an image of an earlier row.
    pub duplicates: u64,
    /// Rows delivered earlier.
    pub skipped: u64,
}

/// The thread that writes.
pub struct Metrics {
    plan: Arc<OnceLock<Plan>>,
    last: SyncSender<(Option<Numbers>, u8)>,
    done: Receiver<()>,
}

impl Metrics {
    /// Writes the file now, and again and again until [`Metrics::end`].
    pub fn start(path: PathBuf, progress: Arc<Progress>) -> Self {
        Self::start_with(path, progress, EVERY)
    }

    fn start_with(path: PathBuf, progress: Arc<Progress>, every: Duration) -> Self {
        let (last, ending) = sync_channel(1);
        let (over, done) = sync_channel(1);
        let plan = Arc::new(OnceLock::new());
        let running = Running { plan: Arc::clone(&plan), progress, began: Instant::now() };
        std::thread::spawn(move || {
            Writer { last_success: before(&path), path, every, told: false }.work(&running, &ending);
            let _ = over.send(());
        });
        Self { plan, last, done }
    }

    /// To be filled in when the work is known.
    pub fn plan(&self) -> Arc<OnceLock<Plan>> {
        Arc::clone(&self.plan)
    }

    /// Writes how the run ended; the summary is missing where it did not begin.
    pub fn end(self, summary: Option<&Summary>, exit_code: u8) {
        if self.last.send((summary.map(numbers), exit_code)).is_ok() {
            let _ = self.done.recv_timeout(PATIENCE);
        }
    }
}

/// A run that is on.
struct Running {
    plan: Arc<OnceLock<Plan>>,
    progress: Arc<Progress>,
    began: Instant,
}

impl Running {
    fn numbers(&self) -> Numbers {
        let plan = self.plan.get().copied().unwrap_or_default();
        let of = Progress::get;
        let (stored, failed) = (of(&self.progress.stored), of(&self.progress.failed) + plan.bad);
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
            bytes: of(&self.progress.bytes),
            api_requests: of(&self.progress.api_requests),
            api_429: of(&self.progress.api_429),
            retries: of(&self.progress.retries),
            #[expect(clippy::cast_precision_loss, reason = "at most 1000")]
            allowance_share: of(&self.progress.allowance_permille) as f64 / 1000.0,
            seconds: self.began.elapsed().as_secs_f64(),
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
    /// Unix time of the newest success before this run, 0 for none.
    last_success: f64,
    told: bool,
}

impl Writer {
    fn work(mut self, running: &Running, ending: &Receiver<(Option<Numbers>, u8)>) {
        loop {
            self.write(&running.numbers(), None);
            match ending.recv_timeout(self.every) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Ok((numbers, exit_code)) => {
                    return self.write(&numbers.unwrap_or_else(|| running.numbers()), Some(exit_code));
                }
            }
        }
    }

    fn write(&mut self, numbers: &Numbers, exit_code: Option<u8>) {
        let now = Timestamp::now().as_duration().as_secs_f64();
        let success = if exit_code == Some(0) { now } else { self.last_success };
        let text = text::text(numbers, now, success, exit_code);
        if let Err(error) = replace(&self.path, &text)
            && !std::mem::replace(&mut self.told, true)
        {
            let path = format::safe(&self.path.to_string_lossy());
            tracing::warn!("the metrics file {path} cannot be written, the run goes on without it: {error}");
        }
    }
}

/// When the newest success was, as an earlier run wrote it down.
fn before(path: &Path) -> f64 {
    let mut bytes = Vec::new();
    let mut read = || {
        check_place(path)?;
        std::fs::File::open(path)?.take(LONGEST).read_to_end(&mut bytes)
    };
    read().ok().and_then(|_| text::last_success(std::str::from_utf8(&bytes).ok()?)).unwrap_or_default()
}

/// What is no plain file is not replaced: it might be a device.
fn check_place(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() => Err(io::Error::other("it is there and no plain file")),
        _ => Ok(()),
    }
}

/// Without the name of the file that was to be made, which nobody knows.
fn nameless(error: &io::Error) -> io::Error {
    let text = error.to_string();
    io::Error::new(error.kind(), text.split_once(" at path ").map_or(&*text, |(what, _)| what))
}

/// Writes a file beside it that takes its name. The folder is not made durable: the next run would only miss
/// one time stamp.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    check_place(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // not .prom at its end, so that no collector reads half a file
    let mut file = tempfile::Builder::new()
        .prefix(".exporter-metrics.")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(|error| nameless(&error))?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(MODE))?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|refused| refused.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_run_that_is_on_add_up() {
        let progress = Arc::new(Progress::default());
        let running =
            Running { plan: Arc::default(), progress: Arc::clone(&progress), began: Instant::now() };
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
            metrics.end(None, code);
            before(&path)
        };
        assert!(end(3).abs() < f64::EPSILON);
        let success = end(0);
        assert!(success > 1.7e9);
        for code in [1, 2, 3, 4, 130] {
            assert!((end(code) - success).abs() < 0.002, "{code}");
        }
        assert!(end(0) >= success);
        let mode = std::fs::metadata(&path).expect("written").permissions().mode();
        assert_eq!(mode & 0o7777, MODE);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn the_file_is_written_again_and_again_while_the_run_is_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("exporter.prom");
        let progress = Arc::new(Progress::default());
        let metrics = Metrics::start_with(path.clone(), Arc::clone(&progress), Duration::from_millis(5));
        let begin = Instant::now();
        for stored in 1..4 {
            Progress::add(&progress.stored, 1);
            let told = format!("exporter_rows{{state=\"stored\"}} {stored}\n");
            while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&told)) {
                assert!(begin.elapsed() < Duration::from_secs(20), "{told} never came");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        metrics.end(None, 1);
    }

    #[test]
    fn a_device_a_folder_or_a_link_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
        for place in [Path::new("/dev/null"), folder.path(), &link] {
            assert!(replace(place, "").is_err_and(|error| error.to_string().contains("no plain file")));
        }
        assert!(link.is_symlink());
    }

    #[test]
    fn a_file_that_cannot_be_written_holds_nobody() {
        let metrics = Metrics::start("/no/such/folder/exporter.prom".into(), Arc::default());
        metrics.end(Some(&Summary::default()), 0);
    }
}
