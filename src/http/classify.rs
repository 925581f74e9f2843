//! What reqwest's errors mean for an attempt.

use std::error::Error;
use std::io;

use super::address::Refused;
use crate::error::{Failure, Service, clean};

/// Turns a transport error into a failure that names the host and the reason, never the URL.
pub(super) fn failure(error: reqwest::Error, service: Service, host: &str) -> Failure {
    let error = error.without_url();
    if let Some(Refused(why)) = find::<Refused>(&error) {
        return Failure::UrlRefused(why.clone());
    }
    let what = format!("{service} at {host}: {}", reason(&error));
    if let Some(tls) = find::<rustls::Error>(&error) {
        if is_final(tls) {
            return Failure::Tls {
                service,
                what: format!("{service} at {host}: certificate or TLS refused: {tls}"),
            };
        }
        return Failure::Connect { service, what };
    }
    if error.is_connect() {
        Failure::Connect { service, what }
    } else if error.is_timeout() {
        Failure::Timeout { service, what }
    } else {
        Failure::Broken { service, what }
    }
}

/// Trust and version do not change by trying again.
const fn is_final(error: &rustls::Error) -> bool {
    use rustls::{AlertDescription as Alert, Error as Tls};
    matches!(
        error,
        Tls::InvalidCertificate(_)
            | Tls::NoCertificatesPresented
            | Tls::UnsupportedNameType
            | Tls::PeerIncompatible(_)
            | Tls::AlertReceived(
                Alert::ProtocolVersion
                    | Alert::HandshakeFailure
                    | Alert::InsufficientSecurity
                    | Alert::UnknownCA
                    | Alert::BadCertificate
                    | Alert::CertificateRequired
            )
    )
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

/// Whether the connection ended before any byte of an answer: what a stale keep-alive connection does.
pub(super) fn is_stale(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() || error.is_body() {
        return false;
    }
    if find::<hyper::Error>(error).is_some_and(|error| error.is_incomplete_message() || error.is_canceled()) {
        return true;
    }
    find::<io::Error>(error).is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    })
}
