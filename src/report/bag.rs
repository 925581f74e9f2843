//! The files that make the export folder a bag (RFC 8493, `BagIt`).
//!
//! The payload manifest names every delivered image, of earlier manifests too, in the format that
//! `sha256sum -c` reads. Paths need no escaping in it, since `layout` makes none with a line end or `%`. The images
//! are not read here; that is the work of `verify`.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rusqlite::Connection;

use super::atomic::TagFile;
use super::{ReportError, Summary};
use crate::disk::presence::Presence;
use crate::item::hex;
use crate::ledger::columns::{bytes, number};

/// Totals of the payload manifest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Payload {
    pub bytes: u64,
    pub images: u64,
}

/// Creates `data/`: a bag has its payload folder even if it is empty. A link of that name is not followed.
pub(super) fn make_payload_folder(folder: &Path) -> io::Result<()> {
    let data = folder.join("data");
    let shown = data.display();
    match Presence::of(&data) {
        Ok(Presence::Folder(_)) => Ok(()),
        Ok(Presence::Absent) => match DirBuilder::new().mode(0o700).create(&data) {
            // a shard of this export has just made it
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => make_payload_folder(folder),
            made => made.map_err(|error| {
                io::Error::new(error.kind(), format!("failed to create directory `{shown}`: {error}"))
            }),
        },
        Ok(Presence::Link(target)) => {
            let what = format!("`{shown}` is a symbolic link to {}; make it a folder", target.display());
            Err(io::Error::other(what))
        }
        Ok(_) => Err(io::Error::other(format!("`{shown}` is no folder; move it away"))),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot look into {shown}: {error}"))),
    }
}

/// `manifest-sha256.txt`, sorted by the bytes of the path.
pub(super) fn write_manifest(conn: &Connection, out: &mut impl Write) -> Result<Payload, ReportError> {
    let mut images =
        conn.prepare("SELECT path, sha256, bytes FROM images WHERE delivered = 1 ORDER BY path")?;
    let mut images = images.query([])?;
    let mut payload = Payload::default();
    while let Some(image) = images.next()? {
        out.write_all(hex(bytes(image, 1)?).as_bytes())?;
        out.write_all(b"  ")?;
        out.write_all(bytes(image, 0)?)?;
        out.write_all(b"\n")?;
        payload.bytes += number(image, 2)?.unwrap_or_default();
        payload.images += 1;
    }
    Ok(payload)
}

/// `bagit.txt`: exactly these two lines (RFC 8493, 2.1.1).
pub(super) fn write_declaration(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
}

/// `bag-info.txt` (RFC 8493, 2.2.2). Without a run in the ledger it has only the sizes.
pub(super) fn write_info(summary: &Summary, payload: Payload, out: &mut impl Write) -> io::Result<()> {
    if !summary.version.is_empty() {
        writeln!(out, "Bag-Software-Agent: exporter {}", summary.version)?;
    }
    if let Some(date) = summary.finished_at.get(..10) {
        writeln!(out, "Bagging-Date: {date}")?;
    }
    if !summary.manifest_sha256.is_empty() {
        writeln!(out, "Internal-Sender-Description: SHA-256 of the CSV manifest that was exported last")?;
        writeln!(out, "Internal-Sender-Identifier: {}", summary.manifest_sha256)?;
    }
    writeln!(out, "Payload-Oxum: {}.{}", payload.bytes, payload.images)
}

/// `tagmanifest-sha256.txt`, sorted by name.
pub(super) fn write_tags(tags: &mut [TagFile], out: &mut impl Write) -> io::Result<()> {
    tags.sort_unstable_by_key(|tag| tag.name);
    for tag in tags {
        writeln!(out, "{}  {}", hex(&tag.sha256), tag.name)?;
    }
    Ok(())
}
