//! Shards that were exported into folders of their own, taken into one export.
//!
//! The images of a shard come first, its ledger last: a collection that is cut short is done again and finds what it has.
//! On one disk files are moved; from another one they are copied, hashed on the way, and stay where they were.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::MergeOptions;
use crate::disk::fault::disk_error;
use crate::disk::folder::{create_private, refuse_link, sync};
use crate::disk::presence::{self, Presence, cannot_look_at};
use crate::error::RunError;
use crate::ledger::{self, ShardHome, ShardLook, ShardSet, Standing};
use crate::shard::Shard;

/// Bytes that are copied at a time.
const COPY_SIZE: usize = 1 << 20;

/// Takes the shards of another export folder into that of the options.
///
/// # Errors
/// [`RunError::Settings`] if both have the same shard; [`RunError::Disk`].
pub(super) fn collect(
    folder: &Path,
    options: &MergeOptions,
    of: u32,
    warnings: &mut Vec<String>,
) -> Result<(), RunError> {
    let (out, state_dir) = (&*options.out, options.state_dir.as_deref());
    if is_same(folder, out)? {
        return Ok(());
    }
    if ShardSet::read(out)?.is_none() {
        let theirs = ShardSet::read(folder)?;
        let set =
            theirs.unwrap_or(ShardSet { shards: of, edition: crate::shard::HASH_EDITION, manifest: None });
        ShardSet::begin_locked(out, state_dir, &set)?;
    }
    for shard in Shard::all(of) {
        let look = ShardLook::at(folder, ShardHome::of(folder, None, shard))?;
        match (look.standing, &look.ledger) {
            (Standing::Running, _) => {
                warnings.push(format!("{}: {}; it is not taken over", folder.display(), look.reason()));
            }
            (_, Some(_)) => take(&look, folder, out, &ShardHome::of(out, state_dir, shard), warnings)?,
            (_, None) => {}
        }
    }
    Ok(())
}

