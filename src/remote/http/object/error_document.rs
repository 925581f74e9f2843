//! The storage's error answers: S3's XML → [`ErrorResponse`] → [`Failure`]. Pure.
//!
//! A page of HTML is no answer of a storage, whatever its status: it comes from something on the way and says nothing
//! about the image.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::error::{ErrorResponse, Failure, Service};
use crate::image::not_an_image;
use crate::remote::http::redact::UrlSecrets;
use crate::remote::http::{header_text, redirect_target, retry_after};

/// Who sent an error answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::remote::http) enum Sender {
    Storage,
    /// It sent a page.
    SomethingElse,
}

/// Who sent this body of an error answer.
pub(in crate::remote::http) fn sender(headers: &HeaderMap, body: &[u8]) -> Sender {
    let is_page = not_an_image(body, &header_text(headers, "content-type")) == Some("HTML");
    if is_page && element(&String::from_utf8_lossy(body), "Code").is_empty() {
        Sender::SomethingElse
    } else {
        Sender::Storage
    }
}

/// A status other than 200 or an expected 206 → failure, by the error's own code before the status. 412, 416 and
/// an odd 2xx say something about the partial download only if there is one.
/// `host` is named if something else answered.
pub(in crate::remote::http) fn failure_of(
    response: ErrorResponse,
    sender: Sender,
    host: &str,
    resuming: bool,
) -> Failure {
    match (response.status, &*response.code) {
        (
            _,
            "RequestTimeout"
            | "SlowDown"
            | "InternalError"
            | "ServiceUnavailable"
            | "Throttling"
            | "ThrottlingException",
        ) => Failure::StorageDown(response),
        (_, "InvalidObjectState") => Failure::Archived(response),
        (_, "NoSuchKey" | "NoSuchBucket") => Failure::Missing(response),
        (201..=299 | 412 | 416, _) if resuming => {
            Failure::PartUnusable(format!("the storage answered {response} to a continued download"))
        }
        (408 | 425 | 429 | 500.., _) => Failure::StorageDown(response),
        _ if sender == Sender::SomethingElse => {
            Failure::ForeignAnswer { service: Service::Storage, host: host.to_owned(), response }
        }
        (404, _) => Failure::Missing(response),
        (400 | 401 | 403, _) => Failure::Denied(response),
        (300..=399, _) => Failure::Redirected(response),
        _ => Failure::StorageRefused(response),
    }
}

/// Code, message and request id of the storage's error document, and none of its other elements.
pub(in crate::remote::http) fn error_response(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    secrets: &UrlSecrets,
) -> ErrorResponse {
    let header_id = header_text(headers, "x-amz-request-id");
    let body = String::from_utf8_lossy(body);
    let id = if header_id.is_empty() { element(&body, "RequestId") } else { &header_id };
    let mut response = ErrorResponse {
        status: status.as_u16(),
        code: secrets.clean(element(&body, "Code")),
        message: secrets.clean(element(&body, "Message")),
        trace_id: secrets.clean(id),
        retry_after: retry_after(headers),
    };
    if response.code.is_empty() {
        let reason = status.canonical_reason().unwrap_or("unknown status");
        response.message = reason.to_owned() + &secrets.clean(&redirect_target(status, headers));
    }
    response
}

/// The text of an element of S3's flat error document. The other elements may repeat secrets and are not read.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let inside = || {
        let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
        let end = start + xml[start..].find("</")?;
        Some(&xml[start..end])
    };
    inside().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::PresignedUrl;

    #[test]
    fn the_errors_own_code_decides_before_the_status() {
        let failure = |status, code: &str| {
            let response = ErrorResponse { status, code: code.to_owned(), ..ErrorResponse::default() };
            failure_of(response, Sender::Storage, "s3.example", false)
        };
        assert!(matches!(failure(400, "RequestTimeout"), Failure::StorageDown(_)));
        assert!(matches!(failure(403, "InvalidObjectState"), Failure::Archived(_)));
        assert!(matches!(failure(403, "AccessDenied"), Failure::Denied(_)));
        assert!(matches!(failure(400, "ExpiredToken"), Failure::Denied(_)));
        assert!(matches!(failure(404, ""), Failure::Missing(_)));
        assert!(matches!(failure(301, "PermanentRedirect"), Failure::Redirected(_)));
    }

    #[test]
    fn a_page_says_nothing_about_the_image_and_an_error_document_does() {
        let headers = |content_type: &'static str| {
            HeaderMap::from_iter([(reqwest::header::CONTENT_TYPE, content_type.parse().expect("a header"))])
        };
        let page = b"<!DOCTYPE html><title>Sign in</title>";
        assert_eq!(sender(&headers("text/html"), page), Sender::SomethingElse);
        assert_eq!(sender(&headers("text/plain"), page), Sender::SomethingElse);
        assert_eq!(sender(&headers("text/html"), b"<Error><Code>NoSuchKey</Code></Error>"), Sender::Storage);
        assert_eq!(sender(&headers("application/xml"), b"<Error/>"), Sender::Storage);
        assert_eq!(sender(&headers("text/html"), b""), Sender::Storage, "there is nothing to judge by");
        for status in [301, 302, 400, 401, 403, 404, 407, 410] {
            let response = ErrorResponse { status, ..ErrorResponse::default() };
            let failure = failure_of(response, Sender::SomethingElse, "s3.example", false);
            assert_eq!(failure.silent_service(), Some(Service::Storage), "{status}: {failure:?}");
            assert_eq!(failure.describe().code, Some(crate::error::ErrorCode::StorageError));
        }
    }

    #[test]
    fn only_harmless_elements_of_an_error_are_read() {
        let xml =
            "<Error><Code>ExpiredToken</Code><Message>expired</Message><Token-0>secret</Token-0></Error>";
        assert_eq!((element(xml, "Code"), element(xml, "Message")), ("ExpiredToken", "expired"));
        assert_eq!(element("<Code>never closed", "Code"), "");
    }

    #[test]
    fn a_repeated_secret_is_in_no_field() {
        let url =
            "https://s3/b/k?X-Amz-Credential=AKIACANARY%2F20260101%2Fus&X-Amz-Signature=0123456789abcdef";
        let signed = PresignedUrl::new(url.to_owned(), tokio::time::Instant::now());
        let body = b"<Error><Code>0123456789abcdef</Code><Message>AKIACANARY/20260101/us</Message></Error>";
        let secrets = UrlSecrets::of(&signed);
        let response = error_response(StatusCode::FORBIDDEN, &HeaderMap::new(), body, &secrets);
        assert_eq!((&*response.code, &*response.message), ("[hidden]", "[hidden]"));
    }
}
