//! `shards.json`: how many shards an export has. The first shard writes it, every other one must agree.
//!
//! It appears whole or not at all, and never replaces another one: two machines may start the first shards at once.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::disk::fault::disk_error;
use crate::disk::folder::{self, create_private, refuse_special};
use crate::disk::presence::{self, cannot_look_at, is_absence};
use crate::error::RunError;
use crate::ledger::inspect::check;
use crate::ledger::lock::{RUN, locks};
use crate::ledger::paths::{SHARDS_DIR, STATE_DIR, is_sharded, ledger_file, shards_file, state_folder};
use crate::shard::{HASH_EDITION, Shard};

/// The folder of the shards after `merge --finish`, until it is removed.
const FINISHED_DIR: &str = "shards.finished";
/// The extension of `shards.json` while a merge finishes the shards.
const ASIDE: &str = "json.finished";

/// What all shards of an export have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSet {
    /// How many there are.
    pub shards: u32,
    /// Edition of the rule that gives a row its shard.
    pub edition: u32,
    /// The manifest of the first shard that started, for a merge that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<PathBuf>,
}

impl ShardSet {
    /// What the shards of an export have in common; `None` if it is an ordinary one, or none.
    ///
    /// # Errors
    /// [`RunError::Settings`] if the file is damaged or of a newer program, [`RunError::Disk`] if it cannot be read.
    pub fn read(out: &Path) -> Result<Option<Self>, RunError> {
        let path = shards_file(out);
        refuse_special(&path)?;
        let bytes = match std::fs::read(&path) {
            Err(error) if is_absence(&error) => return Ok(None),
            bytes => bytes.map_err(cannot_look_at(&path))?,
        };
        let unusable =
            |why: String| RunError::Settings(format!("{}: {why}; nothing was attempted", path.display()));
        let set: Self = serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        if set.edition != HASH_EDITION {
            return Err(unusable(format!(
                "the rows were given to shards by edition {} of the rule, this program knows {HASH_EDITION}: use one \
                 version of exporter for all shards and for the merge",
                set.edition
            )));
        }
        if Shard::new(1, set.shards).is_none() {
            return Err(unusable(format!("{} shards are not possible", set.shards)));
        }
        Ok(Some(set))
    }

    /// Makes `shard` one of the export's shards: compares, or writes what the first one has to write. `manifest` is its
    /// file, if it has one.
    ///
    /// # Errors
    /// [`RunError::Settings`] if the export has another number of shards; [`RunError::InUse`] if a run without shards
    /// works in it; that of a lost ledger; [`RunError::Disk`].
    pub(super) fn join(
        out: &Path,
        state_dir: Option<&Path>,
        shard: Shard,
        manifest: Option<&Path>,
    ) -> Result<(), RunError> {
        let known = match Self::read(out)? {
            Some(known) => known,
            None => {
                let manifest = manifest.and_then(|path| std::path::absolute(path).ok());
                let manifest = manifest.filter(|path| path.to_str().is_some());
                Self::begin(out, state_dir, &Self { shards: shard.of(), edition: HASH_EDITION, manifest })?
            }
        };
        if known.shards == shard.of() {
            return Ok(());
        }
        Err(RunError::Settings(format!(
            "{} is exported in {} shards, not in {}; nothing was attempted. To change their number, finish these with \
             `exporter merge MANIFEST -o {} --finish` first",
            out.display(),
            known.shards,
            shard.of(),
            out.display()
        )))
    }

    /// Turns an ordinary export, or none yet, into one of shards. Returns what is there, which may be another machine's.
    fn begin(out: &Path, state_dir: Option<&Path>, set: &Self) -> Result<Self, RunError> {
        let state = state_folder(out, state_dir);
        check(out, &ledger_file(out, state_dir))?;
        for folder in [out, &out.join(STATE_DIR), &state] {
            create_private(folder, &mut Vec::new())?;
        }
        // an ordinary run looks for the file after it has taken this lock
        let _locks = match locks(out, &state, RUN) {
            Err(RunError::InUse { .. }) if is_sharded(out)? => Vec::new(),
            locks => locks?,
        };
        Self::begin_locked(out, state_dir, set)?;
        Self::read(out)?.ok_or_else(|| RunError::Internal(format!("{} is gone", shards_file(out).display())))
    }

    /// Makes an export one of shards; the caller holds its lock.
    pub(crate) fn begin_locked(out: &Path, state_dir: Option<&Path>, set: &Self) -> Result<(), RunError> {
        remove_leftovers(out, &state_folder(out, state_dir))?;
        set.write(out)
    }

    /// Writes the file unless there is one.
    fn write(&self, out: &Path) -> Result<(), RunError> {
        let path = shards_file(out);
        let folder = shards_folder(out);
        create_private(&folder, &mut Vec::new())?;
        let text =
            serde_json::to_string_pretty(self).map_err(|error| RunError::Internal(error.to_string()))?;
        let write = || {
            let mut new = NamedTempFile::new_in(&folder)?;
            writeln!(new, "{text}")?;
            new.as_file().sync_all()?;
            claim(new, &path)
        };
        write().map_err(disk_error("writing", &path))?;
        folder::sync(&folder)
    }

