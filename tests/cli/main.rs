//! The real program against the sandbox: every promise of `exporter run`, one test each.
#![expect(clippy::disallowed_methods, reason = "a test may take any error for an absence")]

mod answers;
mod disk_trouble;
mod doctor;
mod environment;
mod failures;
mod held_report;
mod hostile;
mod inject;
mod input;
mod interrupt;
mod key_rotation;
mod logs;
mod looks;
mod manifest;
mod metrics;
mod pace;
mod paths;
mod plan;
mod process;
mod rate_limit;
mod report;
mod reports;
mod resume;
mod run;
mod secrets;
mod settings;
mod shared_clock;
mod ssrf;
mod status;
mod tls;
mod trouble;
mod usage;
mod verify;
mod verify_medium;
mod wire;
