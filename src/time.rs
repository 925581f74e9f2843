//! Times as they are written down: RFC 3339, UTC, to the millisecond.

use jiff::{Timestamp, Unit};

/// The time of the machine's clock.
#[must_use]
pub fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now).to_string()
}
