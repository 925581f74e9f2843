//! One attempt that did not deliver, and the words under which its row is given up.

use std::fmt;

use super::ErrorCode;

/// Whose answer, or silence, an attempt met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// The Max AI API.
    Api,
    /// The object storage behind the signed URLs.
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

/// What a server said of a refusal, cleaned: safe to show and to write down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorResponse {
    /// HTTP status, 0 where there was none.
    pub status: u16,
    /// The server's own code (`not_found`, `AccessDenied`), may be empty.
    pub code: String,
    /// The server's own words, may be empty.
    pub message: String,
    /// The API's `trace_id` or the storage's request id, may be empty.
    pub trace_id: String,
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
    /// API, 400: the request is wrong.
    BadRequest(ErrorResponse),
    /// API, 401: the key is refused.
    Unauthorized(ErrorResponse),
    /// API, 403: organization or scope refused.
    Forbidden(ErrorResponse),
    /// API, 404.
    NotFound(ErrorResponse),
    /// API, 429. The wait is the limiter's business.
    RateLimited(ErrorResponse),
    /// API, 5xx, 408 or 425: no whole answer.
    ApiDown(ErrorResponse),
    /// API, an answer that does not fit the contract (HTML, broken JSON, no URL in it): may be passing.
    ApiMalformed(String),
    /// API, an answer that will not change: a redirect, another 4xx.
    ApiRejected(ErrorResponse),
    /// The API's signed URL is one that must not be dialled.
    UrlRefused(String),
    /// The signed URL cannot be sent byte for byte.
    UrlNotVerbatim(String),
    /// Storage, 400 or 403: expired, signature or policy.
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
    /// Storage, 412 or 416, or a 206 that does not continue what is at hand: the part is worthless.
    PartUnusable(String),
    /// The image is larger than allowed.
    TooLarge {
        /// Bytes that came or were announced.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// No connection could be made.
    Connect {
        /// Who was dialled.
        service: Service,
        /// Host and reason, without URL.
        what: String,
    },
    /// A certificate or the TLS handshake was refused: trying again cannot help.
    Tls {
        /// Who was dialled.
        service: Service,
        /// Host and reason, without URL.
        what: String,
    },
    /// The proxy asks for a user and a password: trying again cannot help.
    Proxy {
        /// Who was to be reached through it.
        service: Service,
        /// Host and reason, without URL.
        what: String,
    },
    /// The connection broke before the whole answer was there.
    Broken {
        /// Whose answer broke off.
        service: Service,
        /// What broke, without URL.
        what: String,
    },
    /// The connection was closed without a byte of an answer, as an idle one may be at any time.
    StaleConnection {
        /// Who closed it.
        service: Service,
        /// In words, without URL.
        what: String,
    },
    /// Nothing, or not all, came in time.
    Timeout {
        /// Who was silent.
        service: Service,
        /// Which limit was met.
        what: String,
    },
    /// The bytes do not match a checksum.
    Corrupt(String),
    /// HTML, XML, JSON or nothing came.
    NotAnImage(String),
    /// The disk refused, for this file only.
    Disk(String),
    /// The disk refused for every file: full, read-only, gone, no file handles.
    DiskFatal {
        /// Where and why.
        what: String,
    },
    /// The organization was refused for other rows, with these words; this row was not tried.
    OrgClosed(ItemError),
    /// The run stops; this attempt was given back.
    Stopped,
}

impl Failure {
    /// The service that gave no whole answer: what an outage is made of. `None` where there was an answer.
    #[must_use]
    pub const fn silent_service(&self) -> Option<Service> {
        match self {
            Self::ApiDown(_) => Some(Service::Api),
            Self::StorageDown(_) => Some(Service::Storage),
            Self::Connect { service, .. }
            | Self::Broken { service, .. }
            | Self::StaleConnection { service, .. }
            | Self::Timeout { service, .. } => Some(*service),
            _ => None,
        }
    }

    /// The service that gave a whole answer, if only to refuse. `None` where there was none, or nobody was asked.
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
            | Self::DiskFatal { .. }
            | Self::OrgClosed(_)
            | Self::Stopped => None,
        }
    }

    /// The ledger cannot be written.
    pub(crate) fn ledger(error: &super::RunError) -> Self {
        Self::DiskFatal { what: format!("the ledger cannot be written: {}", super::chain(error)) }
    }

    /// The code and the words under which a row is given up after this failure.
    #[must_use]
    pub fn describe(&self) -> ItemError {
        let (code, error, trace_id) = match self {
            Self::BadRequest(said) => (ErrorCode::BadRequest, api(said), &*said.trace_id),
            Self::Unauthorized(said) => (ErrorCode::Unauthorized, api(said), &*said.trace_id),
            Self::Forbidden(said) => (ErrorCode::Forbidden, api(said), &*said.trace_id),
            Self::NotFound(said) => (ErrorCode::NotFound, api(said), &*said.trace_id),
            Self::RateLimited(said) => (ErrorCode::RateLimited, api(said), &*said.trace_id),
            Self::ApiDown(said) | Self::ApiRejected(said) => {
                (ErrorCode::ApiError, api(said), &*said.trace_id)
            }
            Self::ApiMalformed(what) => {
                (ErrorCode::ApiError, format!("the API's answer does not fit its contract: {what}"), "")
            }
            Self::UrlRefused(what) => (ErrorCode::ApiError, format!("signed URL refused: {what}"), ""),
            Self::UrlNotVerbatim(what) => {
                (ErrorCode::StorageError, format!("signed URL cannot be sent unchanged: {what}"), "")
            }
            Self::Denied(said) => (ErrorCode::StorageDenied, storage(said), &*said.trace_id),
            Self::Missing(said) => (ErrorCode::StorageMissing, storage(said), &*said.trace_id),
            Self::Archived(said) => (ErrorCode::StorageArchived, storage(said), &*said.trace_id),
            Self::Redirected(said) | Self::StorageDown(said) | Self::StorageRefused(said) => {
                (ErrorCode::StorageError, storage(said), &*said.trace_id)
            }
            Self::PartUnusable(what) => (ErrorCode::StorageError, what.clone(), ""),
            Self::TooLarge { bytes, limit } => (
                ErrorCode::StorageError,
                format!("the image has {bytes} bytes or more, --max-size allows {limit}"),
                "",
            ),
            Self::Connect { what, .. }
            | Self::Tls { what, .. }
            | Self::Proxy { what, .. }
            | Self::Broken { what, .. }
            | Self::StaleConnection { what, .. } => (ErrorCode::Network, what.clone(), ""),
            Self::Timeout { what, .. } => (ErrorCode::Timeout, what.clone(), ""),
            Self::Corrupt(what) => (ErrorCode::Integrity, what.clone(), ""),
            Self::NotAnImage(what) => (ErrorCode::NotAnImage, what.clone(), ""),
            Self::Disk(what) | Self::DiskFatal { what } => (ErrorCode::Disk, what.clone(), ""),
            Self::OrgClosed(refusal) => return refusal.clone(),
            Self::Stopped => (ErrorCode::Network, "the run stopped first".to_owned(), ""),
        };
        ItemError { code: Some(code), error, trace_id: trace_id.to_owned() }
    }
}

fn api(said: &ErrorResponse) -> String {
    format!("the API answered {said}")
}

fn storage(said: &ErrorResponse) -> String {
    format!("the storage answered {said}")
}

/// Why a row was given up or left untried: what the reports print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// `None` for a row that was never reached.
    pub code: Option<ErrorCode>,
    /// In words.
    pub error: String,
    /// What the server's support asks for, may be empty.
    pub trace_id: String,
}
