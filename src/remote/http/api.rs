//! `GET /notes/{noteId}/images/{imageId}/url` (the vendor's OpenAPI file, `NotesPublicController_getImageUrl`), and
//! what every request to the API shares: its headers, and what an error answer means.

use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::redact::RequestSecrets;
use super::{CappedBody, Http, header_text, read_capped, transport_error};
use crate::error::{ErrorResponse, Failure, Service};
use crate::item::{Item, OrgId};
use crate::options::API_TIMEOUT;
use crate::remote::rate_headers::RateHeaders;
use crate::remote::{PresignedUrl, SignedUrlReply};

/// An answer holds one URL of at most a few kilobytes, or a few ids and names.
pub(super) const BODY_MAX: usize = 64 * 1024;
/// RFC 3986 unreserved characters stay as they are; everything else of an id is escaped, so that it is one path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    url: Option<String>,
}

/// An error answer. Any JSON type is accepted: a field of another type must not hide the other fields.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    code: serde_json::Value,
    message: serde_json::Value,
    trace_id: serde_json::Value,
}

/// One request for the presigned URL of an image.
pub(super) async fn signed_url(http: &Http, item: &Item) -> SignedUrlReply {
    let (key_version, key) = http.key();
    let mut rate_headers = RateHeaders::default();
    let asked = tokio::time::timeout(API_TIMEOUT, ask(http, &key, item, &mut rate_headers)).await;
    let url = asked.unwrap_or_else(|_| Err(timed_out(http)));
    SignedUrlReply { rate_headers, key_version, url: url.map(|url| PresignedUrl::new(url, Instant::now())) }
}

/// Sends the request and reads the answer. The rate-limit headers are reported even if the body never comes.
async fn ask(
    http: &Http,
    key: &SecretString,
    item: &Item,
    rate_headers: &mut RateHeaders,
) -> Result<String, Failure> {
    let url = image_url(&http.base, item)?;
    let headers = request_headers(key, Some(&item.org))?;
    let host = &*http.describe_host(&http.base);
    let mut response = http
        .api
        .get(url)
        .headers(headers)
        .send()
        .await
        .map_err(|error| transport_error::send_failure(error, Service::Api, host))?;
    *rate_headers = read_rate_headers(&response);
    let body = read_capped(&mut response, BODY_MAX)
        .await
        .map_err(|error| transport_error::failure(error, Service::Api, host))?;
    read_answer(response.status(), response.headers(), &body, &RequestSecrets::of(key, item))
}

/// The API did not answer completely within [`API_TIMEOUT`].
pub(super) fn timed_out(http: &Http) -> Failure {
    let service = Service::Api;
    let host = http.describe_host(&http.base);
    let what = format!("{service} at {host}: no whole answer within {} s", API_TIMEOUT.as_secs());
    Failure::Timeout { service, what }
}

/// A request that cannot be sent.
pub(super) fn bad_request(why: &str) -> Failure {
    Failure::BadRequest(ErrorResponse { message: why.to_owned(), ..ErrorResponse::default() })
}

fn image_url(base: &Url, item: &Item) -> Result<Url, Failure> {
    let encode = |id| utf8_percent_encode(id, SEGMENT);
    let text = format!(
        "{}/notes/{}/images/{}/url",
        base.as_str().trim_end_matches('/'),
        encode(item.note.as_str()),
        encode(item.image.as_str())
    );
    let url = Url::parse(&text).ok().filter(|url| url.as_str() == text);
    url.ok_or_else(|| bad_request("the ids cannot be written in a URL"))
}

