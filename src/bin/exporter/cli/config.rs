//! Where settings come from besides the flags.

use std::ffi::OsString;

use clap::Args;

/// The config file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub struct ConfigArgs {
    /// Config file [default: exporter.toml here, else exporter/config.toml in the user's config folder]
    ///
    /// TOML; its keys are the names of the long flags: max-attempts = 5. A flag and an environment variable win
    /// over it. The API key cannot stand in it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<OsString>,

    /// Print each setting, its value and where it came from, and do nothing
    #[arg(long)]
    pub show_settings: bool,
}
