//! Text from outside, made safe to show and to store: the only escaper of control characters.
//!
//! [`escape_controls`] is for text that the user's own files hold (ids, paths); [`clean`] is for text from a server,
//! which may also be long or repeat a secret.

use std::borrow::Cow;

/// Longest text that is kept of what a server says, in characters.
pub const CLEAN_LIMIT: usize = 300;

/// Escapes every character that could steer a terminal or reorder a line: control characters (C0, C1, DEL), direction
/// marks, line and paragraph separators, and the byte order mark. `\u{1b}` stands for ESC.
#[must_use]
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    // nearly every text is plain ASCII: one pass over its bytes, which the compiler vectorizes
    if text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if steers(char) {
            safe.extend(char.escape_unicode());
        } else {
            safe.push(char);
        }
    }
    Cow::Owned(safe)
}

fn steers(char: char) -> bool {
    let direction = matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || direction || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Makes a text from a server safe to show: anything that looks like a URL or a bearer value is taken out, the rest is
/// escaped ([`escape_controls`]) and cut to [`CLEAN_LIMIT`] characters.
#[must_use]
pub fn clean(text: &str) -> String {
    // escaping only lengthens a text: characters beyond the limit would be cut in any case
    let start: String = hide_credentials(text).chars().take(CLEAN_LIMIT).collect();
    escape_controls(&start).chars().take(CLEAN_LIMIT).collect()
}

/// Takes out words that hold a URL or a signature, and what follows `Bearer`: S3 repeats credentials in some of its
/// messages, proxies repeat whole URLs.
fn hide_credentials(text: &str) -> String {
    text.split_inclusive(char::is_whitespace)
        .scan(false, |hide_next, word| {
            let lower = word.to_ascii_lowercase();
            let hide = *hide_next || lower.contains("x-amz-") && lower.contains('=') || lower.contains("://");
            *hide_next = lower.trim_end().ends_with("bearer") || lower.trim_end().ends_with("authorization:");
            Some(if hide { "[hidden] " } else { word })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_marks_are_escaped() {
        assert_eq!(clean("a\u{1b}[31m\nb\u{202e}c"), "a\\u{1b}[31m\\u{a}b\\u{202e}c");
        assert_eq!(escape_controls("a\u{7f}\u{9b}\u{2028}\u{feff}ü"), "a\\u{7f}\\u{9b}\\u{2028}\\u{feff}ü");
    }

    #[test]
    fn a_plain_text_is_not_copied() {
        assert!(matches!(escape_controls("a note's id ~"), Cow::Borrowed("a note's id ~")));
    }

    #[test]
    fn a_long_text_is_cut_to_the_limit_counted_after_escaping() {
        assert_eq!(clean(&"é".repeat(1000)).chars().count(), CLEAN_LIMIT);
        assert_eq!(clean(&"\n".repeat(1000)).chars().count(), CLEAN_LIMIT);
    }

    #[test]
    fn urls_and_bearer_values_are_hidden() {
        let said = clean("see https://s3/x?X-Amz-Signature=abc and Bearer max_prd_ak_1 end");
        assert!(!said.contains("abc") && !said.contains("max_prd"), "{said}");
        assert!(said.ends_with("end"), "{said}");
    }
}
