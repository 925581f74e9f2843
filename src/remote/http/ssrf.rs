//! Where a presigned URL may lead (protection against server-side request forgery): checked on its text before anything
//! is dialled, and again on each address that is dialled.
//!
//! The API's own network counts as allowed: an API on a private address may hand out URLs of that kind.

mod address_kind;
mod resolver;
#[cfg(test)]
mod tests;

pub(super) use resolver::{AddressRefused, Resolver};

use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use reqwest::Url;

use self::address_kind::AddressKind;
use crate::error::Service;

/// Ports of line-based protocols and of the old trusted services: no object is served there, and such a service might
/// act on a request (after the Fetch standard's "port blocking").
const BLOCKED_PORTS: [u16; 31] = [
    20, 21, 22, 23, 25, 53, 69, 109, 110, 111, 119, 135, 139, 143, 161, 179, 389, 445, 465, 512, 513, 514,
    515, 587, 601, 636, 989, 990, 993, 995, 6379,
];

/// Which hosts and addresses may be dialled for presigned URLs.
#[derive(Debug, Default)]
pub(super) struct SsrfPolicy {
    /// Patterns of `--storage-host`.
    storage_hosts: Vec<String>,
    /// Plain `http` is allowed to every host.
    allow_http: bool,
    /// The API's own host.
    api_host: String,
    /// Kinds of the addresses at which the API itself was found, as bits.
    api_kinds: AtomicU8,
    /// Host of the proxy, which the user configured and so trusts. The names that the proxy looks up never come here.
    proxy_host: Option<String>,
}

impl SsrfPolicy {
    /// A policy that does not know the API's addresses yet, unless its URL names one.
    pub(super) fn new(
        api: &Url,
        storage_hosts: &[String],
        allow_http: bool,
        proxy_host: Option<String>,
    ) -> Self {
        let policy = Self {
            storage_hosts: storage_hosts.to_vec(),
            allow_http,
            api_host: api.host_str().unwrap_or_default().to_owned(),
            api_kinds: AtomicU8::new(0),
            proxy_host,
        };
        if let Some(address) = literal_address(api) {
            policy.record_api_address(address);
        }
        policy
    }

    fn record_api_address(&self, address: IpAddr) {
        self.api_kinds.fetch_or(AddressKind::of(address).bit(), Ordering::Relaxed);
    }

    fn api_is_at(&self, kind: AddressKind) -> bool {
        self.api_kinds.load(Ordering::Relaxed) & kind.bit() != 0
    }

    /// Whether `--storage-host` names the host.
    fn is_storage_host(&self, host: &str) -> bool {
        self.storage_hosts.iter().any(|pattern| matches(pattern, host))
    }

    /// Checks a URL before it is dialled.
    ///
    /// # Errors
    /// What is wrong, without the URL.
    pub(super) fn check_url(&self, url: &Url) -> Result<(), String> {
        let Some(host) = url.host_str() else {
            return Err("it names no host".to_owned());
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it carries a user name".to_owned());
        }
        let kind = literal_address(url)
            .map(AddressKind::of)
            .or_else(|| is_localhost(host).then_some(AddressKind::Loopback));
        self.check_scheme(url.scheme(), host, kind)?;
        if let Some(port) = url.port()
            && BLOCKED_PORTS.contains(&port)
        {
            return Err(format!("port {port} belongs to another service"));
        }
        if !self.storage_hosts.is_empty() && !self.is_storage_host(host) {
            return Err(format!("host {host} is none of --storage-host"));
        }
        match kind {
            Some(kind) => self.check_kind(host, kind),
            None => self.check_not_proxy(host),
        }
    }

    fn check_scheme(&self, scheme: &str, host: &str, kind: Option<AddressKind>) -> Result<(), String> {
        let both_loopback = kind == Some(AddressKind::Loopback) && self.api_is_at(AddressKind::Loopback);
        match scheme {
            "https" => Ok(()),
            "http" if self.allow_http || both_loopback => Ok(()),
            "http" => Err(format!("plain http to {host} (--allow-http allows it)")),
            other => Err(format!("its scheme is {other}, not https")),
        }
    }

    /// The proxy's address may be dialled because it is the proxy, not because a URL names it.
    fn check_not_proxy(&self, host: &str) -> Result<(), String> {
        if self.is_proxy(host) && host != self.api_host && !self.is_storage_host(host) {
            return Err(format!("{host} is the proxy (--storage-host {host} allows it)"));
        }
        Ok(())
    }

    fn is_proxy(&self, host: &str) -> bool {
        self.proxy_host.as_deref() == Some(host)
    }

    /// Checks an address of `host` that the client is about to dial.
    fn check_resolved(&self, host: &str, address: IpAddr, client: Service) -> Result<(), String> {
        match client {
            Service::Api => {
                // the API's client also looks the proxy up, whose address says nothing about the API
                if host == self.api_host {
                    self.record_api_address(address);
                }
                Ok(())
            }
            Service::Storage if self.is_proxy(host) => Ok(()),
            Service::Storage => self.check_kind(host, AddressKind::of(address)),
        }
    }

    fn check_kind(&self, host: &str, kind: AddressKind) -> Result<(), String> {
        let name = kind.name();
        match kind {
            AddressKind::Public => Ok(()),
            AddressKind::Reserved => Err(format!("{host} leads to a {name} address")),
            AddressKind::Loopback | AddressKind::Private | AddressKind::LinkLocal
                if self.api_is_at(kind) || self.is_storage_host(host) =>
            {
                Ok(())
            }
            AddressKind::Loopback | AddressKind::Private | AddressKind::LinkLocal => {
                Err(format!("{host} leads to a {name} address (--storage-host {host} allows it)"))
            }
        }
    }
}

/// `*.example.com` matches every name below example.com; any other pattern matches itself.
fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_ascii_lowercase(), host.to_ascii_lowercase());
    let host = without_brackets(&host);
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => without_brackets(&pattern) == host,
    }
}

/// Names that mean this machine in every resolver (RFC 6761), also in that of a proxy.
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

/// The host as an address, if it is one.
fn literal_address(url: &Url) -> Option<IpAddr> {
    without_brackets(url.host_str()?).parse().ok()
}

/// A URL has an IPv6 address in brackets.
fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
