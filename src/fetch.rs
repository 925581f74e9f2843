//! One row from its first attempt to its end.
//!
//! [`attempts`] is the loop: an attempt, what follows from its failure, and again if that may help. An attempt gets a
//! [`signed_url`], [`download`]s the object, lets [`validate`] judge whether it is the whole image, and hands it to
//! the store. [`retry`] decides what follows from a failure, and [`partial`] keeps the bytes between two attempts.
//!
//! A row ends in exactly one [`Outcome`]. Which rows are fetched, and what is written of one that was not delivered,
//! is the business of the run.

mod asker;
pub(crate) mod attempts;
mod context;
mod download;
mod partial;
pub(crate) mod queue;
pub(crate) mod retry;
mod room;
mod signed_url;
#[cfg(test)]
mod tests;
pub(crate) mod validate;

pub(crate) use context::{Fetcher, Outcome, Suspect};
