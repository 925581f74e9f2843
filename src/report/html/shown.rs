//! Texts of the page: cut to a length, without anything that hides.

use crate::report::csv::visible;

/// Longest text that is shown: a host, a user, an organization.
const TEXT_MAX: usize = 80;
/// Longest reason that is shown.
const REASON_MAX: usize = 300;

/// A value with its name.
pub(super) struct Fact {
    pub label: &'static str,
    pub value: String,
}

impl Fact {
    pub fn new(label: &'static str, value: impl Into<String>) -> Self {
        Self { label, value: value.into() }
    }
}

/// A name, cut.
pub(super) fn short(text: &str) -> String {
    cut(text, TEXT_MAX)
}

/// A reason, cut.
pub(super) fn reason(text: &str) -> String {
    cut(text, REASON_MAX)
}

/// At most `length` characters.
pub(super) fn cut(text: &str, length: usize) -> String {
    let text = visible(text);
    if text.chars().count() <= length {
        return text.into_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['\u{2026}']).collect()
}

/// `2026-03-01 08:00 UTC`; what is no such time as it is.
pub(super) fn to_the_minute(time: &str) -> String {
    time.get(..16).map_or_else(|| short(time), |time| format!("{} UTC", time.replace('T', " ")))
}

/// A share in per cent: `83 %`, and never 0 or 100 for a part.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    match tenths {
        0 if part > 0 => "< 0.1 %".to_owned(),
        1000.. => "100 %".to_owned(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}
