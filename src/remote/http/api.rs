//! `GET /notes/{noteId}/images/{imageId}/url` (the vendor's OpenAPI file, `NotesPublicController_getImageUrl`), and
//! the headers that every request to the API shares.

use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::redact::RequestSecrets;
use super::{CappedBody, Http, answer};
use crate::error::{ErrorResponse, Failure, Service};
use crate::item::{Item, OrgId};
use crate::options::API_TIMEOUT;
use crate::remote::rate_headers::RateHeaders;
use crate::remote::{PresignedUrl, SignedUrlReply};

/// RFC 3986 unreserved characters stay as they are; everything else of an id is escaped, so that it is one path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
    let request = http.api.get(url).headers(headers);
    let mut response = http.send(request, Service::Api, &http.base).await?;
    *rate_headers = read_rate_headers(&response);
    let body = http
        .read_capped(&mut response, answer::BODY_MAX)
        .await
        .map_err(|error| http.read_failure(error, Service::Api, host))?;
    read_answer(response.status(), response.headers(), &body, &RequestSecrets::of(key, item), host)
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

/// `data` of a 200 → the URL's text, or what is wrong with it.
fn read_url(data: &Value) -> Result<String, String> {
    match data.get("url") {
        Some(Value::String(url)) if url.is_empty() => Err("data.url is empty".to_owned()),
        Some(Value::String(url)) if Url::parse(url).is_err() => Err("data.url is not a URL".to_owned()),
        Some(Value::String(url)) => Ok(url.clone()),
        None | Some(Value::Null) => Err("data.url is missing".to_owned()),
        Some(_) => Err("data.url is not a text".to_owned()),
    }
}

/// An answer → the URL's text, or the failure.
pub(super) fn read_answer(
    status: StatusCode,
    headers: &HeaderMap,
    body: &CappedBody,
    secrets: &RequestSecrets<'_>,
    host: &str,
) -> Result<String, Failure> {
    let data = answer::read(status, headers, body, secrets, host)?;
    read_url(&data).map_err(Failure::ApiMalformed)
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
        let cases = [
            (r#"{"code":"success","data":{}}"#, "data.url is missing"),
            (r#"{"code":"success","data":{"url":null}}"#, "data.url is missing"),
            (r#"{"code":"success","data":{"url":""}}"#, "data.url is empty"),
            (r#"{"code":"success","data":{"url":"/relative"}}"#, "data.url is not a URL"),
            (r#"{"code":"success","data":{"url":5}}"#, "data.url is not a text"),
            (r#"{"code":"success","data":[]}"#, "data.url is missing"),
            (r#"{"code":"success","message":"no data"}"#, "data.url is missing"),
        ];
        let key = SecretString::from("key");
        let secrets = RequestSecrets::new(&key, "n", "i");
        for (body, expected) in cases {
            let read = read_answer(StatusCode::OK, &HeaderMap::new(), &whole(body), &secrets, "host");
            assert_eq!(read, Err(Failure::ApiMalformed(expected.to_owned())), "{body}");
        }
    }

    #[test]
    fn a_key_that_the_api_repeats_is_not_passed_on() {
        let key = SecretString::from("max_prd_ak_123");
        let secrets = RequestSecrets::new(&key, "note", "image");
        let body = r#"{"code":"max_prd_ak_123","message":"key 'max_prd_ak_123' is revoked","trace_id":"max_prd_ak_123"}"#;
        let failure =
            read_answer(StatusCode::UNAUTHORIZED, &HeaderMap::new(), &whole(body), &secrets, "host");
        assert!(!format!("{failure:?}").contains("123"), "{failure:?}");
        // at the end of what is kept of a text, too
        let long = format!(r#"{{"code":"c","message":"{}max_prd_ak_123"}}"#, "x".repeat(290));
        let failure =
            read_answer(StatusCode::UNAUTHORIZED, &HeaderMap::new(), &whole(&long), &secrets, "host");
        assert!(!format!("{failure:?}").contains("max_"), "{failure:?}");
        let kind = HeaderMap::from_iter([(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static("text/max_prd_ak_123"),
        )]);
        let failure = read_answer(StatusCode::OK, &kind, &whole("<html>"), &secrets, "host");
        assert!(!format!("{failure:?}").contains("123"), "{failure:?}");
    }

    #[test]
    fn a_refusal_keeps_the_apis_own_words() {
        let key = SecretString::from("key-of-no-one");
        let secrets = RequestSecrets::new(&key, "image-1", "5ca1ab1e-0000");
        let refused = |body: &str| match read_answer(
            StatusCode::NOT_FOUND,
            &HeaderMap::new(),
            &whole(body),
            &secrets,
            "host",
        ) {
            Err(Failure::NotFound(response)) => response,
            other => panic!("{other:?}"),
        };
        let response =
            refused(r#"{"code":"not_found","message":"Resource\u001b[31m not found","trace_id":"t-1"}"#);
        assert_eq!(response.to_string(), "404 not_found: Resource\\u{1b}[31m not found");
        assert_eq!(response.trace_id, "t-1");
        let response =
            refused(r#"{"code":"not_found","message":"image 5ca1ab1e-0000 of image-1 not found"}"#);
        assert_eq!(response.message, "image [image] of image-1 not found", "ids are the row's own");
    }
}
