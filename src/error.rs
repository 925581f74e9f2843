//! What can go wrong, in three sizes.
//!
//! - [`Failure`]: one attempt at one image went wrong. What follows from it is decided in [`crate::retry`].
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

pub use clean::{CLEAN_LIMIT, clean};
pub use code::ErrorCode;
pub use failure::{Failure, ItemError, Said, Service};
pub use run::RunError;
