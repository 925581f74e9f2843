//! Are the files of delivered images still there, in their size? A plan and the start of a run ask this.
//!
//! All files are inspected before anything is decided. An image has vanished only if its file is known to be absent, to
//! have another size, or to be no regular file. Any other answer of the system says nothing about the image: it is the
//! error of the whole inspection. No link is followed, neither in place of a file nor of a folder above it.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::Connection;

use super::delivered::delivered_rows;
use super::fault::sqlite_error;
use crate::disk::folder::refuse_link;
use crate::disk::presence::{Presence, cannot_look_at};
use crate::error::RunError;

/// Images inspected at a time: starting the threads costs little beside inspecting them.
const INSPECTED_AT_ONCE: usize = 8192;
/// Threads that inspect files: a share answers many requests in the time of one.
const THREADS: usize = 8;
/// Folders remembered as sound.
const REMEMBERED_MAX: usize = 4096;

/// What became of the manifest's delivered images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// How many were inspected.
    pub inspected: u64,
    /// Numbers of those whose file is gone or another one, in the manifest's order.
    pub vanished: Vec<i64>,
}

struct Image {
    id: i64,
    path: String,
    bytes: u64,
}

/// Inspects the file of each delivered image of the loaded manifest. Changes nothing.
///
/// # Errors
/// If a file or folder could not be inspected, a link is in place of a folder, or the ledger cannot be read.
pub fn inspect_delivered(connection: &Connection, folder: &Path) -> Result<Inspection, RunError> {
    refuse_linked_orgs(connection, folder)?;
    let mut inspection = Inspection::default();
    let mut failed = None;
    let mut images = Vec::with_capacity(INSPECTED_AT_ONCE);
    delivered_rows(connection, |id, path, bytes| {
        images.push(Image { id, path: path.to_owned(), bytes });
        if images.len() == INSPECTED_AT_ONCE && failed.is_none() {
            failed = inspection.add(&images, folder).err();
            images.clear();
        }
        // after an error nothing more is inspected
        if failed.is_some() { Err(rusqlite::Error::QueryReturnedNoRows) } else { Ok(()) }
    })
    .or_else(|error| failed.take().map_or_else(|| Err(sqlite_error(error)), Err))?;
    inspection.add(&images, folder)?;
    Ok(inspection)
}

impl Inspection {
    /// Inspects some more images.
    fn add(&mut self, images: &[Image], folder: &Path) -> Result<(), RunError> {
        self.inspected += images.len() as u64;
        if images.len() < INSPECTED_AT_ONCE / THREADS {
            self.vanished.append(&mut vanished(images, folder)?);
            return Ok(());
        }
        std::thread::scope(|scope| {
            let share = images.len().div_ceil(THREADS);
            let threads: Vec<_> =
                images.chunks(share).map(|images| scope.spawn(move || vanished(images, folder))).collect();
            for thread in threads {
                let found = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                self.vanished.append(&mut found?);
            }
            Ok(())
        })
    }
}

/// The images without a regular file of their size under their name.
fn vanished(images: &[Image], folder: &Path) -> Result<Vec<i64>, RunError> {
    let mut notes = HashSet::new();
    let mut found = Vec::new();
    for image in images {
        if let Some((note, _)) = image.path.rsplit_once('/')
            && notes.insert(note)
        {
            refuse_link(&folder.join(note))?;
        }
        let path = folder.join(&image.path);
        match Presence::of(&path).map_err(cannot_look_at(&path))? {
            Presence::File(file) if file.len() == image.bytes => {}
            _ => found.push(image.id),
        }
    }
    Ok(found)
}

/// Refuses an export in which a link is in place of `data` or of an organization's folder.
fn refuse_linked_orgs(connection: &Connection, folder: &Path) -> Result<(), RunError> {
    let data = folder.join("data");
    refuse_link(&data)?;
    let mut select = connection.prepare("SELECT segment FROM orgs ORDER BY segment").map_err(sqlite_error)?;
    let mut rows = select.query([]).map_err(sqlite_error)?;
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        let segment: String = row.get(0).map_err(sqlite_error)?;
        refuse_link(&data.join(segment))?;
    }
    Ok(())
}

/// Refuses an export in which a link is in place of `data` or of a folder in it that holds delivered images.
///
/// # Errors
/// That of the link, or of a folder that cannot be inspected; or if the ledger cannot be read.
pub fn refuse_linked_folders(connection: &Connection, folder: &Path) -> Result<(), RunError> {
    refuse_linked_orgs(connection, folder)?;
    let mut sound = HashSet::new();
    let mut select =
        connection.prepare("SELECT path FROM images WHERE delivered = 1").map_err(sqlite_error)?;
    let mut rows = select.query([]).map_err(sqlite_error)?;
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        let path: String = row.get(0).map_err(sqlite_error)?;
        let Some((note, _)) = path.rsplit_once('/') else { continue };
        if sound.contains(note) {
            continue;
        }
        refuse_link(&folder.join(note))?;
        if sound.len() == REMEMBERED_MAX {
            sound.clear();
        }
        sound.insert(note.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: i64, path: &str) -> Image {
        Image { id, path: path.to_owned(), bytes: 1 }
    }

    #[test]
    fn only_what_is_known_to_be_gone_or_another_file_has_vanished() {
        let dir = tempfile::tempdir().expect("a folder");
        let note = dir.path().join("data/o/n");
        std::fs::create_dir_all(note.join("folder")).expect("made");
        std::fs::write(note.join("whole"), "1").expect("written");
        std::fs::write(note.join("cut"), "").expect("written");
        std::os::unix::fs::symlink("whole", note.join("link")).expect("linked");
        let names = ["whole", "gone", "cut", "link", "folder", "whole/below"];
        let images: Vec<_> =
            (0..).zip(names).map(|(id, name)| image(id, &format!("data/o/n/{name}"))).collect();
        assert_eq!(vanished(&images, dir.path()).expect("inspected"), [1, 2, 3, 4, 5]);
        let unknown = image(6, &format!("data/o/n/{}", "x".repeat(300)));
        let error = vanished(&[unknown], dir.path()).expect_err("nothing is known").to_string();
        assert!(error.contains("cannot look into") && error.contains("too long"), "{error}");
    }

    #[test]
    fn a_link_in_place_of_a_folder_is_an_error_that_names_its_target() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("data/o")).expect("made");
        std::os::unix::fs::symlink("/elsewhere", dir.path().join("data/o/n")).expect("linked");
        let error = vanished(&[image(1, "data/o/n/i.jpg")], dir.path()).expect_err("a link").to_string();
        assert!(error.contains("data/o/n is") && error.contains("/elsewhere"), "{error}");
    }

    #[test]
    fn many_images_are_inspected_by_several_threads_in_order() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("data/o/n")).expect("made");
        let images: Vec<_> = (0..2000).map(|id| image(id, &format!("data/o/n/{id}"))).collect();
        let mut inspection = Inspection::default();
        inspection.add(&images, dir.path()).expect("inspected");
        assert_eq!(inspection, Inspection { inspected: 2000, vanished: (0..2000).collect() });
    }
}
