//! The Max AI server: `GET /v2/notes/{noteId}/images/{imageId}/url` and `GET /v2/marketplace/me`, with the
//! vendor's error bodies. A request is judged in this order: key (401), rate (429), script, organization
//! (400, 403), image (404).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use percent_encoding::percent_decode_str;

use crate::faults::ApiFault;
use crate::limiter::Decision;
use crate::log::Server;
use crate::registry::ImageRef;
use crate::replies::{endless, error, me, rate_headers, scripted, url_answer};
use crate::server::{Answer, Body, Line, Step, held, stepped};
use crate::shape::insert;
use crate::state::{State, pause};

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
    let mut ticket = state.log.arrived(Server::Api, &head);
    let route = route(&head);
    let org = header(&head, "x-organization-id");
    if let Route::Url { note, image } = &route {
        ticket.about(org.unwrap_or_default(), note, image);
    }
    pause(state.api_latency).await;
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
    let hour = Duration::from_hours(1);
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
