//! Times as ledger and reports record them: RFC 3339, UTC, to the millisecond.

use jiff::{Timestamp, Unit};

/// The machine's time. Always three digits after the second, so that these times sort as texts.
#[must_use]
pub fn now() -> String {
    rfc3339(Timestamp::now())
}

/// A time in the form of [`now`].
pub(crate) fn rfc3339(time: Timestamp) -> String {
    format!("{:.3}", time.round(Unit::Millisecond).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sort_as_texts_whatever_their_last_digits() {
        let texts = [34_559_600_000_i128, 34_560_700_000, 35_000_000_000]
            .map(|nanoseconds| rfc3339(Timestamp::from_nanosecond(nanoseconds).expect("a time")));
        assert_eq!(
            texts,
            ["1970-01-01T00:00:34.560Z", "1970-01-01T00:00:34.561Z", "1970-01-01T00:00:35.000Z"]
        );
        assert!(texts.is_sorted());
    }
}
