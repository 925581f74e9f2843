//! Which export a command works on, and the arguments of a command that are no settings.

use std::ffi::OsStr;
use std::path::PathBuf;

use exporter::item::{OrgId, Sha256};
use exporter::options;
use exporter::verify::Share;

use super::{Refusal, Sources, table, values};
use crate::output::redact;

/// The export folder as an argument without a flag: its name in the help, and the id in the parser.
pub const DIR: &str = "DIR";
/// `doctor`'s flag for an organization.
pub const ORG: &str = "org";
/// `verify`'s flag for a part of the images.
pub const OLDEST: &str = "oldest";
/// Longest value of it that is shown, in characters.
const OLDEST_SHOWN_MAX: usize = 20;

/// `verify`'s flag for the hash of a receipt.
pub const HEAD: &str = "head";

/// An export folder, and where its ledger is.
#[derive(Debug)]
pub struct Export {
    pub out: PathBuf,
    /// Folder for ledger and lock, if they are not in the export folder.
    pub state_dir: Option<PathBuf>,
}

/// Reads the paths of a command that has the export folder as an argument or a flag.
///
/// # Errors
/// A path is empty.
pub fn export(sources: &Sources<'_>) -> Result<Export, Refusal> {
    Ok(Export {
        out: sources.path_or_argument(&table::OUT, DIR)?.unwrap_or_else(|| options::OUT.into()),
        state_dir: sources.path(&table::STATE_DIR)?,
    })
}

/// Reads `--oldest`: `1/7`.
///
/// # Errors
/// It is no part of a whole.
pub fn oldest(sources: &Sources<'_>) -> Result<Option<Share>, Refusal> {
    let Some(flag) = sources.argument(OLDEST) else { return Ok(None) };
    let text = flag.to_string_lossy();
    let refuse = || {
        let shown = redact::safe(&text.chars().take(OLDEST_SHOWN_MAX).collect::<String>());
        Refusal::new(format_args!("--{OLDEST} '{shown}'"), "write a part such as 1/7 or 1/1")
    };
    share(&text).map(Some).ok_or_else(refuse)
}

/// Reads `--head`: the SHA-256 of a receipt.
///
/// # Errors
/// It is no such hash.
pub fn head(sources: &Sources<'_>) -> Result<Option<Sha256>, Refusal> {
    let Some(flag) = sources.argument(HEAD) else { return Ok(None) };
    let hash = flag.to_str().and_then(|text| Sha256::from_hex(text.trim()));
    // no hash, so perhaps a key in the wrong place: it is not shown
    hash.map(Some).ok_or_else(|| {
        Refusal::new(format_args!("--{HEAD}"), "write the 64 hex digits of a receipt's SHA-256")
    })
}

fn share(text: &str) -> Option<Share> {
    let (part, of) = text.split_once('/')?;
    let share = Share { part: values::digits(part)?, of: values::digits(of)? };
    (1 <= share.part && share.part <= share.of).then_some(share)
}

/// Reads `--org`.
///
/// # Errors
/// It cannot be sent in a header.
pub fn org(sources: &Sources<'_>) -> Result<Option<OrgId>, Refusal> {
    sources.argument(ORG).map(|flag| org_id(&flag)).transpose()
}

fn org_id(flag: &OsStr) -> Result<OrgId, Refusal> {
    match flag.to_str().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())) {
        Some(text) => Ok(OrgId::new(text)),
        None => Err(Refusal::new(format_args!("--{ORG}"), "give the id of a clinic, in visible ASCII")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_more_than_none_and_at_most_all() {
        assert_eq!(share("1/7"), Some(Share { part: 1, of: 7 }));
        assert_eq!(share("7/7"), Some(Share { part: 7, of: 7 }));
        for text in ["", "1", "/", "0/7", "8/7", "1/0", "-1/7", "1/7/2", "a/b", "1.5/7", "1 /7"] {
            assert_eq!(share(text), None, "{text}");
        }
    }
}
