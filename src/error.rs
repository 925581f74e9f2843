//! What can go wrong, in three sizes.
//!
//! - [`Failure`]: one attempt at one image went wrong. What follows from it is decided in [`crate::retry`].
//! - [`ItemError`]: one row is given up (or left untried). It is data: recorded, counted and reported.
//! - [`RunError`]: the whole run cannot go on, or never began.
//!
//! The rules for all texts here: lower case, no full stop, files named by path, hosts by name; never a URL, a
//! key or an `Authorization` value. A text that came from a server passes through [`clean`] first. `Display`
//! says its own part only; the cause is in `source()`, and the program joins the chain with `": "`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::manifest::{BadRow, ManifestError};

/// Why a row is not delivered, as it stands in `error_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The manifest's row itself is wrong.
    BadRow,
    /// The API answered 400.
    BadRequest,
    /// The API answered 401: the key is refused.
    Unauthorized,
    /// The API answered 403: the organization or a scope is refused.
    Forbidden,
    /// The API answered 404.
    NotFound,
    /// The API answered 429 for longer than may be waited.
    RateLimited,
    /// The API answered 5xx or nonsense.
    ApiError,
    /// The storage answered 403, with a renewed URL too.
    StorageDenied,
    /// The storage has no such key or bucket.
    StorageMissing,
    /// The object lies in an archive class and must be restored first.
    StorageArchived,
    /// Any other refusal of the storage.
    StorageError,
    /// No connection, or one that broke.
    Network,
    /// No answer, or no byte, in time.
    Timeout,
    /// The bytes do not match a checksum.
    Integrity,
    /// HTML, XML, JSON or nothing came.
    NotAnImage,
    /// The disk refused.
    Disk,
}

impl ErrorCode {
    /// Every code, in the order of the contract.
    pub const ALL: [Self; 16] = [
        Self::BadRow,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::RateLimited,
        Self::ApiError,
        Self::StorageDenied,
        Self::StorageMissing,
        Self::StorageArchived,
        Self::StorageError,
        Self::Network,
        Self::Timeout,
        Self::Integrity,
        Self::NotAnImage,
        Self::Disk,
    ];

    /// The code as reports and scripts know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRow => "bad_row",
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::ApiError => "api_error",
            Self::StorageDenied => "storage_denied",
            Self::StorageMissing => "storage_missing",
            Self::StorageArchived => "storage_archived",
            Self::StorageError => "storage_error",
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Integrity => "integrity",
            Self::NotAnImage => "not_an_image",
            Self::Disk => "disk",
        }
    }

    /// The code that `text` names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// What the reader of `failed.csv` can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::BadRow => "correct this row of the manifest and run again",
            Self::BadRequest => "check the ids of this row; the API does not accept them",
            Self::Unauthorized => "check the API key (MAXAI_API_KEY or --api-key-file) and run again",
            Self::Forbidden => "ask the clinic to grant the missing scope to the key, then run again",
            Self::NotFound => {
                "check the ids, and whether the image was deleted or belongs to another organization"
            }
            Self::RateLimited => "run again later, or lower --rate if other jobs share the allowance",
            Self::ApiError => "run again; if it persists give the trace id to the API's support",
            Self::StorageDenied => {
                "run again; if it persists the storage refuses the API's signature: tell the API's support"
            }
            Self::StorageMissing => {
                "the API knows the image but its storage does not: tell the API's support"
            }
            Self::StorageArchived => {
                "ask the API's support to restore the image from the archive, then run again"
            }
            Self::StorageError => "run again; if it persists tell the API's support",
            Self::Network => "check the connection (DNS, proxy, firewall, certificate) and run again",
            Self::Timeout => {
                "check the connection and run again, with a longer --stall-timeout if it is slow"
            }
            Self::Integrity => {
                "run again; if it persists the stored object is damaged: tell the API's support"
            }
            Self::NotAnImage => "what is stored there is no image: tell the API's support",
            Self::Disk => "check the disk (space, permissions, health) and run again",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
pub struct Said {
    /// HTTP status, 0 where there was none.
    pub status: u16,
    /// The server's own code (`not_found`, `AccessDenied`), may be empty.
    pub code: String,
    /// The server's own words, may be empty.
    pub message: String,
    /// The API's `trace_id` or the storage's request id, may be empty.
    pub trace_id: String,
}

