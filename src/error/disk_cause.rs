//! What the user can do about an error of the disk, by its cause.
//!
//! Pure. Like all advice it is read from the error's own text, which is all that the reports keep of it: from the
//! system's number at its end, and from the words below, which this program puts there.

use rustix::io::Errno;

/// Follows the path of something that is never followed or replaced; what it is follows.
pub(crate) const IN_THE_WAY: &str = " is in the way and is ";
/// Follows the path of a folder that a run works in and that is not there any more.
pub(crate) const GONE: &str = " is gone (unmounted or renamed?)";
/// Follows a path that leads to something else than when the run began.
pub(crate) const CHANGED_SINCE_START: &str = " than at the start (";
/// Start of the error of a folder whose content is not known.
pub(crate) const CANNOT_LOOK: &str = "cannot look into ";
/// Start of the error of a rename to a final name.
pub(crate) const NAMING: &str = "naming";
/// Start of the error of a rename into `replaced/`.
pub(crate) const MOVING_AWAY: &str = "moving away";
/// Stands between the path of `data` and the export folder.
pub(crate) const ON_ANOTHER_DISK: &str = " is on another disk than ";
/// End of the error of a folder that should hold an export.
pub(crate) const IS_IT_MOUNTED: &str = "is its disk mounted?";
/// Stands before the last error of many rows.
pub(crate) const TOOK_NONE_BETWEEN: &str = "took none between: ";

/// Why the disk failed, as far as its error tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    NoRoom,
    ReadOnly,
    InTheWay,
    NameTooLong,
    Held,
    Closed,
    Gone,
    NotMounted,
    OpenFiles,
    FileTooLarge,
    AnotherDevice,
    Stale,
    Look,
}

impl Cause {
    fn of(error: &str) -> Option<Self> {
        let error = error.split_once(TOOK_NONE_BETWEEN).map_or(error, |(_, last)| last);
        if error.contains(IN_THE_WAY) {
            return Some(Self::InTheWay);
        }
        if error.contains(GONE) || error.contains(CHANGED_SINCE_START) {
            return Some(Self::Gone);
        }
        if error.contains(ON_ANOTHER_DISK) {
            return Some(Self::AnotherDevice);
        }
        if error.ends_with(IS_IT_MOUNTED) {
            return Some(Self::NotMounted);
        }
        if error.ends_with("(--min-free)") {
            return Some(Self::NoRoom);
        }
        let by_number = number(error).and_then(|errno| Self::of_number(errno, error));
        by_number.or_else(|| error.starts_with(CANNOT_LOOK).then_some(Self::Look))
    }

    fn of_number(errno: Errno, error: &str) -> Option<Self> {
        let renaming = [NAMING, MOVING_AWAY].iter().any(|doing| error.starts_with(doing));
        Some(match errno {
            Errno::NOSPC | Errno::DQUOT => Self::NoRoom,
            Errno::ROFS => Self::ReadOnly,
            Errno::NAMETOOLONG => Self::NameTooLong,
            Errno::ACCESS | Errno::PERM if renaming => Self::Held,
            Errno::ACCESS | Errno::PERM => Self::Closed,
            Errno::NODEV | Errno::NXIO => Self::Gone,
            Errno::MFILE | Errno::NFILE => Self::OpenFiles,
            Errno::FBIG => Self::FileTooLarge,
            Errno::XDEV => Self::AnotherDevice,
            Errno::STALE => Self::Stale,
            _ => return None,
        })
    }

    const fn advice(self) -> &'static str {
        match self {
            Self::NoRoom => "make room on the disk, and run again",
            Self::ReadOnly => {
                "make the disk writable again (a system may turn one read-only after errors), and run again"
            }
            Self::InTheWay => "move away what is in the way, and run again",
            Self::NameTooLong => {
                "the name is too long for this file system: export to one that permits 255 bytes, with -o"
            }
            Self::Held => {
                "another program holds the file, such as a virus scanner or a viewer: close it or except the export \
                 folder from it, and run again"
            }
            Self::Closed => "run as its owner, or give this user access to it, and run again",
            Self::Gone => "mount the export folder again or move it back to its path, and run again",
            Self::NotMounted => "mount it, and run again",
            Self::OpenFiles => "allow more open files (ulimit -n), and run again",
            Self::FileTooLarge => {
                "allow larger files (ulimit -f), or export to a file system that takes them, and run again"
            }
            Self::AnotherDevice => {
                "mount the disk at the export folder itself and not at a folder in it, and run again"
            }
            Self::Stale => "mount the share again, and run again",
            Self::Look => "mend the disk or its connection, and run again",
        }
    }
}

