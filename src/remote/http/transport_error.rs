//! What reqwest's errors mean for an attempt.

use std::error::Error;
use std::io;

use super::ssrf::Refused;
use crate::error::{Failure, Service, clean};

/// Turns a transport error into a failure that names the host and the reason, never the URL.
pub(super) fn failure(error: reqwest::Error, service: Service, host: &str) -> Failure {
    let error = error.without_url();
    if let Some(Refused(why)) = find::<Refused>(&error) {
        return Failure::UrlRefused(why.clone());
    }
    let what = |why: &str| format!("{service} at {host}: {why}");
    if asks_for_a_password(&error) {
        return Failure::Proxy {
            service,
            what: what("the proxy answered 407: it asks for a user and a password"),
        };
    }
    if let Some(tls) = find::<rustls::Error>(&error)
        && let Some(word) = refused(tls, error.is_connect())
    {
        let why = clean(&tls.to_string());
        // rustls' own word for it helps nobody
        let hint = if why.contains("CaUsedAsEndEntity") {
            "; it is an authority's own: let the server show one that the authority signed for it"
        } else {
            ""
        };
        return Failure::Tls { service, what: what(&format!("{word} ({why}){hint}")) };
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

/// Trust, version and what is spoken at a port do not change by trying again; `None` where it might help. A message
/// that cannot be read is final in a handshake alone: later it is a connection that broke.
const fn refused(error: &rustls::Error, handshake: bool) -> Option<&'static str> {
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
        ) => Some("certificate refused"),
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
            Some("what is spoken there is no TLS")
        }
        Tls::InappropriateHandshakeMessage { .. } | Tls::PeerMisbehaved(_) | Tls::DecryptError
            if handshake =>
        {
            Some("TLS failed")
        }
        _ => None,
    }
}

/// A proxy's 407. The type of the error is hyper-util's own, so it is known by its words; a test holds them.
fn asks_for_a_password(error: &reqwest::Error) -> bool {
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        if error.to_string() == "tunnel error: proxy authorization required" {
            return true;
        }
        next = error.source();
    }
    false
}

/// The innermost causes in words: they say what happened, the outer ones only where in the library.
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

/// Looks for a cause of a type; `io::Error` hides its own from `source()`.
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

/// Whether the connection ended before any byte of an answer: what a stale keep-alive connection does, and one of
/// HTTP/2 that takes its leave (RFC 9113, section 8.7: such a request was not processed).
pub(super) fn is_stale(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() || error.is_body() {
        return false;
    }
    if find::<hyper::Error>(error).is_some_and(|error| error.is_incomplete_message() || error.is_canceled()) {
        return true;
    }
    if let Some(error) = find::<h2::Error>(error)
        && error.is_remote()
    {
        let leave = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        return leave || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    }
    find::<io::Error>(error).is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    })
}
