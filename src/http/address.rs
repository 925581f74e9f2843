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
        let [a, b, ..] = v4.octets();
        match (a, b) {
            (127, _) => Self::Loopback,
            (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) => Self::Private,
            (169, 254) => Self::LinkLocal,
            (0 | 224..=255, _) => Self::Nowhere,
            _ => Self::Public,
        }
    }

    fn of_v6(v6: Ipv6Addr) -> Self {
        match v6.segments()[0] {
            _ if v6.is_loopback() => Self::Loopback,
            0xfc00..=0xfdff | 0xfec0..=0xfeff => Self::Private,
            0xfe80..=0xfebf => Self::LinkLocal,
            _ if v6.is_unspecified() || v6.is_multicast() => Self::Nowhere,
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

/// IPv4-mapped, IPv4-compatible, NAT64 (RFC 6052) and 6to4 (RFC 3056) addresses carry an IPv4 address.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high @ 1..=u16::MAX, low]
        | [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

/// Which addresses may be dialled for signed URLs.
#[derive(Debug, Default)]
pub struct Policy {
    /// Patterns of `--storage-host`.
    hosts: Vec<String>,
    /// Plain `http` is allowed anywhere.
    allow_http: bool,
    /// Places where the API itself was found, as bits.
    api_places: AtomicU8,
    /// The proxy's own name, which was configured and is trusted. What the proxy dials in our place never comes here.
    proxy: Option<String>,
}

impl Policy {
    /// A policy that has not seen the API yet, but for an API that is named by its address.
    #[must_use]
    pub fn new(api: &Url, hosts: &[String], allow_http: bool, proxy: Option<String>) -> Self {
        let policy = Self { hosts: hosts.to_vec(), allow_http, api_places: AtomicU8::new(0), proxy };
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
        let loopback = literal(url).map_or(host == "localhost", |ip| Place::of(ip) == Place::Loopback);
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http || loopback && self.api_at(Place::Loopback) => {}
            "http" => return Err(format!("plain http to {host} (--allow-http allows it)")),
            other => return Err(format!("its scheme is {other}, not https")),
        }
        if !self.hosts.is_empty() && !self.names(host) {
            return Err(format!("host {host} is none of --storage-host"));
        }
        match literal(url) {
            Some(address) => self.check_address(host, address),
            None => Ok(()),
        }
    }

    /// Checks an address that is about to be dialled for `host`.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), String> {
        let place = Place::of(address);
        let fine = match place {
            Place::Public => true,
            Place::Nowhere => false,
            Place::Loopback | Place::Private | Place::LinkLocal => self.api_at(place) || self.names(host),
        };
        if fine {
            Ok(())
        } else {
            Err(format!("{host} leads to a {} address (--storage-host {host} allows it)", place.name()))
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

fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// An address that must not be dialled; found again in the chain of a connection's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Looks names up and lets through what the policy allows.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Whether the API's own name is looked up, which is trusted.
    pub for_api: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, for_api) = (Arc::clone(&self.policy), self.for_api);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((&*host, 0)).await?.collect();
            for address in &found {
                if for_api {
                    policy.api_is_at(address.ip());
                } else if policy.proxy.as_deref() != Some(&*host) {
                    policy.check_address(&host, address.ip()).map_err(Refused)?;
                }
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(address: &str) -> Place {
        Place::of(address.parse().expect("an address"))
    }

    #[test]
    fn special_addresses_are_known_in_every_disguise() {
        for (address, expected) in [
            ("127.0.0.1", Place::Loopback),
            ("::1", Place::Loopback),
            ("::ffff:127.0.0.1", Place::Loopback),
            ("10.1.2.3", Place::Private),
            ("172.31.0.1", Place::Private),
            ("172.32.0.1", Place::Public),
            ("192.168.1.1", Place::Private),
            ("100.64.0.1", Place::Private),
            ("fd00::1", Place::Private),
            ("169.254.169.254", Place::LinkLocal),
            ("::ffff:169.254.169.254", Place::LinkLocal),
            ("64:ff9b::a9fe:a9fe", Place::LinkLocal),
            ("2002:a9fe:a9fe::1", Place::LinkLocal),
            ("fe80::1", Place::LinkLocal),
            ("0.0.0.0", Place::Nowhere),
            ("::", Place::Nowhere),
            ("224.0.0.1", Place::Nowhere),
            ("255.255.255.255", Place::Nowhere),
            ("ff02::1", Place::Nowhere),
            ("8.8.8.8", Place::Public),
            ("2600:1f18::1", Place::Public),
        ] {
            assert_eq!(place(address), expected, "{address}");
        }
    }

    fn check(api: &str, hosts: &[&str], allow_http: bool, url: &str) -> Result<(), String> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let policy = Policy::new(&Url::parse(api).expect("a URL"), &hosts, allow_http, None);
        policy.check_url(&Url::parse(url).expect("a URL"))
    }

    #[test]
    fn a_signed_url_must_be_https_to_a_public_host() {
        let api = "https://api.example.com/v2";
        assert_eq!(check(api, &[], false, "https://s3.amazonaws.com/b/k?X=1"), Ok(()));
        for url in [
            "file:///etc/passwd",
            "ftp://s3.amazonaws.com/b",
            "http://s3.amazonaws.com/b",
            "https://user@s3.amazonaws.com/b",
            "https://169.254.169.254/latest",
            "https://[::ffff:169.254.169.254]/latest",
            "https://2852039166/latest",
            "https://10.0.0.1/b",
            "https://127.0.0.1/b",
            "http://127.0.0.1/b",
            "https://0.0.0.0/b",
        ] {
            assert!(check(api, &[], false, url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_loopback_api_may_hand_out_loopback_urls_only() {
        let api = "http://127.0.0.1:8080/v2";
        assert_eq!(check(api, &[], false, "http://127.0.0.1:9000/b"), Ok(()));
        assert!(check(api, &[], false, "http://10.0.0.1/b").is_err());
        assert!(check(api, &[], false, "https://10.0.0.1/b").is_err());
        assert!(check(api, &[], true, "http://169.254.169.254/b").is_err());
    }

    #[test]
    fn storage_hosts_are_the_only_ones_and_may_be_private() {
        let api = "https://api.example.com/v2";
        assert_eq!(check(api, &["10.0.0.1"], false, "https://10.0.0.1/b"), Ok(()));
        assert_eq!(check(api, &["*.amazonaws.com"], false, "https://s3.amazonaws.com/b"), Ok(()));
        for url in ["https://amazonaws.com/b", "https://evilamazonaws.com/b", "https://s3.example.com/b"] {
            assert!(check(api, &["*.amazonaws.com"], false, url).is_err(), "{url}");
        }
    }
}
