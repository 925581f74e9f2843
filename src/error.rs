//! What can go wrong, in three sizes.
//!
//! - [`Failure`]: one attempt at one image went wrong. What follows from it is decided in [`crate::fetch::retry`].
//! - [`ItemError`]: one row is given up (or left untried). It is data: recorded, counted and reported.
//! - [`RunError`]: the whole run cannot go on, or never began.
//!
//! The rules for all texts here: lower case, no full stop, files named by path, hosts by name; never a URL, a
//! key or an `Authorization` value. A text that came from a server passes through [`clean`] first. `Display`
//! says its own part only; the cause is in `source()`, and the program joins the chain with `": "`.

mod clean;
mod code;
mod failure;
mod run;
mod stop_reason;

pub(crate) use clean::escape;
pub use clean::{CLEAN_LIMIT, clean};
pub use code::ErrorCode;
pub use failure::{ErrorResponse, Failure, ItemError, Service};
pub use run::{LedgerState, RunError};
pub use stop_reason::StopReason;

/// An error and its causes, joined by `": "`. A cause that only repeats what was said is left out.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let io = std::io::Error::other("disk on fire");
        let error = RunError::io("writing report.csv")(io);
        assert_eq!(chain(&error), "writing report.csv: disk on fire");
        let twice = RunError::io("it failed: disk on fire")(std::io::Error::other("disk on fire"));
        assert_eq!(chain(&twice), "it failed: disk on fire");
    }
}
