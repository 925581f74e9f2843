//! The API's answers as they stand on the wire.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{HeaderMap, Response};
use serde_json::json;

use crate::images::mix;
use crate::limiter::{Decision, Rate, SendHeaders};
use crate::server::{Answer, Body, Step, full, stepped};
use crate::shape::insert;

pub fn url_answer(url: &str) -> Response<Body> {
    json_answer(200, json!({ "code": "success", "data": { "url": url } }).to_string().into())
}

pub fn me(org: Option<&str>) -> Response<Body> {
    let data = json!({
        "app": { "id": "6f1f3c52-1f6e-4b9a-9d61-0b1f0f6c0a11", "slug": "sandbox", "liveVersionId": "1" },
        "organization": { "id": org.unwrap_or("7e2c8cfe-b7a9-4deb-986d-e7012589e72b") },
        "scopes": ["read:marketplace", "read:notes"],
    });
    json_answer(200, json!({ "code": "success", "data": data }).to_string().into())
}

/// A documented error.
pub fn error(status: u16, message: Option<&str>) -> Response<Body> {
    json_answer(status, error_body(status, message))
}

/// The vendor's error object, with the vendor's words where none are given.
pub fn error_body(status: u16, message: Option<&str>) -> Vec<u8> {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let (code, words) = match status {
        400 => ("bad_request", "'id' must be a valid UUID"),
        401 => ("unauthorized", "Invalid or missing API key"),
        403 => ("forbidden", "Insufficient scope"),
        404 => ("not_found", "Resource not found"),
        429 => ("rate_limit_exceeded", "Rate limit exceeded. Maximum 1000 requests per 60 seconds."),
        _ => ("internal_error", "An unexpected error occurred"),
    };
    let serial = SERIAL.fetch_add(1, Relaxed);
    let trace = format!("{:08x}-e29b-41d4-a716-{serial:012x}", mix(serial) >> 32);
    let body = json!({ "code": code, "message": message.unwrap_or(words), "trace_id": trace });
    body.to_string().into()
}

fn json_answer(status: u16, body: Vec<u8>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json; charset=utf-8")
        .body(full(body))
        .expect("plain headers")
}

/// An answer that stands in the script word for word.
pub fn scripted(status: u16, headers: &[(String, String)], body: &[u8]) -> Answer {
    let mut answer = Response::builder().status(status).body(full(body.to_vec()))?;
    insert(answer.headers_mut(), headers)?;
    Ok(answer)
}

pub fn endless(every: Duration, bytes: usize) -> Response<Body> {
    let opening = r#"{"code":"success","data":{"url":""#;
    let piece = if every.is_zero() { 64 * 1024 } else { 1 };
    let count = bytes.div_ceil(piece);
    let filler = bytes::Bytes::from(vec![b'a'; piece]);
    let steps = (0..count).flat_map(move |_| [Step::Send(filler.clone()), Step::Wait(every)]);
    let body = stepped(std::iter::once(Step::Send(opening.into())).chain(steps));
    Response::builder().header("content-type", "application/json").body(body).expect("plain headers")
}

pub fn rate_headers(headers: &mut HeaderMap, rate: Rate, decision: Decision) {
    let wanted = match rate.headers {
        SendHeaders::Always => true,
        SendHeaders::Only429 => !decision.admitted,
        SendHeaders::Never => false,
    };
    // What the script has set stands.
    let mut set = |name: &'static str, value: u64| {
        headers.entry(name).or_insert(value.into());
    };
    if wanted {
        let reset = SystemTime::now() + decision.reset_in;
        let reset = reset.duration_since(UNIX_EPOCH).unwrap_or_default();
        set("x-ratelimit-limit", rate.limit.into());
        set("x-ratelimit-remaining", decision.remaining.into());
        set("x-ratelimit-reset", rounded_up(reset));
    }
    if wanted && !decision.admitted {
        set("retry-after", rounded_up(decision.reset_in).max(1));
    }
}

/// Whole seconds, never too few.
fn rounded_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