impl fmt::Display for Said {
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
    BadRequest(Said),
    /// API, 401: the key is refused.
    Unauthorized(Said),
    /// API, 403: organization or scope refused.
    Forbidden(Said),
    /// API, 404.
    NotFound(Said),
    /// API, 429. The wait is the limiter's business.
    RateLimited(Said),
    /// API, 5xx, 408 or 425: no whole answer.
    ApiDown(Said),
    /// API, an answer that does not fit the contract (HTML, broken JSON, no URL in it): may be passing.
    ApiNonsense(String),
    /// API, an answer that will not change: a redirect, another 4xx.
    ApiRefused(Said),
    /// The API's signed URL is one that must not be dialled.
    UrlRefused(String),
    /// The signed URL cannot be sent byte for byte.
    UrlChanged(String),
    /// Storage, 400 or 403: expired, signature or policy.
    Denied(Said),
    /// Storage, 404.
    Missing(Said),
    /// Storage, 403 `InvalidObjectState`.
    Archived(Said),
    /// Storage, 3xx.
    Redirected(Said),
    /// Storage, 5xx, 408, 429 or `RequestTimeout`: no whole answer.
    StorageDown(Said),
    /// Storage, any other status.
    StorageRefused(Said),
    /// Storage, 412 or 416, or a 206 that does not continue what is at hand: the part is worthless.
    PartWorthless(String),
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
    /// The connection broke before the whole answer was there.
    Broken {
        /// Whose answer broke off.
        service: Service,
        /// What broke, without URL.
        what: String,
    },
    /// The connection was closed without a byte of an answer, as an idle one may be at any time.
    Stale {
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
    DiskLost {
        /// Where and why.
        what: String,
    },
    /// The organization was refused for other rows, with these words; this row was not tried.
    OrgClosed(ItemError),
    /// The run stops; this attempt was given back.
    Stopped,
}

impl Failure {
    /// The code and the words under which a row is given up after this failure.
    #[must_use]
    pub fn describe(&self) -> ItemError {
        let (code, error, trace_id) = match self {
            Self::BadRequest(said) => (ErrorCode::BadRequest, api(said), &*said.trace_id),
            Self::Unauthorized(said) => (ErrorCode::Unauthorized, api(said), &*said.trace_id),
            Self::Forbidden(said) => (ErrorCode::Forbidden, api(said), &*said.trace_id),
            Self::NotFound(said) => (ErrorCode::NotFound, api(said), &*said.trace_id),
            Self::RateLimited(said) => (ErrorCode::RateLimited, api(said), &*said.trace_id),
            Self::ApiDown(said) | Self::ApiRefused(said) => (ErrorCode::ApiError, api(said), &*said.trace_id),
            Self::ApiNonsense(what) => {
                (ErrorCode::ApiError, format!("the API's answer does not fit its contract: {what}"), "")
            }
            Self::UrlRefused(what) => (ErrorCode::ApiError, format!("signed URL refused: {what}"), ""),
            Self::UrlChanged(what) => {
                (ErrorCode::StorageError, format!("signed URL cannot be sent unchanged: {what}"), "")
            }
            Self::Denied(said) => (ErrorCode::StorageDenied, storage(said), &*said.trace_id),
            Self::Missing(said) => (ErrorCode::StorageMissing, storage(said), &*said.trace_id),
            Self::Archived(said) => (ErrorCode::StorageArchived, storage(said), &*said.trace_id),
            Self::Redirected(said) | Self::StorageDown(said) | Self::StorageRefused(said) => {
                (ErrorCode::StorageError, storage(said), &*said.trace_id)
            }
            Self::PartWorthless(what) => (ErrorCode::StorageError, what.clone(), ""),
            Self::TooLarge { bytes, limit } => (
                ErrorCode::StorageError,
                format!("the image has {bytes} bytes or more, --max-size allows {limit}"),
                "",
            ),
            Self::Connect { what, .. }
            | Self::Tls { what, .. }
            | Self::Broken { what, .. }
            | Self::Stale { what, .. } => (ErrorCode::Network, what.clone(), ""),
            Self::Timeout { what, .. } => (ErrorCode::Timeout, what.clone(), ""),
            Self::Corrupt(what) => (ErrorCode::Integrity, what.clone(), ""),
            Self::NotAnImage(what) => (ErrorCode::NotAnImage, what.clone(), ""),
            Self::Disk(what) | Self::DiskLost { what } => (ErrorCode::Disk, what.clone(), ""),
            Self::OrgClosed(refusal) => return refusal.clone(),
            Self::Stopped => (ErrorCode::Network, "the run stopped first".to_owned(), ""),
        };
        ItemError { code: Some(code), error, trace_id: trace_id.to_owned() }
    }
}

fn api(said: &Said) -> String {
    format!("the API answered {said}")
}

fn storage(said: &Said) -> String {
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

/// Why the run could not go on, or did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A setting is out of range or contradicts another. Nothing was attempted.
    #[error("{0}")]
    Settings(String),
    /// The manifest cannot be used. Nothing was attempted.
    #[error("manifest {}", path.display())]
    Manifest {
        /// The manifest, `-` for standard input.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ManifestError>,
    },
    /// Rows of the manifest are bad. Nothing was attempted.
    #[error(
        "manifest {} has {bad} bad {}; nothing was fetched. Correct them, or use --on-bad-row skip to fetch the others",
        path.display(), if *bad == 1 { "row" } else { "rows" }
    )]
    BadRows {
        /// The manifest, `-` for standard input.
        path: PathBuf,
        /// How many there are.
        bad: u64,
        /// The first of them.
        first: Vec<BadRow>,
    },
    /// Another run works in the folder.
    #[error("{} is in use by another run{}; wait for it to end", folder.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The export folder.
        folder: PathBuf,
        /// The other process, where its number can be read.
        pid: Option<u32>,
    },
    /// The folder is no export.
    #[error("{} is not an export folder (no ledger in it)", .0.display())]
    NoExport(PathBuf),
    /// The ledger is damaged, newer or missing beside data.
    #[error("ledger {}: {what}; nothing was touched. `exporter verify --adopt` rebuilds a ledger from the files that match manifest-sha256.txt", path.display())]
    Ledger {
        /// The ledger file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The ledger could not be read or written.
    #[error("ledger")]
    Sqlite(#[from] rusqlite::Error),
    /// A file or folder could not be read or written.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Path and reason.
        source: io::Error,
    },
    /// The API refuses the key.
    #[error("the API refuses the key: {0}. Check MAXAI_API_KEY or --api-key-file and run again")]
    Unauthorized(Said),
    /// The disk is full, read-only or gone.
    #[error("{0}. What is delivered is safe; make room or mend the disk, and run again to go on")]
    Disk(String),
    /// An outage lasted longer than may be waited.
    #[error("{service} could not be reached for {waited:.0?}: {what}. Run again to go on")]
    Outage {
        /// Who could not be reached.
        service: Service,
        /// Since the first failure.
        waited: Duration,
        /// Code of the last failure.
        code: ErrorCode,
        /// The last failure.
        what: String,
    },
    /// The API asks for a longer wait than is allowed.
    #[error("the API's allowance is spent: {0}. Run again later")]
    RateLimited(String),
    /// A certificate is not trusted.
    #[error("{0}. Check the address, the clock and the certificates (--ca-file)")]
    Tls(String),
    /// The storage refuses one image after the other.
    #[error(
        "the storage refused {rows} images in a row and delivered none: {said}. Check the machine's clock, and ask the API's support about the bucket's policy"
    )]
    StorageDenied {
        /// How many in succession.
        rows: u32,
        /// The last refusal.
        said: String,
    },
    /// A part of the program failed. Never expected.
    #[error("internal error: {0}; this is a defect of the program, please report it")]
    Internal(String),
}

