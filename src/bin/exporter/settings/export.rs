//! Which export the commands look at.

use std::ffi::OsStr;
use std::path::PathBuf;

use exporter::item::OrgId;
use exporter::options;
use exporter::verify::Share;

use super::{Refusal, Sources, number, table};
use crate::cli::FolderArgs;

/// An export folder, and where its ledger is.
#[derive(Debug)]
pub struct Export {
    /// The folder.
    pub out: PathBuf,
    /// Folder for ledger and lock, where it is not in the export folder.
    pub state_dir: Option<PathBuf>,
}

/// Reads the folder of a command that looks at an export.
///
/// # Errors
/// Where a path is empty.
pub fn folder(args: &FolderArgs, sources: &Sources<'_>) -> Result<Export, Refusal> {
    let out = sources.argument(&table::OUT, "DIR", args.dir.as_deref())?;
    export(out, args.state_dir.as_deref(), sources)
}

/// Reads both paths, of a command that has flags for them.
pub fn of(out: Option<&OsStr>, state_dir: Option<&OsStr>, sources: &Sources<'_>) -> Result<Export, Refusal> {
    export(sources.path(&table::OUT, out)?, state_dir, sources)
}

fn export(out: Option<PathBuf>, state_dir: Option<&OsStr>, sources: &Sources<'_>) -> Result<Export, Refusal> {
    Ok(Export {
        out: out.unwrap_or_else(|| options::OUT.into()),
        state_dir: sources.path(&table::STATE_DIR, state_dir)?,
    })
}

/// `1/7`, of `--oldest`.
///
/// # Errors
/// Where it is no such part.
pub fn share(flag: Option<&OsStr>) -> Result<Option<Share>, Refusal> {
    let Some(flag) = flag else { return Ok(None) };
    let text = flag.to_string_lossy();
    let read = || {
        let (part, of) = text.split_once('/')?;
        let share = Share { part: number::digits(part)?, of: number::digits(of)? };
        (1 <= share.part && share.part <= share.of).then_some(share)
    };
    let refuse = || {
        let shown = crate::output::redact::safe(&text.chars().take(20).collect::<String>());
        Refusal::new(format_args!("--oldest '{shown}'"), "write a part such as 1/7 or 1/1")
    };
    read().map(Some).ok_or_else(refuse)
}

/// An organization, of `--org`.
///
/// # Errors
/// Where it cannot stand in a header.
pub fn org(flag: Option<&OsStr>) -> Result<Option<OrgId>, Refusal> {
    let Some(flag) = flag else { return Ok(None) };
    match flag.to_str().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())) {
        Some(text) => Ok(Some(OrgId::new(text))),
        None => Err(Refusal::new("--org", "give the id of a clinic, in visible ASCII")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_more_than_none_and_at_most_all() {
        let read = |text: &str| share(Some(text.as_ref())).ok().flatten();
        assert_eq!(read("1/7"), Some(Share { part: 1, of: 7 }));
        assert_eq!(read("7/7"), Some(Share { part: 7, of: 7 }));
        for text in ["", "1", "/", "0/7", "8/7", "1/0", "-1/7", "1/7/2", "a/b", "1.5/7", "1 /7"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(share(None).ok(), Some(None));
    }
}
