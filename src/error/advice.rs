//! What the user can do about an error. The advice follows the cause, not the code alone.
//!
//! Pure. The cause is read from the error's own text, which is all that the ledger and `report.csv` keep of it: so error
//! and advice cannot disagree, also after the reports were written again or a lost ledger was rebuilt. Only words that
//! this program puts at the start of a text are looked at; what a server says comes behind them and decides nothing.

use std::borrow::Cow;

use super::{ErrorCode, Service, disk_cause};

/// Start of an error of the API's connection or of another server in its place; the host follows.
const AT_API: &str = "the API at ";
/// The same of the storage.
const AT_STORAGE: &str = "the storage at ";
/// Follow the host if something else has answered; the status follows.
const NOT_THE_APIS: &str = ": an answer that is not the API's own (";
const NOT_THE_STORAGES: &str = ": an answer that is not the storage's own (";
/// Stands between the service and the time that an outage has lasted; the failure follows behind a colon.
pub(super) const NOT_REACHED_FOR: &str = " could not be reached for ";
/// Start of the error of a presigned URL that must not be dialled.
pub(super) const URL_REFUSED: &str = "signed URL refused: ";
/// Start of the error of a presigned URL that the HTTP library would change.
pub(super) const NOT_VERBATIM: &str = "signed URL cannot be sent unchanged: ";
/// Start of the error of an image beyond `--max-size`.
pub(super) const TOO_LARGE: &str = "the image has ";
/// Stands between the host and the proxy in front of it.
pub(crate) const THROUGH_PROXY: &str = " through the proxy ";
/// Stands between the host and a proxy's status.
pub(crate) const PROXY_ANSWERED: &str = ": the proxy answered ";
/// Stands between the host and what is wrong with a certificate.
pub(crate) const CERTIFICATE_REFUSED: &str = "certificate refused";
/// Stands between the kind of a body that is no image and the host that it came from.
pub(crate) const NO_IMAGE_FROM: &str = " came instead of an image from ";

/// Advice for a row that was not attempted.
const NOT_REACHED: &str = "run again; this row was not reached";

/// What stands between the host and the status if something else answered in the place of `service`.
pub(super) const fn foreign_answer_of(service: Service) -> &'static str {
    match service {
        Service::Api => NOT_THE_APIS,
        Service::Storage => NOT_THE_STORAGES,
    }
}

/// The advice for an error as the reports print it.
pub(crate) fn of(code: Option<ErrorCode>, error: &str) -> Cow<'static, str> {
    let Some(code) = code else { return NOT_REACHED.into() };
    let error = failure_in(error);
    let special = match code {
        ErrorCode::ApiError => api_error(error),
        ErrorCode::StorageError => storage_error(error),
        ErrorCode::Network => network(error),
        ErrorCode::NotAnImage => not_an_image(error),
        ErrorCode::Disk => disk(error),
        _ => None,
    };
    special.unwrap_or_else(|| code.advice().into())
}

/// The advice as a sentence that follows the error in a message.
pub(super) fn sentence(code: Option<ErrorCode>, error: &str) -> String {
    let advice = of(code, error);
    let mut chars = advice.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The failure that an outage's error ends with, else the error itself.
fn failure_in(error: &str) -> &str {
    let outage = [Service::Api, Service::Storage].into_iter().find_map(|service| {
        let rest = error.strip_prefix(&service.to_string())?.strip_prefix(NOT_REACHED_FOR)?;
        rest.split_once(": ")
    });
    outage.map_or(error, |(_, failure)| failure)
}

fn api_error(error: &str) -> Option<Cow<'static, str>> {
    if let Some((host, status)) = error.strip_prefix(AT_API).and_then(|rest| rest.split_once(NOT_THE_APIS)) {
        return Some(in_place_of("the API", host, status, "check --api-url, "));
    }
    if let Some(why) = error.strip_prefix(URL_REFUSED) {
        return Some(url_refused(why));
    }
    error.starts_with("the API answered 3").then_some(
        "check --api-url (MAXAI_API_URL): the API itself never redirects, but a sign-in page, a proxy or a wrong address does"
            .into(),
    )
}

