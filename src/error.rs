//! What can go wrong, at three scopes.
//!
//! - [`Failure`]: one attempt at one image. `fetch::retry` decides what follows.
//! - [`ItemError`]: one row ends without its image, or stays untried. It is data: recorded, counted and reported.
//! - [`RunError`]: the run cannot go on, or never started.
//!
//! The rules for every text here: lower case, no full stop at the end, files named by path, hosts by name; never a URL,
//! a key or an `Authorization` value. Text from a server passes through [`clean`] first. `Display` gives an error's
//! own part only; the cause is in `source()`, and the program joins the chain with `": "`.

pub(crate) mod advice;
mod clean;
mod code;
pub(crate) mod disk_cause;
mod failure;
mod run;
mod stop_reason;

pub use clean::{CLEAN_LIMIT, clean, escape_controls};
pub use code::ErrorCode;
pub use failure::{ErrorResponse, Failure, ItemError, Service};
pub use run::{LedgerState, RunError};
pub use stop_reason::StopReason;

/// An error and its causes, joined by `": "`. A cause that the text so far ends with is left out.
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
