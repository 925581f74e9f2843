//! Texts from servers, made safe to show and to write down.

/// Longest text that is kept of what a server says, in characters.
pub const CLEAN_LIMIT: usize = 300;

/// Makes a text from a server safe to show: control characters and direction marks are escaped, the rest is
/// cut to [`CLEAN_LIMIT`] characters, and anything that looks like a URL's query or a bearer value is taken out.
#[must_use]
pub fn clean(text: &str) -> String {
    escape(&redact(text)).chars().take(CLEAN_LIMIT).collect()
}

/// Escapes control characters and direction marks; everything else stands as it is.
#[must_use]
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        let direction = matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || direction || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}') {
            safe.extend(char.escape_unicode());
        } else {
            safe.push(char);
        }
    }
    safe
}

/// S3 echoes credentials in some of its messages, proxies echo whole URLs.
fn redact(text: &str) -> String {
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
