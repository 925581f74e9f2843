//! The API key: from a file, else from `MAXAI_API_KEY`. It is never shown, not even where it is refused.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use exporter::api_key::{KEY_FILE_MAX, check_key, key_of_file};
use rustix::process::geteuid;
use secrecy::SecretString;

use super::sources::Found;
use super::{Refusal, Sources, table};
use crate::output::redact;

/// The variable that may hold the key itself.
const VARIABLE: &str = "MAXAI_API_KEY";

/// The key, and the file it came from.
pub fn find(
    sources: &Sources<'_>,
    flag: Option<&OsStr>,
    warnings: &mut Vec<String>,
) -> Result<(SecretString, Option<PathBuf>), Refusal> {
    if let Some(found) = sources.value(&table::API_KEY_FILE, flag) {
        let key = read(&found, warnings)?;
        return Ok((key, Some(found.value.into())));
    }
    Ok((variable(sources)?, None))
}

fn variable(sources: &Sources<'_>) -> Result<SecretString, Refusal> {
    let Some(value) = sources.variable(VARIABLE) else {
        let variable = table::API_KEY_FILE.env.unwrap_or_default();
        return Err(Refusal::new(
            "there is no API key",
            format_args!("name a file that holds it with --api-key-file (or {variable}), or set {VARIABLE}"),
        ));
    };
    let text = value.into_string().map_err(|_| Refusal::new(VARIABLE, "the key is not ASCII"))?;
    check_key(&text).map_err(|why| Refusal::new(VARIABLE, why))?;
    Ok(text.into())
}

/// Whether no key was given at all, in whatever form.
pub fn is_missing(sources: &Sources<'_>, flag: Option<&OsStr>) -> bool {
    sources.value(&table::API_KEY_FILE, flag).is_none() && sources.variable(VARIABLE).is_none()
}

/// Whether there is a key that can be used, and where it is from; for the eyes.
#[derive(Debug)]
pub struct Standing {
    /// In words.
    pub value: String,
    /// Flag, variable or place in a config file.
    pub origin: String,
}

/// Looks for the key where it was looked for, and shows nothing of it; `None` for a command that needs none.
pub fn standing(sources: &Sources<'_>) -> Option<Standing> {
    let told = sources.told().into_iter().find(|told| told.flag == table::API_KEY_FILE.flag)?;
    let flag = told.found.first();
    let origin = match flag {
        Some(found) => found.origin.to_string(),
        None if sources.variable(VARIABLE).is_some() => VARIABLE.to_owned(),
        None => return Some(Standing { value: "(not set)".to_owned(), origin: String::new() }),
    };
    let checked = match flag {
        Some(found) => read(found, &mut Vec::new()).map(drop),
        None => variable(sources).map(drop),
    };
    let value = match checked {
        Ok(()) => "(set, not shown)".to_owned(),
        Err(refusal) => format!("(cannot be used) {refusal}"),
    };
    Some(Standing { value, origin })
}

fn read(found: &Found, warnings: &mut Vec<String>) -> Result<SecretString, Refusal> {
    let failed = |error: std::io::Error| found.refuse(format_args!("the key file cannot be read: {error}"));
    let file = std::fs::File::open(&found.value).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(KEY_FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > KEY_FILE_MAX {
        return Err(found.refuse("the file is too large to hold a key in one line"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| found.refuse("the key is not ASCII"))?;
    let key = key_of_file(text).map_err(|why| found.refuse(why))?;
    // a pipe (`<(pass show key)`) has no mode of its own that would matter
    if meta.is_file() && is_open(meta.permissions().mode(), meta.uid() == geteuid().as_raw()) {
        let path = redact::safe(&found.value.to_string_lossy());
        warnings.push(format!("the key file {path} can be read by others: chmod 600 keeps it private"));
    }
    Ok(key)
}

/// Whether others may read a file of that mode. A file of somebody else that we read through its group, or through
/// an access list that shows as the group's bits, was given to us on purpose: so systemd and Kubernetes do it.
const fn is_open(mode: u32, ours: bool) -> bool {
    mode & 0o007 != 0 || ours && mode & 0o070 != 0
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use secrecy::ExposeSecret;

    use super::*;

    fn from_file(content: &[u8], mode: u32) -> (Result<String, String>, Vec<String>) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), content).expect("written");
        fs_err::set_permissions(file.path(), PermissionsExt::from_mode(mode)).expect("mode");
        let env = |name: &str| (name == VARIABLE).then(|| OsString::from("from-the-variable"));
        let mut warnings = Vec::new();
        let key = find(&Sources::new(&env), Some(file.path().as_os_str()), &mut warnings);
        let key = key.map(|(key, _)| key.expose_secret().to_owned()).map_err(|refusal| refusal.to_string());
        (key, warnings)
    }

    #[test]
    fn the_file_wins_and_loses_its_line_end() {
        for content in ["the-key", "the-key\n", "the-key\r\n"] {
            assert_eq!(
                from_file(content.as_bytes(), 0o600),
                (Ok("the-key".to_owned()), vec![]),
                "{content:?}"
            );
        }
    }

    #[test]
    fn a_key_that_cannot_be_one_is_refused_and_not_shown() {
        for content in [
            "",
            "\n",
            "sec ret",
            "secret\nsecond",
            "secret\n\n",
            "\"secret\"",
            "'secret'",
            "secrét",
            "sec\u{1b}ret",
            "\tsecret",
        ] {
            let refusal = from_file(content.as_bytes(), 0o600).0.expect_err(content);
            assert!(refusal.starts_with("--api-key-file '/"), "{refusal}");
            assert!(!refusal.contains("sec"), "{refusal}");
        }
        assert!(from_file(b"\xff\xfe", 0o600).0.is_err());
        assert!(from_file(&[b'a'; 5000], 0o600).0.is_err());
    }

    #[test]
    fn a_file_that_others_can_read_is_warned_of() {
        assert!(from_file(b"key", 0o640).1[0].contains("chmod 600"));
    }

    #[test]
    fn a_file_of_somebody_else_may_be_read_through_its_group() {
        for (mode, ours, theirs) in
            [(0o400, false, false), (0o600, false, false), (0o440, true, false), (0o604, true, true)]
        {
            assert_eq!((is_open(mode, true), is_open(mode, false)), (ours, theirs), "{mode:o}");
        }
    }

    #[test]
    fn without_a_key_both_ways_are_named() {
        let empty = |_: &str| Some(OsString::new());
        let refusal = find(&Sources::new(&empty), None, &mut vec![]).expect_err("no key").to_string();
        assert!(refusal.contains("--api-key-file") && refusal.contains(VARIABLE), "{refusal}");
    }

    #[test]
    fn the_variable_is_checked_too() {
        let env = |name: &str| (name == VARIABLE).then(|| OsString::from(" hidden"));
        let refusal = find(&Sources::new(&env), None, &mut vec![]).expect_err("a blank").to_string();
        assert!(refusal.starts_with("MAXAI_API_KEY: ") && !refusal.contains("hidden"), "{refusal}");
    }
}
