//! Numbers, sizes, rates and durations as users write them. An `Err` says what is allowed.

use std::num::NonZeroU32;
use std::time::Duration;

use exporter::options::{CONCURRENCY_MAX, Concurrency, Rate, RateShare};
use exporter::shard::SHARDS_MAX;

/// Most attempts for one image: a higher limit would be none.
pub const ATTEMPTS_MAX: u32 = 1000;
/// Most requests in a window.
const REQUESTS_MAX: u32 = 10_000_000;
/// Longest window: the API's own is a minute.
const WINDOW_MAX: Duration = Duration::from_hours(24);

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

/// `auto`, or a number of images.
pub fn concurrency(text: &str) -> Result<Concurrency, String> {
    if text == "auto" {
        return Ok(Concurrency::Auto);
    }
    let number = whole(text, CONCURRENCY_MAX, 32).map(Concurrency::Fixed);
    number.map_err(|_| format!("give a whole number from 1 to {CONCURRENCY_MAX}, or auto"))
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
    let window = duration(window).map_err(|why| format!("the window: {why}; {SHAPE}"))?;
    if window.is_zero() || window > WINDOW_MAX {
        return Err(format!("the window must be more than 0 and at most 24h; {SHAPE}"));
    }
    Ok(Rate { requests, window })
}

/// `1/4`: a part of the allowance.
pub fn rate_share(text: &str) -> Result<RateShare, String> {
    const SHAPE: &str = "write a part of the allowance such as 1/4, from 1/10000 to 1/1";
    let (part, of) = text.split_once('/').ok_or(SHAPE)?;
    let number = |text| digits(text).and_then(|number| u32::try_from(number).ok()).ok_or(SHAPE);
    let share = RateShare { part: number(part)?, of: number(of)? };
    let is_part = 1 <= share.part && share.part <= share.of && share.of <= SHARDS_MAX;
    if is_part { Ok(share) } else { Err(SHAPE.to_owned()) }
}

/// Digits only: no sign, no space, no decimal point.
pub fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Units from large to small, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Longest duration: a clock can be set this far ahead, and no user means more.
const DURATION_MAX: Duration = Duration::from_hours(24 * 366);

/// `90s`, `15m`, `1h30m`, `500ms`, `2d`: each unit once, from large to small; `0` needs none.
pub fn duration(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "write a duration as whole numbers with units, from large to small: 90s, 15m, 1h30m";
    if digits(text).is_some_and(|number| number > 0) {
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
        let (number, tail) = cut(rest, |char| !char.is_ascii_digit());
        let (unit, tail) = cut(tail, |char| char.is_ascii_digit());
        let number = digits(number).ok_or(SHAPE)?;
        let at = units.iter().position(|(name, _)| *name == unit).ok_or(SHAPE)?;
        let part = number.checked_mul(units[at].1);
        millis = part.and_then(|part| millis.checked_add(part)).ok_or("it is too long; at most 366d")?;
        units = &units[at + 1..];
        rest = tail;
    }
    let duration = Duration::from_millis(millis);
    if duration > DURATION_MAX { Err("it is too long; at most 366d".to_owned()) } else { Ok(duration) }
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

    #[test]
    fn images_in_flight_are_a_number_or_auto() {
        assert_eq!(concurrency("auto"), Ok(Concurrency::Auto));
        assert_eq!(concurrency("64").map(|fixed| fixed.to_string()), Ok("64".to_owned()));
        for text in ["0", "1025", "Auto", "", " auto", "auto8", "-1"] {
            let error = concurrency(text).expect_err(text);
            assert_eq!(error, "give a whole number from 1 to 1024, or auto", "{text}");
        }
    }

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
