//! Files that operating systems and file servers leave in every folder that is shown to them.

/// A folder that a Synology server makes beside the files that it indexes.
const INDEX_FOLDER: &[u8] = b"@eaDir";

/// Whether a path names litter. No image can have such a path: its name begins with neither `.` nor `@`, and ends in an
/// extension that the layout knows.
pub(super) fn is_litter(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    name == b".DS_Store"
        || name.starts_with(b"._")
        || name.starts_with(b".nfs")
        // Windows ignores case
        || name.eq_ignore_ascii_case(b"Thumbs.db")
        || name.eq_ignore_ascii_case(b"desktop.ini")
        || path.split(|byte| *byte == b'/').any(|part| part == INDEX_FOLDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn litter_is_known_by_its_name_in_any_folder() {
        for path in [
            "data/.DS_Store",
            "data/o/n/._i.jpg",
            "data/o/Thumbs.db",
            "data/o/Desktop.ini",
            "data/@eaDir",
            "data/o/@eaDir/n/i.jpg",
            "data/o/n/.nfs000000000000002a00000001",
        ] {
            assert!(is_litter(path.as_bytes()), "{path}");
        }
        for path in
            ["data/o/n/i.jpg", "data/.hidden", "data/o/DS_Store", "data/o/my@eaDir", "data/Thumbs.db.jpg"]
        {
            assert!(!is_litter(path.as_bytes()), "{path}");
        }
    }
}
