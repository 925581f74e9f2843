//! The user's time zone, for every time of day that is read or shown.
//!
//! `TZ` means what it means to the C library, so that a run ends when `date` says so.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// When summer time begins and ends in a `TZ` such as `CET-1CEST`, which names it without saying when: the rules of
/// the United States, which the C library takes then (tzset(3)).
const DEFAULT_RULES: &str = ",M3.2.0,M11.1.0";

/// The local time zone; `None` on a machine that names none, and if `named`, the value of `TZ`, is unknown.
pub fn local(named: Option<&str>) -> Option<TimeZone> {
    let known = TimeZone::try_system().ok().filter(|zone| !zone.is_unknown());
    known.or_else(|| without_rules(named?))
}

/// Now, in local time; in UTC if the time zone is not known.
pub fn now() -> ZonedDateTime {
    let zone = local(std::env::var("TZ").ok().as_deref()).unwrap_or(TimeZone::UTC);
    Timestamp::now().to_zoned_datetime(zone)
}

fn without_rules(named: &str) -> Option<TimeZone> {
    TimeZone::posix(&format!("{named}{DEFAULT_RULES}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summer_time_without_rules_has_those_of_the_c_library() {
        let zone = without_rules("CET-1CEST").expect("a zone");
        for (day, hour) in [("2026-01-15", 13), ("2026-03-15", 14), ("2026-07-01", 14), ("2026-11-15", 13)] {
            let noon: Timestamp = format!("{day}T12:00:00Z").parse().expect("a time");
            assert_eq!(noon.to_zoned_datetime(zone.clone()).hour(), hour, "{day}");
        }
        for unknown in ["Nonsense/Zone", "", "CET-1CEST,M3.5.0", "CET-1CEST,M3.5.0,M10.5.0/3"] {
            assert!(without_rules(unknown).is_none(), "{unknown}");
        }
    }
}
