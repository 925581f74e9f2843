//! Reports of an earlier run on another manifest, kept under `reports/<finished_at>/`.
//!
//! The reports' own `summary.json` says which run they belong to, not the ledger: the ledger may hold runs that were
//! killed before they wrote any. Each report is kept by a second name, or by a copy where the file system has no hard
//! links, when its successor is written and about to take its name; so none of them is ever missing. What is kept
//! already is never overwritten: an interrupted run is continued the next time reports are written.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::disk::presence::{self, Presence};

/// Folder of earlier reports in the export folder.
const ARCHIVE_FOLDER: &str = "reports";
/// The reports of one run that are kept; the last one identifies it.
pub(super) const FILES: [&str; 4] = ["report.csv", "failed.csv", "notes.csv", SUMMARY];
const SUMMARY: &str = "summary.json";

#[derive(Deserialize)]
struct PresentSummary {
    manifest_sha256: String,
    finished_at: String,
}

/// Reports that belong to a run on another manifest, and the folder where they are kept.
pub(super) struct Previous {
    folder: PathBuf,
    target: PathBuf,
}

impl Previous {
    /// The reports in the folder, if they belong to another manifest than this one.
    ///
    /// # Errors
    /// If it is not known whose they are, or if `reports` is a link.
    pub fn find(folder: &Path, manifest_sha256: &str) -> io::Result<Option<Self>> {
        let summary = folder.join(SUMMARY);
        // a link, pipe or device of that name is not this program's; it would be followed, block, or never end
        let Presence::File(_) = look(&summary)? else { return Ok(None) };
        let text = fs_err::read(&summary)?;
        // any other file of that name says nothing about the files beside it
        let Ok(present) = serde_json::from_slice::<PresentSummary>(&text) else { return Ok(None) };
        let known = |sha256: &str| !sha256.is_empty();
        if present.manifest_sha256 == manifest_sha256
            || !known(&present.manifest_sha256)
            || !known(manifest_sha256)
        {
            return Ok(None);
        }
        let archive = folder.join(ARCHIVE_FOLDER);
        if let Presence::Link(target) = look(&archive)? {
            let (link, target) = (archive.display(), target.display());
            return Err(io::Error::other(format!("`{link}` is a symbolic link to {target}; move it away")));
        }
        let target = free_folder(&archive.join(folder_name(&present.finished_at)), &text)?;
        Ok(Some(Self { folder: folder.to_owned(), target }))
    }

    /// Keeps one report, durably, without taking it from its place. A report that is not there, or is kept already,
    /// is no error.
    pub fn keep(&self, name: &str) -> io::Result<()> {
        let (present, kept) = (self.folder.join(name), self.target.join(name));
        let Presence::File(_) = look(&present)? else { return Ok(()) };
        self.create_target()?;
        match std::fs::hard_link(&present, &kept) {
            Err(_) if presence::exists(&kept)? => return Ok(()),
            Err(_) => copy(&present, &self.target.join(format!(".{name}.tmp")), &kept)?,
            Ok(()) => {}
        }
        fs_err::File::open(&self.target)?.sync_all()
    }

    fn create_target(&self) -> io::Result<()> {
        if presence::is_folder(&self.target)? {
            return Ok(());
        }
        let (target, archive) = (&self.target, self.folder.join(ARCHIVE_FOLDER));
        DirBuilder::new().recursive(true).mode(0o700).create(target).map_err(|error| {
            let what = format!("failed to create directory `{}`: {error}", target.display());
            io::Error::new(error.kind(), what)
        })?;
        fs_err::File::open(archive)?.sync_all()?;
        fs_err::File::open(&self.folder)?.sync_all()
    }
}

/// For a file system without hard links.
fn copy(from: &Path, temporary: &Path, to: &Path) -> io::Result<()> {
    let mut source = fs_err::File::open(from)?;
    let mut copied: File =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    io::copy(&mut source, &mut copied)?;
    copied.sync_all()?;
    fs_err::rename(temporary, to)
}

fn look(path: &Path) -> io::Result<Presence> {
    Presence::of(path).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot look into {}: {error}", path.display()))
    })
}

/// The folders of earlier reports, the oldest first.
pub(crate) fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(folder.join(ARCHIVE_FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    // the names are times
    found.sort();
    Ok(found)
}

/// A time as a folder name, also for file systems that forbid `:`. The summary may have been edited by hand, so all
/// other characters are dropped.
fn folder_name(finished_at: &str) -> String {
    let plain: String = finished_at
        .replace(':', "-")
        .chars()
        .filter(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '+'))
        .collect();
    let plain = plain.trim_matches('.');
    if plain.is_empty() { "undated".to_owned() } else { plain.to_owned() }
}

