//! The proxy from the environment, and which requests go through it.
//!
//! One decision for both uses: reqwest asks [`ProxySettings::applies_to`], and so do the error texts. Invariant: the
//! proxy's password is in nothing that is shown.

use std::fmt;
use std::sync::Arc;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Proxy, Url};

use crate::error::RunError;

/// The proxy from the environment. Its `Debug` shows no password.
#[derive(Clone)]
pub struct ProxySettings {
    /// Its address; may hold a password.
    address: String,
    /// Entries of `NO_PROXY`.
    exceptions: Arc<[Exception]>,
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxySettings({})", self.name())
    }
}

impl ProxySettings {
    /// Reads `HTTPS_PROXY` and `NO_PROXY`, or the same in lower case. `HTTP_PROXY` is never read: in a CGI environment
    /// a client's `Proxy` header sets it.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let read = |name: &str| {
            [name.to_owned(), name.to_ascii_lowercase()]
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        };
        Some(Self::new(&read("HTTPS_PROXY")?, &read("NO_PROXY").unwrap_or_default()))
    }

    pub(super) fn new(address: &str, exceptions: &str) -> Self {
        let entries = exceptions.split(|char: char| char == ',' || char.is_whitespace());
        Self { address: address.to_owned(), exceptions: entries.filter_map(Exception::parse).collect() }
    }

    /// Whether a request to this URL goes through the proxy: `https` that no entry of `NO_PROXY` excepts.
    #[must_use]
    pub fn applies_to(&self, url: &Url) -> bool {
        url.scheme() == "https" && !self.exceptions.iter().any(|exception| exception.covers(url))
    }

    /// Host and port, safe to show.
    #[must_use]
    pub fn name(&self) -> String {
        let named = self.url().and_then(|url| {
            let port = url.port_or_known_default()?;
            url.host_str().map(|host| format!("{host}:{port}"))
        });
        named.unwrap_or_else(|| "(unreadable)".to_owned())
    }

    pub(super) fn host(&self) -> Option<String> {
        self.url().and_then(|url| url.host_str().map(str::to_owned))
    }

    /// An address without a scheme is that of an HTTP proxy.
    pub(super) fn url(&self) -> Option<Url> {
        if self.address.contains("://") {
            Url::parse(&self.address)
        } else {
            Url::parse(&format!("http://{}", self.address))
        }
        .ok()
    }

    pub(super) fn to_reqwest(&self) -> Result<Proxy, RunError> {
        // reqwest would bypass another kind of proxy silently
        let address = self.url().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
            RunError::Settings(
                "HTTPS_PROXY is not the address of an HTTP proxy (http://host:port, not shown here)"
                    .to_owned(),
            )
        })?;
        let settings = self.clone();
        Ok(Proxy::custom(move |url| settings.applies_to(url).then(|| address.clone())))
    }
}

/// One entry of `NO_PROXY`, in any form that curl reads.
struct Exception {
    /// Intercepts every host but the excepted ones.
    matcher: Matcher,
    /// The only port that is excepted, if the entry names one.
    port: Option<u16>,
}

impl Exception {
    /// Brings an entry into a form that the matcher knows: an address, a network (`10.0.0.0/8`), or a domain, which
    /// includes every name below it. `None` for an empty entry.
    fn parse(entry: &str) -> Option<Self> {
        let (host, port) = split_port(entry);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // the matcher's own `*` covers names, but no addresses
        let hosts = if host == "*" { "*,0.0.0.0/0,::/0" } else { host };
        // `*.domain` means `.domain`; a trailing dot only says that the name is absolute
        let hosts = hosts.strip_prefix("*.").unwrap_or(hosts).trim_start_matches('.').trim_end_matches('.');
        // any proxy: the question is only whether the matcher would use it
        let matcher = || Matcher::builder().https("http://proxy").no(hosts).build();
        (!hosts.is_empty()).then(|| Self { matcher: matcher(), port })
    }

    fn covers(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let Ok(uri) = format!("https://{host}/").parse::<Uri>() else { return false };
        self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
            && self.matcher.intercept(&uri).is_none()
    }
}

