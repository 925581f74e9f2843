//! The file system that an export lies on: its kind, what it can do, and what is free on it.
//!
//! A network share carries no write-ahead log and may ignore modes; not every file system reports a failed write to
//! `syncfs`, and few take direct writes as they are. Linux names the kind by a number (statfs(2)). Where the kind is
//! not known the choice is the one that costs speed at most: files are flushed one by one and written through the page
//! cache. Only for the ledger a local disk is assumed then.

pub(crate) mod fault;

pub(crate) mod folder;
pub mod presence;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::RunError;

const EXT: u32 = 0xEF53; // ext2, ext3 and ext4
const XFS: u32 = 0x5846_5342;
const BTRFS: u32 = 0x9123_683E;
const F2FS: u32 = 0xF2F5_2010;
const TMPFS: u32 = 0x0102_1994;
const FUSE: u32 = 0x6573_5546;

/// The kind of a file system by its number; `None` if the system does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem(Option<u32>);

impl FileSystem {
    /// The one that `path` lies on.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(path: &Path) -> Self {
        // some of the numbers are signed in C; all have 32 bits
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32 bits of a number")]
        Self(rustix::fs::statfs(path).ok().map(|statistics| statistics.f_type as u32))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) const fn of(_path: &Path) -> Self {
        Self(None)
    }

    /// The name of a network share: other machines may write to it, and they do not share memory, which SQLite's
    /// write-ahead log needs ("Write-Ahead Logging", section 1).
    pub(crate) const fn network_share(self) -> Option<&'static str> {
        Some(match self.0 {
            Some(0x6969) => "NFS",
            Some(0x517B | 0xFF53_4D42 | 0xFE53_4D42) => "SMB",
            Some(0x0102_1997) => "9P",
            Some(0x00C3_6400) => "CephFS",
            Some(0x5346_414F | 0x6B41_4653) => "AFS",
            _ => return None,
        })
    }

    /// A file system implemented by a program: sshfs is a network disk, others are local.
    pub(crate) const fn is_fuse(self) -> bool {
        matches!(self.0, Some(FUSE))
    }

    /// Whether one `syncfs` can stand for an `fsync` of each file, because it reports writes that failed. Most FUSE
    /// programs never see it, and an overlay does not pass on the errors of the layer below.
    pub(crate) const fn syncfs_reports_errors(self) -> bool {
        matches!(self.0, Some(EXT | XFS | BTRFS | F2FS | TMPFS))
    }

    /// Whether a folder keeps its number while it is there. A share or a FUSE program may give it another one.
    pub(crate) const fn has_stable_inodes(self) -> bool {
        matches!(self.0, Some(EXT | XFS | BTRFS | F2FS | TMPFS))
    }

    /// Whether large writes may bypass the page cache (`O_DIRECT`, open(2)). A share would wait for its server at each
    /// of them, and Btrfs copies the bytes for its checksums.
    pub(crate) const fn supports_direct_io(self) -> bool {
        matches!(self.0, Some(EXT | XFS))
    }
}

/// The journal mode of SQLite that needs no shared memory: under full synchronisation the truncated journal is flushed
/// too, so a commit that has returned survives a power cut.
pub(crate) const SAFE_JOURNAL: &str = "TRUNCATE";

/// The journal mode for a ledger on this file system.
pub(crate) const fn journal_mode(state: FileSystem) -> &'static str {
    if state.network_share().is_some() { SAFE_JOURNAL } else { "WAL" }
}

/// What the user should know about the file systems that an export is written to.
pub(crate) fn warnings(out: &Path, state: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(share) = FileSystem::of(state).network_share() {
        warnings.push(ledger_on_share(state, share));
    }
    let data = out.join("data");
    let mode = std::fs::metadata(&data).map_or(0, |there| there.mode() & 0o777);
    if mode & 0o077 != 0 {
        warnings.push(format!(
            "{} is open to others (mode {mode:04o}); its file system may ignore modes: make sure that only you \
             can read the images",
            data.display()
        ));
    }
    warnings
}

fn ledger_on_share(state: &Path, share: &str) -> String {
    format!(
        "the ledger is on {share} ({}) and is kept without a write-ahead log, which does not work on a share; \
         --state-dir moves it to a local disk: faster, and safe from other machines",
        state.display()
    )
}

/// What is free on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    /// Bytes that this user may still write.
    pub(crate) bytes: u64,
    /// Files that this user may still create; `None` if the file system does not count them.
    pub(crate) files: Option<u64>,
}

