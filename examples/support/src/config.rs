//! How a sandbox is set up. Everything has a default that behaves as the vendor's documentation says,
//! but for the rate limit: there is none unless it is asked for.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::limiter::Rate;
use crate::line::LineShape;

/// The key that a sandbox accepts unless told otherwise.
pub const API_KEY: &str = "max_dev_ak_sandbox";

/// Settings of a sandbox; `Config { rate: …, ..Config::default() }`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bearer keys that are accepted. They belong to one app: the rate limit is shared.
    pub api_keys: Vec<String>,
    /// Organizations for which the app lacks `read:notes` (403).
    pub refused_orgs: Vec<String>,
    /// `None`: unlimited, and no rate headers.
    pub rate: Option<Rate>,
    /// `X-Amz-Expires`.
    pub url_lifetime: Duration,
    /// Added to every answer of the API, and of the storage.
    pub api_latency: Duration,
    pub storage_latency: Duration,
    /// What both servers show behind `https` (see [`crate::tls`]); `None`: plain `http`.
    pub tls: Option<Arc<ServerConfig>>,
    /// The line in front of both servers; `None`: loopback as it is.
    pub line: Option<LineShape>,
    /// 0: one that is free. With a line in front, the port is that of the line.
    pub api_port: u16,
    pub storage_port: u16,
    /// How many of the newest requests the log keeps; 0: none.
    pub log: usize,
    /// Signs the URLs. The access key stands in every one of them: a word to search for.
    pub access_key: String,
    pub secret_key: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            api_keys: vec![API_KEY.to_owned()],
            refused_orgs: Vec::new(),
            rate: None,
            url_lifetime: Duration::from_hours(1),
            api_latency: Duration::ZERO,
            storage_latency: Duration::ZERO,
            tls: None,
            line: None,
            api_port: 0,
            storage_port: 0,
            log: 100_000,
            access_key: "AKIASANDBOXEXAMPLE00".to_owned(),
            secret_key: "sandbox/secret/key/of/no/value".to_owned(),
        }
    }
}
