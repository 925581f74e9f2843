//! [`Remote`] over reqwest.
//!
//! Two clients that share nothing: only the API's client sends the key and the organization, only the storage's client
//! dials checked addresses alone. Neither follows a redirect, sends a referer or decodes a body. No error that leaves
//! this module holds a URL: reqwest's errors are reduced to host and reason here.

mod api;
mod client;
#[cfg(fuzzing)]
pub mod fuzz;
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
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Response, Url};
use secrecy::{ExposeSecret, SecretString};

use self::client::ClientKind;
use self::ssrf::SsrfPolicy;
use crate::api_key::read_key_file;
use crate::error::{Failure, RunError};
use crate::item::Item;
use crate::options::ApiOptions;
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
        Ok(Self {
            api: client::build(ClientKind::Api, options, &policy, proxy)?,
            storage: client::build(ClientKind::Storage, options, &policy, proxy)?,
            base: options.url.clone(),
            key: RwLock::new((0, options.key.clone())),
            key_file: options.key_file.clone(),
            policy,
            proxy: proxy.cloned(),
            stall_timeout,
        })
    }

    /// The host of a URL for error texts, with the proxy in front of it: either may have caused the error.
    fn describe_host(&self, url: &Url) -> String {
        let host = url.host_str().unwrap_or_default();
        match &self.proxy {
            Some(proxy) if proxy.applies_to(url) => format!("{host} through the proxy {}", proxy.name()),
            _ => host.to_owned(),
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

/// A body that was read up to a limit.
struct CappedBody {
    bytes: Vec<u8>,
    /// False if the body is longer than the limit.
    complete: bool,
}

/// Reads at most `max` bytes of a body. A longer one is not read to its end, so its connection is not reused.
async fn read_capped(response: &mut Response, max: usize) -> Result<CappedBody, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = max - bytes.len();
        if chunk.len() > room {
            bytes.extend_from_slice(&chunk[..room]);
            return Ok(CappedBody { bytes, complete: false });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(CappedBody { bytes, complete: true })
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
