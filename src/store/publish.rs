//! The rename of a durable part to its final name, and what guards it.
//!
//! A final name is reached by rename only, so it never shows half an image. Nothing that stands in the way is written
//! through or removed, except a regular file of that very name.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{Folder, Part};
use crate::disk::fault::failure;
use crate::error::Failure;
use crate::ledger::{Delivered, Ledger, Write};
use crate::manifest::fingerprint;

/// A part to deliver.
#[derive(Debug)]
pub struct Delivery {
    /// The whole, validated part.
    pub part: Part,
    /// What the ledger will record about it, final path included.
    pub record: Delivered,
}

impl Delivery {
    /// Whether the final name belongs to an earlier delivery of this image.
    fn replaces_same_name(&self) -> bool {
        self.record.item.replaces.as_deref() == Some(&*self.record.path)
    }
}

/// Withdraws the earlier deliveries whose names are about to get other bytes: if the run dies between the two, the
/// ledger must not vouch for the old ones.
pub(super) fn revoke_replaced<'a>(
    deliveries: impl Iterator<Item = &'a Delivery>,
    ledger: &Ledger,
) -> Result<(), Failure> {
    let replaced = deliveries.filter(|delivery| delivery.replaces_same_name());
    let writes: Vec<_> = replaced.map(|delivery| Write::Replacing(delivery.record.item.seq)).collect();
    if writes.is_empty() { Ok(()) } else { record(writes, ledger) }
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
    match std::fs::symlink_metadata(&target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failure("inspecting", &target)(error)),
        Ok(there) if !there.is_file() => {
            let what = format!("{} is in the way and is no plain file; move it away", target.display());
            return Err(Failure::Disk(what));
        }
        Ok(_) => warn_of_replacement(delivery, &target)?,
    }
    check_same_file(&delivery.part)?;
    std::fs::rename(&delivery.part.path, &target).map_err(failure("naming", &target))?;
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

/// The final name exists, and the ledger does not count it as delivered. It is replaced; if its bytes differ, the row
/// gets a warning.
fn warn_of_replacement(delivery: &mut Delivery, target: &Path) -> Result<(), Failure> {
    let expected = delivery.replaces_same_name();
    let there = File::open(target).and_then(fingerprint).map_err(failure("reading", target))?;
    if there == delivery.record.sha256 {
        return Ok(());
    }
    let warning = &mut delivery.record.warning;
    if !warning.is_empty() {
        warning.push_str("; ");
    }
    warning.push_str(match (expected, delivery.record.item.wanted) {
        (true, None) => "replaced a file that had changed since it was delivered",
        // the file may be as it was delivered, and the manifest asks for another hash
        (true, Some(_)) => "replaced a file of other content from an earlier delivery",
        (false, _) => "replaced a file of other content that was not recorded as delivered",
    });
    Ok(())
}

/// Makes `data/<org>/<note>`, and adds every folder above it to those to be made durable: one that exists may have been
/// made moments before an earlier run was killed. A link in the way is refused: the image would leave the export.
fn make_folders(path: &Path, folder: &Folder, folders: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    if path == folder.root || folders.contains(path) {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(&folder.root);
    make_folders(parent, folder, folders)?;
    folders.insert(parent.to_owned());
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => {
            Err(Failure::Disk(format!("{} is in the way and is no folder; move it away", path.display())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::DirBuilder::new().mode(0o700).create(path).map_err(failure("making", path))
        }
        Err(error) => Err(failure("inspecting", path)(error)),
    }
}

/// Removes the file of an earlier delivery under another extension, which is no longer this image's.
pub(super) fn remove_replaced(delivery: &Delivery, folder: &Folder) {
    if let Some(old) = &delivery.record.item.replaces
        && *old != delivery.record.path
        && let Err(error) = std::fs::remove_file(folder.root.join(old))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(line = delivery.record.item.line, "the file of an earlier delivery stays: {error}");
    }
}

#[cfg(test)]
mod tests {
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
