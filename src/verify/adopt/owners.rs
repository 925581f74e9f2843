//! Whose image a path is: by a report, else by the path itself.
//!
//! A report may have been opened and saved by a spreadsheet. Its ids count only if the path is the one that they get.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use crate::disk::presence::metadata_following;
use crate::error::RunError;
use crate::layout;
use crate::ledger::sqlite_error;

/// The columns of `report.csv` that are read.
const COLUMNS: [&str; 15] = [
    "line",
    "org",
    "note",
    "image",
    "state",
    "path",
    "content_type",
    "etag",
    "checked_by",
    "attempts",
    "stored_at",
    "error_code",
    "error",
    "trace_id",
    "warning",
];

/// One line of a report, in the order of [`COLUMNS`].
pub(super) struct Line(Vec<String>);

impl Line {
    pub fn get(&self, column: &str) -> &str {
        let at = COLUMNS.iter().position(|name| *name == column);
        at.and_then(|at| self.0.get(at)).map_or("", String::as_str)
    }

    pub fn number(&self, column: &str) -> u32 {
        self.get(column).parse().unwrap_or_default()
    }
}

/// A `report.csv`, line by line.
pub(super) struct Lines {
    records: csv::ByteRecordsIntoIter<File>,
    positions: [Option<usize>; COLUMNS.len()],
    path: PathBuf,
}

impl Lines {
    /// Opens a report; `None` if there is no such file.
    pub fn open(path: &Path) -> Result<Option<Self>, RunError> {
        // a pipe of that name would block
        match metadata_following(path).map_err(RunError::io(format!("reading {}", path.display())))? {
            Some(there) if there.is_file() => {}
            _ => return Ok(None),
        }
        let wrong = |error| wrong(path, error);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(wrong)?;
        let header = reader.byte_headers().map_err(wrong)?;
        let positions = COLUMNS.map(|column| header.iter().position(|name| name == column.as_bytes()));
        Ok(Some(Self { records: reader.into_byte_records(), positions, path: path.to_owned() }))
    }
}

impl Iterator for Lines {
    type Item = Result<Line, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.records.next()? {
            Ok(record) => record,
            Err(error) => return Some(Err(wrong(&self.path, error))),
        };
        let field = |position: Option<usize>| {
            String::from_utf8_lossy(position.and_then(|position| record.get(position)).unwrap_or_default())
                .into_owned()
        };
        Some(Ok(Line(self.positions.into_iter().map(field).collect())))
    }
}

fn wrong(path: &Path, error: csv::Error) -> RunError {
    RunError::io(format!("reading {}", path.display()))(std::io::Error::other(error))
}

/// What is known of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub org: String,
    pub note: String,
    pub image: String,
    pub content_type: String,
    pub etag: String,
    pub checked_by: String,
    pub attempts: u32,
    pub stored_at: String,
    pub warning: String,
    /// The run that delivered it; 0 if that is unknown.
    pub run: i64,
}

/// Creates the temporary table `known`.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TEMP TABLE known (
            path TEXT PRIMARY KEY, org TEXT, note TEXT, image TEXT, content_type TEXT, etag TEXT, checked_by TEXT,
            attempts INTEGER, stored_at TEXT, warning TEXT, run INTEGER
         ) STRICT, WITHOUT ROWID",
    )
}

/// Reads the delivered rows of a report, which override those of an earlier one; `run` is the run that wrote it.
pub(super) fn learn(connection: &Connection, report: &Path, run: i64) -> Result<(), RunError> {
    let transaction = connection.unchecked_transaction().map_err(sqlite_error)?;
    {
        let mut insert = transaction
            .prepare(
                "INSERT INTO known VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (path) DO UPDATE
                 SET org = excluded.org, note = excluded.note, image = excluded.image,
                     content_type = excluded.content_type, etag = excluded.etag, checked_by = excluded.checked_by,
                     attempts = excluded.attempts, stored_at = excluded.stored_at, warning = excluded.warning,
                     run = iif(excluded.run = 0, run, excluded.run)",
            )
            .map_err(sqlite_error)?;
        for line in Lines::open(report)?.into_iter().flatten() {
            let line = line?;
            let by = match line.get("state") {
                "stored" => run,
                "skipped" => 0,
                _ => continue,
            };
            insert
                .execute(params![
                    line.get("path"),
                    line.get("org"),
                    line.get("note"),
                    line.get("image"),
                    unquoted(line.get("content_type")),
                    line.get("etag"),
                    line.get("checked_by"),
                    line.number("attempts"),
                    line.get("stored_at"),
                    own_warning(line.get("warning")),
                    by
                ])
                .map_err(sqlite_error)?;
        }
    }
    transaction.commit().map_err(sqlite_error)
}

