//! [`Failure`]: one attempt that did not deliver. [`ItemError`]: what the reports say of its row.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::{ErrorCode, advice};

/// The service that an attempt talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// The Max AI API.
    Api,
    /// The object storage behind the presigned URLs.
    Storage,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "the API",
            Self::Storage => "the storage",
        })
    }
}

/// A server's error answer. Cleaned: safe to show and to store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorResponse {
    /// HTTP status, 0 if there was no answer.
    pub status: u16,
    /// The server's own code (`not_found`, `AccessDenied`), may be empty.
    pub code: String,
    /// The server's own message, may be empty.
    pub message: String,
    /// The API's `trace_id` or the storage's request id, may be empty.
    pub trace_id: String,
    /// `Retry-After`: the server is not to be asked again before.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// One attempt at one image that did not deliver it.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// API, 400.
    BadRequest(ErrorResponse),
    /// API, 401: the key is refused.
    Unauthorized(ErrorResponse),
    /// API, 403: the organization or a scope is refused.
    Forbidden(ErrorResponse),
    /// API, 404.
    NotFound(ErrorResponse),
    /// API, 429. The limiter waits.
    RateLimited(ErrorResponse),
    /// API, 5xx, 408 or 425: no whole answer.
    ApiDown(ErrorResponse),
    /// Something answered in the service's place: a gateway, a proxy, a sign-in page. No answer of the service, whatever
    /// the status.
    ForeignAnswer {
        /// The service that was asked.
        service: Service,
        /// Its host, with the proxy in front of it.
        host: String,
        /// Status, and what kind of body came.
        response: ErrorResponse,
    },
    /// API, an answer of its own that breaks its contract (no URL in it): may be temporary.
    ApiMalformed(String),
    /// API, a redirect or another 4xx: permanent.
    ApiRejected(ErrorResponse),
    /// The presigned URL leads to an address that must not be dialled.
    UrlRefused(String),
    /// The presigned URL cannot be sent byte for byte.
    UrlNotVerbatim(String),
    /// Storage, 400, 401 or 403: expired, wrong signature, or policy.
    Denied(ErrorResponse),
    /// Storage, 404.
    Missing(ErrorResponse),
    /// Storage, 403 `InvalidObjectState`.
    Archived(ErrorResponse),
    /// Storage, 3xx.
    Redirected(ErrorResponse),
    /// Storage, 5xx, 408, 429 or `RequestTimeout`: no whole answer.
    StorageDown(ErrorResponse),
    /// Storage, any other status.
    StorageRefused(ErrorResponse),
    /// Storage, 412 or 416, or a 206 that does not continue the partial download, which is then discarded.
    PartUnusable(String),
    /// The image is larger than allowed.
    TooLarge {
        /// Bytes received or announced.
        bytes: u64,
        /// `--max-size`.
        limit: u64,
    },
    /// No connection could be made.
    Connect {
        /// The service that was dialled.
        service: Service,
        /// Host and reason, without URL.
        what: String,
    },
    /// A certificate or the TLS handshake was refused: permanent.
    Tls {
        /// The service that was dialled.
        service: Service,
        /// Host and reason, without URL.
        what: String,
    },
    /// The proxy refuses to connect, or asks for a user and a password: permanent.
    Proxy {
        /// The service behind the proxy.
        service: Service,
        /// Host and reason, without URL.
        what: String,
    },
    /// The connection broke before the answer was complete.
    Broken {
        /// The service whose answer broke off.
        service: Service,
        /// Host and reason, without URL.
        what: String,
    },
    /// The connection was closed before the first byte of an answer, as an idle connection may be at any time.
    StaleConnection {
        /// The service that closed it.
        service: Service,
        /// Host and reason, without URL.
        what: String,
    },
    /// No answer, or no complete one, in time.
    Timeout {
        /// The service that did not answer.
        service: Service,
        /// Host and the limit, without URL.
        what: String,
    },
    /// The bytes do not match a checksum.
    Corrupt(String),
    /// The body is HTML, XML, JSON or empty.
    NotAnImage(String),
    /// The disk failed for this file only.
    Disk(String),
    /// What stands in the place of this file, or its name, makes it impossible: permanent.
    Obstacle(String),
    /// The file could not be renamed for as long as that was tried: another program holds it.
    FileHeld(String),
    /// The disk fails for every file: full, read-only, gone, no file handles left.
    DiskFatal {
        /// Path and reason.
        what: String,
    },
    /// The API refused the organization for other rows, with this error; this row was not attempted.
    OrgClosed(ItemError),
    /// The run stops; the attempt does not count.
    Stopped,
}

