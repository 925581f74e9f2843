//! The network as it really is: [`Remote`] over reqwest.
//!
//! Two clients that share nothing: only the API's carries the key and the organization, only the storage's is
//! bound to checked addresses. Neither follows a redirect, sends a referer or unpacks a body. No URL leaves this
//! module in an error: what reqwest says is taken apart here.

mod api;
#[cfg(fuzzing)]
pub mod fuzz;
mod object;
mod proxy;
pub mod ssrf;
#[cfg(test)]
mod tests;
mod transport_error;
mod whoami;

pub use proxy::ProxySettings;
pub use whoami::{Asked, Context};

use std::io::Read;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, ClientBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::api_key::read_key_file;
use crate::error::{Failure, RunError};
use crate::item::Item;
use crate::options::{ApiOptions, CONNECT_TIMEOUT};
use crate::remote::{ObjectBody, PresignedUrl, Remote, Resolved, ResumeFrom};

/// S3 closes idle connections after some 5 s; asking on a closed one costs a try.
const IDLE: Duration = Duration::from_secs(4);

/// Whose certificates are trusted.
#[derive(Clone, Copy)]
enum Trust {
    /// The system's, and those of `--ca-file`.
    Known,
    /// None: whatever is https is refused.
    Nobody,
}

/// A system's whole store of certificates has less than 1 MiB.
const CA_FILE_MAX: u64 = 16 << 20;

/// API and storage over the network.
#[derive(Debug)]
pub struct Http {
    api: Client,
    storage: Client,
    base: Url,
    /// The key and its version, which counts how often it was renewed.
    key: RwLock<(u64, SecretString)>,
    key_file: Option<std::path::PathBuf>,
    addresses: Arc<ssrf::Policy>,
    proxy: Option<ProxySettings>,
    stall: Duration,
}

impl Http {
    /// Makes the clients; nothing is dialled yet.
    ///
    /// # Errors
    /// [`RunError::Settings`] where a certificate file or a proxy setting cannot be used.
    pub fn new(
        options: &ApiOptions,
        stall: Duration,
        proxy: Option<&ProxySettings>,
    ) -> Result<Self, RunError> {
        let addresses = Arc::new(ssrf::Policy::new(
            &options.url,
            &options.storage_hosts,
            options.allow_http,
            proxy.and_then(ProxySettings::host),
        ));
        let client = |for_api| -> Result<Client, RunError> {
            let builder = |trust: Trust| -> Result<ClientBuilder, RunError> {
                let resolver = ssrf::Resolver::new(Arc::clone(&addresses), for_api);
                let mut builder = Client::builder()
                    .user_agent(concat!("exporter/", env!("CARGO_PKG_VERSION")))
                    .redirect(reqwest::redirect::Policy::none())
                    .referer(false)
                    .retry(reqwest::retry::never())
                    .no_proxy()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .pool_idle_timeout(IDLE)
                    .dns_resolver(Arc::new(resolver));
                if !for_api {
                    // S3 speaks HTTP/1.1; one request at a time a connection also keeps one slow body from holding
                    // others
                    builder = builder.http1_only();
                }
                if let Some(proxy) = proxy {
                    builder = builder.proxy(proxy.to_reqwest()?);
                }
                if let Some(file) = &options.ca_file {
                    builder = builder.tls_certs_merge(certificates(file)?);
                }
                Ok(match trust {
                    Trust::Known => builder,
                    Trust::Nobody => builder.tls_certs_only([]),
                })
            };
            match builder(Trust::Known)?.build() {
                // a machine without certificates: where the API is plain http nobody's is needed
                Err(_) if options.url.scheme() == "http" && options.ca_file.is_none() => {
                    builder(Trust::Nobody)?.build().map_err(unusable)
                }
                built => built.map_err(unusable),
            }
        };
        Ok(Self {
            api: client(true)?,
            storage: client(false)?,
            base: options.url.clone(),
            key: RwLock::new((0, options.key.clone())),
            key_file: options.key_file.clone(),
            addresses,
            proxy: proxy.cloned(),
            stall,
        })
    }