/// The system's number of the error, which the standard library puts at the end of its words.
fn number(error: &str) -> Option<Errno> {
    let (_, number) = error.rsplit_once(" (os error ")?;
    Some(Errno::from_raw_os_error(number.strip_suffix(')')?.parse().ok()?))
}

/// The advice for a row.
pub(super) fn advice(error: &str) -> Option<&'static str> {
    Cause::of(error).map(Cause::advice)
}

/// What follows the error that stops a run or keeps a command from its work.
pub(super) fn tail(error: &str) -> String {
    let Some(cause) = Cause::of(error) else {
        return ". What is delivered is safe; make room or mend the disk, and run again to go on".to_owned();
    };
    match cause {
        // the error itself says what is to be done
        Cause::InTheWay => ". Then run again".to_owned(),
        Cause::AnotherDevice if error.contains(ON_ANOTHER_DISK) => ". Then run again".to_owned(),
        Cause::NotMounted => format!(" If not, {}", cause.advice()),
        _ if error.starts_with(CANNOT_LOOK) => format!("; {}", cause.advice()),
        _ => format!(". What is delivered is safe; {} to go on", cause.advice()),
    }
}

/// What lets reports be replaced that could not be, before they are written again.
pub(super) fn reports_remedy(why: &str) -> &'static str {
    match Cause::of(why) {
        Some(cause) if why.starts_with(CANNOT_LOOK) => {
            cause.advice().strip_suffix(", and run again").unwrap_or(cause.advice())
        }
        _ => "close the program that holds the file",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn failed(doing: &str, errno: Errno) -> String {
        format!("{doing} export/data/o: {}", io::Error::from(errno))
    }

    #[test]
    fn the_advice_for_a_row_follows_what_failed() {
        for (error, words) in [
            (failed("writing", Errno::NOSPC), "make room"),
            (failed("writing", Errno::DQUOT), "make room"),
            (failed("making", Errno::ROFS), "writable"),
            (failed("naming", Errno::NAMETOOLONG), "too long"),
            (failed("naming", Errno::ACCESS), "another program holds"),
            (failed("moving away", Errno::PERM), "another program holds"),
            (failed("making", Errno::ACCESS), "owner"),
            (failed("naming", Errno::XDEV), "mount the disk"),
            (failed("naming", Errno::STALE), "mount the share"),
            (failed("making", Errno::MFILE), "ulimit -n"),
            (failed("writing", Errno::FBIG), "ulimit -f"),
            (format!("data/o/n{IN_THE_WAY}no folder; move it away"), "move away"),
        ] {
            let advised = advice(&error).unwrap_or_else(|| panic!("no advice for {error}"));
            assert!(advised.contains(words), "{error}: {advised}");
        }
        assert_eq!(advice(&failed("writing", Errno::IO)), None);
        assert_eq!(advice("the ledger cannot be written (disk I/O error)"), None);
    }

    #[test]
    fn what_follows_an_error_that_stops_a_run_fits_it() {
        for (error, end) in [
            (
                failed("writing", Errno::IO),
                ". What is delivered is safe; make room or mend the disk, and run again to go on",
            ),
            (
                failed("writing", Errno::NOSPC),
                ". What is delivered is safe; make room on the disk, and run again to go on",
            ),
            (
                failed(CANNOT_LOOK.trim_end(), Errno::ACCESS),
                "; run as its owner, or give this user access to it, and run again",
            ),
            (failed(CANNOT_LOOK.trim_end(), Errno::IO), "; mend the disk or its connection, and run again"),
            (
                format!("export{GONE}"),
                "; mount the export folder again or move it back to its path, and run again to go on",
            ),
            (
                format!("data{IN_THE_WAY}a symbolic link to x; mount it there"),
                "; mount it there. Then run again",
            ),
            (
                format!("export holds no export: {IS_IT_MOUNTED}"),
                "is its disk mounted? If not, mount it, and run again",
            ),
        ] {
            let said = error.clone() + &tail(&error);
            assert!(said.ends_with(end), "{said}");
        }
        let many = format!("the disk failed for 5 images in succession and {TOOK_NONE_BETWEEN}");
        assert!(tail(&(many + &failed("naming", Errno::ACCESS))).contains("another program holds"));
    }
}
