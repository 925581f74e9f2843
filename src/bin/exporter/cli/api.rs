//! Where the API is and how it may be reached.

#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help on a terminal, which shows no markdown"
)]

use std::ffi::OsString;

use clap::Args;

/// The API's address and key, and whom to trust.
#[derive(Debug, Args)]
#[command(next_help_heading = "API and storage")]
pub struct ApiArgs {
    /// File that holds the API key in one line; wins over MAXAI_API_KEY
    ///
    /// It should be readable by its owner only (chmod 600). When the API refuses the key the file is read
    /// again: a new key in it lets the run go on.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<OsString>,

    /// Base address of the API; an address without a /vN path gets /v2
    #[arg(long, value_name = "URL")]
    pub api_url: Option<OsString>,

    /// Allow plain http to other hosts than this machine
    ///
    /// Key and images then cross the network unprotected: for tests in a closed network only.
    #[arg(long)]
    pub allow_http: bool,

    /// Certificates (PEM) to trust besides the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<OsString>,

    /// Hosts that a signed address may name, such as *.amazonaws.com; may be given again [default: any]
    ///
    /// A host that matches may also be a private address.
    #[arg(long, value_name = "PATTERN")]
    pub storage_host: Vec<OsString>,
}