impl RunError {
    /// Whether the run was refused before anything was attempted (exit code 2).
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Settings(_) | Self::Manifest { .. } | Self::BadRows { .. } | Self::NoExport(_))
    }

    /// The code that rows left untried by this stop carry; `None` where it says nothing of them.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Unauthorized(_) => Some(ErrorCode::Unauthorized),
            Self::Disk(_) => Some(ErrorCode::Disk),
            Self::Outage { code, .. } => Some(*code),
            Self::RateLimited(_) => Some(ErrorCode::RateLimited),
            Self::Tls(_) => Some(ErrorCode::Network),
            Self::StorageDenied { .. } => Some(ErrorCode::StorageDenied),
            _ => None,
        }
    }

    /// Wraps an I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Longest text that is kept of what a server says, in characters.
pub const CLEAN_LIMIT: usize = 300;

/// Makes a text from a server safe to show: control characters and direction marks are escaped, the rest is
/// cut to [`CLEAN_LIMIT`] characters, and anything that looks like a URL's query or a bearer value is taken out.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut safe = String::with_capacity(text.len().min(CLEAN_LIMIT));
    for (count, char) in redact(text).chars().enumerate() {
        if count == CLEAN_LIMIT {
            break;
        }
        let direction =
            matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || direction || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}') {
            safe.extend(char.escape_unicode());
        } else {
            safe.push(char);
        }
    }
    safe.chars().take(CLEAN_LIMIT).collect()
}

/// S3 echoes credentials in some of its messages, proxies echo whole URLs.
fn redact(text: &str) -> String {
    text.split_inclusive(char::is_whitespace)
        .scan(false, |hide_next, word| {
            let lower = word.to_ascii_lowercase();
            let hide = *hide_next || lower.contains("x-amz-") && lower.contains('=') || lower.contains("://");
            *hide_next = lower.trim_end().ends_with("bearer") || lower.trim_end().ends_with("authorization:");
            Some(if hide { "[hidden] " } else { word })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        }
    }

    #[test]
    fn control_characters_and_direction_marks_are_escaped() {
        assert_eq!(clean("a\u{1b}[31m\nb\u{202e}c"), "a\\u{1b}[31m\\u{a}b\\u{202e}c");
    }

    #[test]
    fn a_long_text_is_cut_to_the_limit_counted_after_escaping() {
        assert_eq!(clean(&"é".repeat(1000)).chars().count(), CLEAN_LIMIT);
        assert_eq!(clean(&"\n".repeat(1000)).chars().count(), CLEAN_LIMIT);
    }

    #[test]
    fn urls_and_bearer_values_are_hidden() {
        let said = clean("see https://s3/x?X-Amz-Signature=abc and Bearer max_prd_ak_1 end");
        assert!(!said.contains("abc") && !said.contains("max_prd"), "{said}");
        assert!(said.ends_with("end"), "{said}");
    }
}