/// `host:port` or `[v6]:port`; a bare IPv6 address has colons, too, but no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these URLs go through the proxy?
    fn through<'u>(no_proxy: &str, urls: &[&'u str]) -> Vec<&'u str> {
        let proxy = ProxySettings::new("http://me:pw@proxy:3128", no_proxy);
        let applies = |url: &&&str| proxy.applies_to(&Url::parse(url).expect("a URL"));
        urls.iter().filter(applies).copied().collect()
    }

    #[test]
    fn a_proxy_applies_to_https_alone_and_not_to_its_exceptions() {
        let exceptions = "internal.example, .corp, 10.0.0.0/8,192.168.1.7 ,fd00::/8";
        let applied = [
            "https://api.maxcare.ai/v2",
            "https://notinternal.example/",
            "https://11.0.0.1/",
            "https://192.168.1.8/",
            "https://[fe00::1]/",
        ];
        assert_eq!(through(exceptions, &applied), applied);
        let excepted = [
            "http://api.maxcare.ai/v2",
            "https://internal.example/",
            "https://s3.INTERNAL.example/",
            "https://s3.corp/",
            "https://10.255.0.1/",
            "https://192.168.1.7:8443/",
            "https://[fd00::1]/",
        ];
        assert!(through(exceptions, &excepted).is_empty());
        assert_eq!(through("", &["https://a/"]), ["https://a/"]);
        assert_eq!(through(" , ,. ", &["https://a/"]), ["https://a/"]);
    }

    #[test]
    fn an_asterisk_excepts_every_host() {
        for no_proxy in ["*", "other.example, *"] {
            let urls = ["https://api.maxcare.ai/", "https://10.0.0.1/", "https://[2600:1f18::1]/"];
            assert!(through(no_proxy, &urls).is_empty());
        }
    }

    #[test]
    fn a_domain_with_or_without_a_dot_or_an_asterisk_excepts_all_names_below_it() {
        for no_proxy in ["corp.example", ".corp.example", "*.corp.example", "corp.example.", "CORP.example"] {
            let below = ["https://s3.corp.example/", "https://a.b.Corp.Example/", "https://corp.example./"];
            assert!(through(no_proxy, &below).is_empty(), "{no_proxy}");
            let other = ["https://mycorp.example/", "https://corp.example.org/", "https://example/"];
            assert_eq!(through(no_proxy, &other), other, "{no_proxy}");
        }
    }

    #[test]
    fn an_exception_with_a_port_covers_that_port_alone() {
        let urls = ["https://s3.corp/", "https://s3.corp:8443/", "https://a.s3.corp:8443/"];
        assert_eq!(through("s3.corp:8443", &urls), ["https://s3.corp/"]);
        assert_eq!(through("s3.corp:443", &urls), urls[1..]);
        let urls = ["https://[fd00::1]:8443/", "https://[fd00::1]/"];
        assert_eq!(through("[fd00::1]:8443", &urls), urls[1..]);
        assert_eq!(
            through("10.0.0.1:443", &["https://10.0.0.1/", "https://10.0.0.1:1/"]),
            ["https://10.0.0.1:1/"]
        );
    }

    #[test]
    fn addresses_and_networks_are_excepted_by_value() {
        let urls = ["https://10.1.2.3/", "https://10.1.2.4/", "https://[fd00::1]/", "https://[fd00::2]/"];
        assert_eq!(through("10.1.2.3", &urls), urls[1..]);
        assert_eq!(through("10.1.2.3/31 fd00::/64", &urls), ["https://10.1.2.4/"]);
        assert_eq!(
            through("fd00:0::1", &urls),
            ["https://10.1.2.3/", "https://10.1.2.4/", "https://[fd00::2]/"]
        );
        assert_eq!(
            through("[fd00::1]", &urls),
            ["https://10.1.2.3/", "https://10.1.2.4/", "https://[fd00::2]/"]
        );
    }

    #[test]
    fn blanks_separate_entries_as_commas_do() {
        let urls = ["https://a.example/", "https://b.example/", "https://c.example/", "https://d.example/"];
        assert_eq!(through("a.example b.example\tc.example,", &urls), urls[3..]);
    }
}
