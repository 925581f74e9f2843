//! What network and storage can do to an image, against the real program: each fault ends as it must, no final
//! name ever holds wrong bytes, and the report is true. The table of all faults is in `doc/faults.md`.
#![expect(clippy::disallowed_methods, reason = "a test may take any error for an absence")]

mod answers;
mod bodies;
mod case;
mod chaos;
mod checksums;
mod disk;
mod kinds;
mod parts;
mod slow;
mod versions;
