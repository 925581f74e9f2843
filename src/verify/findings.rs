//! The files that are not what was delivered, and whether the medium as a whole is to blame.

use rustix::io::Errno;

use super::file_state::{FileState, HashJob};
use super::verified::Verified;
use crate::error::RunError;

/// From this many unreadable files in succession on, it is the medium and not the files.
const IN_SUCCESSION_MIN: usize = 5;

/// A file that is not the one that was delivered.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub job: HashJob,
    pub state: FileState,
}

/// What the check of all files found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Files that were inspected, with those that could not be read.
    pub inspected: u64,
    /// Files of which all bytes could be read, whether right or not.
    pub readable: u64,
    /// In no certain order.
    pub problems: Vec<Problem>,
}

impl Findings {
    /// Adds a file that was inspected.
    pub fn add(&mut self, job: HashJob, state: FileState) {
        self.inspected += 1;
        if matches!(state, FileState::Right(_) | FileState::Changed { read: true }) {
            self.readable += 1;
        }
        if !matches!(state, FileState::Right(_)) {
            self.problems.push(Problem { job, state });
        }
    }

    /// Refuses to draw a conclusion from files that cannot be read if their medium cannot: several of them in the order
    /// of the check with none that could be read between, or no file at all that could be read.
    ///
    /// # Errors
    /// [`RunError::Io`] with the system's own words.
    pub fn refuse_unreadable_medium(&mut self) -> Result<(), RunError> {
        self.problems.sort_unstable_by_key(|problem| problem.job.position);
        let Some((first, error)) = self.unreadable().next() else { return Ok(()) };
        let (unreadable, in_succession) = (self.unreadable().count(), self.longest_succession());
        if in_succession < IN_SUCCESSION_MIN && self.readable > 0 {
            return Ok(());
        }
        Err(RunError::Io {
            what: format!(
                "the disk of the export cannot be read, and nothing was marked: {unreadable} of {} files are unreadable, \
                 {in_succession} of them in succession; mend the disk or the permissions and verify again. The first \
                 is {first}",
                self.inspected
            ),
            source: error.into(),
        })
    }

    /// The longest row of unreadable files in the order of the check. A file that was read ends a row; one that is
    /// missing says nothing about the medium.
    fn longest_succession(&self) -> usize {
        let (mut longest, mut current, mut last) = (0, 0, None);
        for Problem { job, state } in &self.problems {
            // files that are right are not in the list, but leave a gap
            if last.is_some_and(|last| job.position > last + 1) {
                current = 0;
            }
            match state {
                FileState::Unreadable(_) => current += 1,
                FileState::Changed { read: true } | FileState::Right(_) => current = 0,
                FileState::Missing | FileState::Changed { read: false } => {}
            }
            longest = longest.max(current);
            last = Some(job.position);
        }
        longest
    }

    fn unreadable(&self) -> impl Iterator<Item = (&str, Errno)> {
        self.problems.iter().filter_map(|problem| match problem.state {
            FileState::Unreadable(error) => Some((&*problem.job.path, error)),
            _ => None,
        })
    }

    /// Fills in the counts and lists of the result.
    pub fn report(self, verified: &mut Verified) {
        // of what cannot be read nothing is known: it was not checked
        verified.checked = self.inspected - self.unreadable().count() as u64;
        verified.ok = self.inspected - self.problems.len() as u64;
        verified.notices.extend(self.unreadable_notices());
        for Problem { job, state } in self.problems {
            let list = match state {
                FileState::Missing => &mut verified.missing,
                FileState::Unreadable(_) => &mut verified.unreadable,
                FileState::Right(_) | FileState::Changed { .. } => &mut verified.changed,
            };
            list.push(job.path);
        }
        for list in [&mut verified.missing, &mut verified.changed, &mut verified.unreadable] {
            list.sort_unstable();
        }
    }

    /// Why files could not be read: one line for each reason.
    fn unreadable_notices(&self) -> Vec<String> {
        let mut reasons: Vec<(Errno, &str, u64)> = Vec::new();
        for (path, error) in self.unreadable() {
            match reasons.iter_mut().find(|(known, ..)| *known == error) {
                Some((.., count)) => *count += 1,
                None => reasons.push((error, path, 1)),
            }
        }
        let notice = |(error, path, count): (Errno, &str, u64)| {
            let error = std::io::Error::from(error);
            match count {
                1 => format!("{path} cannot be read: {error}"),
                _ => format!("{count} files cannot be read: {error}; one of them is {path}"),
            }
        };
        reasons.into_iter().map(notice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Sha256;

    const EIO: FileState = FileState::Unreadable(Errno::IO);
    const READ: FileState = FileState::Right(1);
    const GONE: FileState = FileState::Missing;

    fn findings(states: &[FileState]) -> Findings {
        let mut findings = Findings::default();
        // results arrive in no certain order
        let mut numbered: Vec<_> = (0_i64..).zip(states).collect();
        numbered.reverse();
        for (position, state) in numbered {
            let job = HashJob {
                position,
                id: position,
                path: position.to_string(),
                bytes: None,
                sha256: Sha256([0; 32]),
                stored_at: String::new(),
            };
            findings.add(job, *state);
        }
        findings
    }

    #[test]
    fn five_unreadable_files_in_succession_or_no_readable_one_are_the_medium() {
        let denied = FileState::Unreadable(Errno::ACCESS);
        let changed = FileState::Changed { read: true };
        for (states, medium) in [
            (&[READ, EIO, READ][..], false),
            (&[READ, EIO, EIO, EIO, EIO, READ], false),
            (&[READ, EIO, EIO, EIO, EIO, EIO, READ], true),
            (&[READ, EIO, denied, EIO, denied, EIO], true),
            (&[EIO, EIO, EIO, READ, EIO, EIO, EIO], false),
            (&[EIO, EIO, EIO, changed, EIO, EIO, EIO], false),
            (&[READ, EIO, EIO, EIO, GONE, EIO, EIO], true),
            (&[EIO], true),
            (&[GONE, GONE, EIO], true),
            (&[GONE; 9], false),
            (&[READ; 9], false),
            (&[], false),
        ] {
            let refused = findings(states).refuse_unreadable_medium();
            assert_eq!(refused.is_err(), medium, "{states:?}: {refused:?}");
        }
    }

    #[test]
    fn an_unreadable_file_is_not_called_changed_and_its_reason_is_reported() {
        let mut verified = Verified::default();
        findings(&[READ, EIO, GONE, EIO, FileState::Unreadable(Errno::ACCESS)]).report(&mut verified);
        assert_eq!((verified.checked, verified.ok), (2, 1));
        assert_eq!(
            (verified.unreadable, verified.missing),
            (vec!["1".into(), "3".into(), "4".into()], vec!["2".into()])
        );
        assert_eq!(verified.changed, Vec::<String>::new());
        assert!(
            verified.notices.iter().any(|notice| notice.starts_with("2 files cannot be read: Input/output"))
        );
        assert!(
            verified.notices.iter().any(|notice| notice.starts_with("4 cannot be read: Permission denied"))
        );
    }
}
