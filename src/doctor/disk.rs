//! The export folder on its real disk: everything that a run does with files is tested in a folder of the doctor's own,
//! which is removed again.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Checks, DoctorOptions, data, disk_trouble, without_path};
use crate::disk::presence::{self, Presence, cannot_look_at};
use crate::disk::{FreeSpace, nearest_existing};
use crate::error::RunError;
use crate::layout;

/// Bytes of the test file.
const FILE_SIZE: usize = 64 * 1024;
/// A run waits for a disk whose flush takes longer.
const SLOW_FLUSH: Duration = Duration::from_secs(1);
/// Fewer free inodes are few for an export.
const FREE_FILES_MIN: u64 = 10_000;
/// A lower limit of open files slows a run down.
const OPEN_FILES_MIN: u64 = 256;

const ANOTHER: &str = "choose a folder on another file system with -o";

pub(super) fn check(options: &DoctorOptions, checks: &mut Checks) {
    let out = &*options.out;
    let nearest = match found_folder(out, checks) {
        Ok(Some(nearest)) => nearest,
        Ok(None) => return,
        Err(error) => {
            let (found, remedy) = disk_trouble(&error);
            return checks.problem("folder", found, &remedy);
        }
    };
    let own = tempfile::Builder::new()
        .prefix(".exporter-doctor-")
        .permissions(PermissionsExt::from_mode(0o700))
        .tempdir_in(&nearest);
    match own {
        Ok(own) => {
            file_operations(own.path(), checks);
            if let Err(error) = own.close() {
                checks.warning("write", format!("a file cannot be removed: {error}"), ANOTHER);
            }
        }
        Err(error) => checks.problem(
            "write",
            format!("nothing can be created in {}: {}", nearest.display(), without_path(&error)),
            "give this user the right to write there, or choose another folder with -o",
        ),
    }
    room(&nearest, options.min_free, checks);
    let open = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    if open < OPEN_FILES_MIN {
        let found = format!("{open} files may be open at a time");
        checks.warning("open_files", found, "allow more (ulimit -n 1024), or fewer images are in flight");
    } else {
        checks.ok("open_files", format!("{open} files may be open at a time"));
    }
}

/// The folder, or the one in which it can be created. `None`: nothing else need be tried.
fn found_folder(out: &Path, checks: &mut Checks) -> Result<Option<PathBuf>, RunError> {
    let place = nearest_existing(out)?;
    Ok(folder(out, &place, checks)?.then_some(place))
}

/// Whether there is, or can be, a folder.
fn folder(out: &Path, place: &Path, checks: &mut Checks) -> Result<bool, RunError> {
    const NAME: &str = "folder";
    if !presence::is_folder(place).map_err(cannot_look_at(place))? {
        let found = format!("{} is in the way and is no folder", place.display());
        checks.problem(NAME, found, "move it away, or choose another folder with -o");
        return Ok(false);
    }
    let data = out.join("data");
    let there = Presence::of(&data).map_err(cannot_look_at(&data))?;
    if !matches!(there, Presence::Absent | Presence::Folder(_)) {
        let what = match there {
            Presence::Link(target) => format!("a link to {}", target.display()),
            _ => "a file".to_owned(),
        };
        let found = format!("{} is no folder but {what}", data.display());
        checks.problem(
            NAME,
            found,
            "a run does not follow links: make it a folder, or mount the disk at the export folder",
        );
        return Ok(false);
    }
    let outer = presence::metadata_following(out).map_err(cannot_look_at(out))?;
    if let (Presence::Folder(inner), Some(outer)) = (&there, &outer)
        && inner.dev() != outer.dev()
    {
        let found = format!("{} is on another disk than {}", data.display(), out.display());
        checks.problem(
            NAME,
            found,
            "mount the disk at the export folder itself: images are renamed inside it, which needs one file system",
        );
        return Ok(false);
    }
    if matches!(there, Presence::Folder(_))
        && let Some(obstacle) = data::obstacle(&data)
    {
        checks.problem(NAME, obstacle.found, obstacle.remedy);
        return Ok(false);
    }
    if outer.is_some() {
        checks.ok(NAME, format!("{} is there", out.display()));
    } else {
        checks.ok(NAME, format!("{} is not there yet; a run creates it", out.display()));
    }
    Ok(true)
}

/// What a run does with files, in the doctor's own folder.
fn file_operations(own: &Path, checks: &mut Checks) {
    let file = own.join("file");
    match write(&file) {
        Ok(()) => checks.ok("write", "files can be written and read back"),
        Err(error) => {
            return checks.problem("write", format!("a file cannot be written: {error}"), ANOTHER);
        }
    }
    check_flush(own, &file, checks);
    check_rename(own, &file, checks);
    check_modes(own, checks);
    check_case(own, checks);
    check_long_names(own, checks);
}

fn check_flush(own: &Path, file: &Path, checks: &mut Checks) {
    const NAME: &str = "fsync";
    let started = Instant::now();
    let flushed = File::open(file)
        .and_then(|file| file.sync_all())
        .and_then(|()| File::open(own).and_then(|folder| folder.sync_all()));
    let took = started.elapsed();
    let found = format!("a flush took {} ms", took.as_millis());
    match flushed {
        Err(error) => checks.problem(
            NAME,
            format!("the disk does not confirm what was written: {error}"),
            "choose a file system that does: without that no image is safe from a power cut",
        ),
        Ok(()) if took > SLOW_FLUSH => checks.warning(NAME, found, "a faster disk makes runs faster"),
        Ok(()) => checks.ok(NAME, found),
    }
}

