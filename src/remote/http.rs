//! [`Remote`] over reqwest.
//!
//! Two clients that share nothing: only the API's client sends the key and the organization, only the storage's client
//! dials checked addresses alone. Neither follows a redirect, sends a referer or decodes a body. No error that leaves
//! this module holds a URL: reqwest's errors are reduced to host and reason here.

mod answer;
mod api;
mod client;
mod connect_status;
#[cfg(fuzzing)]
pub mod fuzz;
mod names;
mod object;
mod proxy;
mod redact;
mod ssrf;
#[cfg(test)]
mod tests;
mod transport_error;
mod whoami;

pub(crate) use client::{certificates, check_system_certificates};
pub use proxy::ProxySettings;
pub(crate) use whoami::{AppContext, WhoAmI};

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};

use self::names::Names;
use self::ssrf::{Resolver, SsrfPolicy};
use crate::api_key::read_key_file;
use crate::error::advice::THROUGH_PROXY;
use crate::error::{Failure, RunError, Service};
use crate::item::Item;
use crate::options::ApiOptions;
use crate::remote::rate_headers::RateHeaders;
use crate::remote::{ObjectBody, PresignedUrl, Remote, ResumeFrom, SignedUrlReply};

/// API and storage over the network.
#[derive(Debug)]
pub struct Http {
    api: Client,
    storage: Client,
    base: Url,
    /// The key and its version: the number of times that it was renewed.
    key: RwLock<(u64, SecretString)>,
    key_file: Option<std::path::PathBuf>,
    names: Names,
    policy: Arc<SsrfPolicy>,
    proxy: Option<ProxySettings>,
    stall_timeout: Duration,
}

impl Http {
    /// Builds the clients; no connection is made yet.
    ///
    /// # Errors
    /// [`RunError::Settings`] if a certificate file or a proxy setting cannot be used.
    pub fn new(
        options: &ApiOptions,
        stall_timeout: Duration,
        proxy: Option<&ProxySettings>,
    ) -> Result<Self, RunError> {
        let policy = Arc::new(SsrfPolicy::new(
            &options.url,
            &options.storage_hosts,
            options.allow_http,
            proxy.and_then(ProxySettings::host),
        ));
        let names = Names::of_system();
        let build = |service| {
            let resolver = Resolver::new(Arc::clone(&policy), service, names.clone());
            client::build(service, options, &resolver, proxy)
        };
        Ok(Self {
            api: build(Service::Api)?,
            storage: build(Service::Storage)?,
            base: options.url.clone(),
            key: RwLock::new((0, options.key.clone())),
            key_file: options.key_file.clone(),
            names,
            policy,
            proxy: proxy.cloned(),
            stall_timeout,
        })
    }

    /// The host of a URL for error texts, with the proxy in front of it: either may have caused the error.
    fn describe_host(&self, url: &Url) -> String {
        let host = url.host_str().unwrap_or_default();
        match &self.proxy {
            Some(proxy) if proxy.applies_to(url) => format!("{host}{THROUGH_PROXY}{}", proxy.name()),
            _ => host.to_owned(),
        }
    }

