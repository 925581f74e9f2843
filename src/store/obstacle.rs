//! What stands in the place of an image's file or folders, found before a request is spent on it.
//!
//! The extension is not known yet, so a folder, a pipe or a link under any of the names that the image may get counts.
//! What cannot be inspected is left to the attempt.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Folder;
use crate::disk::fault::failure;
use crate::disk::presence::Presence;
use crate::error::Failure;
use crate::error::disk_cause::IN_THE_WAY;
use crate::image::Format;
use crate::item::Item;
use crate::layout::with_extension;

/// The folders on the way to images, as they were found.
#[derive(Debug, Default)]
pub(crate) struct Obstacles {
    folders: HashMap<PathBuf, Way>,
}

/// What is known of a folder on the way to an image.
#[derive(Clone, Debug)]
enum Way {
    /// It is there, or it cannot be inspected.
    Open,
    /// Nothing is there yet: nothing can be below it.
    Missing,
    Blocked(String),
    /// A link: no image is ever written through one.
    Linked(String),
}

impl Obstacles {
    /// Why no attempt at the image can succeed, if that can be seen.
    pub(crate) fn of(&mut self, item: &Item, folder: &Folder) -> Result<(), Failure> {
        let stem = folder.root().join(&item.stem);
        let parent = stem.parent().unwrap_or(folder.root());
        match self.way(parent, folder.root()) {
            Way::Missing => return Ok(()),
            Way::Blocked(what) => return Err(Failure::Obstacle(what)),
            Way::Linked(what) => return Err(Failure::DiskFatal { what }),
            Way::Open => {}
        }
        let extensions = Format::ALL.into_iter().map(Format::extension).chain(["bin"]);
        let names = extensions.map(|extension| with_extension(&item.stem, extension));
        names.map(|name| folder.root().join(name)).try_for_each(|path| file_obstacle(&path))
    }

    fn way(&mut self, path: &Path, root: &Path) -> Way {
        if path == root {
            return Way::Open;
        }
        if let Some(known) = self.folders.get(path) {
            return known.clone();
        }
        let above = path.parent().map_or(Way::Open, |parent| self.way(parent, root));
        let way = if matches!(above, Way::Open) { folder_at(path) } else { above };
        self.folders.insert(path.to_owned(), way.clone());
        way
    }
}

fn folder_at(path: &Path) -> Way {
    match Presence::of(path) {
        Ok(Presence::Folder(_)) | Err(_) => Way::Open,
        Ok(Presence::Absent) => Way::Missing,
        Ok(Presence::Link(target)) => Way::Linked(linked(path, &target)),
        Ok(Presence::File(_) | Presence::Other(_)) => Way::Blocked(not_a_folder(path)),
    }
}

/// A link in the place of a folder of the export.
pub(super) fn linked(path: &Path, target: &Path) -> String {
    let (path, target) = (path.display(), target.display());
    format!("{path}{IN_THE_WAY}a link to {target}: images are not written through links; move it away")
}

/// Something else in the place of a folder of the export.
pub(super) fn not_a_folder(path: &Path) -> String {
    format!("{}{IN_THE_WAY}no folder; move it away", path.display())
}

/// Refuses what is neither a plain file nor absent.
fn file_obstacle(path: &Path) -> Result<(), Failure> {
    match Presence::of(path) {
        Ok(Presence::Absent | Presence::File(_)) => Ok(()),
        Ok(_) => Err(Failure::Obstacle(not_a_file(path))),
        Err(error) => match failure("naming", path)(error) {
            name @ Failure::Obstacle(_) => Err(name),
            _ => Ok(()),
        },
    }
}

/// Something else in the place of an image's file.
pub(super) fn not_a_file(path: &Path) -> String {
    format!("{}{IN_THE_WAY}no plain file; move it away", path.display())
}
