//! Brings a clinic's note images home, completely and provably.
//!
//! The way of the data, once and in one direction; the modules stand in that order:
//!
//! 1. [`manifest`]: CSV → rows, each with its line; every row is checked before any request.
//! 2. [`ledger`]: rows → SQLite, linked to what is delivered already. The one truth.
//! 3. [`limit`]: the request clock, which lets a row's request go.
//! 4. [`remote::http`]: the API gives a signed URL, the storage the object behind it.
//! 5. [`fetch`]: one image through its tries; [`fetch::retry`] decides what follows from a failure, [`admission::breaker`] whether
//!    it is the image's fault at all.
//! 6. [`fetch::validate`]: is it the whole image, and an image?
//! 7. [`store`]: part file → durable → final name → ledger, many at a time.
//! 8. [`report`]: ledger → reports, atomically.
//!
//! [`run`] ties them together; [`verify`] reads back what was delivered, [`plan`] tells what a run would do,
//! [`status`] how far it is, [`doctor`] what would break in it. The core returns and emits [`event`]s; it prints nothing.

pub mod options;

pub mod error;
pub mod event;
pub mod item;
pub mod shutdown;
pub mod timestamp;

pub mod layout;
pub mod manifest;

pub mod disk;

pub mod ledger;

pub mod limit;

pub mod checksum;

pub mod remote;

pub mod admission;

pub mod fetch;

pub mod image;

pub mod store;

pub mod report;

pub mod run;

pub mod verify;

pub mod plan;

pub mod status;

pub mod doctor;