/// Whose image is at `path`; `None` if neither a report nor the path says so.
pub(super) fn of(connection: &Connection, path: &str) -> rusqlite::Result<Option<Known>> {
    let Some([org, note, stem]) = segments(path) else { return Ok(None) };
    let known = connection
        .prepare_cached("SELECT * FROM known WHERE path = ?1")?
        .query_row([path], |row| {
            Ok(Known {
                org: row.get("org")?,
                note: row.get("note")?,
                image: row.get("image")?,
                content_type: row.get("content_type")?,
                etag: row.get("etag")?,
                checked_by: row.get("checked_by")?,
                attempts: row.get("attempts")?,
                stored_at: row.get("stored_at")?,
                warning: row.get("warning")?,
                run: row.get("run")?,
            })
        })
        .optional()?;
    let fits =
        |known: &Known| is_of(org, &known.org) && is_of(note, &known.note) && is_of(stem, &known.image);
    if let Some(known) = known.filter(fits) {
        return Ok(Some(known));
    }
    let ids = [org, note, stem].map(layout::decode);
    let [Some(org), Some(note), Some(image)] = ids else { return Ok(None) };
    Ok(Some(Known { org, note, image, ..Known::default() }))
}

/// `data/<org>/<note>/<image>.<ext>` → its three segments.
pub(super) fn segments(path: &str) -> Option<[&str; 3]> {
    let mut parts = path.strip_prefix("data/")?.split('/');
    let (org, note, file) = (parts.next()?, parts.next()?, parts.next()?);
    let (stem, _) = file.rsplit_once('.')?;
    (parts.next().is_none()).then_some([org, note, stem])
}

/// Whether an id may own a segment.
fn is_of(segment: &str, id: &str) -> bool {
    !id.is_empty() && (layout::segment(id) == segment || layout::hashed(id) == segment)
}

/// Removes the `'` that a report puts before what a spreadsheet would read as a formula.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('\'').filter(|rest| rest.starts_with(['=', '+', '-', '@'])).unwrap_or(text)
}

/// The warnings of the delivery, without those that a report adds for its other rows.
fn own_warning(text: &str) -> String {
    let added = |part: &&str| part.starts_with("same bytes as line") || part.starts_with("same object in");
    text.split("; ").filter(|part| !added(part)).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        let connection = Connection::open_in_memory().expect("memory");
        create(&connection).expect("created");
        connection
    }

    #[test]
    fn a_report_counts_if_the_path_is_that_of_its_ids() {
        let connection = connection();
        let folder = tempfile::tempdir().expect("a folder");
        let report = folder.path().join("report.csv");
        let long = "x".repeat(250);
        let hashed = layout::hashed(&long);
        let text = format!(
            "path,org,note,image,state,etag,warning,attempts\n\
             data/o/n/001.jpg,o,n,1,stored,tag,,1\n\
             data/o/n/{hashed}.png,o,n,{long},stored,tag,odd; same bytes as line 3,2\n\
             data/o/n/A=h0.png,o,n,A,failed,,,2\n"
        );
        fs_err::write(&report, text).expect("written");
        learn(&connection, &report, 7).expect("learnt");
        let of = |path: &str| of(&connection, path).expect("asked");
        let spoilt = of("data/o/n/001.jpg").expect("read from the path");
        assert_eq!((&*spoilt.image, &*spoilt.etag, spoilt.run), ("001", "", 0), "a spreadsheet made it 1");
        let known = of(&format!("data/o/n/{hashed}.png")).expect("known");
        assert_eq!((known.image, &*known.etag, &*known.warning, known.run), (long, "tag", "odd", 7));
        assert_eq!(of("data/o/n/A=h0.png"), None, "neither says so");
        assert_eq!(of("data/o/n/a=2Fb.jpg").map(|known| known.image), Some("a/b".to_owned()));
        for path in ["data/o/i.jpg", "data/o/n/deep/i.jpg", "o/n/i.jpg", "data/o/n/noext"] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn what_a_report_added_is_removed() {
        assert_eq!(unquoted("'=cmd"), "=cmd");
        assert_eq!(unquoted("'quoted"), "'quoted");
        assert_eq!(own_warning("same bytes as line 2; same object in the storage as line 2"), "");
        assert_eq!(own_warning("odd; same bytes as line 2"), "odd");
    }
}
