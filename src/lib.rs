//! Exports a clinic's note images: downloads every image that a CSV manifest lists, verifies it, and accounts for
//! every row.
//!
//! A row passes through the program once and in one direction:
//!
//! 1. [`manifest`]: CSV → rows, each with its line; every row is checked before the first request.
//! 2. [`ledger`]: rows → SQLite, linked to the images that earlier runs delivered. Reports are written from it.
//! 3. `admission`: may this row go ahead, or does the run drain, wait out an outage, or skip its organization?
//! 4. [`limit`]: the request limiter grants a permit for one API request.
//! 5. [`remote`]: the API signs a URL, the storage serves the object behind it.
//! 6. `fetch`: one row from its first attempt to its end; `fetch::retry` decides what follows a failure,
//!    `fetch::validate` whether the bytes are the whole image.
//! 7. [`store`]: part file → durable → final name → ledger, many images at a time.
//! 8. [`report`]: ledger → reports, each replaced atomically.
//!
//! [`run`] ties these together. Where several machines share the rows ([`shard`]), [`merge`] makes one export of what
//! they delivered. [`plan`], [`status`], [`doctor`] and [`verify`] look at an export without running
//! it. The library returns values and emits [`event`]s; it never prints.
//!
//! The modules below stand in the order of their imports: a module uses only modules above it.
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "a test may take any error for an absence"))]

// words that everything shares
pub mod item;
pub mod shard;
pub(crate) mod csv_field;
pub(crate) mod machine;
pub mod number;
pub mod timestamp;
pub mod shutdown;
pub mod api_key;
pub mod layout;
pub mod checksum;
pub mod image;
pub mod manifest;
pub mod error;
pub mod options;
pub mod event;

// from a row to its image
pub mod disk;
pub mod ledger;
pub mod remote;
pub mod limit;
pub mod store;
pub(crate) mod admission;
pub(crate) mod fetch;
pub mod report;
pub mod run;
pub mod merge;

// around a run
pub mod plan;
pub mod status;
pub mod doctor;
pub mod verify;
