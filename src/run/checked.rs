//! A manifest that passed its check: read as it is loaded, and loaded into a ledger. A run does this, and a merge.

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::PathBuf;

use rusqlite::Connection;

use crate::error::RunError;
use crate::item::Sha256;
use crate::ledger::{self, Loading, RunRow, sqlite_error};
use crate::manifest::{self, BadRow, Manifest, ManifestError, ManifestOptions, Source};
use crate::options::OnBadRow;
use crate::shard::Shard;

/// A manifest that passed its check, in a file that can be read again.
#[derive(Debug)]
pub(crate) struct CheckedManifest {
    file: File,
    path: PathBuf,
    /// Of the whole file.
    pub sha256: Sha256,
    options: ManifestOptions,
    /// In sentences.
    warnings: Vec<String>,
    skip_bad: bool,
}

/// A manifest whose rows are in the ledger.
#[derive(Clone, Debug)]
pub(crate) struct LoadedManifest {
    /// The run that was started with them.
    pub run: i64,
    /// Those of the shard, if it is one; bad rows included.
    pub rows: u64,
    pub bad: u64,
    pub first_bad: Vec<BadRow>,
}

impl LoadedManifest {
    fn of(connection: &Connection, run: i64, loaded: &ledger::Loaded) -> Result<Self, RunError> {
        let &ledger::Loaded { rows, bad, .. } = loaded;
        let first_bad =
            if bad > 0 { ledger::first_bad_rows(connection).map_err(sqlite_error)? } else { Vec::new() };
        Ok(Self { run, rows, bad, first_bad })
    }
}

impl CheckedManifest {
    /// Checks every row, unless the ledger knows the manifest as sound: `known` opens that one, if there is one. Creates
    /// nothing.
    pub(crate) fn check(
        source: &Source,
        options: &ManifestOptions,
        on_bad_row: OnBadRow,
        known: Option<&Connection>,
        warn: impl FnMut(String),
    ) -> Result<Self, RunError> {
        let path = source.path();
        let wrong = |source| RunError::Manifest { path: path.clone(), source: Box::new(source) };
        let io_wrong = |error: io::Error| wrong(error.into());
        let mut file = manifest::open(source).map_err(io_wrong)?;
        let options = match source {
            Source::File(path) => options.clone().for_file(path),
            Source::Stdin => options.clone(),
        };
        let skip_bad = on_bad_row == OnBadRow::Skip;
        if let Some(connection) = known {
            let sha256 = manifest::fingerprint(&mut file).map_err(io_wrong)?;
            file.rewind().map_err(io_wrong)?;
            let known = ledger::is_loaded(connection, &sha256, &reading_key(&options)).unwrap_or(None);
            // a manifest that is to be refused is read again, which names its bad rows as the first run did
            if known.is_some_and(|loaded| skip_bad || loaded.bad_in_all == 0) {
                let warnings = ledger::manifest_warnings(connection).map_err(sqlite_error)?;
                warnings.iter().cloned().for_each(warn);
                return Ok(Self { file, path, sha256, options, warnings, skip_bad });
            }
        }
        let checked = manifest::check(BufReader::new(&file), &options).map_err(wrong)?;
        file.rewind().map_err(io_wrong)?;
        let warnings: Vec<String> = checked.warnings.into_iter().map(|warning| warning.what).collect();
        warnings.iter().cloned().for_each(warn);
        if checked.bad > 0 && !skip_bad {
            return Err(RunError::BadRows { path, bad: checked.bad, first: checked.first_bad });
        }
        Ok(Self { file, path, sha256: checked.fingerprint, options, warnings, skip_bad })
    }

    /// What must be the same, besides the bytes, for rows in a ledger to be those of this manifest.
    pub(crate) fn reading(&self) -> String {
        reading_key(&self.options)
    }

    /// Loads the rows into the ledger, those of `shard` if there is one, unless they are there already, and starts the run.
    pub(crate) fn load(
        &self,
        connection: &mut Connection,
        shard: Option<Shard>,
    ) -> Result<LoadedManifest, RunError> {
        let run = RunRow::starting(self.sha256.to_string());
        let known = ledger::is_loaded(connection, &self.sha256, &self.reading()).map_err(sqlite_error)?;
        if let Some(loaded) = known.filter(|loaded| self.skip_bad || loaded.bad_in_all == 0) {
            let run = ledger::insert_run(connection, &run).map_err(sqlite_error)?;
            return LoadedManifest::of(connection, run, &loaded);
        }
        let loaded = self.load_rows(connection, run, shard)?;
        match loaded.run {
            Some(run) => LoadedManifest::of(connection, run, &loaded),
            None => Err(RunError::BadRows {
                path: self.path.clone(),
                bad: loaded.refused_count,
                first: loaded.refused,
            }),
        }
    }

    fn load_rows(
        &self,
        connection: &mut Connection,
        run: RunRow,
        shard: Option<Shard>,
    ) -> Result<ledger::Loaded, RunError> {
        let wrong = |source| RunError::Manifest { path: self.path.clone(), source: Box::new(source) };
        let entries = Manifest::open(BufReader::new(&self.file), &self.options).map_err(wrong)?;
        let header = entries.header().raw().to_vec();
        // the file may have changed since it was checked
        let same = |read: Manifest<_>| {
            let read = read.fingerprint().map_err(RunError::io("reading the manifest"))?;
            if read == self.sha256 { Ok(()) } else { Err(wrong(ManifestError::Changed)) }
        };
        let loading = Loading {
            sha256: Some(self.sha256),
            reading: self.reading(),
            header,
            warnings: self.warnings.clone(),
            entries,
            skip_bad: self.skip_bad,
            shard,
            run: Some(run),
        };
        ledger::load(connection, loading, same)
    }
}

fn reading_key(options: &ManifestOptions) -> String {
    // the rules by which columns are found and rows are judged: another number if they change
    const RULES: u32 = 4;
    format!("{RULES} {options:?}")
}
