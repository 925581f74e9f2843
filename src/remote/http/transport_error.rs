//! reqwest's errors → failures of an attempt. No text made here holds a URL.

use std::error::Error;
use std::io;

use super::ssrf::AddressRefused;
use crate::error::advice::{CERTIFICATE_REFUSED, PROXY_ANSWERED};
use crate::error::{Failure, Service, clean};

/// The failure of a request that got no answer: closed without a byte, as idle connections are, or any other error.
pub(super) fn send_failure(error: reqwest::Error, service: Service, host: &str) -> Failure {
    if is_stale(&error) {
        let what = format!("{service} at {host}: the connection was closed without an answer");
        return Failure::StaleConnection { service, what };
    }
    failure(error, service, host)
}

/// The failure for a transport error, with host and reason.
pub(super) fn failure(error: reqwest::Error, service: Service, host: &str) -> Failure {
    let error = error.without_url();
    if let Some(AddressRefused(why)) = find::<AddressRefused>(&error) {
        return Failure::UrlRefused(why.clone());
    }
    let what = |why: &str| format!("{service} at {host}: {why}");
    if is_proxy_authentication_required(&error) {
        return tunnel_refused(Some(407), service, host);
    }
    if let Some(tls) = find::<rustls::Error>(&error)
        && let Some(refusal) = permanent_tls_error(tls, error.is_connect())
    {
        return Failure::Tls { service, what: what(&describe_tls(tls, refusal)) };
    }
    let what = what(&reason(&error));
    if error.is_connect() {
        Failure::Connect { service, what }
    } else if error.is_timeout() {
        Failure::Timeout { service, what }
    } else {
        Failure::Broken { service, what }
    }
}

/// The failure of a request for which the proxy opened no tunnel. A redirect or a refusal does not change by waiting;
/// 5xx, and a proxy that lets the request through when it is asked again, may.
pub(super) fn tunnel_refused(status: Option<u16>, service: Service, host: &str) -> Failure {
    let answered = |status: u16| format!("{service} at {host}{PROXY_ANSWERED}{status}");
    match status {
        Some(407) => Failure::Proxy { service, what: answered(407) + ": it asks for a user and a password" },
        Some(status @ 300..=499) => Failure::Proxy {
            service,
            what: answered(status) + " to CONNECT: it does not let the request through",
        },
        Some(status) => Failure::Connect { service, what: answered(status) + " to CONNECT" },
        None => {
            Failure::Connect { service, what: format!("{service} at {host}: the proxy opened no tunnel") }
        }
    }
}

fn describe_tls(error: &rustls::Error, refusal: &str) -> String {
    let why = clean(&error.to_string());
    // rustls' own term says nothing to most readers
    let hint = if why.contains("CaUsedAsEndEntity") {
        "; it is an authority's own: the server needs one that the authority signed for it"
    } else {
        ""
    };
    format!("{refusal} ({why}){hint}")
}

/// What was refused, if another attempt cannot help: trust, TLS version and the protocol at a port do not change. A
/// message that cannot be read is permanent only in a handshake; later it means a broken connection.
const fn permanent_tls_error(error: &rustls::Error, handshake: bool) -> Option<&'static str> {
    use rustls::{AlertDescription as Alert, Error as Tls};
    match error {
        Tls::InvalidCertificate(_)
        | Tls::NoCertificatesPresented
        | Tls::UnsupportedNameType
        | Tls::InvalidCertRevocationList(_)
        | Tls::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired,
        ) => Some(CERTIFICATE_REFUSED),
        Tls::PeerIncompatible(_)
        | Tls::NoApplicationProtocol
        | Tls::AlertReceived(
            Alert::ProtocolVersion
            | Alert::HandshakeFailure
            | Alert::InsufficientSecurity
            | Alert::InappropriateFallback
            | Alert::UnrecognisedName
            | Alert::AccessDenied
            | Alert::NoApplicationProtocol,
        ) => Some("TLS refused"),
        Tls::InvalidMessage(_) | Tls::InappropriateMessage { .. } if handshake => {
            Some("the server speaks no TLS at this port")
        }
        Tls::InappropriateHandshakeMessage { .. } | Tls::PeerMisbehaved(_) | Tls::DecryptError
            if handshake =>
        {
            Some("TLS failed")
        }
        _ => None,
    }
}

/// A proxy's 407.
fn is_proxy_authentication_required(error: &reqwest::Error) -> bool {
    is_tunnel_error(error, "proxy authorization required")
}

/// Any other answer of a proxy to CONNECT but a 200.
pub(super) fn is_tunnel_refused(error: &reqwest::Error) -> bool {
    is_tunnel_error(error, "unsuccessful")
}

/// The error's type is private to hyper-util, so its text decides; tests of the program hold it.
fn is_tunnel_error(error: &reqwest::Error, what: &str) -> bool {
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        if error.to_string().strip_prefix("tunnel error: ") == Some(what) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The text of the innermost cause: it says what happened, the outer ones only where in the library.
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() && error.is_connect() {
        return "no connection within 10 s".to_owned();
    }
    let mut innermost: &dyn Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    clean(&innermost.to_string())
}

/// The first cause of a type. An `io::Error` keeps its inner error out of `source()`, so it is unwrapped.
fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = find::<T>(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Whether the connection ended before the first byte of an answer, as a stale keep-alive connection does, and an HTTP/2
/// connection after GOAWAY or REFUSED_STREAM (RFC 9113, section 8.7: such a request was not processed).
fn is_stale(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() || error.is_body() {
        return false;
    }
    if find::<hyper::Error>(error).is_some_and(|error| error.is_incomplete_message() || error.is_canceled()) {
        return true;
    }
    if let Some(error) = find::<h2::Error>(error)
        && error.is_remote()
    {
        let shut_down = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        return shut_down || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    }
    find::<io::Error>(error).is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    })
}
