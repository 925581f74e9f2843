//! Puts finished reports in the place of the old ones, one by one.
//!
//! A report that cannot be replaced does not keep the others back: it stays as it was, whole, and is named at the end.
//! Where another program holds a file (a spreadsheet on a share), the rename is tried for a while. The reports of an
//! earlier run on another manifest are kept before their successors take their names.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::archive::{self, Previous};
use super::atomic::{Draft, Durable, TagFile};
use crate::disk::presence::Presence;

/// How long a report that another program holds is tried: long enough for a scanner or an indexer, too short for a
/// person to close a window.
const HELD_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to replace held reports.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of an old report that are hashed at a time.
const READ_SIZE: usize = 128 * 1024;

/// The reports of one folder while they are replaced.
pub(super) struct Replacer<'folder> {
    folder: &'folder Path,
    previous: io::Result<Option<Previous>>,
    replaced: Vec<TagFile>,
    held: Vec<Durable>,
    refused: Vec<Refused>,
}

/// A report that could not be replaced.
pub(super) struct Refused {
    pub name: &'static str,
    pub error: io::Error,
}

impl<'folder> Replacer<'folder> {
    /// `manifest_sha256`: the manifest that the new reports are about.
    pub fn begin(folder: &'folder Path, manifest_sha256: &str) -> Self {
        let previous = Previous::find(folder, manifest_sha256);
        Self { folder, previous, replaced: Vec::new(), held: Vec::new(), refused: Vec::new() }
    }

    /// Where they are.
    pub const fn folder(&self) -> &'folder Path {
        self.folder
    }

    /// Makes the draft durable and replaces the old report, unless another program holds it.
    pub fn replace(&mut self, draft: Draft) {
        let name = draft.name();
        match draft.finish() {
            Ok(durable) => self.try_replace(durable, true),
            Err(error) => self.refuse(name, error),
        }
    }

    /// Writes one report and replaces the old one.
    pub fn write<T, E>(
        &mut self,
        name: &'static str,
        write: impl FnOnce(&mut Draft) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut draft = Draft::create(self.folder, name);
        let written = write(&mut draft)?;
        self.replace(draft);
        Ok(written)
    }

    /// Replaces the reports that were held, as soon as that is possible; the time is limited.
    pub fn settle(&mut self) {
        let started = Instant::now();
        while !self.held.is_empty() {
            std::thread::sleep(RETRY_INTERVAL);
            let waits = started.elapsed() < HELD_TIMEOUT;
            for durable in std::mem::take(&mut self.held) {
                self.try_replace(durable, waits);
            }
        }
    }

    pub fn refuse(&mut self, name: &'static str, error: io::Error) {
        self.refused.push(Refused { name, error });
    }

    pub const fn refused(&self) -> &Vec<Refused> {
        &self.refused
    }

    /// The reports that are there now, with their hashes: the new ones, and the old ones that stayed. One that cannot
    /// be read is left out; a bag need not list all its tag files (RFC 8493, 2.2.1).
    pub fn tags(&self) -> Vec<TagFile> {
        let of = |tag: &TagFile| TagFile { name: tag.name, sha256: tag.sha256 };
        let old = |refused: &Refused| {
            let sha256 = hash(&self.folder.join(refused.name)).ok()??;
            Some(TagFile { name: refused.name, sha256 })
        };
        self.replaced.iter().map(of).chain(self.refused.iter().filter_map(old)).collect()
    }

    /// `waits`: a report that is held is kept for [`Replacer::settle`].
    fn try_replace(&mut self, durable: Durable, waits: bool) {
        let name = durable.name;
        let replaced = match self.keep_previous(name) {
            Ok(()) => durable.replace(self.folder),
            Err(error) => Err((durable, error)),
        };
        match replaced {
            Ok(tag) => self.replaced.push(tag),
            Err((durable, error)) if waits && is_held(&error) => self.held.push(durable),
            Err((_, error)) => self.refuse(name, error),
        }
    }

    fn keep_previous(&self, name: &str) -> io::Result<()> {
        match &self.previous {
            _ if !archive::FILES.contains(&name) => Ok(()),
            Ok(None) => Ok(()),
            Ok(Some(previous)) => previous.keep(name),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

/// Whether another program may hold the file, and may let it go.
fn is_held(error: &io::Error) -> bool {
    use io::ErrorKind::{ExecutableFileBusy, PermissionDenied, ResourceBusy};
    matches!(error.kind(), PermissionDenied | ResourceBusy | ExecutableFileBusy)
}

/// The hash of a regular file; `None` for anything else.
pub(super) fn hash(path: &Path) -> io::Result<Option<[u8; 32]>> {
    let Presence::File(_) = Presence::of(path)? else { return Ok(None) };
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; READ_SIZE]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Some(hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// Whether the file system takes no more: an error that a person mends otherwise than by closing a program.
pub(super) fn has_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}
