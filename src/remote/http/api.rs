//! `GET /notes/{noteId}/images/{imageId}/url` (the vendor's OpenAPI file, `NotesPublicController_getImageUrl`).

use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Http, capped, text, transport_error};
use crate::error::{ErrorResponse, Failure, Service, clean};
use crate::item::Item;
use crate::options::API_TIMEOUT;
use crate::remote::rate_headers::RateHeaders;
use crate::remote::{PresignedUrl, Resolved};

/// An answer holds one URL of at most a few kilobytes.
const CAP: usize = 64 * 1024;
/// RFC 3986 unreserved characters stand as they are; everything else of an id is one escaped path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    code: serde_json::Value,
    message: serde_json::Value,
    trace_id: serde_json::Value,
}

pub(super) async fn resolve(http: &Http, item: &Item) -> Resolved {
    let host = &*http.place(&http.base);
    let (key, secret) = http.key();
    let url = match address(&http.base, item) {
        Ok(url) => url,
        Err(failure) => return Resolved { hints: RateHeaders::default(), key, url: Err(failure) },
    };
    let Some(headers) = headers(&secret, item) else {
        let said = ErrorResponse {
            message: "organization cannot stand in a header".to_owned(),
            ..ErrorResponse::default()
        };
        return Resolved { hints: RateHeaders::default(), key, url: Err(Failure::BadRequest(said)) };
    };
    let mut hints = RateHeaders::default();
    let whole = tokio::time::timeout(API_TIMEOUT, async {
        let mut response = match http.api.get(url).headers(headers).send().await {
            Ok(response) => response,
            Err(error) if transport_error::is_stale(&error) => {
                let what = format!("{} at {host}: the connection was closed without an answer", Service::Api);
                return Err(Failure::StaleConnection { service: Service::Api, what });
            }
            Err(error) => return Err(transport_error::failure(error, Service::Api, host)),
        };
        hints = read_hints(&response);
        let (body, whole) = capped(&mut response, CAP)
            .await
            .map_err(|error| transport_error::failure(error, Service::Api, host))?;
        let private = Private { key: &secret, note: item.note.as_str(), image: item.image.as_str() };
        judge(response.status(), response.headers(), &body, whole, &private)
    })
    .await;
    let url = whole.unwrap_or_else(|_| {
        let what = format!("{} at {host}: no whole answer within {} s", Service::Api, API_TIMEOUT.as_secs());
        Err(Failure::Timeout { service: Service::Api, what })
    });
    Resolved { hints, key, url: url.map(|url| PresignedUrl::new(url, Instant::now())) }
}

fn address(base: &Url, item: &Item) -> Result<Url, Failure> {
    let encode = |id| utf8_percent_encode(id, SEGMENT);
    let text = format!(
        "{}/notes/{}/images/{}/url",
        base.as_str().trim_end_matches('/'),
        encode(item.note.as_str()),
        encode(item.image.as_str())
    );
    let url = Url::parse(&text).ok().filter(|url| url.as_str() == text);
    url.ok_or_else(|| {
        Failure::BadRequest(ErrorResponse {
            message: "the ids cannot stand in a URL".to_owned(),
            ..ErrorResponse::default()
        })
    })
}

fn headers(key: &SecretString, item: &Item) -> Option<HeaderMap> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).ok()?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert("x-organization-id", HeaderValue::from_str(item.org.as_str()).ok()?);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Some(headers)
}

pub(super) fn read_hints(response: &Response) -> RateHeaders {
    let limited = response.status() == StatusCode::TOO_MANY_REQUESTS;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    RateHeaders::read(limited, header, SystemTime::now())
}

/// Status and body → the URL's text, or what is wrong.
pub(super) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    whole: bool,
    private: &Private<'_>,
) -> Result<String, Failure> {
    if status == StatusCode::OK {
        return signed_url(headers, body, whole, private).map_err(Failure::ApiMalformed);
    }
    let said = said(status, headers, body, private);
    Err(refusal(said.status, said))
}

/// What an answer may repeat of its request and must not be passed on: the key, and the ids, which are patients'
/// and belong to a row that is named by its line.
pub(super) struct Private<'a> {
    pub(super) key: &'a SecretString,
    pub(super) note: &'a str,
    pub(super) image: &'a str,
}

impl Private<'_> {
    /// Hidden first, cleaned then: a text that is cut must not end in half a key.
    pub(super) fn clean(&self, text: &str) -> String {
        let key = self.key.expose_secret();
        let mut text = if key.is_empty() { text.to_owned() } else { text.replace(key, "[key]") };
        for (id, name) in [(self.note, "[note]"), (self.image, "[image]")] {
            // a short one is a word that the API uses for other things
            if id.len() >= 8 && id.bytes().any(|byte| byte.is_ascii_digit()) {
                text = text.replace(id, name);
            }
        }
        clean(&text)
    }
}

/// A status other than 200 → failure. Pure, total over 100-999.
pub(super) fn refusal(status: u16, said: ErrorResponse) -> Failure {
    match status {
        400 => Failure::BadRequest(said),
        401 => Failure::Unauthorized(said),
        403 => Failure::Forbidden(said),
        404 => Failure::NotFound(said),
        429 => Failure::RateLimited(said),
        // 408 and 425 ask for another try, as every 5xx may
        408 | 425 | 500.. => Failure::ApiDown(said),
        100..=299 => Failure::ApiMalformed(format!("status {status} without a signed URL")),
        _ => Failure::ApiRejected(said),
    }
}

