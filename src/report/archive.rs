//! Reports of an earlier run on another manifest, kept under `reports/<finished_at>/`.
//!
//! The reports' own `summary.json` says which run they belong to, not the ledger: the ledger may hold runs that were
//! killed before they wrote any. `summary.json` moves last, so that an interrupted move is continued the next time
//! reports are written.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Folder of earlier reports in the export folder.
const ARCHIVE_FOLDER: &str = "reports";
/// The reports of one run; the last one identifies it.
const MOVED_FILES: [&str; 4] = ["report.csv", "failed.csv", "notes.csv", SUMMARY];
const SUMMARY: &str = "summary.json";

#[derive(Deserialize)]
struct PresentSummary {
    manifest_sha256: String,
    finished_at: String,
}

/// Moves the reports in the folder away if they belong to another manifest than this one. The move is durable when
/// this returns.
pub(super) fn archive_previous(folder: &Path, manifest_sha256: &str) -> io::Result<()> {
    let summary = folder.join(SUMMARY);
    // a link, pipe or device of that name is not this program's; it would be followed, block, or never end
    if !fs_err::symlink_metadata(&summary).is_ok_and(|there| there.is_file()) {
        return Ok(());
    }
    let text = fs_err::read(&summary)?;
    // any other file of that name says nothing about the files beside it
    let Ok(present) = serde_json::from_slice::<PresentSummary>(&text) else { return Ok(()) };
    let known = |sha256: &str| !sha256.is_empty();
    if present.manifest_sha256 == manifest_sha256
        || !known(&present.manifest_sha256)
        || !known(manifest_sha256)
    {
        return Ok(());
    }
    if folder.join(ARCHIVE_FOLDER).is_symlink() {
        let what = format!("`{}` is a symbolic link; move it away", folder.join(ARCHIVE_FOLDER).display());
        return Err(io::Error::other(what));
    }
    let target = free_folder(&folder.join(ARCHIVE_FOLDER).join(folder_name(&present.finished_at)));
    DirBuilder::new().recursive(true).mode(0o700).create(&target).map_err(|error| {
        io::Error::new(error.kind(), format!("failed to create directory `{}`: {error}", target.display()))
    })?;
    for file in MOVED_FILES {
        match fs_err::rename(folder.join(file), target.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
    }
    for changed in [&target, &folder.join(ARCHIVE_FOLDER), folder] {
        fs_err::File::open(changed)?.sync_all()?;
    }
    Ok(())
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
fn free_folder(wanted: &Path) -> PathBuf {
    let taken = |path: &Path| path.join(SUMMARY).exists();
    if !taken(wanted) {
        return wanted.to_owned();
    }
    let numbered = |number: u32| {
        let mut name = wanted.as_os_str().to_owned();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    };
    (2..=u32::MAX).map(numbered).find(|path| !taken(path)).unwrap_or_else(|| wanted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, manifest: &str, word: &str) {
        for file in MOVED_FILES {
            fs_err::write(folder.join(file), word).expect("written");
        }
        let summary =
            format!("{{\"manifest_sha256\":\"{manifest}\",\"finished_at\":\"2026-03-01T09:00:00.5Z\"}}");
        fs_err::write(folder.join(SUMMARY), summary).expect("written");
    }

    fn files(folder: &Path) -> Vec<String> {
        let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn reports_of_another_manifest_move_and_those_of_the_same_stay() {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), "aaaa", "first");
        archive_previous(folder.path(), "aaaa").expect("kept");
        archive_previous(folder.path(), "").expect("a ledger without runs says nothing");
        assert_eq!(files(folder.path()), ["failed.csv", "notes.csv", "report.csv", "summary.json"]);
        archive_previous(folder.path(), "bbbb").expect("moved");
        assert_eq!(files(folder.path()), ["reports"]);
        let kept = folder.path().join("reports/2026-03-01T09-00-00.5Z");
        assert_eq!(files(&kept), ["failed.csv", "notes.csv", "report.csv", "summary.json"]);
        assert_eq!(fs_err::read_to_string(kept.join("failed.csv")).expect("read"), "first");
        assert_eq!(folders(folder.path()).expect("listed"), [kept]);
    }

    #[test]
    fn an_interrupted_move_is_continued_and_overwrites_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), "aaaa", "first");
        let kept = folder.path().join("reports/2026-03-01T09-00-00.5Z");
        fs_err::create_dir_all(&kept).expect("made");
        fs_err::rename(folder.path().join("report.csv"), kept.join("report.csv")).expect("interrupted here");
        archive_previous(folder.path(), "bbbb").expect("moved");
        assert_eq!(files(&kept).len(), 4);
        // another one of the same time
        write(folder.path(), "cccc", "second");
        archive_previous(folder.path(), "bbbb").expect("moved");
        assert_eq!(fs_err::read_to_string(kept.join("report.csv")).expect("read"), "first");
        let second = folder.path().join("reports/2026-03-01T09-00-00.5Z-2/report.csv");
        assert_eq!(fs_err::read_to_string(second).expect("read"), "second");
    }

    #[test]
    fn nothing_in_a_summary_leads_out_of_the_folder() {
        assert_eq!(folder_name("2026-03-01T09:00:00.123Z"), "2026-03-01T09-00-00.123Z");
        for (text, expected) in [("../../etc", "etc"), ("/", "undated"), ("", "undated"), ("a/b\n", "ab")] {
            assert_eq!(folder_name(text), expected);
        }
    }
}
