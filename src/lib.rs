//! Brings a clinic's note images home, completely and provably.
pub mod item;
pub mod layout;
pub mod manifest;