    /// Sends a request and waits for the head of its answer, for the stall timeout at most.
    async fn send(&self, request: RequestBuilder, service: Service, url: &Url) -> Result<Response, Failure> {
        match tokio::time::timeout(self.stall_timeout, request.send()).await {
            Err(_) => Err(self.stalled(service, &self.describe_host(url))),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.send_failure(error, service, url).await),
        }
    }

    /// The failure of a request that got no answer. The HTTP library does not say with which status a proxy refused to
    /// connect, so the proxy is asked once more.
    async fn send_failure(&self, error: reqwest::Error, service: Service, url: &Url) -> Failure {
        if error.is_connect() {
            // the service may have moved to other addresses
            self.names.forget();
        }
        let host = self.describe_host(url);
        match &self.proxy {
            Some(proxy) if transport_error::is_tunnel_refused(&error) => {
                let status = connect_status::ask(proxy, url, &self.names).await;
                transport_error::tunnel_refused(status, service, &host)
            }
            _ => transport_error::send_failure(error, service, &host),
        }
    }

    /// The failure of an answer whose body could not be read.
    fn read_failure(&self, error: ReadError, service: Service, host: &str) -> Failure {
        match error {
            ReadError::Stalled => self.stalled(service, host),
            ReadError::Broken(error) => transport_error::failure(error, service, host),
        }
    }

    /// A service sent no byte within the stall timeout.
    fn stalled(&self, service: Service, host: &str) -> Failure {
        let what = format!("{service} at {host}: no byte for {} s", self.stall_timeout.as_secs_f64());
        Failure::Timeout { service, what }
    }

    /// Reads at most `max` bytes of a body, each within the stall timeout. A longer one is not read to its end, so its
    /// connection is not reused.
    async fn read_capped(&self, response: &mut Response, max: usize) -> Result<CappedBody, ReadError> {
        let mut bytes = Vec::new();
        loop {
            let chunk = tokio::time::timeout(self.stall_timeout, response.chunk()).await;
            let chunk = chunk.map_err(|_| ReadError::Stalled)?.map_err(ReadError::Broken)?;
            let Some(chunk) = chunk else { return Ok(CappedBody { bytes, complete: true }) };
            let room = max - bytes.len();
            if chunk.len() > room {
                bytes.extend_from_slice(&chunk[..room]);
                return Ok(CappedBody { bytes, complete: false });
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// The key to send, and its version.
    fn key(&self) -> (u64, SecretString) {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Remote for Http {
    async fn signed_url(&self, item: &Item) -> SignedUrlReply {
        api::signed_url(self, item).await
    }

    async fn get_object(
        &self,
        url: &PresignedUrl,
        resume: Option<&ResumeFrom>,
    ) -> Result<ObjectBody, Failure> {
        object::get(self, url, resume).await
    }

    fn renew_key(&self, refused: u64) -> bool {
        // read before locking: a slow disk must not block the tasks that only need the key
        let new = self.key_file.as_deref().and_then(read_key_again);
        let mut key = self.key.write().unwrap_or_else(PoisonError::into_inner);
        if key.0 != refused {
            return true; // another task renewed it while this request was in flight
        }
        let Some(new) = new else { return false };
        if key.1.expose_secret() == new.expose_secret() {
            return false;
        }
        *key = (refused + 1, new);
        true
    }
}

/// The key that the file holds now. Only a regular file is read again: a pipe has no second key, and reading it would
/// block without end.
fn read_key_again(file: &std::path::Path) -> Option<SecretString> {
    if !std::fs::metadata(file).ok()?.is_file() {
        return None;
    }
    read_key_file(file).ok().map(|(key, _)| key)
}

/// A header as text; empty if it is missing or not text.
fn header_text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// The host that a redirect leads to, as ` to HOST`; empty for any other answer. It may be all there is to know a sign-in
/// page by.
fn redirect_target(status: StatusCode, headers: &HeaderMap) -> String {
    if !status.is_redirection() {
        return String::new();
    }
    let target = Url::parse(&header_text(headers, "location")).ok();
    let host = target.as_ref().and_then(Url::host_str);
    host.map_or_else(String::new, |host| format!(" to {host}"))
}

/// A body that was read up to a limit.
struct CappedBody {
    bytes: Vec<u8>,
    /// False if the body is longer than the limit.
    complete: bool,
}

/// Why a body could not be read.
enum ReadError {
    /// No byte came within the stall timeout.
    Stalled,
    Broken(reqwest::Error),
}

/// `Retry-After` of an error answer, from now.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    RateHeaders::read(false, header, SystemTime::now()).retry_after
}

#[cfg(test)]
mod secrecy_tests {
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
        let proxy = ProxySettings::new("http://me:c4narypassword@proxy:3128", "");
        let http = Http::new(&options, Duration::from_secs(1), Some(&proxy)).expect("clients");
        let signed = PresignedUrl::new(
            "https://s3/k?X-Amz-Signature=c4narysig".to_owned(),
            tokio::time::Instant::now(),
        );
        let rate_headers = crate::remote::rate_headers::RateHeaders::default();
        let reply = SignedUrlReply { rate_headers, key_version: 0, url: Ok(signed) };
        let all = format!("{options:?} {proxy:?} {http:?} {reply:?}");
        assert!(all.contains("proxy:3128"), "{all}");
        assert!(!all.contains("c4nary"), "{all}");
        // base64 of the proxy's user and password
        assert!(!all.contains("bWU6"), "{all}");
    }
}