fn check_rename(own: &Path, file: &Path, checks: &mut Checks) {
    const NAME: &str = "rename";
    let renamed = std::fs::write(own.join("other"), "other")
        .and_then(|()| std::fs::rename(own.join("other"), file))
        .and_then(|()| std::fs::read(file));
    match renamed {
        Ok(bytes) if bytes == b"other" => checks.ok(NAME, "a file can replace another"),
        Ok(_) => checks.problem(NAME, "a renamed file has other bytes", ANOTHER),
        Err(error) => checks.problem(NAME, format!("a file cannot replace another: {error}"), ANOTHER),
    }
}

fn check_modes(own: &Path, checks: &mut Checks) {
    const NAME: &str = "modes";
    match modes(own) {
        Ok(true) => checks.ok(NAME, "files and folders can be restricted to their owner"),
        Ok(false) => checks.warning(
            NAME,
            "the file system keeps no modes: other users of this machine may read the images",
            "mount it for this user alone (umask=077), or choose another file system with -o",
        ),
        Err(error) => checks.problem(NAME, error.to_string(), ANOTHER),
    }
}

fn check_case(own: &Path, checks: &mut Checks) {
    const NAME: &str = "case";
    match std::fs::write(own.join("Case"), "").and_then(|()| presence::exists(&own.join("cASE"))) {
        Ok(true) => checks.ok(NAME, "ignored by the file system: ids that differ only in case get a hash"),
        Ok(false) => checks.ok(NAME, "distinguished"),
        Err(error) => checks.problem(NAME, error.to_string(), ANOTHER),
    }
}

fn check_long_names(own: &Path, checks: &mut Checks) {
    const NAME: &str = "long_names";
    match long_names(own) {
        Ok(()) => checks.ok(NAME, "names of 255 bytes are possible"),
        Err(error) => checks.problem(
            NAME,
            format!("a file with a long id cannot be named: {error}"),
            "choose a file system that permits names of 255 bytes, or a folder with a shorter path",
        ),
    }
}

fn write(path: &Path) -> io::Result<()> {
    let bytes: Vec<u8> = (0..FILE_SIZE).map(|n| u8::try_from(n % 251).unwrap_or_default()).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    let mut back = Vec::with_capacity(FILE_SIZE);
    File::open(path)?.read_to_end(&mut back)?;
    if back == bytes { Ok(()) } else { Err(io::Error::other("the bytes read back are others")) }
}

/// Whether the file system keeps modes.
fn modes(own: &Path) -> io::Result<bool> {
    DirBuilder::new().mode(0o700).create(own.join("private"))?;
    let mode =
        |name: &str| Ok::<_, io::Error>(std::fs::metadata(own.join(name))?.permissions().mode() & 0o777);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(own.join("private/file"))?;
    Ok(mode("private")? == 0o700 && mode("private/file")? == 0o600)
}

/// Names as the longest ids of organization, note and image make them.
fn long_names(own: &Path) -> io::Result<()> {
    let long = "x".repeat(layout::MAX_SEGMENT);
    let folder = own.join(&long).join(&long);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("{long}{}", ".heic")), "")
}

fn room(folder: &Path, min_free: u64, checks: &mut Checks) {
    let room = match FreeSpace::at(folder) {
        Ok(room) => room,
        Err(error) => return checks.problem("free_space", error.to_string(), ANOTHER),
    };
    let found = format!("{} MiB are free", room.bytes >> 20);
    if room.bytes < min_free {
        let remedy = "make room, or choose another disk with -o: a run leaves --min-free free";
        checks.problem("free_space", format!("{found}, fewer than --min-free"), remedy);
    } else {
        checks.ok("free_space", found);
    }
    match room.files {
        None => checks.ok("inodes", "not counted by the file system"),
        Some(0) => {
            checks.problem("inodes", "no more files can be created", "remove files, or choose another disk");
        }
        Some(files) if files < FREE_FILES_MIN => {
            let remedy = "compare this with the images of the manifest; a disk formatted with more inodes has room for more";
            checks.warning("inodes", format!("{files} more files can be created"), remedy);
        }
        Some(files) => checks.ok("inodes", format!("{files} more files can be created")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn an_ordinary_folder_passes_every_check() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("own");
        std::fs::create_dir(&own).expect("made");
        let mut checks = Checks::default();
        file_operations(&own, &mut checks);
        let names: Vec<_> = checks.0.iter().map(|check| check.name).collect();
        assert_eq!(names, ["write", "fsync", "rename", "modes", "case", "long_names"]);
        for check in &checks.0 {
            assert_ne!(check.result, Outcome::Problem, "{check:?}");
        }
    }

    #[test]
    fn a_disk_with_less_space_than_must_stay_free_is_a_problem() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut checks = Checks::default();
        room(folder.path(), u64::MAX, &mut checks);
        assert_eq!((checks.0[0].name, checks.0[0].result), ("free_space", Outcome::Problem));
    }

    #[test]
    fn a_file_or_a_link_in_the_way_is_a_problem() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        let found = |out: &Path| {
            let mut checks = Checks::default();
            found_folder(out, &mut checks).expect("looked at");
            checks.0.remove(0).result
        };
        assert_eq!(found(&file), Outcome::Problem);
        assert_eq!(found(&folder.path().join("new/er")), Outcome::Ok);
        std::os::unix::fs::symlink("/", folder.path().join("data")).expect("linked");
        assert_eq!(found(folder.path()), Outcome::Problem);
    }
}
