//! The export folder: bytes → part file → final name, so that no final name ever holds anything but a whole image.
//!
//! [`PartWriter`] accepts the body as it comes and hashes it on its way to the part file. `commit` makes parts
//! durable, renames them to their final names and records them in the ledger, many at a time. Modes are 0600 and 0700
//! whatever the umask is.

mod announce;
mod buffer;
pub(crate) mod commit;
mod create;
mod direct_io;
mod folders;
mod held;
mod inspect;
mod obstacle;
mod parallel;
mod part;
mod part_file;
mod publish;
mod replaced;
mod sync;
mod unrecorded;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use commit::CommitterThread;
pub(crate) use commit::{Committer, Receipt};
pub(crate) use obstacle::Obstacles;
pub use part::{Part, PartWriter};
pub(crate) use publish::Delivery;

use crate::disk::fault::disk_error;
use crate::disk::folder::link_in_the_way;
use crate::disk::presence::{Presence, cannot_look_at};
use crate::error::RunError;
use crate::error::disk_cause::{IN_THE_WAY, ON_ANOTHER_DISK};
use crate::ledger::STATE_DIR;

/// The suffix of part files.
const PART_SUFFIX: &str = ".part";

/// The export folder. Its file system is recorded at the start and must not change before the end.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    parts: PathBuf,
    reports: PathBuf,
    handle: File,
    device: u64,
    min_free: u64,
    /// Held while a file is written to see whether any can be.
    probing: Mutex<()>,
}

impl Folder {
    /// Opens a folder that exists, and makes `data/` in it. `own`: the folder in it for part files and reports of a shard.
    pub(crate) fn open(root: &Path, own: Option<&Path>, min_free: u64) -> Result<Self, RunError> {
        let data = root.join("data");
        make_data(&data)?;
        let handle = File::open(root).map_err(disk_error("opening", root))?;
        handle.sync_all().map_err(disk_error("flushing", root))?;
        let device = handle.metadata().map_err(disk_error("reading", root))?.dev();
        let data_device = std::fs::metadata(&data).map_err(disk_error("reading", &data))?.dev();
        if data_device != device {
            return Err(RunError::Disk(format!(
                "{}{ON_ANOTHER_DISK}{}: a whole image is moved into it in one step, which works within one \
                 disk only; mount the disk at the export folder itself",
                data.display(),
                root.display()
            )));
        }
        Ok(Self {
            root: root.to_owned(),
            parts: own.map_or_else(|| root.join(STATE_DIR), Path::to_owned),
            reports: own.unwrap_or(root).to_owned(),
            handle,
            device,
            min_free,
            probing: Mutex::default(),
        })
    }

    /// What the user should know about its mode: only its owner can read the images, but others may see or change
    /// names.
    pub(crate) fn warning(&self) -> Option<String> {
        let mode = self.handle.metadata().map_or(0, |meta| meta.mode());
        let can = match mode & 0o007 {
            0 => return None,
            others if others & 0o002 != 0 => "others may write in it: they can replace delivered files",
            _ => "others may enter it: they cannot read what is in it, but see names",
        };
        Some(format!("the export folder {}: {can}; chmod 700 keeps them out", self.root.display()))
    }

    /// Its path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the reports are written.
    pub(crate) fn reports(&self) -> &Path {
        &self.reports
    }

    /// Path of a part file.
    pub(crate) fn part(&self, name: &str) -> PathBuf {
        self.parts.join(name)
    }

    /// Removes a part file, if there is one.
    pub(crate) fn remove_part(&self, name: &str) {
        // best effort: what stays is removed at the next start
        let _ = std::fs::remove_file(self.part(name));
    }

    /// Removes the part files that a killed run left, except those that `keep` names.
    pub(crate) fn sweep_parts(&self, keep: impl Fn(&str) -> bool) -> Result<(), RunError> {
        sweep(&self.parts, keep)?;
        self.sweep_digit_folders()
    }

    /// Earlier versions kept small parts in `.exporter/0` to `.exporter/f`, and never continued one of them.
    fn sweep_digit_folders(&self) -> Result<(), RunError> {
        for digit in "0123456789abcdef".chars() {
            let folder = self.parts.join(digit.to_string());
            let there = Presence::of(&folder).map_err(cannot_look_at(&folder))?;
            if matches!(there, Presence::Folder(_)) {
                sweep(&folder, |_| false)?;
                // a folder that holds anything else stays
                let _ = std::fs::remove_dir(folder);
            }
        }
        Ok(())
    }
}

fn make_data(data: &Path) -> Result<(), RunError> {
    match Presence::of(data).map_err(cannot_look_at(data))? {
        Presence::Folder(_) => Ok(()),
        // through a link every image would leave the export
        Presence::Link(target) => Err(link_in_the_way(data, &target)),
        Presence::File(_) | Presence::Other(_) => {
            let what = format!("{}{IN_THE_WAY}no folder; move it away", data.display());
            Err(RunError::Disk(what))
        }
        Presence::Absent => match std::fs::DirBuilder::new().mode(0o700).create(data) {
            // another shard has just made it
            Err(error) if error.kind() == ErrorKind::AlreadyExists => make_data(data),
            made => made.map_err(disk_error("making", data)),
        },
    }
}

fn sweep(folder: &Path, keep: impl Fn(&str) -> bool) -> Result<(), RunError> {
    for entry in std::fs::read_dir(folder).map_err(disk_error("reading", folder))? {
        let entry = entry.map_err(disk_error("reading", folder))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(PART_SUFFIX) && !keep(name) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(disk_error("removing", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_earlier_runs_are_swept_wherever_earlier_versions_put_them() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join(STATE_DIR);
        for folder in ["a", "7"] {
            std::fs::create_dir_all(state.join(folder)).expect("made");
        }
        for file in ["a0.part", "b0.part", "ledger.sqlite", "a/a1.part", "7/7b.part", "7/other"] {
            std::fs::write(state.join(file), "").expect("written");
        }
        let folder = Folder::open(dir.path(), None, 0).expect("opened");
        folder.sweep_parts(|name| name == "b0.part" || name == "a1.part").expect("swept");
        let there = |name: &str| state.join(name).exists();
        assert!(!there("a0.part") && there("b0.part") && there("ledger.sqlite"));
        assert!(!there("a"), "the folder is empty and goes");
        assert!(!there("7/7b.part") && there("7/other"), "what is no part stays");
    }
}