impl Failure {
    /// The service that gave no complete answer, which counts towards an outage. `None` if there was an answer.
    #[must_use]
    pub const fn silent_service(&self) -> Option<Service> {
        match self {
            Self::ApiDown(_) => Some(Service::Api),
            Self::StorageDown(_) => Some(Service::Storage),
            Self::ForeignAnswer { service, .. }
            | Self::Connect { service, .. }
            | Self::Broken { service, .. }
            | Self::StaleConnection { service, .. }
            | Self::Timeout { service, .. } => Some(*service),
            _ => None,
        }
    }

    /// Whether the storage asks to slow down, or no byte came for too long: more images in flight would not help.
    #[must_use]
    pub fn says_line_is_full(&self) -> bool {
        match self {
            Self::StorageDown(response) => {
                matches!(response.status, 429 | 503) || response.code == "SlowDown"
            }
            Self::Timeout { service, .. } => *service == Service::Storage,
            _ => false,
        }
    }

    /// The service that gave a complete answer, even an error. `None` if there was none, or no request was sent.
    #[must_use]
    pub const fn answering_service(&self) -> Option<Service> {
        match self {
            Self::BadRequest(_)
            | Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::RateLimited(_)
            | Self::ApiMalformed(_)
            | Self::ApiRejected(_) => Some(Service::Api),
            Self::Denied(_)
            | Self::Missing(_)
            | Self::Archived(_)
            | Self::Redirected(_)
            | Self::StorageRefused(_)
            | Self::PartUnusable(_)
            | Self::TooLarge { .. }
            | Self::Corrupt(_)
            | Self::NotAnImage(_) => Some(Service::Storage),
            Self::ApiDown(_)
            | Self::ForeignAnswer { .. }
            | Self::StorageDown(_)
            | Self::UrlRefused(_)
            | Self::UrlNotVerbatim(_)
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Proxy { .. }
            | Self::Broken { .. }
            | Self::StaleConnection { .. }
            | Self::Timeout { .. }
            | Self::Disk(_)
            | Self::Obstacle(_)
            | Self::FileHeld(_)
            | Self::DiskFatal { .. }
            | Self::OrgClosed(_)
            | Self::Stopped => None,
        }
    }