/// Something else answered with `status` where the service should have.
fn in_place_of(service: &str, host: &str, status: &str, check: &str) -> Cow<'static, str> {
    if is_gateway_trouble(status) {
        return format!(
            "a gateway on the way to {host} gets no answer from {service}: run again later; if it persists tell the \
             API's support"
        )
        .into();
    }
    format!(
        "something on the way to {host} answered in place of {service}, such as a proxy, a gateway or a sign-in page: \
         {check}HTTPS_PROXY and NO_PROXY, sign in if the network asks for it, and run again"
    )
    .into()
}

/// 502, 503, 504 (RFC 9110, 15.6.3 to 15.6.5): the gateway that answered is not the cause, and the cause may pass.
fn is_gateway_trouble(status: &str) -> bool {
    ["502", "503", "504"].iter().any(|trouble| status.starts_with(trouble))
}

fn url_refused(why: &str) -> Cow<'static, str> {
    let allowed = why.split_once(" (--storage-host ").and_then(|(_, rest)| rest.strip_suffix(" allows it)"));
    let other = why.strip_prefix("host ").and_then(|rest| rest.strip_suffix(" is none of --storage-host"));
    match allowed.or(other) {
        Some(host) => format!(
            "run again with --storage-host {host} if the storage is really there; if not, tell the API's support where \
             its signed URL leads"
        )
        .into(),
        None if why.ends_with("(--allow-http allows it)") => {
            "run again with --allow-http if this storage has no https and the network can be trusted".into()
        }
        None => "tell the API's support: its signed URL must not be used".into(),
    }
}

fn storage_error(error: &str) -> Option<Cow<'static, str>> {
    if let Some((host, status)) =
        error.strip_prefix(AT_STORAGE).and_then(|rest| rest.split_once(NOT_THE_STORAGES))
    {
        return Some(in_place_of("the storage", host, status, "check "));
    }
    if error.starts_with(TOO_LARGE) {
        return Some("run again with a larger --max-size if an image may be that large".into());
    }
    if error.starts_with(NOT_VERBATIM) {
        return Some("tell the API's support: its signed URL is not written as a URL has to be".into());
    }
    error.starts_with("the storage answered 3").then_some(
        "run again; if it persists tell the API's support: its storage redirects, which is never followed"
            .into(),
    )
}

fn network(error: &str) -> Option<Cow<'static, str>> {
    if let Some((peer, answer)) = error.split_once(PROXY_ANSWERED) {
        return Some(proxy(peer, answer));
    }
    error
        .contains(CERTIFICATE_REFUSED)
        .then_some("check the address, the clock and the certificates (--ca-file), and run again".into())
}

/// `peer` is `the API at HOST through the proxy PROXY`.
fn proxy(peer: &str, answer: &str) -> Cow<'static, str> {
    if answer.starts_with("407") {
        return "check HTTPS_PROXY (http://user:password@host:port) and run again".into();
    }
    let host = peer.split_once(" at ").map_or(peer, |(_, host)| host);
    let (host, proxy) = host.split_once(THROUGH_PROXY).unwrap_or((host, "of HTTPS_PROXY"));
    if answer.starts_with('5') {
        return format!(
            "the proxy {proxy} does not reach {host} now: run again later; if it persists ask its administrator"
        )
        .into();
    }
    format!(
        "ask the administrator of the proxy {proxy} to let this machine through to {host}, or except the host with \
         NO_PROXY, and run again"
    )
    .into()
}

fn disk(error: &str) -> Option<Cow<'static, str>> {
    disk_cause::advice(error).map(Cow::from)
}

fn not_an_image(error: &str) -> Option<Cow<'static, str>> {
    let (kind, host) = error.split_once(NO_IMAGE_FROM)?;
    (kind == "HTML").then(|| in_place_of("the storage", host, "200", "check "))
}
