//! Brings a clinic's note images home, completely and provably.
pub mod error;
pub mod event;
pub mod item;
pub mod manifest;
pub mod options;
pub mod report;
pub mod run;
pub mod stop;
