//! Whole numbers, sizes and rates as users write them. An `Err` says what is allowed.

use std::num::NonZeroU32;

use exporter::options::Rate;

use super::values;

/// Most tries for one image: beyond it the limit is no limit.
pub const ATTEMPTS_MAX: u32 = 1000;
/// Most requests in a window.
const REQUESTS_MAX: u32 = 10_000_000;
/// Longest window: the API's own are a minute.
const WINDOW_MAX: std::time::Duration = std::time::Duration::from_hours(24);

/// For defaults, which are never zero.
pub const fn non_zero(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// A whole number from 1 to `max`.
pub fn whole(text: &str, max: u32, example: u32) -> Result<NonZeroU32, String> {
    digits(text)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number <= max)
        .and_then(NonZeroU32::new)
        .ok_or_else(|| format!("give a whole number from 1 to {max}, for example {example}"))
}

/// Bytes: `500M`, `5G`, powers of 1024; `0` needs no unit.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len()));
    let number = digits(number).ok_or("write a size as a whole number and its unit: 500M, 5G")?;
    let shift = match unit {
        "" if number == 0 => 0,
        "" => return Err("a unit is missing: 500M, 5G (B, K, M, G or T)".to_owned()),
        "B" | "b" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return Err("the unit must be B, K, M, G or T (powers of 1024): 500M, 5G".to_owned()),
    };
    // the ledger keeps sizes as signed numbers
    let limit = i64::MAX.unsigned_abs() >> shift;
    if number > limit { Err("that is too large; at most 8388607T".to_owned()) } else { Ok(number << shift) }
}

/// As [`size`], but more than zero.
pub fn some_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("it must be more than 0, for example 5G".to_owned()),
        bytes => Ok(bytes),
    }
}

/// `1000/60s`.
pub fn rate(text: &str) -> Result<Rate, String> {
    const SHAPE: &str = "write N/DURATION, for example 1000/60s";
    let (requests, window) = text.split_once('/').ok_or(SHAPE)?;
    let requests = digits(requests)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (1..=REQUESTS_MAX).contains(number))
        .ok_or_else(|| format!("N must be a whole number from 1 to {REQUESTS_MAX}; {SHAPE}"))?;
    let window = values::duration(window).map_err(|why| format!("the window: {why}; {SHAPE}"))?;
    if window.is_zero() || window > WINDOW_MAX {
        return Err(format!("the window must be more than 0 and at most 24h; {SHAPE}"));
    }
    Ok(Rate { requests, window })
}

/// Digits only: no sign, no blank, no point.
pub fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("0G", 0),
            ("7B", 7),
            ("64K", 65_536),
            ("500M", 500 << 20),
            ("5g", 5 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_size_without_its_unit_or_out_of_shape_is_refused() {
        for (text, part) in [
            ("500", "unit is missing"),
            ("", "whole number"),
            ("G", "whole number"),
            ("-1M", "whole number"),
            ("1.5G", "unit must be"),
            ("5 G", "unit must be"),
            ("5MB", "unit must be"),
            ("5MiB", "unit must be"),
            ("99999999T", "too large"),
            ("99999999999999999999G", "whole number"),
        ] {
            let error = size(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(some_size("0").is_err());
        assert_eq!(size("8388607T"), Ok(8_388_607 << 40));
    }

    #[test]
    fn rates_have_a_number_and_a_window() {
        let rate_of = |requests, seconds| Ok(Rate { requests, window: Duration::from_secs(seconds) });
        assert_eq!(rate("1000/60s"), rate_of(1000, 60));
        assert_eq!(rate("1/24h"), rate_of(1, 86_400));
        assert_eq!(rate("10000000/1m"), rate_of(10_000_000, 60));
        for (text, part) in [
            ("1000", "N/DURATION"),
            ("0/60s", "from 1 to 10000000"),
            ("10000001/60s", "from 1 to 10000000"),
            ("-1/60s", "from 1 to"),
            ("1000/60", "unit is missing"),
            ("1000/0", "more than 0"),
            ("1000/0s", "more than 0"),
            ("1000/25h", "at most 24h"),
            ("1000/", "duration"),
        ] {
            let error = rate(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn whole_numbers_keep_their_range() {
        assert_eq!(whole("1024", 1024, 32).map(NonZeroU32::get), Ok(1024));
        for text in ["0", "1025", "-1", "+1", "1.0", "", " 1", "4294967297"] {
            let error = whole(text, 1024, 32).expect_err(text);
            assert_eq!(error, "give a whole number from 1 to 1024, for example 32", "{text}");
        }
    }
}
