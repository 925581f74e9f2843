//! How many images open files and memory permit in flight.

use crate::options::Concurrency;

/// Open files besides those of images: ledger, logs, name lookups.
const OTHER_FILES: u64 = 40;
/// Each image in flight has a part file and a connection to the storage, and may have one to the API.
const FILES_PER_IMAGE: u64 = 3;
/// Rows beyond the images in flight that have begun a download: they sleep, or wait for the disk, with an open file.
const WAITING_FILES_MAX: usize = 256;
/// Two buffers of 512 KiB, and what the connection has read.
const MEMORY_PER_IMAGE: u64 = 3 << 19;
/// The part of the free memory that images in flight may take.
const MEMORY_PART: u64 = 4;

/// What open files and memory permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Images in flight.
    pub downloads: usize,
    /// Rows that have begun a download and not ended.
    pub files: usize,
}

impl Room {
    /// What this process has. Memory counts for `auto` only: a number is the user's own decision.
    pub(super) fn of_process(wanted: Concurrency) -> Self {
        let memory = matches!(wanted, Concurrency::Auto).then(free_memory).flatten();
        Self::of(open_files(), memory)
    }

    fn of(open_files: u64, free_memory: Option<u64>) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let by_files = open_files / FILES_PER_IMAGE;
        let by_memory = free_memory.map_or(u64::MAX, |bytes| bytes / MEMORY_PART / MEMORY_PER_IMAGE);
        let downloads = number(by_files.min(by_memory)).max(1);
        Self { downloads, files: number(open_files) }
    }

    /// Of rows that have begun a download, with so many images in flight.
    pub(super) fn files_beside(self, downloads: usize) -> usize {
        let spare = self.files.saturating_sub(downloads.saturating_mul(3));
        downloads + spare.min(WAITING_FILES_MAX)
    }
}

/// Files that images may hold open.
fn open_files() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES)
}

/// Bytes of memory that are free for this process, by the system and by its control group; `None` if neither says so.
fn free_memory() -> Option<u64> {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    [system, free_in_group()].into_iter().flatten().min()
}

/// `MemAvailable` of `/proc/meminfo` (proc(5)), in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What the limits of this process's control group and of those around it leave (cgroups(7), version 2).
fn free_in_group() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = std::path::Path::new("/sys/fs/cgroup").join(path);
    let read = |folder: &std::path::Path, name| -> Option<u64> {
        std::fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()
    };
    let groups = folder.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    let free = |folder| Some(read(folder, "memory.max")?.saturating_sub(read(folder, "memory.current")?));
    groups.filter_map(free).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_and_little_memory_mean_fewer_images() {
        for (files, memory, downloads) in [
            (u64::MAX, None, usize::MAX),
            (24, None, 8),
            (0, None, 1),
            (100_000, Some(96 << 20), 16),
            (100_000, Some(0), 1),
        ] {
            assert_eq!(
                Room::of(files, memory).downloads,
                downloads.min(usize::MAX / 3),
                "{files} {memory:?}"
            );
        }
    }

    #[test]
    fn rows_that_wait_for_the_disk_have_what_is_left_of_the_files() {
        assert_eq!(Room::of(24, None).files_beside(8), 8);
        assert_eq!(Room::of(34, None).files_beside(8), 18);
        assert_eq!(Room::of(100_000, None).files_beside(256), 512);
    }

    #[test]
    fn free_memory_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       16384 kB\nMemFree:         1024 kB\nMemAvailable:    8192 kB\n";
        assert_eq!(available(text), Some(8 << 20));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}
