//! When a run stops starting new images: `--until` or `--max-duration`, whichever is earlier.

use std::time::{Duration, SystemTime};

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use super::refusal::shown;
use super::{Refusal, Sources, table, values};
use crate::output::format;
use crate::time_zone;

/// The time after which a run starts no new images.
#[derive(Debug)]
pub struct Deadline {
    /// For the run: by the wall clock.
    pub time: SystemTime,
    /// For people: `2026-03-01 06:00 UTC+01:00 (in 4 h 15 min)`.
    pub shown: String,
}

/// The earlier of `--until` and `--max-duration`.
pub fn deadline(sources: &Sources<'_>) -> Result<Option<Deadline>, Refusal> {
    let now = Timestamp::now().to_zoned_datetime(zone(sources)?);
    let until = sources.text(&table::UNTIL, |text| wait(clock(text)?, &now))?;
    let longest = sources.text(&table::MAX_DURATION, values::some_duration)?;
    let Some(wait) = until.into_iter().chain(longest).min() else { return Ok(None) };
    let end = now.checked_add(wait).map_err(|error| Refusal::new("the end of the run", error))?;
    let shown = format!("{} (in {})", end.strftime("%Y-%m-%d %H:%M UTC%:z"), format::duration(wait));
    Ok(Some(Deadline { time: SystemTime::now() + wait, shown }))
}

/// The local time zone: UTC on a machine that names none, but never instead of one that is named and unknown, since the
/// run would end at another hour than the user means.
fn zone(sources: &Sources<'_>) -> Result<TimeZone, Refusal> {
    let named = sources.variable("TZ");
    if let Some(zone) = time_zone::local(named.as_deref().and_then(|name| name.to_str())) {
        return Ok(zone);
    }
    match named.filter(|_| is_limited(sources)) {
        Some(name) => Err(Refusal::new(
            format_args!("TZ {}", shown(&name)),
            "this machine does not know the time zone; write a name such as Europe/Berlin, for which the zone database \
             (tzdata) must be installed, or a rule such as CET-1CEST,M3.5.0,M10.5.0/3, or unset TZ for UTC",
        )),
        None => Ok(TimeZone::UTC),
    }
}

/// Whether the run has an end that is named in local time.
fn is_limited(sources: &Sources<'_>) -> bool {
    [&table::UNTIL, &table::MAX_DURATION].into_iter().any(|setting| sources.value(setting).is_some())
}

/// `HH:MM`.
fn clock(text: &str) -> Result<Time, String> {
    const SHAPE: &str = "write a time of day as HH:MM, from 00:00 to 23:59";
    let (hours, minutes) = text.split_once(':').ok_or(SHAPE)?;
    if !(1..=2).contains(&hours.len()) || minutes.len() != 2 {
        return Err(SHAPE.to_owned());
    }
    let part = |text| values::digits(text).and_then(|number| i8::try_from(number).ok()).ok_or(SHAPE);
    Time::new(part(hours)?, part(minutes)?, 0, 0).map_err(|_| SHAPE.to_owned())
}

/// From now to the next occurrence of that time of day: tomorrow, if it has passed today. A time that the clock skips
/// in spring counts as the moment right after the gap.
fn wait(time: Time, now: &ZonedDateTime) -> Result<Duration, String> {
    let words = |error: jiff::Error| format!("the clock cannot tell when that is: {error}");
    let mut day = now.date();
    loop {
        let at = day.to_datetime(time).to_zoned_datetime(now.time_zone().clone()).map_err(words)?;
        if at > *now {
            return now.duration_until(&at).try_into().map_err(words);
        }
        day = day.tomorrow().map_err(words)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours_from(now: &str, clock_text: &str) -> f64 {
        let now: ZonedDateTime = now.parse().expect("a time with its zone");
        wait(clock(clock_text).expect("a clock"), &now).expect("a wait").as_secs_f64() / 3600.0
    }

    #[test]
    fn a_time_of_day_is_its_next_occurrence() {
        assert!((hours_from("2026-03-01T22:00[UTC]", "06:00") - 8.0).abs() < 1e-9);
        assert!((hours_from("2026-03-01T05:30[UTC]", "6:00") - 0.5).abs() < 1e-9);
        assert!((hours_from("2026-03-01T06:00[UTC]", "06:00") - 24.0).abs() < 1e-9);
        assert!((hours_from("2026-12-31T23:00[UTC]", "00:00") - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_change_of_the_clock_is_counted() {
        assert!((hours_from("2026-03-28T22:00[Europe/Berlin]", "06:00") - 7.0).abs() < 1e-9);
        assert!((hours_from("2026-10-24T22:00[Europe/Berlin]", "06:00") - 9.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_time_of_day_is_refused() {
        for text in ["", "6", "24:00", "06:60", "06:5", "006:00", "06:00:00", "-1:00", "6 :00", "6pm"] {
            assert!(clock(text).is_err(), "{text}");
        }
    }
}
