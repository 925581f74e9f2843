//! Manifests and the images behind them.

use crate::Sandbox;
use crate::images::{jpeg, mix, png};
use crate::registry::{ImageRef, default_key};

/// The image of `examples/manifest.csv` that does not exist, on purpose: one row of a real export fails
/// sooner or later, and the demo shows how that looks.
pub const MISSING_IMAGE: &str = "00000000-0000-4000-8000-000000000404";

/// The organizations of generated rows.
pub const ORGS: [&str; 3] = [
    "7e2c8cfe-b7a9-4deb-986d-e7012589e72b",
    "b41f6a0d-52c3-4e58-9a77-c90d1e3f8a24",
    "29d0c7e3-8e16-4f0b-b5c2-6a4471fd0e95",
];

/// A manifest of these rows.
pub fn csv_of(rows: &[ImageRef]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["org", "note", "image"]).expect("memory");
    for row in rows {
        writer.write_record([&row.org, &row.note, &row.image]).expect("memory");
    }
    String::from_utf8(writer.into_inner().expect("memory")).expect("rows are text")
}

/// A sample that depends on the row alone: every fifth is a PNG, the others are JPEGs of 40 to 300 KB.
pub fn sample(index: usize) -> (Vec<u8>, &'static str) {
    let seed = index as u64;
    if index % 5 == 4 {
        (png(seed, 240, 160), "image/png")
    } else {
        let size = 40_000 + usize::try_from(mix(seed) % 260_000).expect("below 260,000");
        (jpeg(seed, size), "image/jpeg")
    }
}

impl Sandbox {
    /// Adds an image for every row of a manifest with the columns `org`, `note` and `image`, but for
    /// [`MISSING_IMAGE`]. Returns the number of rows.
    pub fn add_manifest(&self, manifest: &str) -> Result<usize, csv::Error> {
        let mut reader = csv::Reader::from_reader(manifest.as_bytes());
        let headers = reader.headers()?.clone();
        let column = |name: &str| {
            let at = headers.iter().position(|header| header == name);
            at.ok_or_else(|| std::io::Error::other(format!("no column {name}")))
        };
        let [org, note, image] = [column("org")?, column("note")?, column("image")?];
        let mut objects = Vec::new();
        let mut rows = 0;
        for record in reader.records() {
            let record = record?;
            let row = ImageRef::new(&record[org], &record[note], &record[image]);
            if row.image != MISSING_IMAGE {
                let (bytes, content_type) = sample(rows);
                let key = default_key(&row, content_type);
                objects.push((row, key, bytes, content_type.to_owned()));
            }
            rows += 1;
        }
        self.put_all(objects);
        Ok(rows)
    }

    /// Adds `count` small JPEGs, three to a note, over [`ORGS`], and returns the manifest of all images
    /// that the sandbox holds.
    pub fn add_samples(&self, count: usize) -> String {
        let objects = (0..count).map(|index| {
            let note = index / 3;
            let row = ImageRef::new(ORGS[note % 3], format!("note-{note:04}"), format!("image-{index:05}"));
            let key = default_key(&row, "image/jpeg");
            (row, key, jpeg(index as u64, 2000 + index % 1000), "image/jpeg".to_owned())
        });
        self.put_all(objects.collect());
        csv_of(&self.rows())
    }
}
