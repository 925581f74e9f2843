//! Texts that are safe to show: nothing in them steers the terminal, and no API key is among them. Pure.

use std::borrow::Cow;
use std::path::Path;

use exporter::error::escape_controls;

/// Escapes what steers a terminal: a file's name or an id may hold anything.
pub fn safe(text: &str) -> String {
    escape_controls(text).into_owned()
}

/// What the vendor's API keys contain: `max_<environment>_ak_<secret>`.
const KEY_MARK: &str = "_ak_";

/// Whether a text may hold an API key.
pub fn holds_key(text: &str) -> bool {
    text.contains(KEY_MARK)
}

/// Replaces every word that may be an API key. A key can stray into a file's name, a folder's or a column's.
pub fn without_keys(text: &str) -> Cow<'_, str> {
    if !holds_key(text) {
        return text.into();
    }
    let hide = |word| if holds_key(word) { "(not shown, it might be a key) " } else { word };
    text.split_inclusive(char::is_whitespace).map(hide).collect::<String>().trim_end().to_owned().into()
}

/// A path, quoted so that it can be pasted into a shell.
pub fn shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |char: char| char.is_ascii_alphanumeric() || "_./-=+:,@%".contains(char);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    safe(&format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(safe("a\u{1b}[2J\rb\u{202e}é"), "a\\u{1b}[2J\\u{d}b\\u{202e}é");
    }

    #[test]
    fn a_key_is_hidden_wherever_it_stands_in_a_line() {
        assert_eq!(without_keys("manifest key.csv: no such file"), "manifest key.csv: no such file");
        for (line, hidden) in [
            ("reading max_dev_ak_x: none", "reading (not shown, it might be a key) none"),
            ("in 'a/max_prd_ak_Zm9v/YmFy+MTIz=='", "in (not shown, it might be a key)"),
        ] {
            assert_eq!(without_keys(line), hidden);
        }
    }

    #[test]
    fn a_path_with_blanks_or_quotes_is_quoted_for_the_shell() {
        assert_eq!(shell(Path::new("export/failed.csv")), "export/failed.csv");
        assert_eq!(shell(Path::new("my notes/it's")), r"'my notes/it'\''s'");
        assert_eq!(shell(Path::new("$HOME")), "'$HOME'");
    }
}
