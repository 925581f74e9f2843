//! The program under test, and what is seen of it while it runs.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::config::API_KEY;
use sandbox::log::{Counts, Server};
use sandbox::server::AnyError;

use crate::job::Rig;
use crate::outcome::Outcome;

/// How often a run is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// An allowance that holds nothing back.
const NO_LIMIT: &str = "1000000/1s";

/// What was seen at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Since the program was started.
    pub at: Duration,
    /// API requests that were not refused.
    pub admitted: u64,
    /// 429s.
    pub limited: u64,
    /// Connections to the storage on which a byte moved in the last two round trips.
    pub in_flight: usize,
    /// Memory of the process in KiB, now and at most.
    pub memory: u64,
    pub memory_peak: u64,
}

/// A process that is ended when it is dropped.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it has ended already, unless the benchmark was given up
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rig {
    /// A whole run, with more arguments.
    pub fn run_program(&self, args: &[String]) -> Result<Outcome, AnyError> {
        let samples = self.watch_program(args, |_| Ok(()))?;
        Ok(Outcome::of(&samples, self.rows, self.allowance))
    }

    /// A whole run; `see` gets every sample.
    pub fn watch_program(
        &self,
        args: &[String],
        see: impl FnMut(&Sample) -> Result<(), AnyError>,
    ) -> Result<Vec<Sample>, AnyError> {
        self.empty_folder("export")?;
        self.empty_folder("state")?;
        let program = std::env::var_os("LINE_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_exporter").into());
        let more = std::env::var("LINE_ARGS").unwrap_or_default();
        let rate = self.allowance.map_or(NO_LIMIT.to_owned(), |allowance| allowance.to_string());
        let mut command = Command::new(program);
        command
            .args(["run", "manifest.csv", "-o", "export", "--ca-file", "ca.pem", "-q", "--rate", &rate])
            .args(["--progress", "none"])
            .args(args)
            .args(more.split_whitespace())
            .env_clear()
            .env("MAXAI_API_URL", self.sandbox.api_url())
            .env("MAXAI_API_KEY", API_KEY)
            .env("HOME", self.folder())
            .env("XDG_STATE_HOME", self.folder().join("state"));
        self.watch(command, see)
    }

    /// Runs a command in the rig's folder and samples it until its end.
    pub fn watch(
        &self,
        mut command: Command,
        mut see: impl FnMut(&Sample) -> Result<(), AnyError>,
    ) -> Result<Vec<Sample>, AnyError> {
        let errors = self.folder().join("errors");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
        if command.get_current_dir().is_none() {
            command.current_dir(self.folder());
        }
        let (before, start) = (self.sandbox.counts(Server::Api), Instant::now());
        let mut running = Running(command.spawn()?);
        let mut samples = vec![Sample::default()];
        let status = loop {
            let ended = running.0.try_wait()?;
            let sample = self.sample(running.0.id(), before, start, samples.last());
            see(&sample)?;
            samples.push(sample);
            if let Some(status) = ended {
                break status;
            }
            std::thread::sleep(SAMPLE_INTERVAL);
        };
        if !status.success() {
            return Err(format!("it ended with {status}: {}", std::fs::read_to_string(errors)?).into());
        }
        Ok(samples)
    }

    fn sample(&self, process: u32, before: Counts, start: Instant, last: Option<&Sample>) -> Sample {
        let api = self.sandbox.counts(Server::Api);
        let limited = api.limited - before.limited;
        let traffic = self.sandbox.storage_traffic();
        // a process that has ended has no memory any more
        let memory = |name| memory(process, name);
        Sample {
            at: start.elapsed(),
            admitted: api.requests - before.requests - limited,
            limited,
            in_flight: traffic.map_or(0, |traffic| traffic.busy(self.shape.round_trip * 2)),
            memory: memory("VmRSS:").unwrap_or_default(),
            memory_peak: memory("VmHWM:").or(last.map(|sample| sample.memory_peak)).unwrap_or_default(),
        }
    }
}

/// A line of the process's status, in KiB.
fn memory(process: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}
