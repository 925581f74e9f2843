//! The codes of the reports: why a row has no image, and what the user can do about it.

use std::fmt;

/// Why a row is not delivered: the column `error_code`.
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
    /// The API answered 429 and asked for a longer wait than the run allows.
    RateLimited,
    /// The API answered 5xx, or an answer that breaks its contract.
    ApiError,
    /// The storage answered 403, and again to a new URL.
    StorageDenied,
    /// The storage has no such key or bucket.
    StorageMissing,
    /// The object is in an archive storage class and must be restored first.
    StorageArchived,
    /// Any other error answer of the storage.
    StorageError,
    /// No connection could be made, or it broke.
    Network,
    /// No answer, or no byte, in time.
    Timeout,
    /// The bytes do not match a checksum.
    Integrity,
    /// The body is HTML, XML, JSON or empty.
    NotAnImage,
    /// The file could not be written.
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

    /// The code as it stands in reports.
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
                "run again; if it persists the storage refuses what the API signs (its clock, its rights, the bucket's \
                 policy): tell the API's support"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        }
    }
}