impl FreeSpace {
    /// On the file system of a folder, or of its nearest parent that exists.
    pub(crate) fn at(folder: &Path) -> Result<Self, RunError> {
        let folder = nearest_existing(folder)?;
        let statistics = rustix::fs::statvfs(&folder).map_err(|error| {
            RunError::io(format!("asking the disk of {}", folder.display()))(error.into())
        })?;
        Ok(Self::from_statistics(&statistics))
    }

    /// On the file system of an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from_statistics(&rustix::fs::fstatvfs(file)?))
    }

    fn from_statistics(statistics: &rustix::fs::StatVfs) -> Self {
        Self {
            bytes: statistics.f_bavail.saturating_mul(statistics.f_frsize),
            files: (statistics.f_files > 0).then_some(statistics.f_favail),
        }
    }
}

/// The folder, or its nearest parent that exists.
///
/// # Errors
/// If a folder on the way cannot be looked into, so that it is not known what exists.
pub(crate) fn nearest_existing(folder: &Path) -> Result<PathBuf, RunError> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    for path in absolute.ancestors() {
        if presence::metadata_following(path).map_err(presence::cannot_look_at(path))?.is_some() {
            return Ok(path.to_owned());
        }
    }
    Ok(PathBuf::from("/"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn network_shares_are_known_by_number_and_get_no_write_ahead_log() {
        for (number, share) in [
            (0x6969, Some("NFS")),
            (0x517B, Some("SMB")),
            (0xFF53_4D42, Some("SMB")),
            (0xFE53_4D42, Some("SMB")),
            (0x0102_1997, Some("9P")),
            (0xEF53, None),
            (0x5846_5342, None),
            (0x0102_1994, None),
            (0x6573_5546, None),
            (0x794C_7630, None),
        ] {
            let file_system = FileSystem(Some(number));
            assert_eq!(file_system.network_share(), share, "{number:x}");
            assert_eq!(journal_mode(file_system), if share.is_some() { "TRUNCATE" } else { "WAL" });
            assert!(share.is_none() || !file_system.syncfs_reports_errors(), "{number:x}");
        }
        assert_eq!((FileSystem(None).network_share(), journal_mode(FileSystem(None))), (None, "WAL"));
        assert!(FileSystem(Some(0x6573_5546)).is_fuse() && !FileSystem(Some(0xEF53)).is_fuse());
    }

    #[test]
    fn one_flush_covers_all_files_only_on_file_systems_known_for_it() {
        let one_sync = |number| FileSystem(Some(number)).syncfs_reports_errors();
        assert!(one_sync(0xEF53) && one_sync(0x5846_5342) && one_sync(0x9123_683E));
        for other in [0x6573_5546, 0x794C_7630, 0x6969, 0x4D44, 0x2011_BAB0] {
            assert!(!one_sync(other), "{other:x}");
        }
        assert!(!FileSystem(None).syncfs_reports_errors());
    }

    #[test]
    fn direct_writes_go_only_to_local_disks_known_for_them() {
        let direct = |number| FileSystem(Some(number)).supports_direct_io();
        assert!(direct(0xEF53) && direct(0x5846_5342));
        for other in [0x9123_683E, 0x0102_1994, 0x6573_5546, 0x794C_7630, 0x6969, 0xFF53_4D42] {
            assert!(!direct(other), "{other:x}");
        }
        assert!(!FileSystem(None).supports_direct_io());
    }

    #[test]
    fn the_warning_about_a_share_names_the_setting_that_helps() {
        let text = ledger_on_share(Path::new("/mnt/export/.exporter"), "NFS");
        assert!(
            text.contains("NFS") && text.contains("--state-dir") && text.contains("/mnt/export"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_that_other_users_can_enter_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("made");
        let set = |mode| std::fs::set_permissions(&data, PermissionsExt::from_mode(mode)).expect("set");
        set(0o700);
        assert_eq!(warnings(dir.path(), dir.path()), Vec::<String>::new());
        set(0o755);
        let warned = warnings(dir.path(), dir.path());
        assert!(warned.len() == 1 && warned[0].contains("mode 0755"), "{warned:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_local_folder_is_no_network_share() {
        let dir = tempfile::tempdir().expect("a folder");
        let file_system = FileSystem::of(dir.path());
        assert!(file_system.0.is_some());
        assert_eq!(file_system.network_share(), None);
    }
}