    /// Refuses an export whose shards are not merged to a command that needs an ordinary one.
    ///
    /// # Errors
    /// [`RunError::Settings`] names the way out.
    pub(in crate::ledger) fn refuse(out: &Path, what: &str) -> Result<(), RunError> {
        let Some(set) = Self::read(out)? else { return Ok(()) };
        Err(RunError::Settings(format!(
            "{} is exported in {} shards that are not finished: {what}. Nothing was attempted. Either name a shard \
             (--shard K/{}), or make an ordinary export of it: `exporter merge MANIFEST -o {} --finish`",
            out.display(),
            set.shards,
            set.shards,
            out.display()
        )))
    }
}

/// Renames a file without replacing another one if the file system can do that; else by a second name, which fails in
/// the same way.
fn claim(new: NamedTempFile, path: &Path) -> io::Result<()> {
    let claimed = renameat_with(CWD, new.path(), CWD, path, RenameFlags::NOREPLACE).map_err(io::Error::from);
    let claimed = match claimed {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => std::fs::hard_link(new.path(), path),
        claimed => claimed,
    };
    match claimed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // neither is possible here: the caller reads what is there, and a later difference is seen by all
        Err(_) if !presence::exists(path)? => new.persist(path).map(drop).map_err(|error| error.error),
        claimed => claimed,
    }
}

fn shards_folder(out: &Path) -> PathBuf {
    out.join(STATE_DIR).join(SHARDS_DIR)
}

/// Takes `shards.json` away: from now on no shard can start, but for those that have. The caller holds the export's lock.
/// [`Self::restore`] undoes it.
#[derive(Debug)]
pub(crate) struct Dissolving {
    out: PathBuf,
    state: PathBuf,
}

impl Dissolving {
    pub(crate) fn begin(out: &Path, state_dir: Option<&Path>) -> Result<Self, RunError> {
        let (file, aside) = (shards_file(out), shards_file(out).with_extension(ASIDE));
        std::fs::rename(&file, &aside).map_err(disk_error("moving aside", &file))?;
        folder::sync(&shards_folder(out))?;
        Ok(Self { out: out.to_owned(), state: state_folder(out, state_dir) })
    }

    /// A shard is at work: the export stays one of shards.
    pub(crate) fn restore(self) -> Result<(), RunError> {
        let file = shards_file(&self.out);
        std::fs::rename(file.with_extension(ASIDE), &file).map_err(disk_error("restoring", &file))?;
        folder::sync(&shards_folder(&self.out))
    }

    /// Removes the shards. The caller holds the locks of all of them.
    pub(crate) fn finish(self) -> Result<(), RunError> {
        remove_shards(&self.out, &self.state)
    }
}

/// Removes the folders of shards that belong to no export of shards, the whole in one step.
fn remove_shards(out: &Path, state: &Path) -> Result<(), RunError> {
    let own = out.join(STATE_DIR);
    for folder in [state, &own] {
        let (old, new) = (folder.join(SHARDS_DIR), folder.join(FINISHED_DIR));
        remove_folder(&new)?;
        match std::fs::rename(&old, &new) {
            Err(error) if is_absence(&error) => continue,
            renamed => renamed.map_err(disk_error("moving aside", &old))?,
        }
        folder::sync(folder)?;
        remove_folder(&new)?;
    }
    Ok(())
}

fn remove_folder(folder: &Path) -> Result<(), RunError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if is_absence(&error) => Ok(()),
        removed => removed.map_err(disk_error("removing", folder)),
    }
}

/// Removes what a merge that was killed while it finished has left of the shards. The caller holds the export's lock.
pub(in crate::ledger) fn remove_leftovers(out: &Path, state: &Path) -> Result<(), RunError> {
    if is_sharded(out)? { Ok(()) } else { remove_shards(out, state) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(text: &str) -> Shard {
        text.parse().expect("a shard")
    }

    #[test]
    fn the_first_shard_decides_how_many_there_are() {
        let dir = tempfile::tempdir().expect("a folder");
        let out = dir.path().join("export");
        assert_eq!(ShardSet::read(&out).expect("none"), None);
        ShardSet::join(&out, None, shard("3/4"), Some(Path::new("/m.csv"))).expect("the first");
        ShardSet::join(&out, None, shard("1/4"), None).expect("agrees");
        let refusal = ShardSet::join(&out, None, shard("1/5"), None).expect_err("another number").to_string();
        assert!(refusal.contains("4 shards, not in 5") && refusal.contains("merge"), "{refusal}");
        let set = ShardSet::read(&out).expect("read").expect("there");
        assert_eq!(set, ShardSet { shards: 4, edition: 1, manifest: Some("/m.csv".into()) });
        let refusal = ShardSet::refuse(&out, "a run needs its shard").expect_err("not finished").to_string();
        assert!(refusal.contains("merge"), "{refusal}");
    }

    #[test]
    fn a_file_that_is_there_is_never_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let set = |shards| ShardSet { shards, edition: 1, manifest: None };
        for shards in [4, 5] {
            set(shards).write(dir.path()).expect("written");
        }
        assert_eq!(ShardSet::read(dir.path()).expect("read"), Some(set(4)));
        let names: Vec<_> = std::fs::read_dir(shards_folder(dir.path())).expect("listed").collect();
        assert_eq!(names.len(), 1, "nothing else is left");
    }

    #[test]
    fn a_file_that_is_damaged_or_of_another_edition_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(shards_folder(dir.path())).expect("made");
        for (text, word) in [
            ("", "shards.json"),
            ("{\"shards\": 0, \"edition\": 1}", "0 shards"),
            ("{\"shards\": 4, \"edition\": 2}", "edition 2"),
        ] {
            std::fs::write(shards_file(dir.path()), text).expect("written");
            let refusal = ShardSet::read(dir.path()).expect_err(word).to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
    }
}
