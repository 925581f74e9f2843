//! The Max AI face: `GET /v2/notes/{noteId}/images/{imageId}/url` and `GET /v2/marketplace/me`, with the
//! vendor's error bodies. A request is judged in this order: key (401), rate (429), script, organization
//! (400, 403), image (404).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::State;
use super::faults::ApiFault;
use super::images::mix;
use super::limiter::{Decision, Rate, RateHeaders};
use super::log::Face;
use super::registry::ImageRef;
use super::server::{Answer, Body, Line, Step, full, held, stepped};
use super::shape::insert;

/// What is asked.
enum Route {
    Url {
        note: String,
        image: String,
    },
    /// "Get current app context": what a preflight asks.
    Me,
    Unknown,
}

/// Answers one request to the API.
pub async fn answer(state: Arc<State>, request: Request<Incoming>, line: Line) -> Answer {
    let (head, _) = request.into_parts();
    let mut ticket = state.log.arrived(Face::Api, &head);
    let route = route(&head);
    let org = header(&head, "x-organization-id");
    if let Route::Url { note, image } = &route {
        ticket.about(org.unwrap_or_default(), note, image);
    }
    super::pause(state.api_latency).await;
    if !authorized(&state, &head) {
        return Ok(held(error(401, None), ticket));
    }
    let decision = state.admit(Instant::now());
    let mut answer = match decision {
        Some((rate, Decision { admitted: false, .. })) => {
            let seconds = rate.window.as_secs_f64();
            let text = format!("Rate limit exceeded. Maximum {} requests per {seconds} seconds.", rate.limit);
            error(429, Some(&text))
        }
        _ => admitted(&state, &route, org, &line).await?,
    };
    if let Some((rate, decision)) = decision {
        rate_headers(answer.headers_mut(), rate, decision);
    }
    Ok(held(answer, ticket))
}

async fn admitted(state: &State, route: &Route, org: Option<&str>, line: &Line) -> Answer {
    let id = match route {
        Route::Url { image, .. } => image,
        Route::Me => "marketplace/me",
        Route::Unknown => "",
    };
    match state.script.take_api(id) {
        None => Ok(plain(state, route, org, None)),
        Some(fault) => faulty(state, route, org, line, fault).await,
    }
}

/// The answer that the API owes; `signed` is a target to hand out instead of a fresh one.
fn plain(state: &State, route: &Route, org: Option<&str>, signed: Option<String>) -> Response<Body> {
    let (note, image) = match route {
        Route::Url { note, image } => (note, image),
        Route::Me => return me(org),
        Route::Unknown => return error(404, None),
    };
    let Some(org) = org.filter(|org| !org.is_empty()) else {
        return error(400, Some("'X-Organization-Id' header is required"));
    };
    if state.refuses(org) {
        return error(403, Some("Insufficient scope. Required: read:notes"));
    }
    match state.registry.key_of(&ImageRef::new(org, note, image)) {
        Some(key) => url_answer(&signed.unwrap_or_else(|| state.url_of(&key, state.url_lifetime))),
        None => error(404, None),
    }
}

async fn faulty(state: &State, route: &Route, org: Option<&str>, line: &Line, fault: ApiFault) -> Answer {
    let key = || match (route, org) {
        (Route::Url { note, image }, Some(org)) => state.registry.key_of(&ImageRef::new(org, note, image)),
        _ => None,
    };
    let hour = Duration::from_secs(3600);
    Ok(match fault {
        ApiFault::Answer { status, headers, body } => scripted(status, &headers, &body)?,
        ApiFault::Close => return Err("scripted close".into()),
        ApiFault::Reset { after } => {
            line.reset_when_broken();
            let (mut head, body) = plain(state, route, org, None).into_parts();
            let bytes = http_body_util::BodyExt::collect(body).await?.to_bytes();
            head.headers.insert("content-length", bytes.len().into());
            let sent = bytes.slice(..after.min(bytes.len()));
            Response::from_parts(head, stepped([Step::Send(sent), Step::Break]))
        }
        ApiFault::Delay(time) => {
            tokio::time::sleep(time).await;
            plain(state, route, org, None)
        }
        ApiFault::Endless { every, bytes } => endless(every, bytes),
        ApiFault::Headers(headers) => {
            let mut answer = plain(state, route, org, None);
            insert(answer.headers_mut(), &headers)?;
            answer
        }
        ApiFault::Url(template) => {
            let url = key().map(|key| state.url_of(&key, state.url_lifetime)).unwrap_or_default();
            let target = url.split_once(&state.storage_host).map_or("", |(_, target)| target);
            let text = template.replace("{target}", target).replace("{host}", &state.storage_host);
            plain(state, route, org, Some(text.replace("{url}", &url)))
        }
        ApiFault::Lifetime(time) => plain(state, route, org, key().map(|key| state.url_of(&key, time))),
        ApiFault::Expired => {
            let url = key().map(|key| state.url_signed(&key, SystemTime::now() - 2 * hour, hour));
            plain(state, route, org, url)
        }
        ApiFault::ObjectOf(other) => {
            let key = state.registry.key_of_id(&other);
            plain(state, route, org, key.map(|key| state.url_of(&key, state.url_lifetime)))
        }
    })
}

fn route(head: &Parts) -> Route {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let parts: Vec<&str> = head.uri.path().split('/').skip(1).collect();
    match (&head.method, parts.as_slice()) {
        (&Method::GET, ["v2", "notes", note, "images", image, "url"]) => {
            Route::Url { note: decoded(note), image: decoded(image) }
        }
        (&Method::GET, ["v2", "marketplace", "me"]) => Route::Me,
        _ => Route::Unknown,
    }
}

fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

fn authorized(state: &State, head: &Parts) -> bool {
    let key = header(head, "authorization").and_then(|value| value.strip_prefix("Bearer "));
    key.is_some_and(|key| state.knows_key(key))
}

fn url_answer(url: &str) -> Response<Body> {
    json_answer(200, json!({ "code": "success", "data": { "url": url } }).to_string().into())
}

fn me(org: Option<&str>) -> Response<Body> {
    let data = json!({
        "app": { "id": "6f1f3c52-1f6e-4b9a-9d61-0b1f0f6c0a11", "slug": "sandbox", "liveVersionId": "1" },
        "organization": { "id": org.unwrap_or("7e2c8cfe-b7a9-4deb-986d-e7012589e72b") },
        "scopes": ["read:marketplace", "read:notes"],
    });
    json_answer(200, json!({ "code": "success", "data": data }).to_string().into())
}

/// A documented error.
fn error(status: u16, message: Option<&str>) -> Response<Body> {
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

fn endless(every: Duration, bytes: usize) -> Response<Body> {
    let opening = r#"{"code":"success","data":{"url":""#;
    let piece = if every.is_zero() { 64 * 1024 } else { 1 };
    let count = bytes.div_ceil(piece);
    let filler = bytes::Bytes::from(vec![b'a'; piece]);
    let steps = (0..count).flat_map(move |_| [Step::Send(filler.clone()), Step::Wait(every)]);
    let body = stepped(std::iter::once(Step::Send(opening.into())).chain(steps));
    Response::builder().header("content-type", "application/json").body(body).expect("plain headers")
}

fn rate_headers(headers: &mut HeaderMap, rate: Rate, decision: Decision) {
    let wanted = match rate.headers {
        RateHeaders::Always => true,
        RateHeaders::Only429 => !decision.admitted,
        RateHeaders::Never => false,
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
