//! `index.csv`: where each image of the manifest is, beside the manifest's own columns.
//!
//! One line for each image, under its first row: duplicates have none. It is itself a manifest, which asks for the bytes
//! that were delivered. The index of a manifest that is an earlier index has its columns in place of the old ones, or
//! every round would add five more.

use std::io::{self, Write};

use super::csv::{Line, from_server};
use crate::csv_field;
use crate::manifest::INDEX_COLUMNS;

/// Writes the file line by line.
pub(super) struct Index<'out, W> {
    out: &'out mut W,
    /// How many of the manifest's own fields are repeated; `None`: all.
    repeated: Option<usize>,
}

/// A delivered image.
pub(super) struct Delivery<'a> {
    pub path: &'a [u8],
    pub bytes: Option<u64>,
    pub sha256: &'a [u8],
    pub content_type: &'a str,
    pub stored_at: &'a [u8],
}

impl<'out, W: Write> Index<'out, W> {
    /// Writes the header. `header` is the manifest's own, as a CSV line.
    pub fn begin(header: &[u8], out: &'out mut W) -> io::Result<Self> {
        let columns = format!(",{}", INDEX_COLUMNS.join(","));
        // a name with a comma in it would be quoted
        let earlier = header.strip_suffix(columns.as_bytes());
        out.write_all(earlier.unwrap_or(header))?;
        out.write_all(columns.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(Self { out, repeated: earlier.map(csv_field::count) })
    }

    /// Writes the line of an image; `raw` is its row's own fields as a CSV line.
    pub fn add(&mut self, raw: &[u8], image: &Delivery<'_>, line: &mut Line) -> io::Result<()> {
        line.raw(self.repeated.map_or(raw, |fields| csv_field::first(raw, fields)));
        line.field(image.path);
        line.number(image.bytes);
        line.hex(image.sha256);
        line.text(&from_server(image.content_type));
        line.field(image.stored_at);
        line.end(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_an_index_has_the_same_columns() {
        let image = Delivery {
            path: b"data/o/n/i.jpg",
            bytes: Some(7),
            sha256: &[1; 2],
            content_type: "",
            stored_at: b"t",
        };
        let written = |header: &str, raw: &str| {
            let mut out = Vec::new();
            let mut index = Index::begin(header.as_bytes(), &mut out).expect("begun");
            index.add(raw.as_bytes(), &image, &mut Line::default()).expect("added");
            String::from_utf8(out).expect("UTF-8")
        };
        let first = written("org,note,\"image, or\"", "o,\"n,\"\"1\"\"\",i");
        assert_eq!(
            first,
            "org,note,\"image, or\",path,bytes,sha256,content_type,stored_at\no,\"n,\"\"1\"\"\",i,data/o/n/i.jpg,7,0101,,t\n"
        );
        let (header, row) = first.trim_end().split_once('\n').expect("two lines");
        assert_eq!(written(header, row), first);
        let other = "org,note,image,bytes,path,sha256,content_type,stored_at";
        assert!(
            written(other, "o,n,i,1,2,3,4,5").starts_with(&format!("{other},path,bytes,")),
            "another order"
        );
    }
}