    /// The host of an address for the eyes, with the proxy that stands before it: an error may be either's.
    fn place(&self, url: &Url) -> String {
        let host = url.host_str().unwrap_or_default();
        match &self.proxy {
            Some(proxy) if proxy.applies_to(url) => format!("{host} through the proxy {}", proxy.name()),
            _ => host.to_owned(),
        }
    }

    fn key(&self) -> (u64, SecretString) {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Remote for Http {
    async fn resolve(&self, item: &Item) -> Resolved {
        api::resolve(self, item).await
    }

    async fn open(&self, url: &PresignedUrl, resume: Option<&ResumeFrom>) -> Result<ObjectBody, Failure> {
        object::open(self, url, resume).await
    }

    fn renew_key(&self, refused: u64) -> bool {
        // read before the lock is taken: a slow disk must not hold those who only want to know the key
        let new = self.key_file.as_deref().and_then(read_key_again);
        let mut key = self.key.write().unwrap_or_else(PoisonError::into_inner);
        if key.0 != refused {
            return true; // renewed while that request was on its way
        }
        let Some(new) = new else { return false };
        if key.1.expose_secret() == new.expose_secret() {
            return false;
        }
        *key = (refused + 1, new);
        true
    }
}

/// The key that is in the file now. A pipe gave its key already and would be waited for without end.
fn read_key_again(file: &std::path::Path) -> Option<SecretString> {
    if !std::fs::metadata(file).ok()?.is_file() {
        return None;
    }
    read_key_file(file).ok().map(|(key, _)| key)
}

/// The certificates of a file.
pub(crate) fn certificates(file: &std::path::Path) -> Result<Vec<Certificate>, RunError> {
    let wrong = |why: String| {
        RunError::Settings(format!(
            "--ca-file {}: {why}; a PEM file of certificates is wanted",
            file.display()
        ))
    };
    let mut pem = Vec::new();
    let opened = std::fs::File::open(file).and_then(|file| file.take(CA_FILE_MAX).read_to_end(&mut pem));
    opened.map_err(|error| wrong(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| wrong("cannot be read".to_owned()))?;
    if certificates.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(certificates)
}

fn unusable(error: reqwest::Error) -> RunError {
    RunError::Settings(format!(
        "no HTTPS client can be made ({}); --ca-file names certificates to trust where the system has none",
        transport_error::reason(&error.without_url())
    ))
}

/// A header as text; empty where it is missing or not text.
fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Reads a body of at most `cap` bytes; the rest is left, and the connection with it. `Ok((bytes, whole))`.
async fn capped(response: &mut reqwest::Response, cap: usize) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = cap - bytes.len();
        if chunk.len() > room {
            bytes.extend_from_slice(&chunk[..room]);
            return Ok((bytes, false));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, true))
}

#[cfg(test)]
mod nothing_secret {
    use super::*;

    #[test]
    fn what_a_panic_might_print_holds_no_secret() {
        let options = ApiOptions {
            url: Url::parse("https://api.example.com/v2").expect("a URL"),
            key: "c4narykey".into(),
            key_file: None,
            allow_http: false,
            storage_hosts: vec![],
            ca_file: None,
        };
        let proxy = ProxySettings::new("http://me:c4narypassword@proxy:3128", None);
        let http = Http::new(&options, Duration::from_secs(1), Some(&proxy)).expect("clients");
        let signed = PresignedUrl::new(
            "https://s3/k?X-Amz-Signature=c4narysig".to_owned(),
            tokio::time::Instant::now(),
        );
        let resolved =
            Resolved { hints: crate::remote::rate_headers::RateHeaders::default(), key: 0, url: Ok(signed) };
        let all = format!("{options:?} {proxy:?} {http:?} {resolved:?}");
        assert!(all.contains("proxy:3128"), "{all}");
        assert!(!all.contains("c4nary"), "{all}");
        // base64 of the proxy's user and password
        assert!(!all.contains("bWU6"), "{all}");
    }
}