    /// How long the service asks not to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.response()?.retry_after
    }

    /// Whether the disk failed in a way that may be this file's trouble, or every file's.
    pub(crate) const fn is_of_disk(&self) -> bool {
        matches!(self, Self::Disk(_) | Self::FileHeld(_))
    }

    /// The ledger cannot be written.
    pub(crate) fn ledger(error: &super::RunError) -> Self {
        Self::DiskFatal { what: format!("the ledger cannot be written: {}", super::chain(error)) }
    }

    /// What the reports say of a row that ends with this failure.
    #[must_use]
    pub fn describe(&self) -> ItemError {
        if let Self::OrgClosed(refusal) = self {
            return refusal.clone();
        }
        let trace_id = self.response().map(|response| response.trace_id.clone()).unwrap_or_default();
        ItemError { code: Some(self.code()), error: self.text(), trace_id }
    }

    const fn code(&self) -> ErrorCode {
        match self {
            Self::BadRequest(_) => ErrorCode::BadRequest,
            Self::Unauthorized(_) => ErrorCode::Unauthorized,
            Self::Forbidden(_) | Self::OrgClosed(_) => ErrorCode::Forbidden,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::RateLimited(_) => ErrorCode::RateLimited,
            Self::ApiDown(_)
            | Self::ForeignAnswer { service: Service::Api, .. }
            | Self::ApiRejected(_)
            | Self::ApiMalformed(_)
            | Self::UrlRefused(_) => ErrorCode::ApiError,
            Self::Denied(_) => ErrorCode::StorageDenied,
            Self::Missing(_) => ErrorCode::StorageMissing,
            Self::Archived(_) => ErrorCode::StorageArchived,
            Self::ForeignAnswer { service: Service::Storage, .. }
            | Self::Redirected(_)
            | Self::StorageDown(_)
            | Self::StorageRefused(_)
            | Self::UrlNotVerbatim(_)
            | Self::PartUnusable(_)
            | Self::TooLarge { .. } => ErrorCode::StorageError,
            Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Proxy { .. }
            | Self::Broken { .. }
            | Self::StaleConnection { .. }
            | Self::Stopped => ErrorCode::Network,
            Self::Timeout { .. } => ErrorCode::Timeout,
            Self::Corrupt(_) => ErrorCode::Integrity,
            Self::NotAnImage(_) => ErrorCode::NotAnImage,
            Self::Disk(_) | Self::Obstacle(_) | Self::FileHeld(_) | Self::DiskFatal { .. } => ErrorCode::Disk,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::BadRequest(response)
            | Self::Unauthorized(response)
            | Self::Forbidden(response)
            | Self::NotFound(response)
            | Self::RateLimited(response)
            | Self::ApiDown(response)
            | Self::ApiRejected(response) => format!("{} answered {response}", Service::Api),
            Self::Denied(response)
            | Self::Missing(response)
            | Self::Archived(response)
            | Self::Redirected(response)
            | Self::StorageDown(response)
            | Self::StorageRefused(response) => format!("{} answered {response}", Service::Storage),
            Self::ForeignAnswer { service, host, response } => {
                format!("{service} at {host}{}{response})", advice::foreign_answer_of(*service))
            }
            Self::ApiMalformed(what) => format!("the API's answer does not fit its contract: {what}"),
            Self::UrlRefused(what) => format!("{}{what}", advice::URL_REFUSED),
            Self::UrlNotVerbatim(what) => format!("{}{what}", advice::NOT_VERBATIM),
            Self::TooLarge { bytes, limit } => {
                format!("{}{bytes} bytes or more, --max-size allows {limit}", advice::TOO_LARGE)
            }
            Self::PartUnusable(what)
            | Self::Connect { what, .. }
            | Self::Tls { what, .. }
            | Self::Proxy { what, .. }
            | Self::Broken { what, .. }
            | Self::StaleConnection { what, .. }
            | Self::Timeout { what, .. }
            | Self::Corrupt(what)
            | Self::NotAnImage(what)
            | Self::Disk(what)
            | Self::Obstacle(what)
            | Self::FileHeld(what)
            | Self::DiskFatal { what } => what.clone(),
            Self::OrgClosed(refusal) => refusal.error.clone(),
            Self::Stopped => "the run stopped first".to_owned(),
        }
    }

    /// The error answer, for a failure that is one.
    const fn response(&self) -> Option<&ErrorResponse> {
        match self {
            Self::BadRequest(response)
            | Self::Unauthorized(response)
            | Self::Forbidden(response)
            | Self::NotFound(response)
            | Self::RateLimited(response)
            | Self::ApiDown(response)
            | Self::ForeignAnswer { response, .. }
            | Self::ApiRejected(response)
            | Self::Denied(response)
            | Self::Missing(response)
            | Self::Archived(response)
            | Self::Redirected(response)
            | Self::StorageDown(response)
            | Self::StorageRefused(response) => Some(response),
            _ => None,
        }
    }
}

/// Why a row failed or stayed untried, as the reports print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// `None` for a row that the run never reached.
    pub code: Option<ErrorCode>,
    /// The text of the column `error`.
    pub error: String,
    /// The id that the server's support asks for, may be empty.
    pub trace_id: String,
}

impl ItemError {
    /// What the user can do about it. It follows from the error's own text, so the two cannot disagree.
    #[must_use]
    pub fn advice(&self) -> Cow<'static, str> {
        advice::of(self.code, &self.error)
    }
}

#[cfg(test)]
mod tests;
