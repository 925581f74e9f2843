//! What the system says about this machine and its boot: its id, the time since the boot, and which processes live.
//!
//! `CLOCK_BOOTTIME` is the same for all processes, no correction of the wall clock moves it, and it goes on while the
//! machine sleeps, as the server's clock does.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

use crate::machine::host;

/// Time since the boot, sleep included.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "other systems have no such clock")]
pub(in crate::limit) fn since_boot() -> io::Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
}

#[cfg(not(target_os = "linux"))]
pub(in crate::limit) fn since_boot() -> io::Result<Duration> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no clock that all processes share"))
}

/// Another one on each machine: `/etc/machine-id` (machine-id(5)), else the host's name.
pub(in crate::limit) fn machine() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    match id.trim() {
        // an image of a machine that has not been started
        "" | "uninitialized" => host(),
        id => id.to_owned(),
    }
}

/// A process of this boot. Its start time tells it from a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: u32,
    /// Clock ticks between the boot and its start; 0 if unknown.
    pub started: i64,
}

impl Process {
    pub(super) fn current() -> Self {
        let pid = std::process::id();
        Self { pid, started: start_time(pid).unwrap_or(0) }
    }

    /// Whether it still runs. In doubt it does.
    pub(super) fn is_alive(self) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        if test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
            return false;
        }
        start_time(self.pid).is_none_or(|started| self.started == 0 || self.started == started)
    }
}

/// Field 22 of `/proc/PID/stat` (proc(5)). Field 2 is the program's name in parentheses and may hold anything.
fn start_time(pid: u32) -> Option<i64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_all_processes_goes_on() {
        let (first, second) = (since_boot().expect("a time"), since_boot().expect("a time"));
        assert!(first <= second && first > Duration::ZERO);
    }

    #[test]
    fn the_machine_has_one_name() {
        assert!(!machine().is_empty());
        assert_eq!(machine(), machine());
    }

    #[test]
    fn a_later_process_with_the_same_pid_is_another_one() {
        let own = Process::current();
        assert!(own.started > 0 && own.is_alive());
        assert!(!Process { started: own.started - 1, ..own }.is_alive());
        assert!(Process { started: 0, ..own }.is_alive(), "in doubt it lives");
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive() {
        let mut gone = std::process::Command::new("true").spawn().expect("a process");
        let process = Process { pid: gone.id(), started: 0 };
        gone.wait().expect("its end");
        assert!(!process.is_alive());
    }
}
