//! Where a signed URL may lead: checked on its text before anything is dialled, and again on the address that
//! is really dialled, so that a name cannot turn into another address in between.
//!
//! Ranges: IANA's special-purpose registries (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere on the internet.
    Public,
    /// This machine.
    Loopback,
    /// A private network.
    Private,
    /// This link: cloud metadata services live here.
    LinkLocal,
    /// No host at all: unspecified, multicast, reserved.
    Nowhere,
}

impl Place {
    /// The place of an address; an IPv4 address inside an IPv6 one counts.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| Self::of_v6(v6), Self::of_v4),
        }
    }

    fn of_v4(v4: Ipv4Addr) -> Self {
        match v4.octets() {
            [127, ..] => Self::Loopback,
            // private use, shared address space, IETF protocol assignments, benchmarking
            [10, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..]
            | [192, 0, 0, _]
            | [198, 18 | 19, ..] => Self::Private,
            [169, 254, ..] => Self::LinkLocal,
            [0 | 224..=255, ..] => Self::Nowhere,
            _ => Self::Public,
        }
    }

    fn of_v6(v6: Ipv6Addr) -> Self {
        match v6.segments() {
            _ if v6.is_loopback() => Self::Loopback,
            // unique local, the old site-local, NAT64 of local use (RFC 8215)
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Self::Private,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            // unspecified and reserved, discard only, Teredo (RFC 4380: hides an IPv4 address), multicast
            [0 | 0xff00..=0xffff, ..] | [0x100, 0, 0, 0, ..] | [0x2001, 0, ..] => Self::Nowhere,
            _ => Self::Public,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Nowhere => "reserved",
        }
    }
}

/// IPv4-mapped, IPv4-compatible, IPv4-translated (RFC 2765), NAT64 (RFC 6052), 6to4 (RFC 3056) and ISATAP (RFC 5214)
/// addresses carry an IPv4 address.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low]
        | [0, 0, 0, 0, 0, 0, high @ 1..=u16::MAX, low]
        | [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

/// Ports of services that read lines of text, and of the old trusted ones: no object is served there, and a request
/// might be taken for something else (after the Fetch standard's "port blocking").
const OTHER_SERVICES: [u16; 31] = [
    20, 21, 22, 23, 25, 53, 69, 109, 110, 111, 119, 135, 139, 143, 161, 179, 389, 445, 465, 512, 513, 514,
    515, 587, 601, 636, 989, 990, 993, 995, 6379,
];

/// Which addresses may be dialled for signed URLs.
#[derive(Debug, Default)]
pub struct Policy {
    /// Patterns of `--storage-host`.
    hosts: Vec<String>,
    /// Plain `http` is allowed anywhere.
    allow_http: bool,
    /// The API's own host.
    api: String,
    /// Places where the API itself was found, as bits.
    api_places: AtomicU8,
    /// The proxy's own name, which was configured and is trusted. What the proxy dials in our place never comes here.
    proxy: Option<String>,
}

impl Policy {
    /// A policy that has not seen the API yet, but for an API that is named by its address.
    #[must_use]
    pub fn new(api: &Url, hosts: &[String], allow_http: bool, proxy: Option<String>) -> Self {
        let policy = Self {
            hosts: hosts.to_vec(),
            allow_http,
            api: api.host_str().unwrap_or_default().to_owned(),
            api_places: AtomicU8::new(0),
            proxy,
        };
        if let Some(address) = literal(api) {
            policy.api_is_at(address);
        }
        policy
    }

    /// Remembers where the API is.
    pub fn api_is_at(&self, address: IpAddr) {
        self.api_places.fetch_or(Place::of(address).bit(), Ordering::Relaxed);
    }

    /// Whether signed URLs may name this host at all.
    fn names(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| matches(pattern, host))
    }

    fn api_at(&self, place: Place) -> bool {
        self.api_places.load(Ordering::Relaxed) & place.bit() != 0
    }

    /// Checks a URL before it is dialled.
    ///
    /// # Errors
    /// Says what is wrong, without the URL.
    pub fn check_url(&self, url: &Url) -> Result<(), String> {
        let Some(host) = url.host_str() else {
            return Err("it names no host".to_owned());
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it carries a user name".to_owned());
        }
        let named = literal(url).map(Place::of).or_else(|| means_loopback(host).then_some(Place::Loopback));
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http || named == Some(Place::Loopback) && self.api_at(Place::Loopback) => {}
            "http" => return Err(format!("plain http to {host} (--allow-http allows it)")),
            other => return Err(format!("its scheme is {other}, not https")),
        }
        if let Some(port) = url.port()
            && OTHER_SERVICES.contains(&port)
        {
            return Err(format!("port {port} belongs to another service"));
        }
        if !self.hosts.is_empty() && !self.names(host) {
            return Err(format!("host {host} is none of --storage-host"));
        }
        // the way to the proxy is open for the proxy's sake, not for that of a URL that names it
        match named {
            Some(place) => self.check_place(host, place),
            None if self.proxy.as_deref() == Some(host) && host != self.api && !self.names(host) => {
                Err(format!("{host} is the proxy (--storage-host {host} allows it)"))
            }
            None => Ok(()),
        }
    }

    /// Whether an address may be dialled for `host`, which was looked up for the API or for the storage.
    fn check_found(&self, host: &str, address: IpAddr, for_api: bool) -> Result<(), String> {
        if for_api {
            // where its proxy is says nothing of the API
            if host == self.api {
                self.api_is_at(address);
            }
            return Ok(());
        }
        if self.proxy.as_deref() == Some(host) { Ok(()) } else { self.check_address(host, address) }
    }

    /// Checks an address that is about to be dialled for `host`.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), String> {
        self.check_place(host, Place::of(address))
    }

    fn check_place(&self, host: &str, place: Place) -> Result<(), String> {
        match place {
            Place::Public => Ok(()),
            Place::Nowhere => Err(format!("{host} leads to a {} address", place.name())),
            Place::Loopback | Place::Private | Place::LinkLocal if self.api_at(place) || self.names(host) => {
                Ok(())
            }
            Place::Loopback | Place::Private | Place::LinkLocal => {
                Err(format!("{host} leads to a {} address (--storage-host {host} allows it)", place.name()))
            }
        }
    }
}

/// `*.example.com` stands for every name below example.com; anything else for itself.
fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.to_ascii_lowercase(), host.to_ascii_lowercase());
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => pattern.trim_start_matches('[').trim_end_matches(']') == host,
    }
}

/// Names that stand for this machine wherever they are looked up (RFC 6761), also behind a proxy.
fn means_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// An address that must not be dialled; found again in the chain of a connection's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Looks names up and lets through what the policy allows: what comes out is what is dialled.
#[derive(Clone, Debug)]
pub struct Resolver<L = System> {
    policy: Arc<Policy>,
    /// Whether it is for the API's client; the API's own name is trusted.
    for_api: bool,
    lookup: L,
}

impl Resolver {
    /// Asks the system.
    pub const fn new(policy: Arc<Policy>, for_api: bool) -> Self {
        Self { policy, for_api, lookup: System }
    }
}

/// Where names are looked up.
pub trait Lookup: Clone + Send + Sync + 'static {
    /// All addresses of a host.
    fn addresses(&self, host: &str) -> impl Future<Output = std::io::Result<Vec<SocketAddr>>> + Send;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Lookup for System {
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

impl<L: Lookup> Resolve for Resolver<L> {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = this.lookup.addresses(host).await?;
            // one that is refused refuses them all: the next one is dialled where the first does not answer
            for address in &found {
                this.policy.check_found(host, address.ip(), this.for_api).map_err(Refused)?;
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests;
