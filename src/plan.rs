//! What a run would do, told without asking the network and without making anything in the export folder.
//!
//! The manifest is loaded as a run loads it, by the same code, but into a nameless database in the system's folder
//! for temporary files; the export's ledger is attached to it for reading. So rows, duplicates and what is delivered
//! are counted as the run will count them, and memory does not grow with the rows.

mod line;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use serde::Serialize;

use self::line::Line;
use crate::disk::folder::{OBSTACLE_ADVICE, not_a_folder};
use crate::disk::presence::{self, cannot_look_at};
use crate::disk::{FreeSpace, nearest_existing};
use crate::error::RunError;
use crate::ledger::{self, Loaded, Loading, sqlite_error};
use crate::manifest::{self, BadRow, Entry, Manifest, ManifestOptions, ManifestWarning, Source};
use crate::options::{OnBadRow, Rate};
use crate::report;

/// A run that is thought about.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// The manifest.
    pub source: Source,
    /// How to read it.
    pub manifest: ManifestOptions,
    /// What becomes of bad rows.
    pub on_bad_row: OnBadRow,
    /// The export folder, which need not be there.
    pub out: PathBuf,
    /// Folder for ledger and lock, where it is not in the export folder.
    pub state_dir: Option<PathBuf>,
    /// The allowance.
    pub rate: Rate,
}

/// What the run would do. Serialized it is the answer in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Rows of the manifest, bad ones too.
    pub rows: u64,
    /// Rows that cannot be fetched as they stand.
    pub bad_rows: u64,
    /// Rows that name the image of an earlier row.
    pub duplicates: u64,
    /// Rows whose image was delivered earlier and is still there in its size.
    pub delivered: u64,
    /// Rows that are left.
    pub to_fetch: u64,
    /// Those of them whose image was never delivered. The others are fetched again: their file is gone or another one,
    /// or the manifest has another hash for them.
    pub new: u64,
    /// Images that were delivered for earlier manifests, and that this one does not ask for. A run leaves them as they
    /// are.
    pub gone: u64,
    /// Requests to the API, where each row needs one.
    pub api_requests: u64,
    /// At that allowance.
    pub shortest_seconds: u64,
    /// Size of an image, on average of those delivered so far; `None` if there are none.
    pub image_bytes: Option<u64>,
    /// What a line must carry to use the allowance in full, in bits a second.
    pub needed_bits_per_second: Option<u64>,
    /// What the fastest run so far has reached; `None` if none took at least one window.
    pub reached_bits_per_second: Option<u64>,
    /// Machines with such lines that it takes: with 1, more would not be faster.
    pub machines: Option<u32>,
    /// For this user, on the disk of the export folder.
    pub disk_free_bytes: u64,
    /// Files that can still be made there; `None` where the file system does not count them.
    pub disk_free_files: Option<u64>,
    /// What is odd about the manifest and refuses nothing.
    pub warnings: Vec<ManifestWarning>,
    /// The first bad rows, in the order of the file.
    #[serde(skip)]
    pub first_bad: Vec<BadRow>,
    /// Why a run would refuse the manifest.
    #[serde(skip)]
    pub refused: bool,
    /// How many shards the export has; `None`: it is an ordinary one, or none yet.
    #[serde(skip)]
    pub shards: Option<u32>,
    /// Why the run could not make its folder, if so.
    #[serde(skip)]
    pub no_folder: Option<String>,
}

