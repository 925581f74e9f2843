//! The file that has the final name of a new delivery.
//!
//! It is replaced whether or not it can be read, but no bytes are lost that somebody may have put there: a file that was
//! not delivered, is not as it was delivered, or cannot be read, is moved to `replaced/` first, durably, and never over
//! another file.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use super::Folder;
use super::folders::make_folders;
use super::sync::sync_each;
use crate::disk::fault::{failure, rename_failure};
use crate::disk::presence::{self, Presence};
use crate::error::Failure;
use crate::error::disk_cause::MOVING_AWAY;
use crate::item::{Earlier, Sha256};
use crate::layout::REPLACED;
use crate::ledger::Delivered;
use crate::manifest::fingerprint;

/// What is said of a file whose bytes are not those of its delivery.
const EDITED: &str = "that had changed since it was delivered";

/// A plain file has the final name. Returns the warning for the row, if it deserves one.
pub(super) fn make_way(
    record: &Delivered,
    folder: &Folder,
    target: &Path,
    there: &Metadata,
) -> Result<Option<String>, Failure> {
    let earlier = record.item.replaces.as_ref().filter(|earlier| earlier.path == record.path);
    let Some(earlier) = earlier else {
        return match compare(target, there, [record.bytes; 2], &[record.sha256]) {
            Content::Known(_) => Ok(None),
            unknown => set_aside(folder, &record.path, "that was not delivered", &unknown).map(Some),
        };
    };
    let sizes = [earlier.bytes, record.bytes];
    match compare(target, there, sizes, &[record.sha256, earlier.sha256]) {
        Content::Known(found) if found == record.sha256 => Ok(None),
        Content::Known(_) => Ok(Some("replaced a file of other content from an earlier delivery".to_owned())),
        unknown => set_aside(folder, &earlier.path, EDITED, &unknown).map(Some),
    }
}

/// The earlier delivery had another name, which is about to be removed. Returns the warning for the row, if somebody
/// may have edited that file.
pub(super) fn keep_edited(earlier: &Earlier, folder: &Folder) -> Result<Option<String>, Failure> {
    let path = folder.root.join(&earlier.path);
    let Presence::File(there) = Presence::of(&path).map_err(failure("inspecting", &path))? else {
        return Ok(None);
    };
    match compare(&path, &there, [earlier.bytes; 2], &[earlier.sha256]) {
        Content::Known(_) => Ok(None),
        unknown => set_aside(folder, &earlier.path, EDITED, &unknown).map(Some),
    }
}

/// What a file holds.
enum Content {
    /// Bytes of one of the hashes that were asked about.
    Known(Sha256),
    Other,
    Unreadable(io::Error),
}

fn compare(path: &Path, there: &Metadata, sizes: [u64; 2], known: &[Sha256]) -> Content {
    if !sizes.contains(&there.len()) {
        return Content::Other;
    }
    match hash(path) {
        Ok(found) if known.contains(&found) => Content::Known(found),
        Ok(_) => Content::Other,
        Err(error) => Content::Unreadable(error),
    }
}

fn hash(path: &Path) -> io::Result<Sha256> {
    File::open(path).and_then(fingerprint)
}

/// Moves the file at `path` in the export to `replaced/`, durably. Returns the warning that names it; `origin` says
/// what kind of file it was, if it could be read.
fn set_aside(folder: &Folder, path: &str, origin: &str, content: &Content) -> Result<String, Failure> {
    let name = set_aside_unknown(folder, path)?;
    Ok(match content {
        Content::Unreadable(error) => {
            format!("replaced a file that could not be read ({error}): it is now {name}")
        }
        _ => format!("replaced a file {origin}: it is now {name}"),
    })
}

/// Moves the file at `path` in the export to `replaced/`, durably. Returns its new path in the export.
pub(super) fn set_aside_unknown(folder: &Folder, path: &str) -> Result<String, Failure> {
    let old = folder.root.join(path);
    let natural = natural_name(path);
    let mut folders = BTreeSet::new();
    let parent = folder.root.join(&natural);
    let parent = parent.parent().unwrap_or(&folder.root);
    make_folders(parent, folder, &mut folders)?;
    let name = free_name(folder, &natural)?;
    std::fs::rename(&old, folder.root.join(&name)).map_err(rename_failure(MOVING_AWAY, &old))?;
    folders.insert(parent.to_owned());
    // durable before the name gets other bytes
    sync_each(&folders)?;
    Ok(name)
}

/// The name in `replaced/` for a file at `path` in the export.
fn natural_name(path: &str) -> String {
    REPLACED.to_owned() + path.strip_prefix("data/").unwrap_or(path)
}

/// The name, or with the first of `.2`, `.3` … behind it that is free.
fn free_name(folder: &Folder, natural: &str) -> Result<String, Failure> {
    Ok(names_beside(folder, natural)?.1)
}

/// The file that was moved last from `path` in the export to `replaced/`, if any was.
pub(super) fn last_set_aside(folder: &Folder, path: &str) -> Result<Option<String>, Failure> {
    Ok(names_beside(folder, &natural_name(path))?.0)
}

/// The last of the names `natural`, `natural.2`, `natural.3` … that is in use, and the first that is free.
fn names_beside(folder: &Folder, natural: &str) -> Result<(Option<String>, String), Failure> {
    let (mut last, mut name) = (None, natural.to_owned());
    for number in 2_u64.. {
        let path = folder.root.join(&name);
        if !presence::exists(&path).map_err(failure("inspecting", &path))? {
            break;
        }
        last = Some(std::mem::replace(&mut name, format!("{natural}.{number}")));
    }
    Ok((last, name))
}
