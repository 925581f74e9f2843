//! What an I/O error means: does it concern this file, or would every file meet it? The only list of such errors.
//!
//! An image whose file alone failed is fetched again; an error that every file would meet stops the run at once, or
//! thousands of images would be downloaded only to fail.

use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Failure, RunError};

/// How far an I/O error reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Another file may well be written. A permission error too: a scanner may hold this file, or its folder has another
    /// owner. Whether the whole export can be written is found by an inspection, not by the error.
    OneFile,
    /// The file system cannot have a file of this name, at any time.
    Name,
    /// Every file would fail, although the disk itself may be sound: no file handles, or it is gone.
    EveryFile,
    /// The file system takes no more: full, over quota, or read-only.
    NoSpace,
}

impl Fault {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
                Self::NoSpace
            }
            // a limit of the process (`ulimit -f`) or of the file system
            ErrorKind::FileTooLarge => Self::EveryFile,
            _ => match Errno::from_io_error(error) {
                Some(Errno::MFILE | Errno::NFILE | Errno::NODEV | Errno::NXIO) => Self::EveryFile,
                Some(Errno::NAMETOOLONG) => Self::Name,
                _ => Self::OneFile,
            },
        }
    }
}

/// For `map_err` on the way of one image: "`doing` `path`: the error".
pub(crate) fn failure(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |error| {
        let what = format!("{doing} {}: {error}", path.display());
        match Fault::of(&error) {
            Fault::OneFile => Failure::Disk(what),
            Fault::Name => Failure::Obstacle(what),
            Fault::EveryFile | Fault::NoSpace => Failure::DiskFatal { what },
        }
    }
}

/// For `map_err` around a rename, which a permission error need not make impossible: a scanner or another program may
/// hold the file for a moment.
pub(crate) fn rename_failure(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |error| {
        if error.kind() == ErrorKind::PermissionDenied {
            return Failure::FileHeld(format!("{doing} {}: {error}", path.display()));
        }
        failure(doing, path)(error)
    }
}

/// Whether this error of an attempt to use a folder of the export says that no file can be written to it.
pub(crate) fn closes_folder(error: &io::Error) -> bool {
    matches!(Fault::of(error), Fault::EveryFile | Fault::NoSpace)
        || matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::StaleNetworkFileHandle)
}

/// For `map_err` around the run's own files, without which it cannot go on: [`RunError::Disk`], with the advice that
/// fits, if it is about room or permission; else [`RunError::Io`].
pub(crate) fn disk_error(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let what = format!("{doing} {}", path.display());
    move |error| match Fault::of(&error) {
        Fault::NoSpace => RunError::Disk(format!("{what}: {error}")),
        _ if error.kind() == ErrorKind::PermissionDenied => RunError::Disk(format!("{what}: {error}")),
        Fault::OneFile | Fault::Name | Fault::EveryFile => RunError::Io { what, source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_concerns_one_file_or_every_file() {
        for (errno, fault) in [
            (Errno::NOSPC, Fault::NoSpace),
            (Errno::DQUOT, Fault::NoSpace),
            (Errno::ROFS, Fault::NoSpace),
            (Errno::ACCESS, Fault::OneFile),
            (Errno::PERM, Fault::OneFile),
            (Errno::MFILE, Fault::EveryFile),
            (Errno::NFILE, Fault::EveryFile),
            (Errno::NODEV, Fault::EveryFile),
            (Errno::NXIO, Fault::EveryFile),
            (Errno::STALE, Fault::OneFile),
            (Errno::FBIG, Fault::EveryFile),
            (Errno::XDEV, Fault::OneFile),
            (Errno::IO, Fault::OneFile),
            (Errno::NOENT, Fault::OneFile),
            (Errno::EXIST, Fault::OneFile),
            (Errno::ISDIR, Fault::OneFile),
            (Errno::NOTDIR, Fault::OneFile),
            (Errno::LOOP, Fault::OneFile),
            (Errno::NAMETOOLONG, Fault::Name),
            (Errno::INVAL, Fault::OneFile),
        ] {
            let path = Path::new("/export/a.part");
            let error = || io::Error::from(errno);
            assert_eq!(Fault::of(&error()), fault, "{errno:?}");
            let failure = failure("writing", path)(error());
            assert_eq!(matches!(failure, Failure::Disk(_)), fault == Fault::OneFile, "{failure:?}");
            assert_eq!(matches!(failure, Failure::Obstacle(_)), fault == Fault::Name, "{failure:?}");
            assert!(failure.describe().error.starts_with("writing /export/a.part: "), "{failure:?}");
            let run_error = disk_error("writing", path)(error());
            let advised = fault == Fault::NoSpace || matches!(errno, Errno::ACCESS | Errno::PERM);
            assert_eq!(matches!(run_error, RunError::Disk(_)), advised, "{run_error:?}");
            let closes = !matches!(fault, Fault::OneFile | Fault::Name);
            let closes = closes || matches!(errno, Errno::ACCESS | Errno::PERM | Errno::STALE);
            assert_eq!(closes_folder(&error()), closes, "{errno:?}");
            assert!(run_error.to_string().starts_with("writing /export/a.part"), "{run_error}");
        }
        let held = |errno: Errno| rename_failure("naming", Path::new("/export/a.jpg"))(errno.into());
        assert!(matches!(held(Errno::ACCESS), Failure::FileHeld(_)));
        assert!(matches!(held(Errno::PERM), Failure::FileHeld(_)));
        assert!(matches!(held(Errno::ROFS), Failure::DiskFatal { .. }));
        assert!(matches!(held(Errno::IO), Failure::Disk(_)));
        // without a number, as the standard library makes some itself
        assert_eq!(Fault::of(&ErrorKind::WriteZero.into()), Fault::OneFile);
        assert_eq!(Fault::of(&ErrorKind::StorageFull.into()), Fault::NoSpace);
    }
}
