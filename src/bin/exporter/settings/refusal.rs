//! A setting that cannot be used: its name as the user wrote it, its value, and what is allowed. No secret is shown,
//! not even one that was given in the wrong place.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path};

use exporter::disk::presence;

use crate::output::redact;

/// Longest value that is shown, in characters.
const SHOWN_MAX: usize = 100;
/// A value without a slash or dot that is at least this long might be a key in the wrong place.
const KEY_LIKE_MIN: usize = 20;
/// Shown instead of such a value.
pub const HIDDEN: &str = "(not shown here, it might hold a secret)";

/// The refusal as one line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl Refusal {
    /// `name: why`.
    pub fn new(name: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{name}: {why}"))
    }
}

/// A value as a message shows it: quoted, cut, without control characters. A secret is hidden: user info or a query
/// in a URL, and whatever might be a key.
pub fn shown(value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let key = text.len() >= KEY_LIKE_MIN && !text.contains(['/', '.', '\\', ' ', '=', ':']);
    if key || redact::holds_key(&text) || has_credentials(&text) {
        return HIDDEN.to_owned();
    }
    let mut short = redact::safe(&text.chars().take(SHOWN_MAX).collect::<String>());
    if text.chars().nth(SHOWN_MAX).is_some() {
        short.push_str("...");
    }
    format!("'{short}'")
}

/// Whether a value can only be a path: it exists, or its folder exists and is neither `.` nor `/`, in which any
/// value at all would be a path.
pub fn is_path(path: &Path) -> bool {
    let folder =
        path.parent().filter(|folder| folder.components().any(|part| matches!(part, Component::Normal(_))));
    // a value that cannot be looked for stays hidden: it may be the key
    let exists = presence::exists(path).unwrap_or(false);
    exists || folder.is_some_and(|folder| presence::is_folder(folder).unwrap_or(false))
}

/// Whether it is a URL with user info, a query or a fragment.
pub fn has_credentials(text: &str) -> bool {
    text.contains("://") && text.contains(['@', '?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strayed_secret_is_not_shown() {
        for value in [
            "max_prd_ak_0123456789",
            "max_dev_ak_sandbox",
            "max_prd_ak_Zm9v/YmFy+MTIz==",
            "https://me:pw@host/v2",
            "https://host/v2?token=abc",
        ] {
            assert!(shown(value.as_ref()).contains("not shown"), "{value}");
        }
        assert_eq!(shown("/etc/exporter/key".as_ref()), "'/etc/exporter/key'");
    }
}
