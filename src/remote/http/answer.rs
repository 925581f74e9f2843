//! Whose answer is it, and what does it mean? Status, headers and body of an answer to an API request → the API's data,
//! or the failure.
//!
//! An answer counts as the API's only with the API's own JSON: `code`, and `message` or `data`. Everything else comes
//! from something on the way (a gateway, a proxy, a sign-in page) and says nothing about key, organization or image,
//! whatever its status. Only a 429 is taken as it stands, since a wait that anyone asks for is obeyed. Pure.

use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::redact::RequestSecrets;
use super::{CappedBody, header_text, redirect_target};
use crate::error::{ErrorResponse, Failure, Service};

/// An answer holds one URL of at most a few kilobytes, or a few ids and names. Packed or unpacked.
pub(super) const BODY_MAX: usize = 64 * 1024;
/// RFC 1952, section 2.3.1. No JSON begins with these bytes.
const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The API's own JSON. Any JSON type is accepted in a field: one of another type must not hide the others.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    code: Value,
    message: Value,
    data: Value,
    trace_id: Value,
}

impl Envelope {
    fn is_the_apis_own(&self) -> bool {
        self.code.as_str().is_some_and(|code| !code.is_empty())
            && (self.message.is_string() || !self.data.is_null())
    }
}

/// Reads an answer to an API request: `data` of a 200, or the failure. `host` is named if something else answered.
pub(super) fn read(
    status: StatusCode,
    headers: &HeaderMap,
    body: &CappedBody,
    secrets: &RequestSecrets<'_>,
    host: &str,
) -> Result<Value, Failure> {
    let json = unpacked(headers, body).map(|bytes| {
        let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
        serde_json::from_slice::<Envelope>(text)
    });
    let own = match &json {
        Ok(Ok(envelope)) => Some(envelope).filter(|envelope| envelope.is_the_apis_own()),
        _ => None,
    };
    let response = |envelope: Option<&Envelope>| {
        let mut response = error_response(status, headers, envelope, secrets);
        if envelope.is_none() {
            let what = kind_of_body(headers, json.as_ref().map(Result::is_ok).map_err(|why| *why), secrets);
            response.message = reason(status) + &secrets.clean(&redirect_target(status, headers)) + &what;
        }
        response
    };
    match (status.as_u16(), own) {
        (429, own) => Err(Failure::RateLimited(response(own))),
        (_, None) => Err(Failure::ForeignAnswer {
            service: Service::Api,
            host: host.to_owned(),
            response: response(None),
        }),
        (200, Some(own)) if own.data.is_null() && own.code != "success" => {
            Err(Failure::ApiMalformed(format!("an error under status {}", response(Some(own)))))
        }
        (200, Some(own)) => Ok(own.data.clone()),
        (_, own) => Err(failure_of(response(own))),
    }
}

/// An error of the API's own → failure.
fn failure_of(response: ErrorResponse) -> Failure {
    match response.status {
        400 => Failure::BadRequest(response),
        401 => Failure::Unauthorized(response),
        403 => Failure::Forbidden(response),
        404 => Failure::NotFound(response),
        // 408 and 425 ask for another attempt, as every 5xx may
        408 | 425 | 500.. => Failure::ApiDown(response),
        status @ 100..=299 => Failure::ApiMalformed(format!("status {status} without a signed URL")),
        _ => Failure::ApiRejected(response),
    }
}

/// The body as it was meant, or why it cannot be read: a gateway may pack what nobody asked it to pack.
fn unpacked(headers: &HeaderMap, body: &CappedBody) -> Result<Vec<u8>, &'static str> {
    const TOO_LONG: &str = "more than 64 KiB";
    if !body.complete {
        return Err(TOO_LONG);
    }
    let packed = &*body.bytes;
    if packed.is_empty() {
        return Err("empty");
    }
    let (read, broken) = match &*header_text(headers, "content-encoding").to_ascii_lowercase() {
        _ if packed.starts_with(GZIP_MAGIC) => (unpack(GzDecoder::new(packed)), "broken gzip"),
        // RFC 9110, 8.4.1.2: in the format of zlib, which some senders leave out
        "deflate" => (
            unpack(ZlibDecoder::new(packed)).or_else(|_| unpack(DeflateDecoder::new(packed))),
            "broken deflate",
        ),
        "" | "identity" | "gzip" | "x-gzip" => return Ok(packed.to_owned()),
        _ => return Err("in an encoding that was not asked for"),
    };
    match read {
        Err(_) => Err(broken),
        Ok(bytes) if bytes.len() > BODY_MAX => Err(TOO_LONG),
        Ok(bytes) => Ok(bytes),
    }
}

/// Reads one byte more than an answer may have.
fn unpack(packed: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    packed.take(BODY_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What came instead of the API's JSON, as ` (…)`. `json` is whether the body is JSON, or why it cannot be read.
fn kind_of_body(
    headers: &HeaderMap,
    json: Result<bool, &'static str>,
    secrets: &RequestSecrets<'_>,
) -> String {
    let content_type = secrets.clean(&header_text(headers, "content-type"));
    match json {
        Err(why) if content_type.is_empty() => format!(" ({why})"),
        Err(why) => format!(" ({content_type}, {why})"),
        Ok(true) => " (other JSON)".to_owned(),
        Ok(false) if content_type.contains("json") => " (broken JSON)".to_owned(),
        Ok(false) if content_type.is_empty() => String::new(),
        Ok(false) => format!(" ({content_type})"),
    }
}

fn reason(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("unknown status").to_owned()
}

/// Code, message and trace id of an error answer.
fn error_response(
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<&Envelope>,
    secrets: &RequestSecrets<'_>,
) -> ErrorResponse {
    let string = |value: Option<&Value>| secrets.clean(value.and_then(Value::as_str).unwrap_or_default());
    ErrorResponse {
        status: status.as_u16(),
        code: string(body.map(|body| &body.code)),
        message: string(body.map(|body| &body.message)),
        trace_id: string(body.map(|body| &body.trace_id)),
        retry_after: super::retry_after(headers),
    }
}

#[cfg(test)]
mod tests;