/// Makes the plan.
///
/// # Errors
/// [`RunError::Manifest`] where the file cannot be a manifest, [`RunError::Ledger`] where the run would find the
/// ledger damaged, newer or lost, [`RunError::Disk`] where files of delivered images cannot be looked at or the folder
/// for temporary files is full. Bad rows are no error here: see
/// [`Plan::refused`].
pub fn plan(options: &PlanOptions) -> Result<Plan, RunError> {
    let path = options.source.path();
    let wrong = |source| RunError::Manifest { path: path.clone(), source: Box::new(source) };
    let file = manifest::open(&options.source).map_err(|error| wrong(error.into()))?;
    let reading = match &options.source {
        Source::File(path) => options.manifest.clone().for_file(path),
        Source::Stdin => options.manifest.clone(),
    };
    let mut manifest = Manifest::open(BufReader::new(&file), &reading).map_err(wrong)?;
    let mut scratch = ledger::open_scratch(&options.out, options.state_dir.as_deref())?;
    let connection = &mut scratch.connection;
    let loaded = load(&mut manifest, connection)?;
    let duplicates: u64 = count(connection, "SELECT count(*) FROM rows WHERE first IS NOT NULL")?;
    let inspection = ledger::inspect_delivered(connection, &options.out)?;
    let delivered = inspection.inspected - inspection.vanished.len() as u64;
    let to_fetch = loaded.rows - loaded.bad - duplicates - delivered;
    let known = count(connection, KNOWN)?;
    let image_bytes = mean_bytes(connection).map_err(sqlite_error)?;
    let line = image_bytes.map(|bytes| Line::of(options.rate, bytes, &scratch.runs));
    let connection = &scratch.connection;
    let FreeSpace { bytes, files } = FreeSpace::at(&options.out)?;
    Ok(Plan {
        rows: loaded.rows,
        bad_rows: loaded.bad,
        duplicates,
        delivered,
        to_fetch,
        new: (delivered + to_fetch).saturating_sub(known),
        gone: report::gone(connection).map_err(sqlite_error)?,
        api_requests: to_fetch,
        shortest_seconds: options.rate.shortest(to_fetch).as_secs(),
        image_bytes,
        needed_bits_per_second: line.map(|line| line.needed),
        reached_bits_per_second: line.and_then(|line| line.reached),
        machines: line.map(|line| line.machines),
        disk_free_bytes: bytes,
        disk_free_files: files,
        warnings: manifest.warnings(),
        first_bad: ledger::first_bad_rows(connection).map_err(sqlite_error)?,
        refused: loaded.bad > 0 && options.on_bad_row == OnBadRow::Stop,
        shards: ledger::ShardSet::read(&options.out)?.map(|set| set.shards),
        no_folder: obstacle(&options.out)?,
    })
}

/// Rows whose image was delivered once, whether or not it still is.
const KNOWN: &str = "SELECT count(*) FROM rows r WHERE first IS NULL AND note IS NOT NULL
     AND EXISTS (SELECT 1 FROM images i WHERE i.key = r.key AND i.note = r.note AND i.name = r.name)";

/// Loads the rows as a run does. The plan needs no column but the ids.
fn load<R: BufRead>(manifest: &mut Manifest<R>, connection: &mut Connection) -> Result<Loaded, RunError> {
    let entries = manifest.by_ref().map(|entry| {
        entry.map(|entry| match entry {
            Entry::Row(mut row) => {
                row.raw.clear();
                Entry::Row(row)
            }
            bad @ Entry::Bad(_) => bad,
        })
    });
    let loading = Loading {
        sha256: None,
        reading: String::new(),
        header: Vec::new(),
        warnings: Vec::new(),
        entries,
        skip_bad: true,
        shard: None,
        run: None,
    };
    ledger::load(connection, loading, |_| Ok(()))
}

/// The size of a delivered image, on average.
fn mean_bytes(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection.query_row(
        "SELECT CAST(round(avg(bytes)) AS INTEGER) FROM images WHERE delivered = 1",
        [],
        |row| Ok(row.get::<_, Option<i64>>(0)?.map(i64::unsigned_abs)),
    )
}

/// What is in the way of the export folder, if anything is.
fn obstacle(out: &Path) -> Result<Option<String>, RunError> {
    let there = nearest_existing(out)?;
    let is_folder = presence::is_folder(&there).map_err(cannot_look_at(&there))?;
    Ok((!is_folder).then(|| format!("{}: {OBSTACLE_ADVICE}", not_a_folder(&there))))
}

impl Plan {
    /// The shortest time.
    #[must_use]
    pub const fn shortest(&self) -> Duration {
        Duration::from_secs(self.shortest_seconds)
    }
}

fn count(connection: &Connection, sql: &str) -> Result<u64, RunError> {
    let count = connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(sqlite_error)?;
    Ok(count.unsigned_abs())
}