fn is_same(a: &Path, b: &Path) -> Result<bool, RunError> {
    let look = |path| presence::metadata_following(path).map_err(cannot_look_at(path));
    Ok(match (look(a)?, look(b)?) {
        (Some(a), Some(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    })
}

/// Takes over one shard.
fn take(
    look: &ShardLook,
    folder: &Path,
    out: &Path,
    home: &ShardHome,
    warnings: &mut Vec<String>,
) -> Result<(), RunError> {
    let Some(theirs) = &look.ledger else { return Ok(()) };
    if let Some(ours) = ledger::open_shard_read_only(out, home)? {
        match compare(&ours, theirs)? {
            History::Known => return Ok(()),
            History::Longer => {}
            History::Another => {
                return Err(RunError::Settings(format!(
                    "shard {} is in {} and in {}: two machines have worked on it. Leave one of the folders out",
                    home.shard,
                    out.display(),
                    folder.display()
                )));
            }
        }
    }
    let Some(_locks) = ledger::lock_shard(folder, &look.home)? else {
        warnings.push(format!("{}: {}; it is not taken over", folder.display(), look.reason()));
        return Ok(());
    };
    for made in [&home.folder, &home.state] {
        create_private(made, &mut Vec::new())?;
    }
    refuse_link(&folder.join("data"))?;
    let mut files = Files::new(folder, out);
    ledger::delivered_files(theirs, |id, path, bytes, sha256| files.take(id, path, bytes, sha256))?;
    files.sync()?;
    if !files.damaged.is_empty() {
        warnings.push(files.damage_of(home));
    }
    ledger::copy_ledger(theirs, &home.ledger())?;
    sync(&home.state)?;
    ledger::withdraw(home, &files.damaged)?;
    if files.copied == 0 {
        // its images are here now
        std::fs::remove_dir_all(&look.home.folder).map_err(disk_error("removing", &look.home.folder))?;
    }
    Ok(())
}

/// What the ledger of a shard elsewhere has over the one that was taken before.
enum History {
    /// Nothing: all its runs were taken, and perhaps others came after them.
    Known,
    /// It has run again.
    Longer,
    /// They are of two machines.
    Another,
}

fn compare(ours: &Connection, theirs: &Connection) -> Result<History, RunError> {
    if ledger::export_id(ours)? != ledger::export_id(theirs)? {
        return Ok(History::Another);
    }
    let starts = |connection| -> Result<Vec<String>, RunError> {
        Ok(ledger::runs(connection)?.into_iter().map(|run| run.started_at).collect())
    };
    let (ours, theirs) = (starts(ours)?, starts(theirs)?);
    Ok(if ours.starts_with(&theirs) {
        History::Known
    } else if theirs.starts_with(&ours) {
        History::Longer
    } else {
        History::Another
    })
}

/// The images of a shard on their way.
struct Files {
    from: PathBuf,
    to: PathBuf,
    /// Folders that got a file.
    made: BTreeSet<PathBuf>,
    copied: u64,
    /// Numbers of those that are not what was delivered.
    damaged: Vec<i64>,
}

impl Files {
    fn new(from: &Path, to: &Path) -> Self {
        Self {
            from: from.to_owned(),
            to: to.to_owned(),
            made: BTreeSet::new(),
            copied: 0,
            damaged: Vec::new(),
        }
    }

    /// Moves or copies one image. One that is not what was delivered is left behind: the shard's next run finds it gone.
    fn take(&mut self, id: i64, path: &str, bytes: u64, sha256: [u8; 32]) -> Result<(), RunError> {
        let (from, to) = (self.from.join(path), self.to.join(path));
        let source = Presence::of(&from).map_err(cannot_look_at(&from))?;
        let target = Presence::of(&to).map_err(cannot_look_at(&to))?;
        match (source, target) {
            (Presence::File(file), _) if file.len() == bytes => {}
            // moved before
            (Presence::Absent, Presence::File(file)) if file.len() == bytes => return Ok(()),
            _ => {
                self.damaged.push(id);
                return Ok(());
            }
        }
        self.make_parents(path)?;
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.copied += 1;
                if !copy(&from, &to, sha256).map_err(disk_error("copying", &from))? {
                    self.damaged.push(id);
                }
                Ok(())
            }
            renamed => renamed.map_err(disk_error("moving", &from)),
        }
    }

    /// Makes the folders of an image, never through a link.
    fn make_parents(&mut self, path: &str) -> Result<(), RunError> {
        let mut folder = self.to.clone();
        let names: Vec<&str> = path.split('/').collect();
        for name in &names[..names.len() - 1] {
            self.made.insert(folder.clone());
            folder.push(name);
            if self.made.contains(&folder) {
                continue;
            }
            refuse_link(&folder)?;
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(disk_error("making", &folder)(error));
                }
                _ => {}
            }
        }
        self.made.insert(folder);
        Ok(())
    }

    /// Names the images that were not taken.
    fn damage_of(&self, home: &ShardHome) -> String {
        let images = match self.damaged.len() {
            1 => "1 image is".to_owned(),
            images => format!("{images} images are"),
        };
        let (folder, shard) = (self.from.display(), home.shard);
        format!("{folder}: {images} gone or changed since delivery; shard {shard} has to run again")
    }

    /// Makes all names durable.
    fn sync(&self) -> Result<(), RunError> {
        self.made.iter().try_for_each(|made| sync(made))
    }
}

/// Copies a file and hashes it on the way. False: its bytes are not those that were delivered, and nothing was copied.
fn copy(from: &Path, to: &Path, sha256: [u8; 32]) -> io::Result<bool> {
    let parent = to.parent().unwrap_or(Path::new("."));
    let mut source = File::open(from)?;
    let mut copied = NamedTempFile::with_prefix_in(".merge", parent)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; COPY_SIZE]);
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        copied.write_all(&buffer[..read])?;
    }
    if <[u8; 32]>::from(hash.finalize()) != sha256 {
        return Ok(false);
    }
    copied.as_file().sync_all()?;
    copied.persist(to)?;
    Ok(true)
}
