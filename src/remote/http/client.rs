//! How the two HTTP clients are built, and which certificates they trust.
//!
//! Certificate checks cannot be switched off: the system's certificates and those of `--ca-file` are trusted, no others.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder};

use super::proxy::ProxySettings;
use super::ssrf::Resolver;
use super::transport_error;
use crate::error::{RunError, Service};
use crate::options::{ApiOptions, CONNECT_TIMEOUT};

/// S3 closes idle connections after about 5 s; a request on a closed one costs an attempt.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// An HTTP/2 connection that carries requests is asked for a sign of life this often, and given up if none comes in
/// that time again: a balancer may keep a connection open and pass nothing on.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A system's whole certificate store is smaller than 1 MiB.
const CA_FILE_MAX: u64 = 16 << 20;

/// Builds the client for a service.
pub(super) fn build(
    service: Service,
    options: &ApiOptions,
    resolver: &Resolver,
    proxy: Option<&ProxySettings>,
) -> Result<Client, RunError> {
    let builder = || builder(service, options, resolver, proxy);
    let built = match builder()?.build() {
        // a machine without certificates: an API over plain http needs none, and https stays refused
        Err(_) if options.url.scheme() == "http" && options.ca_file.is_none() => {
            builder()?.tls_certs_only([]).build()
        }
        built => built,
    };
    built.map_err(|error| {
        RunError::Settings(format!(
            "no HTTPS client can be made ({}); --ca-file names certificates to trust if the system has none",
            transport_error::reason(&error.without_url())
        ))
    })
}

fn builder(
    service: Service,
    options: &ApiOptions,
    resolver: &Resolver,
    proxy: Option<&ProxySettings>,
) -> Result<ClientBuilder, RunError> {
    let mut builder = Client::builder()
        .user_agent(concat!("exporter/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        // reqwest would also read HTTP_PROXY and ALL_PROXY
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .dns_resolver(Arc::new(resolver.clone()));
    builder = match service {
        // S3 speaks HTTP/1.1; with one request per connection a slow body cannot hold up others
        Service::Storage => builder.http1_only(),
        Service::Api => builder
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .http2_keep_alive_while_idle(true),
    };
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy.to_reqwest()?);
    }
    if let Some(file) = &options.ca_file {
        builder = builder.tls_certs_merge(certificates(file)?);
    }
    Ok(builder)
}

/// Whether the system has certificates to trust; the error says why none could be used. Asks what every client asks.
pub(crate) fn check_system_certificates() -> Result<(), String> {
    match Client::builder().no_proxy().build() {
        Ok(_) => Ok(()),
        Err(error) => Err(transport_error::reason(&error)),
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// [`RunError::Settings`] if the file cannot be read or holds none.
pub(crate) fn certificates(file: &Path) -> Result<Vec<Certificate>, RunError> {
    let unusable = |why: String| {
        RunError::Settings(format!("--ca-file {}: {why}; give a PEM file of certificates", file.display()))
    };
    let mut pem = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(CA_FILE_MAX).read_to_end(&mut pem))
        .map_err(|error| unusable(error.to_string()))?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|_| unusable("cannot be read".to_owned()))?;
    if certificates.is_empty() {
        return Err(unusable("holds no certificate".to_owned()));
    }
    Ok(certificates)
}
