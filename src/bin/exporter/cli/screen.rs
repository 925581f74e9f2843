//! What is shown on standard error, and how.

use std::ffi::OsString;

use clap::{ArgAction, Args};

/// Progress and log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct ScreenArgs {
    /// Progress: auto, bar, plain (a line now and then) or none
    ///
    /// auto is a bar where standard error is a terminal, else plain.
    #[arg(long, value_name = "auto|bar|plain|none")]
    pub progress: Option<OsString>,

    #[command(flatten)]
    pub log: LogArgs,
}

/// Log lines.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct LogArgs {
    /// Log lines as text, or as JSON, one object a line
    #[arg(long, value_name = "text|json")]
    pub log_format: Option<OsString>,

    /// Say more (-v, -vv, -vvv)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Say nothing but errors: no progress, no warnings, no summary
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}
