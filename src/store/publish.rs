//! The rename of a durable part to its final name, and what guards it.
//!
//! A final name is reached by rename only, so it never shows half an image. Nothing that stands in the way is written
//! through or removed, except a regular file of that very name.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::folders::make_folders;
use super::obstacle::not_a_file;
use super::replaced::{keep_edited, make_way};
use super::{Folder, Part};
use crate::disk::fault::{failure, rename_failure};
use crate::disk::presence::{self, Presence};
use crate::error::Failure;
use crate::error::disk_cause::NAMING;
use crate::ledger::{Delivered, Ledger, Write};

/// A part to deliver.
#[derive(Debug)]
pub struct Delivery {
    /// The whole, validated part.
    pub part: Part,
    /// What the ledger will record about it, final path included.
    pub record: Delivered,
}

impl Delivery {
    /// Adds a warning to the row, once.
    fn warn(&mut self, remark: Option<String>) {
        let warning = &mut self.record.warning;
        let Some(remark) = remark.filter(|remark| !warning.contains(remark.as_str())) else { return };
        if !warning.is_empty() {
            warning.push_str("; ");
        }
        warning.push_str(&remark);
    }
}

/// Writes to the ledger and waits until that is durable.
pub(super) fn record(writes: Vec<Write>, ledger: &Ledger) -> Result<(), Failure> {
    ledger.write_blocking(writes).map_err(|error| Failure::ledger(&error))
}

/// Moves a durable part to its final name. The folders to be made durable for it are added to `folders`.
pub(super) fn rename_into_place(
    delivery: &mut Delivery,
    folder: &Folder,
    folders: &mut BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    let target = folder.root.join(&delivery.record.path);
    let parent = target.parent().unwrap_or(&folder.root);
    make_folders(parent, folder, folders)?;
    let remark = match Presence::of(&target).map_err(failure("inspecting", &target))? {
        Presence::Absent => None,
        Presence::File(there) => make_way(&delivery.record, folder, &target, &there)?,
        _ => return Err(Failure::Obstacle(not_a_file(&target))),
    };
    // remembered at once: a second attempt at the rename finds nothing in its place any more
    delivery.warn(remark);
    if let Some(old) = delivery.record.item.replaces.as_ref().filter(|old| old.path != delivery.record.path) {
        let kept = keep_edited(old, folder)?;
        delivery.warn(kept);
    }
    check_same_file(&delivery.part)?;
    std::fs::rename(&delivery.part.path, &target).map_err(rename_failure(NAMING, &target))?;
    folders.insert(parent.to_owned());
    Ok(())
}

/// Checks that the part's path still leads to the file that was written and hashed: another program, or another run
/// with a ledger of its own, may have replaced it.
fn check_same_file(part: &Part) -> Result<(), Failure> {
    let written = part.file.metadata().map_err(failure("inspecting", &part.path))?;
    let named = std::fs::symlink_metadata(&part.path).map_err(failure("inspecting", &part.path))?;
    let same = (written.dev(), written.ino()) == (named.dev(), named.ino());
    if same && written.len() == part.bytes {
        Ok(())
    } else {
        Err(Failure::Disk(format!("{} was changed by another program", part.path.display())))
    }
}

/// Removes the file of an earlier delivery under another extension, which is no longer this image's.
pub(super) fn remove_replaced(delivery: &Delivery, folder: &Folder) {
    if let Some(old) = &delivery.record.item.replaces
        && old.path != delivery.record.path
        && let Err(error) = std::fs::remove_file(folder.root.join(&old.path))
        && !presence::is_absence(&error)
    {
        tracing::warn!(line = delivery.record.item.line, "the file of an earlier delivery stays: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::PartWriter;

    async fn part(path: &Path) -> Part {
        let mut writer = PartWriter::new(path.to_owned(), &[]);
        writer.push(bytes::Bytes::from_static(b"image")).await.expect("accepted");
        writer.flush_buffer().await.expect("written");
        writer.finish().await.expect("written")
    }

    #[tokio::test]
    async fn only_the_file_that_was_written_gets_the_final_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.part");
        let fine = part(&path).await;
        assert_eq!(check_same_file(&fine), Ok(()));
        std::fs::write(dir.path().join("other"), b"other").expect("written");
        std::fs::rename(dir.path().join("other"), &path).expect("replaced");
        assert!(check_same_file(&fine).is_err(), "another file of that size");
        let cut = part(&path).await;
        cut.file.set_len(3).expect("cut");
        assert!(check_same_file(&cut).is_err());
        let gone = part(&path).await;
        std::fs::remove_file(&path).expect("removed");
        assert!(check_same_file(&gone).is_err());
    }
}
