//! The proxy of the environment: where it is, and whom it stands before.
//!
//! Invariant: its password is in nothing that is shown.

use std::fmt;
use std::net::IpAddr;

use reqwest::{NoProxy, Proxy, Url};

use crate::error::RunError;

/// The proxy of the environment. Its `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxySettings {
    /// Its address, may hold a password.
    url: String,
    /// Hosts that are reached without it.
    exceptions: Option<String>,
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxySettings({})", self.name())
    }
}

impl ProxySettings {
    /// Reads `HTTPS_PROXY` and `NO_PROXY`, in lower case too. `HTTP_PROXY` is never read.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let read = |name: &str| {
            [name.to_owned(), name.to_ascii_lowercase()]
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        };
        Some(Self { url: read("HTTPS_PROXY")?, exceptions: read("NO_PROXY") })
    }

    #[cfg(test)]
    pub(super) fn new(url: &str, exceptions: Option<&str>) -> Self {
        Self { url: url.to_owned(), exceptions: exceptions.map(str::to_owned) }
    }

    /// Whether a request to that address goes through it, as reqwest decides: https only, and no exception. An
    /// exception is an address, a network, a domain with all below it, or `*` for every domain.
    #[must_use]
    pub fn applies_to(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let excepted = |exception: &str| match bare.parse::<IpAddr>() {
            Ok(address) => holds(exception, address),
            Err(_) => is_below(bare, exception),
        };
        let exceptions = self.exceptions.as_deref().unwrap_or_default();
        url.scheme() == "https" && !exceptions.split(',').map(str::trim).any(excepted)
    }

    /// Host and port, for people to read.
    #[must_use]
    pub fn name(&self) -> String {
        let named = self.parsed().and_then(|url| {
            let port = url.port_or_known_default()?;
            url.host_str().map(|host| format!("{host}:{port}"))
        });
        named.unwrap_or_else(|| "(unreadable)".to_owned())
    }

    pub(super) fn host(&self) -> Option<String> {
        self.parsed().and_then(|url| url.host_str().map(str::to_owned))
    }

    fn parsed(&self) -> Option<Url> {
        if self.url.contains("://") {
            Url::parse(&self.url)
        } else {
            Url::parse(&format!("http://{}", self.url))
        }
        .ok()
    }

    pub(super) fn to_reqwest(&self) -> Result<Proxy, RunError> {
        let wrong = || {
            RunError::Settings(
                "HTTPS_PROXY is not the address of an HTTP proxy (http://host:port, not shown here)"
                    .to_owned(),
            )
        };
        // another kind of proxy would be passed by in silence
        let url = self.parsed().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(wrong)?;
        let proxy = Proxy::https(url).map_err(|_| wrong())?;
        Ok(proxy.no_proxy(self.exceptions.as_deref().and_then(NoProxy::from_string)))
    }
}

/// Whether a network (`10.0.0.0/8`) or a single address holds that address.
fn holds(network: &str, address: IpAddr) -> bool {
    let (base, length) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((base, width), (address, other)) = (bits(base), bits(address));
    let differ = (base ^ address).leading_zeros();
    width == other && (differ >= length || differ == 128)
}

/// Whether a host is a domain, with or without a dot before it, or below it.
fn is_below(host: &str, domain: &str) -> bool {
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    let rest = host.to_ascii_lowercase();
    let rest = rest.strip_suffix(&domain).filter(|_| !domain.is_empty());
    domain == "*" || rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_applies_to_https_alone_and_not_to_its_exceptions() {
        let exceptions = "internal.example, .corp, 10.0.0.0/8,192.168.1.7 ,fd00::/8";
        let proxy = ProxySettings::new("http://me:pw@proxy:3128", Some(exceptions));
        let applies = |url: &str| proxy.applies_to(&Url::parse(url).expect("a URL"));
        for url in [
            "https://api.maxcare.ai/v2",
            "https://notinternal.example/",
            "https://11.0.0.1/",
            "https://192.168.1.8/",
            "https://[fe00::1]/",
        ] {
            assert!(applies(url), "{url}");
        }
        for url in [
            "http://api.maxcare.ai/v2",
            "https://internal.example/",
            "https://s3.INTERNAL.example/",
            "https://s3.corp/",
            "https://10.255.0.1/",
            "https://192.168.1.7:8443/",
            "https://[fd00::1]/",
        ] {
            assert!(!applies(url), "{url}");
        }
        let all = ProxySettings::new("proxy:3128", Some("*"));
        assert!(!all.applies_to(&Url::parse("https://api.maxcare.ai/").expect("a URL")));
        assert!(ProxySettings::new("proxy:3128", None).applies_to(&Url::parse("https://a/").expect("a URL")));
    }
}
