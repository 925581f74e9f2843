//! A manifest, read twice: whatever the buffer's size, the same rows come out. No row's ids leave the export folder,
//! and the line that goes into `failed.csv` is read as the same row again.
#![no_main]

use std::io::BufReader;

use exporter::layout;
use exporter::manifest::{Entry, Manifest, ManifestOptions, Row};

fn read(data: &[u8], buffer: usize, options: &ManifestOptions) -> Option<(Vec<u8>, Vec<Entry>)> {
    let mut manifest = Manifest::open(BufReader::with_capacity(buffer, data), options).ok()?;
    let raw = manifest.header().raw().to_vec();
    let entries = manifest.by_ref().map(|entry| entry.expect("no I/O")).collect();
    assert_eq!(manifest.fingerprint().expect("no I/O"), exporter::manifest::fingerprint(data).expect("no I/O"));
    Some((raw, entries))
}

fn safe(row: &Row) {
    for id in [row.org.as_str(), row.note.as_str(), row.image.as_str()] {
        assert!(!id.is_empty() && id.len() <= 255 && !id.chars().any(char::is_control));
        let natural = layout::segment(id);
        assert_eq!(layout::decode(&natural).as_deref(), Some(id));
        for segment in [natural, layout::hashed(id)] {
            assert!(!segment.starts_with('.') && !segment.ends_with('.'));
            assert!(segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-=".contains(&byte)));
        }
    }
    assert!(row.org.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [first, data @ ..] = data else { return };
    let delimiter = match first % 4 {
        0 => None,
        1 => Some(b'\t'),
        2 => Some(b';'),
        _ => Some(*first),
    };
    let options = ManifestOptions { delimiter, ..ManifestOptions::default() };
    let whole = read(data, 64 * 1024, &options);
    let piecemeal = read(data, 1 + usize::from(*first) % 7, &options);
    assert_eq!(whole, piecemeal);
    let Some((raw, entries)) = whole else { return };
    let mut last = 0;
    for entry in &entries {
        let line = match entry {
            Entry::Row(row) => {
                safe(row);
                let again = [&*raw, b"\n", &*row.raw, b"\n"].concat();
                if let Some((_, again)) = read(&again, 4096, &ManifestOptions::default()) {
                    let [Entry::Row(same)] = &*again else { panic!("{again:?}") };
                    assert_eq!((&same.org, &same.note, &same.image), (&row.org, &row.note, &row.image));
                }
                row.line
            }
            Entry::Bad(bad) => {
                assert!(!bad.reason.chars().any(char::is_control), "{:?}", bad.reason);
                bad.line
            }
        };
        assert!(line > last, "lines go up");
        last = line;
    }
});
