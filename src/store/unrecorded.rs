//! Files that a killed run named and did not record. They are cleared before the next run fetches anything, so that a
//! complete run leaves no file in `data/` that no report lists.
//!
//! Only what is known to be the run's own is removed: a regular file with the bytes that were meant. The bytes of an
//! earlier delivery are delivered again; any other file is moved to `replaced/`. What cannot be inspected stays, for the
//! next run to see.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::Folder;
use super::replaced::{last_set_aside, set_aside_unknown};
use super::sync::sync_each;
use crate::disk::fault::failure;
use crate::disk::presence::{Presence, known};
use crate::error::Failure;
use crate::ledger::Intent;
use crate::manifest::fingerprint;

/// What became of the names that a killed run intended.
#[derive(Debug, Default)]
pub(crate) struct Cleared {
    /// Files that were removed; their rows are fetched again if the manifest names them.
    pub removed: u64,
    /// Images whose earlier delivery is still there.
    pub restored: Vec<i64>,
    /// Names that could not be inspected or cleared.
    pub kept: Vec<Intent>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// What is to be done about one name.
enum Verdict {
    Nothing,
    Remove,
    Restore(i64),
    SetAside,
}

impl Folder {
    /// Clears the names that a killed run left behind, durably.
    ///
    /// # Errors
    /// If a folder cannot be made durable.
    pub(crate) fn clear_unrecorded(&self, intents: Vec<Intent>) -> Result<Cleared, Failure> {
        let mut cleared = Cleared::default();
        let mut folders = BTreeSet::new();
        for intent in intents {
            if let Err(failure) = self.clear(&intent, &mut cleared, &mut folders) {
                let why = failure.describe().error;
                cleared.warnings.push(format!("a file that an earlier run did not record stays: {why}"));
                cleared.kept.push(intent);
            }
        }
        sync_each(&folders)?;
        Ok(cleared)
    }

    /// Of the file that made way for a killed delivery no report says where it is now.
    fn report_set_aside(&self, path: &str, cleared: &mut Cleared) -> Result<(), Failure> {
        if let Some(name) = last_set_aside(self, path)? {
            let what =
                format!("what had the place of {path} before an earlier run was killed may now be {name}");
            cleared.warnings.push(what);
        }
        Ok(())
    }

    fn clear(
        &self,
        intent: &Intent,
        cleared: &mut Cleared,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<(), Failure> {
        let path = self.root.join(&intent.path);
        let verdict = self.judge(intent, &path)?;
        if !matches!(verdict, Verdict::SetAside) {
            self.report_set_aside(&intent.path, cleared)?;
        }
        match verdict {
            Verdict::Nothing => return Ok(()),
            Verdict::Restore(image) => cleared.restored.push(image),
            Verdict::Remove => {
                known(std::fs::remove_file(&path)).map_err(failure("removing", &path))?;
                cleared.removed += 1;
            }
            Verdict::SetAside => {
                let name = set_aside_unknown(self, &intent.path)?;
                cleared.warnings.push(format!("a file of unknown content is now {name}"));
            }
        }
        folders.extend(path.parent().map(Path::to_owned));
        Ok(())
    }

    fn judge(&self, intent: &Intent, path: &Path) -> Result<Verdict, Failure> {
        if !self.is_in_folders(path)? {
            return Ok(Verdict::Nothing);
        }
        // a run renames over nothing but regular files
        let Presence::File(_) = Presence::of(path).map_err(failure("inspecting", path))? else {
            return Ok(Verdict::Nothing);
        };
        let found = File::open(path).and_then(fingerprint).map_err(failure("reading", path))?;
        Ok(match intent.withdrawn {
            Some((image, earlier)) if found == earlier => Verdict::Restore(image),
            _ if found == intent.sha256 => Verdict::Remove,
            _ => Verdict::SetAside,
        })
    }

    /// Whether only real folders lead to `path`. Through a link, the file of another folder would be removed.
    fn is_in_folders(&self, path: &Path) -> Result<bool, Failure> {
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.root) {
            if !matches!(Presence::of(folder).map_err(failure("inspecting", folder))?, Presence::Folder(_)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Sha256;

    fn intent(path: &str, bytes: &str, withdrawn: Option<(i64, &str)>) -> Intent {
        let hash = |bytes: &str| fingerprint(bytes.as_bytes()).expect("hashed");
        let withdrawn: Option<(i64, Sha256)> = withdrawn.map(|(image, bytes)| (image, hash(bytes)));
        Intent { path: format!("data/o/n/{path}"), sha256: hash(bytes), withdrawn }
    }

    #[test]
    fn the_runs_own_file_goes_an_earlier_one_is_delivered_again_and_any_other_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        std::fs::create_dir_all(root.join(".exporter")).expect("made");
        std::fs::create_dir_all(root.join("data/o/n")).expect("made");
        let at = |name: &str| root.join("data/o/n").join(name);
        for (name, bytes) in [("own", "new"), ("earlier", "old"), ("both", "new"), ("edited", "edited")] {
            std::fs::write(at(name), bytes).expect("written");
        }
        std::fs::create_dir_all(root.join("elsewhere")).expect("made");
        std::fs::write(root.join("elsewhere/own"), "new").expect("written");
        std::os::unix::fs::symlink("../../elsewhere", root.join("data/o/link")).expect("linked");
        std::os::unix::fs::symlink("own", at("link")).expect("linked");
        let folder = Folder::open(root, None, 0).expect("opened");
        let cleared = folder
            .clear_unrecorded(vec![
                intent("own", "new", None),
                intent("earlier", "new", Some((7, "old"))),
                intent("both", "new", Some((8, "old"))),
                intent("edited", "new", Some((9, "old"))),
                intent("gone", "new", None),
                intent("link", "new", None),
                intent("../link/own", "new", None),
            ])
            .expect("cleared");
        assert_eq!((cleared.removed, &*cleared.restored, cleared.kept.len()), (2, &[7][..], 0));
        assert_eq!(cleared.warnings.len(), 1, "{:?}", cleared.warnings);
        let mut left: Vec<_> = std::fs::read_dir(root.join("data/o/n")).expect("listed").collect();
        left.sort_by_key(|entry| entry.as_ref().expect("an entry").file_name());
        let left: Vec<_> = left.into_iter().map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(left, ["earlier", "link"]);
        assert_eq!(std::fs::read(root.join("replaced/o/n/edited")).expect("kept"), b"edited");
        assert_eq!(std::fs::read(root.join("elsewhere/own")).expect("never through a link"), b"new");
    }
}