/// The folder itself, or one with a number appended if it holds another run's reports already.
fn free_folder(wanted: &Path, summary: &[u8]) -> io::Result<PathBuf> {
    let mut folder = wanted.to_owned();
    let mut number: u32 = 1;
    while is_of_another_run(&folder, summary)? {
        number += 1;
        let mut name = wanted.as_os_str().to_owned();
        name.push(format!("-{number}"));
        folder = name.into();
    }
    Ok(folder)
}

/// Whether the folder holds the reports of a run with another summary.
fn is_of_another_run(folder: &Path, summary: &[u8]) -> io::Result<bool> {
    let path = folder.join(SUMMARY);
    Ok(match look(&path)? {
        Presence::Absent => false,
        Presence::File(_) => fs_err::read(&path)? != summary,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, manifest: &str, word: &str) {
        for file in FILES {
            fs_err::write(folder.join(file), word).expect("written");
        }
        let summary = format!(
            "{{\"manifest_sha256\":\"{manifest}\",\"finished_at\":\"2026-03-01T09:00:00.5Z\",\"word\":\"{word}\"}}"
        );
        fs_err::write(folder.join(SUMMARY), summary).expect("written");
    }

    /// Keeps the reports, then puts a new one in the place of each, as the replacing does.
    fn replace(folder: &Path, manifest: &str) {
        let previous = Previous::find(folder, manifest).expect("known");
        for file in FILES {
            if let Some(previous) = &previous {
                previous.keep(file).expect("kept");
            }
            let new = folder.join("new");
            fs_err::write(&new, "new").expect("written");
            fs_err::rename(new, folder.join(file)).expect("replaced");
        }
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs_err::read_dir(folder).expect("listed");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn reports_of_another_manifest_are_kept_and_those_of_the_same_are_not() {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), "aaaa", "first");
        assert!(Previous::find(folder.path(), "aaaa").expect("known").is_none());
        let unknown = Previous::find(folder.path(), "").expect("known");
        assert!(unknown.is_none(), "a ledger without runs says nothing");
        replace(folder.path(), "bbbb");
        let kept = folder.path().join("reports/2026-03-01T09-00-00.5Z");
        assert_eq!(files(&kept), ["failed.csv", "notes.csv", "report.csv", "summary.json"]);
        assert_eq!(fs_err::read_to_string(kept.join("failed.csv")).expect("read"), "first");
        assert_eq!(folders(folder.path()).expect("listed"), [kept]);
    }

    #[test]
    fn until_they_are_replaced_they_stay_in_their_place() {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), "aaaa", "first");
        let previous = Previous::find(folder.path(), "bbbb").expect("known").expect("another manifest's");
        previous.keep("report.csv").expect("kept");
        previous.keep("report.csv").expect("kept already");
        assert_eq!(fs_err::read_to_string(folder.path().join("report.csv")).expect("read"), "first");
        fs_err::remove_file(folder.path().join("notes.csv")).expect("removed");
        previous.keep("notes.csv").expect("nothing to keep");
    }

    #[test]
    fn an_interrupted_move_is_continued_and_overwrites_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), "aaaa", "first");
        let kept = folder.path().join("reports/2026-03-01T09-00-00.5Z");
        let previous = Previous::find(folder.path(), "bbbb").expect("known").expect("another manifest's");
        for file in FILES {
            previous.keep(file).expect("kept");
        }
        // killed when the first one had been replaced
        fs_err::remove_file(folder.path().join("report.csv")).expect("removed");
        fs_err::write(folder.path().join("report.csv"), "of the killed run").expect("written");
        replace(folder.path(), "bbbb");
        assert_eq!(files(&folder.path().join("reports")).len(), 1);
        assert_eq!(fs_err::read_to_string(kept.join("report.csv")).expect("read"), "first");
        // another one of the same time
        write(folder.path(), "cccc", "second");
        replace(folder.path(), "bbbb");
        assert_eq!(fs_err::read_to_string(kept.join("report.csv")).expect("read"), "first");
        let second = folder.path().join("reports/2026-03-01T09-00-00.5Z-2/report.csv");
        assert_eq!(fs_err::read_to_string(second).expect("read"), "second");
    }

    #[test]
    fn without_hard_links_a_report_is_copied() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        fs_err::write(at("report.csv"), "first").expect("written");
        copy(&at("report.csv"), &at(".report.csv.tmp"), &at("kept.csv")).expect("copied");
        assert_eq!(files(folder.path()), ["kept.csv", "report.csv"]);
        assert_eq!(fs_err::read_to_string(at("kept.csv")).expect("read"), "first");
    }

    #[test]
    fn nothing_in_a_summary_leads_out_of_the_folder() {
        assert_eq!(folder_name("2026-03-01T09:00:00.123Z"), "2026-03-01T09-00-00.123Z");
        for (text, expected) in [("../../etc", "etc"), ("/", "undated"), ("", "undated"), ("a/b\n", "ab")] {
            assert_eq!(folder_name(text), expected);
        }
    }
}
