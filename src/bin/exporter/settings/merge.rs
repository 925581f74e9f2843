//! What `exporter merge` is asked to do.

use std::path::PathBuf;

use exporter::disk::presence;
use exporter::manifest::Source;
use exporter::merge::MergeOptions;

use super::{Export, MANIFEST, Refusal, Sources, export, manifest, on_bad_row};

/// The other export folders: their name in the help, and the id in the parser.
pub const FOLDER: &str = "FOLDER";
/// The flag that leaves an ordinary export.
pub const FINISH: &str = "finish";

/// Reads the settings of a merge.
///
/// # Errors
/// The first setting that cannot be used.
pub fn merge(sources: &Sources<'_>, finish: bool) -> Result<MergeOptions, Refusal> {
    let Export { out, state_dir } = export(sources)?;
    let mut folders: Vec<PathBuf> = sources.arguments(FOLDER).into_iter().map(PathBuf::from).collect();
    let first = sources.argument(MANIFEST).map(PathBuf::from);
    // without a manifest the first argument is a folder already
    let source = match first {
        // one that cannot be looked at is refused as a manifest
        Some(path) if presence::is_folder(&path).unwrap_or(false) => {
            folders.insert(0, path);
            None
        }
        Some(path) if path.as_os_str() == "-" => Some(Source::Stdin),
        Some(path) => Some(Source::File(path)),
        None => None,
    };
    Ok(MergeOptions {
        source,
        manifest: manifest::options(sources)?,
        on_bad_row: on_bad_row(sources)?,
        out,
        state_dir,
        folders,
        finish,
    })
}
