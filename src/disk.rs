//! What kind of file system a folder lies on, and what follows from it: a share carries no write-ahead log and may
//! ignore modes, and not every file system makes all its files durable at one word.
//!
//! Linux tells the kind by a number (statfs(2)). Elsewhere nothing is known, and the careful way is taken that costs
//! no correctness: a local disk is assumed for the ledger, and files are flushed one by one.

pub(crate) mod fault;
pub(crate) mod folder;
pub mod presence;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::RunError;

/// A file system by its number; `None` where the system does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume(Option<u32>);

impl Volume {
    /// The one that `path` lies on.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn of(path: &Path) -> Self {
        // some of Linux' numbers are signed, all have 32 bits
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32 bits of a number")]
        Self(rustix::fs::statfs(path).ok().map(|statistics| statistics.f_type as u32))
    }

    /// The one that `path` lies on.
    #[cfg(not(target_os = "linux"))]
    #[must_use]
    pub const fn of(_path: &Path) -> Self {
        Self(None)
    }

    /// The name of a share: other machines may write to it, and memory is not shared with them, which SQLite's
    /// write-ahead log needs ("Write-Ahead Logging", section 1).
    #[must_use]
    pub const fn share(self) -> Option<&'static str> {
        Some(match self.0 {
            Some(0x6969) => "NFS",
            Some(0x517B | 0xFF53_4D42 | 0xFE53_4D42) => "SMB",
            Some(0x0102_1997) => "9P",
            Some(0x00C3_6400) => "CephFS",
            Some(0x5346_414F | 0x6B41_4653) => "AFS",
            _ => return None,
        })
    }

    /// A file system that is a program: it may be a network disk, as sshfs is, or none.
    #[must_use]
    pub const fn is_fuse(self) -> bool {
        matches!(self.0, Some(0x6573_5546))
    }

    /// Whether one `syncfs` stands for an `fsync` of each file, and tells of writes that failed. FUSE passes it on
    /// to almost nobody, overlays keep the errors of the layer below to themselves.
    #[must_use]
    pub const fn flushes_as_a_whole(self) -> bool {
        // ext2 to ext4, XFS, Btrfs, F2FS, tmpfs
        matches!(self.0, Some(0xEF53 | 0x5846_5342 | 0x9123_683E | 0xF2F5_2010 | 0x0102_1994))
    }

    /// Whether writes of large blocks may pass by the page cache (`O_DIRECT`, open(2)): on local disks that take them
    /// as they come. A share makes each wait for its server, Btrfs copies for its checksums.
    #[must_use]
    pub const fn takes_direct_writes(self) -> bool {
        // ext2 to ext4, XFS
        matches!(self.0, Some(0xEF53 | 0x5846_5342))
    }
}

/// SQLite's mode that needs no shared memory: with full synchronisation the truncated journal is flushed, too, so that
/// a commit that returned survives a power cut.
pub const SAFE_JOURNAL: &str = "TRUNCATE";

/// How SQLite keeps the old pages until a commit is durable.
#[must_use]
pub const fn journal_mode(state: Volume) -> &'static str {
    if state.share().is_some() { SAFE_JOURNAL } else { "WAL" }
}

/// What a person should know of the places that an export is written to.
#[must_use]
pub fn warnings(out: &Path, state: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(share) = Volume::of(state).share() {
        warnings.push(on_share(state, share));
    }
    let data = out.join("data");
    let mode = std::fs::metadata(&data).map_or(0, |there| there.mode() & 0o777);
    if mode & 0o077 != 0 {
        warnings.push(format!(
            "{} is open to others (mode {mode:04o}); its file system may ignore modes: see to it that nobody else \
             can read the images",
            data.display()
        ));
    }
    warnings
}

fn on_share(state: &Path, share: &str) -> String {
    format!(
        "the ledger is on {share} ({}), where it is kept without a write-ahead log, which a share does not carry; \
         --state-dir puts it on a local disk: faster, and safe from other machines",
        state.display()
    )
}

/// What is free on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this user may still write.
    pub bytes: u64,
    /// Files that may still be made; `None` where the file system does not count them.
    pub files: Option<u64>,
}

impl Room {
    /// On the disk of a folder, or of the nearest folder above it that is there.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub fn at(folder: &Path) -> Result<Self, RunError> {
        let folder = nearest(folder);
        let disk = rustix::fs::statvfs(&folder).map_err(|error| {
            RunError::io(format!("asking the disk of {}", folder.display()))(error.into())
        })?;
        Ok(Self {
            bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
            files: (disk.f_files > 0).then_some(disk.f_favail),
        })
    }
}

/// The folder, or the nearest one above it that is there.
#[must_use]
pub fn nearest(folder: &Path) -> PathBuf {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    whole.ancestors().find(|path| path.exists()).map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

/// Bytes that this user may still write on the file system of an open file.
///
/// # Errors
/// Where it cannot be asked.
pub fn free_bytes(handle: &File) -> std::io::Result<u64> {
    let rustix::fs::StatVfs { f_bavail, f_frsize, .. } = rustix::fs::fstatvfs(handle)?;
    Ok(f_bavail.saturating_mul(f_frsize))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn shares_are_known_by_their_numbers_and_get_no_write_ahead_log() {
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
            let volume = Volume(Some(number));
            assert_eq!(volume.share(), share, "{number:x}");
            assert_eq!(journal_mode(volume), if share.is_some() { "TRUNCATE" } else { "WAL" });
            assert!(share.is_none() || !volume.flushes_as_a_whole(), "{number:x}");
        }
        assert_eq!((Volume(None).share(), journal_mode(Volume(None))), (None, "WAL"));
        assert!(Volume(Some(0x6573_5546)).is_fuse() && !Volume(Some(0xEF53)).is_fuse());
    }

    #[test]
    fn one_flush_stands_for_all_files_only_where_that_is_known() {
        let whole = |number| Volume(Some(number)).flushes_as_a_whole();
        assert!(whole(0xEF53) && whole(0x5846_5342) && whole(0x9123_683E));
        for other in [0x6573_5546, 0x794C_7630, 0x6969, 0x4D44, 0x2011_BAB0] {
            assert!(!whole(other), "{other:x}");
        }
        assert!(!Volume(None).flushes_as_a_whole());
    }

    #[test]
    fn only_local_disks_that_are_known_for_it_take_direct_writes() {
        let direct = |number| Volume(Some(number)).takes_direct_writes();
        assert!(direct(0xEF53) && direct(0x5846_5342));
        for other in [0x9123_683E, 0x0102_1994, 0x6573_5546, 0x794C_7630, 0x6969, 0xFF53_4D42] {
            assert!(!direct(other), "{other:x}");
        }
        assert!(!Volume(None).takes_direct_writes());
    }

    #[test]
    fn the_warning_about_a_share_names_the_way_out() {
        let text = on_share(Path::new("/mnt/export/.exporter"), "NFS");
        assert!(
            text.contains("NFS") && text.contains("--state-dir") && text.contains("/mnt/export"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_that_others_can_enter_is_named() {
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
    fn a_local_folder_is_no_share() {
        let dir = tempfile::tempdir().expect("a folder");
        let volume = Volume::of(dir.path());
        assert!(volume.0.is_some());
        assert_eq!(volume.share(), None);
    }
}
