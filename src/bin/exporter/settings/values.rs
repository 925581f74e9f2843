//! Durations as users write them. An `Err` says what is allowed.

use std::time::Duration;

use super::number;

/// Units from large to small, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Longest duration: a clock can be set so far ahead, and nobody means more.
const MAX: Duration = Duration::from_hours(24 * 366);

/// `90s`, `15m`, `1h30m`, `500ms`, `2d`: each unit once, from large to small; `0` needs none.
pub fn duration(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "write a duration as whole numbers with units, from large to small: 90s, 15m, 1h30m";
    if number::digits(text).is_some_and(|number| number > 0) {
        return Err("a unit is missing: 90s, 15m, 1h30m".to_owned());
    }
    let (mut rest, mut millis, mut units) = (text, 0_u64, UNITS.as_slice());
    if text == "0" {
        rest = "0s";
    }
    if rest.is_empty() {
        return Err(SHAPE.to_owned());
    }
    while !rest.is_empty() {
        let (digits, tail) = cut(rest, |char| !char.is_ascii_digit());
        let (unit, tail) = cut(tail, |char| char.is_ascii_digit());
        let number = number::digits(digits).ok_or(SHAPE)?;
        let at = units.iter().position(|(name, _)| *name == unit).ok_or(SHAPE)?;
        let part = number.checked_mul(units[at].1);
        millis = part.and_then(|part| millis.checked_add(part)).ok_or("it is too long; at most 366d")?;
        units = &units[at + 1..];
        rest = tail;
    }
    let duration = Duration::from_millis(millis);
    if duration > MAX { Err("it is too long; at most 366d".to_owned()) } else { Ok(duration) }
}

/// As [`duration`], but more than zero.
pub fn some_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be more than 0, for example 30s".to_owned()),
        duration => Ok(duration),
    }
}

fn cut(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_from_large_to_small() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("90s", 90_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1m500ms", 60_500),
            ("2d", 172_800_000),
            ("366d", 31_622_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_in_words() {
        for (text, part) in [
            ("90", "a unit is missing: 90s, 15m, 1h30m"),
            ("", "whole numbers with units"),
            ("s", "whole numbers with units"),
            ("1.5h", "whole numbers with units"),
            ("-5s", "whole numbers with units"),
            ("30m1h", "from large to small"),
            ("1m1m", "from large to small"),
            ("1h30", "whole numbers with units"),
            ("1 h", "whole numbers with units"),
            ("5min", "whole numbers with units"),
            ("367d", "at most 366d"),
            ("999999999999999999d", "at most 366d"),
        ] {
            let error = duration(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(some_duration("0").is_err_and(|error| error.contains("more than 0")));
    }
}
