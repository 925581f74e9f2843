//! The API key: from a file, else from `MAXAI_API_KEY`. It is never shown, not even if it is refused.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use exporter::api_key::{check_key, read_key_file};
use exporter::error::chain;
use rustix::process::geteuid;
use secrecy::SecretString;

use super::sources::Given;
use super::{Refusal, Sources, table};
use crate::output::redact;

/// The variable that may hold the key itself.
const VARIABLE: &str = "MAXAI_API_KEY";

/// The key, and the file it came from. What is allowed but unwise goes to `warnings`.
pub fn find(
    sources: &Sources<'_>,
    warnings: &mut Vec<String>,
) -> Result<(SecretString, Option<PathBuf>), Refusal> {
    if let Some(given) = sources.value(&table::API_KEY_FILE) {
        let key = read(&given, warnings)?;
        return Ok((key, Some(given.value.into())));
    }
    Ok((from_variable(sources)?, None))
}

fn from_variable(sources: &Sources<'_>) -> Result<SecretString, Refusal> {
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
pub fn is_missing(sources: &Sources<'_>) -> bool {
    sources.value(&table::API_KEY_FILE).is_none() && sources.variable(VARIABLE).is_none()
}

/// Whether there is a usable key and where it came from, as `--show-settings` writes it.
#[derive(Debug)]
pub struct KeyStatus {
    pub value: String,
    pub origin: String,
}

/// The status of the key that was looked up; `None` for a command that needs none.
pub fn status(sources: &Sources<'_>) -> Option<KeyStatus> {
    let looked_up = sources.looked_up();
    let file = looked_up.iter().find(|looked_up| looked_up.flag == table::API_KEY_FILE.flag)?.given.first();
    let (origin, checked) = match file {
        Some(given) => (given.origin.to_string(), read(given, &mut Vec::new())),
        None if sources.variable(VARIABLE).is_some() => (VARIABLE.to_owned(), from_variable(sources)),
        None => return Some(KeyStatus { value: "(not set)".to_owned(), origin: String::new() }),
    };
    let value = match checked {
        Ok(_) => "(set, not shown)".to_owned(),
        Err(refusal) => format!("(cannot be used) {refusal}"),
    };
    Some(KeyStatus { value, origin })
}

fn read(given: &Given, warnings: &mut Vec<String>) -> Result<SecretString, Refusal> {
    let path = Path::new(&given.value);
    let (key, meta) = read_key_file(path).map_err(|error| given.refuse(chain(&error)))?;
    if others_can_read(&meta) {
        let path = redact::safe(&path.to_string_lossy());
        warnings.push(format!("the key file {path} can be read by others: chmod 600 keeps it private"));
    }
    Ok(key)
}

/// Whether other users can read the file. The mode of a pipe (`<(pass show key)`) says nothing.
fn others_can_read(meta: &Metadata) -> bool {
    meta.is_file() && is_open(meta.permissions().mode(), meta.uid() == geteuid().as_raw())
}

/// Whether others may read a file of that mode. If the file is another user's and we read it through its group, or
/// through an access list that shows as the group's bits, it was given to us on purpose: systemd and Kubernetes do so.
const fn is_open(mode: u32, ours: bool) -> bool {
    mode & 0o007 != 0 || ours && mode & 0o070 != 0
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use secrecy::ExposeSecret;

    use super::super::sources::command_line;
    use super::*;

    fn from_file(content: &[u8], mode: u32) -> (Result<String, String>, Vec<String>) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), content).expect("written");
        fs_err::set_permissions(file.path(), PermissionsExt::from_mode(mode)).expect("mode");
        let env = |name: &str| (name == VARIABLE).then(|| OsString::from("from-the-variable"));
        let mut warnings = Vec::new();
        let args = command_line(&["--api-key-file", file.path().to_str().expect("UTF-8")]);
        let key = find(&Sources::new(&args, &env), &mut warnings);
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
        let refusal =
            find(&Sources::new(&command_line(&[]), &empty), &mut vec![]).expect_err("no key").to_string();
        assert!(refusal.contains("--api-key-file") && refusal.contains(VARIABLE), "{refusal}");
    }

    #[test]
    fn the_variable_is_checked_too() {
        let env = |name: &str| (name == VARIABLE).then(|| OsString::from(" hidden"));
        let refusal =
            find(&Sources::new(&command_line(&[]), &env), &mut vec![]).expect_err("a blank").to_string();
        assert!(refusal.starts_with("MAXAI_API_KEY: ") && !refusal.contains("hidden"), "{refusal}");
    }
}