/// The headers of every request to the API. Without `Authorization` if there is no key, as `doctor` may ask.
pub(super) fn request_headers(key: &SecretString, org: Option<&OrgId>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    if !key.expose_secret().is_empty() {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
            .map_err(|_| bad_request("the key cannot be written in a header"))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    if let Some(org) = org {
        let org = HeaderValue::from_str(org.as_str())
            .map_err(|_| bad_request("the organization cannot be written in a header"))?;
        headers.insert("x-organization-id", org);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(headers)
}

pub(super) fn read_rate_headers(response: &Response) -> RateHeaders {
    let limited = response.status() == StatusCode::TOO_MANY_REQUESTS;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    RateHeaders::read(limited, header, SystemTime::now())
}

/// Status and body → the URL's text, or the failure.
pub(super) fn read_answer(
    status: StatusCode,
    headers: &HeaderMap,
    body: &CappedBody,
    secrets: &RequestSecrets<'_>,
) -> Result<String, Failure> {
    if status == StatusCode::OK {
        return read_url(headers, body, secrets).map_err(Failure::ApiMalformed);
    }
    Err(failure_of(error_response(status, headers, &body.bytes, secrets)))
}

/// An error answer → failure. Pure, total over 100-999.
pub(super) fn failure_of(response: ErrorResponse) -> Failure {
    match response.status {
        400 => Failure::BadRequest(response),
        401 => Failure::Unauthorized(response),
        403 => Failure::Forbidden(response),
        404 => Failure::NotFound(response),
        429 => Failure::RateLimited(response),
        // 408 and 425 ask for another attempt, as every 5xx may
        408 | 425 | 500.. => Failure::ApiDown(response),
        status @ 100..=299 => Failure::ApiMalformed(format!("status {status} without a signed URL")),
        _ => Failure::ApiRejected(response),
    }
}

/// The URL of a 200, or what is wrong with the body.
fn read_url(headers: &HeaderMap, body: &CappedBody, secrets: &RequestSecrets<'_>) -> Result<String, String> {
    let content_type = secrets.clean(&header_text(headers, "content-type"));
    if !body.complete {
        return Err(format!("more than {BODY_MAX} bytes ({content_type})"));
    }
    let answer: Answer = serde_json::from_slice(&body.bytes).map_err(|_| {
        if content_type.contains("json") {
            "broken JSON".to_owned()
        } else {
            format!("no JSON but {content_type:?}")
        }
    })?;
    match answer.data.and_then(|data| data.url) {
        Some(url) if url.is_empty() => Err("data.url is empty".to_owned()),
        Some(url) if Url::parse(&url).is_err() => Err("data.url is not a URL".to_owned()),
        Some(url) => Ok(url),
        None => Err("data.url is missing".to_owned()),
    }
}

/// Code, message and trace id of an error answer; the status' own name if the body has none of them.
pub(super) fn error_response(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    secrets: &RequestSecrets<'_>,
) -> ErrorResponse {
    let body: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let string = |value: &serde_json::Value| secrets.clean(value.as_str().unwrap_or_default());
    let mut response = ErrorResponse {
        status: status.as_u16(),
        code: string(&body.code),
        message: string(&body.message),
        trace_id: string(&body.trace_id),
    };
    if response.code.is_empty() && response.message.is_empty() {
        let content_type = secrets.clean(&header_text(headers, "content-type"));
        let reason = status.canonical_reason().unwrap_or("unknown status");
        response.message =
            if content_type.is_empty() { reason.to_owned() } else { format!("{reason} ({content_type})") };
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{ImageId, NoteId, OrgId};

    fn whole(body: &str) -> CappedBody {
        CappedBody { bytes: body.into(), complete: true }
    }

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
        let url = image_url(&base, &item("a/b?c#d%2e", "ü +.")).expect("an address");
        assert_eq!(
            url.as_str(),
            "https://api.example.com/v2/notes/a%2Fb%3Fc%23d%252e/images/%C3%BC%20%2B./url"
        );
    }

    #[test]
    fn each_answer_that_breaks_the_contract_has_its_own_text() {
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
            let secrets = RequestSecrets::new(&key, "n", "i");
            assert_eq!(read_url(headers, &whole(body), &secrets), Err(expected.to_owned()), "{body}");
        }
    }

    #[test]
    fn a_key_that_the_api_repeats_is_not_passed_on() {
        let key = SecretString::from("max_prd_ak_123");
        let secrets = RequestSecrets::new(&key, "note", "image");
        let body = r#"{"code":"max_prd_ak_123","message":"key 'max_prd_ak_123' is revoked","trace_id":"max_prd_ak_123"}"#;
        let failure = read_answer(StatusCode::UNAUTHORIZED, &HeaderMap::new(), &whole(body), &secrets);
        assert!(!format!("{failure:?}").contains("123"), "{failure:?}");
        // at the end of what is kept of a text, too
        let long = format!(r#"{{"message":"{}max_prd_ak_123"}}"#, "x".repeat(290));
        let failure = read_answer(StatusCode::UNAUTHORIZED, &HeaderMap::new(), &whole(&long), &secrets);
        assert!(!format!("{failure:?}").contains("max_"), "{failure:?}");
        let kind = HeaderMap::from_iter([(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static("text/max_prd_ak_123"),
        )]);
        let failure = read_answer(StatusCode::OK, &kind, &whole("<html>"), &secrets);
        assert!(!format!("{failure:?}").contains("123"), "{failure:?}");
    }

    #[test]
    fn a_refusal_keeps_the_apis_own_words() {
        let body = br#"{"code":"not_found","message":"Resource\u001b[31m not found","trace_id":"t-1"}"#;
        let key = SecretString::from("key-of-no-one");
        let secrets = RequestSecrets::new(&key, "image-1", "5ca1ab1e-0000");
        let response = error_response(StatusCode::NOT_FOUND, &HeaderMap::new(), body, &secrets);
        assert_eq!(response.to_string(), "404 not_found: Resource\\u{1b}[31m not found");
        assert_eq!(response.trace_id, "t-1");
        let body = br#"{"code":"not_found","message":"image 5ca1ab1e-0000 of image-1 not found"}"#;
        let response = error_response(StatusCode::NOT_FOUND, &HeaderMap::new(), body, &secrets);
        assert_eq!(response.message, "image [image] of image-1 not found", "ids are the row's own");
    }
}
