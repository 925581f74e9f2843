//! What an answer's headers say about the rate limit. All of them are optional, and any may be absurd.
//!
//! Pure: the wall clock of this machine counts for dates only, and only if the answer itself carries no `Date`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A longer wait counts as absurd and is ignored.
pub const WAIT_MAX: Duration = Duration::from_hours(24);

/// What was read from one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateHeaders {
    /// The answer was a 429.
    pub limited: bool,
    /// `Retry-After`, from now.
    pub retry_after: Option<Duration>,
    /// `X-RateLimit-Reset`, from now.
    pub reset: Option<Duration>,
    /// `X-RateLimit-Limit`.
    pub limit: Option<u32>,
    /// `X-RateLimit-Remaining`.
    pub remaining: Option<u32>,
}

impl RateHeaders {
    /// Reads the headers of an answer that arrived at `now`.
    pub fn read<'a>(limited: bool, header: impl Fn(&str) -> Option<&'a str>, now: SystemTime) -> Self {
        // dates are the server's: how far away they are, its own clock says
        let server_now = header("date").and_then(|text| httpdate::parse_http_date(text).ok()).unwrap_or(now);
        let number = |name| header(name).and_then(|text| text.trim().parse().ok());
        Self {
            limited,
            retry_after: header("retry-after").and_then(|text| retry_after(text, server_now)),
            reset: header("x-ratelimit-reset").and_then(|text| reset(text, server_now)),
            limit: number("x-ratelimit-limit").filter(|limit| *limit > 0),
            remaining: number("x-ratelimit-remaining"),
        }
    }

    /// The wait that a 429 names: `Retry-After`, else `X-RateLimit-Reset`. The window of `--rate` has no say in it: it is
    /// the server's window that the reset ends.
    #[must_use]
    pub fn named_wait(&self) -> Option<Duration> {
        self.retry_after.or(self.reset)
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds or an HTTP date. `None` for anything that is not within
/// (0, 24 h].
#[must_use]
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    believable(wait)
}

/// `X-RateLimit-Reset`: Unix seconds. `None` for anything that is not within (0, 24 h] from now.
#[must_use]
pub fn reset(text: &str, now: SystemTime) -> Option<Duration> {
    let seconds: u64 = text.trim().parse().ok()?;
    let when = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    believable(when.duration_since(now).ok()?)
}

fn believable(wait: Duration) -> Option<Duration> {
    (wait > Duration::ZERO && wait <= WAIT_MAX).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[test]
    fn retry_after_reads_seconds_and_dates_and_ignores_nonsense() {
        let date = httpdate::fmt_http_date(now() + Duration::from_secs(90));
        let past = httpdate::fmt_http_date(now() - Duration::from_secs(90));
        let cases: [(&str, Option<u64>); 13] = [
            ("1", Some(1)),
            (" 30 ", Some(30)),
            ("86400", Some(86400)),
            ("86401", None),
            ("0", None),
            ("-1", None),
            ("1.5", None),
            ("100000000000000000000", None),
            ("soon", None),
            ("", None),
            (&date, Some(90)),
            (&past, None),
            ("Fri, 31 Dec 2100 23:59:59 GMT", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(retry_after(text, now()), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn reset_is_counted_by_the_servers_own_clock() {
        let server = now() + Duration::from_secs(3600);
        let date = httpdate::fmt_http_date(server);
        let hints = RateHeaders::read(
            true,
            |name| match name {
                "date" => Some(&*date),
                "x-ratelimit-reset" => Some("1800003620"),
                _ => None,
            },
            now(),
        );
        assert_eq!(hints.reset, Some(Duration::from_secs(20)));
    }

    #[test]
    fn a_reset_in_the_past_or_days_ahead_is_ignored() {
        for text in ["1799999999", "1800000000", "1800090000", "99999999999999999999", "x"] {
            assert_eq!(reset(text, now()), None, "{text}");
        }
    }

    #[test]
    fn the_wait_that_is_named_is_that_of_retry_after_else_that_of_the_reset() {
        let [two, nine] = [2, 9].map(Duration::from_secs);
        for (retry_after, reset, named) in [
            (Some(two), Some(nine), Some(two)),
            (Some(nine), None, Some(nine)),
            (None, Some(nine), Some(nine)),
            (None, None, None),
        ] {
            let headers = RateHeaders { retry_after, reset, ..RateHeaders::default() };
            assert_eq!(headers.named_wait(), named);
        }
    }

    #[test]
    fn a_wait_of_a_day_is_believed_and_a_longer_or_empty_one_is_not() {
        let day = WAIT_MAX.as_secs();
        for (ahead, believed) in [(0, false), (1, true), (day, true), (day + 1, false)] {
            let wait = believed.then_some(Duration::from_secs(ahead));
            let when = now() + Duration::from_secs(ahead);
            assert_eq!(retry_after(&ahead.to_string(), now()), wait, "{ahead} s");
            assert_eq!(retry_after(&httpdate::fmt_http_date(when), now()), wait, "a date {ahead} s ahead");
            assert_eq!(reset(&(1_800_000_000 + ahead).to_string(), now()), wait, "a reset {ahead} s ahead");
        }
    }

    #[test]
    fn a_limit_from_one_on_counts() {
        for (text, limit) in [("1", Some(1)), (" 1000 ", Some(1000)), ("0", None), ("4294967296", None)] {
            let read = RateHeaders::read(false, |name| (name == "x-ratelimit-limit").then_some(text), now());
            assert_eq!(read.limit, limit, "{text:?}");
        }
    }

    #[test]
    fn absurd_numbers_are_ignored() {
        let hints = RateHeaders::read(false, |name| (name != "date").then_some("-5"), now());
        assert_eq!(hints, RateHeaders::default());
        let hints = RateHeaders::read(false, |name| (name == "x-ratelimit-limit").then_some("0"), now());
        assert_eq!(hints.limit, None);
    }
}