fn signed_url(
    headers: &HeaderMap,
    body: &[u8],
    whole: bool,
    private: &Private<'_>,
) -> Result<String, String> {
    let kind = private.clean(&text(headers, "content-type"));
    if !whole {
        return Err(format!("more than {CAP} bytes ({kind})"));
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| {
        if kind.contains("json") { "broken JSON".to_owned() } else { format!("no JSON but {kind:?}") }
    })?;
    match answer.data.and_then(|data| data.url) {
        Some(url) if url.is_empty() => Err("data.url is empty".to_owned()),
        Some(url) if Url::parse(&url).is_err() => Err("data.url is not a URL".to_owned()),
        Some(url) => Ok(url),
        None => Err("data.url is missing".to_owned()),
    }
}

pub(super) fn said(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    private: &Private<'_>,
) -> ErrorResponse {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let string = |value: &serde_json::Value| private.clean(value.as_str().unwrap_or_default());
    let mut said = ErrorResponse {
        status: status.as_u16(),
        code: string(&refusal.code),
        message: string(&refusal.message),
        trace_id: string(&refusal.trace_id),
    };
    if said.code.is_empty() && said.message.is_empty() {
        let kind = private.clean(&text(headers, "content-type"));
        let reason = status.canonical_reason().unwrap_or("unknown status");
        said.message = if kind.is_empty() { reason.to_owned() } else { format!("{reason} ({kind})") };
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{ImageId, NoteId, OrgId};

    fn item(note: &str, image: &str) -> Item {
        Item {
            seq: 1,
            line: 2,
            org: OrgId::new("org"),
            note: NoteId::new(note),
            image: ImageId::new(image),
            wanted: None,
            stem: String::new(),
            part: String::new(),
            replaces: None,
        }
    }

    #[test]
    fn ids_are_one_path_segment_each() {
        let base = Url::parse("https://api.example.com/v2").expect("a URL");
        let url = address(&base, &item("a/b?c#d%2e", "ü +.")).expect("an address");
        assert_eq!(
            url.as_str(),
            "https://api.example.com/v2/notes/a%2Fb%3Fc%23d%252e/images/%C3%BC%20%2B./url"
        );
    }

    #[test]
    fn answers_that_do_not_fit_the_contract_are_told_apart() {
        let json = HeaderMap::from_iter([(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )]);
        let html =
            HeaderMap::from_iter([(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
        let key = SecretString::from("key");
        let cases: [(&HeaderMap, &str, &str); 8] = [
            (&html, "<html>", "no JSON but \"text/html\""),
            (&json, "{\"code\":\"success\",\"data\":{\"url\":", "broken JSON"),
            (&json, "{\"code\":\"success\"}", "data.url is missing"),
            (&json, "{\"data\":{\"url\":null}}", "data.url is missing"),
            (&json, "{\"data\":{\"url\":\"\"}}", "data.url is empty"),
            (&json, "{\"data\":{\"url\":\"/relative\"}}", "data.url is not a URL"),
            (&json, "{\"data\":{\"url\":5}}", "broken JSON"),
            (&json, "[]", "broken JSON"),
        ];
        for (headers, body, expected) in cases {
            let private = Private { key: &key, note: "n", image: "i" };
            let found = signed_url(headers, body.as_bytes(), true, &private);
            assert_eq!(found, Err(expected.to_owned()), "{body}");
        }
    }

    #[test]
    fn a_key_that_the_api_repeats_is_not_passed_on() {
        let key = SecretString::from("max_prd_ak_123");
        let private = Private { key: &key, note: "note", image: "image" };
        let body = br#"{"code":"max_prd_ak_123","message":"key 'max_prd_ak_123' is revoked","trace_id":"max_prd_ak_123"}"#;
        let failure = judge(StatusCode::UNAUTHORIZED, &HeaderMap::new(), body, true, &private);
        assert!(!format!("{failure:?}").contains("123"), "{failure:?}");
        // at the end of what is kept of a text, too
        let long = format!(r#"{{"message":"{}max_prd_ak_123"}}"#, "x".repeat(290));
        let failure = judge(StatusCode::UNAUTHORIZED, &HeaderMap::new(), long.as_bytes(), true, &private);
        assert!(!format!("{failure:?}").contains("max_"), "{failure:?}");
        let kind = HeaderMap::from_iter([(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static("text/max_prd_ak_123"),
        )]);
        let failure = judge(StatusCode::OK, &kind, b"<html>", true, &private);
        assert!(!format!("{failure:?}").contains("123"), "{failure:?}");
    }

    #[test]
    fn a_refusal_keeps_the_apis_own_words() {
        let body = br#"{"code":"not_found","message":"Resource\u001b[31m not found","trace_id":"t-1"}"#;
        let key = SecretString::from("key-of-no-one");
        let private = Private { key: &key, note: "image-1", image: "5ca1ab1e-0000" };
        let said = said(StatusCode::NOT_FOUND, &HeaderMap::new(), body, &private);
        assert_eq!(said.to_string(), "404 not_found: Resource\\u{1b}[31m not found");
        assert_eq!(said.trace_id, "t-1");
        let body = br#"{"code":"not_found","message":"image 5ca1ab1e-0000 of image-1 not found"}"#;
        let said = super::said(StatusCode::NOT_FOUND, &HeaderMap::new(), body, &private);
        assert_eq!(said.message, "image [image] of image-1 not found", "ids are the row's own");
    }
}
