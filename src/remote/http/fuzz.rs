//! What the fuzzers in `fuzz/` call: the parsers of what servers send. In no other build.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use tokio::time::Instant;

use super::redact::{RequestSecrets, UrlSecrets};
use super::ssrf::SsrfPolicy;
use super::{CappedBody, api, object};
use crate::error::CLEAN_LIMIT;
use crate::remote::{PresignedUrl, ResumeFrom};

const KEY: &str = "max_prd_ak_c4nary";
const SIGNATURE: &str = "c4narys1gnature";

fn signed() -> PresignedUrl {
    let url = format!("https://s3.example.com/b/k?X-Amz-Signature={SIGNATURE}");
    PresignedUrl::new(url, Instant::now())
}

fn status(first: u8, second: u8) -> StatusCode {
    let code = 100 + u16::from_be_bytes([first, second]) % 900;
    StatusCode::from_u16(code).unwrap_or(StatusCode::OK)
}

/// A text that is shown: short, without the request's secret, and without anything that controls a terminal.
fn assert_harmless(text: &str, secret: &str) {
    // a failure adds a few words to the server's
    assert!(text.chars().count() <= 4 * CLEAN_LIMIT, "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(!text.contains(secret), "{text}");
}

/// Two bytes of status, then a body: an answer of the API. A URL that it yields is checked as in a run.
pub fn api_answer(data: &[u8]) {
    let [first, second, body @ ..] = data else { return };
    let key = SecretString::from(KEY);
    let secrets = RequestSecrets::new(&key, "n0te-1234", "1mage-1234");
    let body = CappedBody { bytes: body.to_vec(), complete: true };
    for status in [StatusCode::OK, status(*first, *second)] {
        match api::read_answer(status, &HeaderMap::new(), &body, &secrets, "api.example.com") {
            Ok(url) => {
                if let Ok(url) = reqwest::Url::parse(&url) {
                    let base = reqwest::Url::parse("https://api.example.com/v2");
                    let policy = base.map(|base| SsrfPolicy::new(&base, &[], false, None));
                    if policy.is_ok_and(|policy| policy.check_url(&url).is_ok()) {
                        assert_eq!(url.scheme(), "https");
                        assert!(url.username().is_empty() && url.host().is_some());
                    }
                }
            }
            Err(failure) => {
                let error = failure.describe();
                assert_harmless(&error.error, KEY);
                assert_harmless(&error.trace_id, KEY);
            }
        }
    }
}

/// Two bytes of status, then a body: an error of the storage.
pub fn storage_error(data: &[u8]) {
    let [first, second, body @ ..] = data else { return };
    let secrets = UrlSecrets::of(&signed());
    let status = status(*first, *second);
    let response = object::error_response(status, &HeaderMap::new(), body, &secrets);
    let sender = object::sender(&HeaderMap::new(), body);
    for resuming in [false, true] {
        let error = object::failure_of(response.clone(), sender, "s3.example", resuming).describe();
        assert_harmless(&error.error, SIGNATURE);
        assert_harmless(&error.trace_id, SIGNATURE);
    }
}

/// `Content-Range`, and after a line feed the `ETag`: only the one right answer is accepted.
pub fn content_range(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (range, etag) = (parts.next().unwrap_or_default(), parts.next().unwrap_or(b"\"e\""));
    let mut headers = HeaderMap::new();
    for (name, value) in [(CONTENT_RANGE, range), (ETAG, etag)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let resume = ResumeFrom { from: 5, etag: "\"e\"".to_owned(), length: 10 };
    let right = range == b"bytes 5-9/10" && etag == b"\"e\"";
    match object::check_continues(&headers, &resume, &UrlSecrets::of(&signed())) {
        Ok(()) => assert!(right),
        Err(failure) => {
            assert!(!right);
            assert_harmless(&failure.describe().error, SIGNATURE);
        }
    }
}

/// Lines `name: value`: the rate-limit headers. No wait is longer than a day.
pub fn rate_headers(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.insert(name, value);
        }
    }
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    for limited in [false, true] {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let hints = crate::remote::rate_headers::RateHeaders::read(limited, header, now);
        let day = std::time::Duration::from_hours(24);
        for wait in [hints.retry_after, hints.reset].into_iter().flatten() {
            assert!(wait > std::time::Duration::ZERO && wait <= day, "{wait:?}");
        }
        assert_ne!(hints.limit, Some(0));
    }
}
