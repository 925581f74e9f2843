//! The one seam to the network: ask for a signed URL, open what it leads to.
//!
//! A trait, so that the rest is tested on a paused clock; [`crate::remote::http`] is the real one. Nothing here knows of
//! retries, files or rows beyond the ids.

pub mod http;
pub mod rate_headers;

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::time::Instant;

use self::rate_headers::RateHeaders;
use crate::checksum::{Algorithm, Checksum};
use crate::error::Failure;
use crate::item::{Item, Sha256};

/// A signed URL: a bearer secret. It has no `Display`, and its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUrl {
    url: String,
    /// When it was handed out; it is asked for just before it is used.
    pub issued: Instant,
}

impl PresignedUrl {
    /// Takes the text as the API gave it.
    #[must_use]
    pub const fn new(url: String, issued: Instant) -> Self {
        Self { url, issued }
    }

    /// The secret itself, to be sent and to nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.url
    }

    /// Names the object without the signature: the same for every URL of one object.
    #[must_use]
    pub fn object(&self) -> Sha256 {
        use sha2::Digest;
        let address = self.url.split_once('?').map_or(&*self.url, |(address, _)| address);
        Sha256(sha2::Sha256::digest(address).into())
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresignedUrl(..)")
    }
}

/// What the API answered, or why there is no answer.
#[derive(Debug)]
pub struct Resolved {
    /// What the headers say about the allowance.
    pub hints: RateHeaders,
    /// Version of the key that was sent.
    pub key: u64,
    /// The URL.
    pub url: Result<PresignedUrl, Failure>,
}

/// What the storage's headers say about the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Size of the whole object, where announced.
    pub length: Option<u64>,
    /// As received, may be empty.
    pub etag: String,
    /// As received, may be empty.
    pub content_type: String,
    /// As received; empty where the bytes are the object's own.
    pub content_encoding: String,
    /// The ETag is the MD5 of the bytes by S3's rules.
    pub md5: Option<[u8; 16]>,
    /// `x-amz-checksum-*`, composites of parts left out.
    pub checksums: Vec<Checksum>,
    /// The checksums may be those of the range that was asked for.
    pub of_range: bool,
}

impl ObjectMeta {
    /// The hashes that the bytes will be held against, besides SHA-256.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let etag = self.md5.map(|_| Algorithm::Md5);
        self.checksums.iter().map(|checksum| checksum.algorithm).chain(etag).collect()
    }
}

/// The storage's answer, whose body is still to be read.
pub struct ObjectBody {
    /// The headers.
    pub meta: ObjectMeta,
    /// Position in the object of the first byte that comes: 0, or where the part ends.
    pub from: u64,
    /// The body. Ends early with a failure where the connection does.
    pub body: BoxStream<'static, Result<Bytes, Failure>>,
}

impl fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBody")
            .field("meta", &self.meta)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Bytes that are at hand already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeFrom {
    /// So many, from the start of the object.
    pub from: u64,
    /// Of the version that they belong to.
    pub etag: String,
    /// Size of the whole object.
    pub length: u64,
}

/// The network.
pub trait Remote: Send + Sync + 'static {
    /// Asks the API for the signed URL of an image. One request.
    fn resolve(&self, item: &Item) -> impl Future<Output = Resolved> + Send;

    /// Asks the storage for the object. One request, no redirect followed.
    fn open(
        &self,
        url: &PresignedUrl,
        resume: Option<&ResumeFrom>,
    ) -> impl Future<Output = Result<ObjectBody, Failure>> + Send;

    /// A request with this version of the key was refused: reads the key again where it came from. True if there
    /// is another one now.
    fn renew_key(&self, refused: u64) -> bool;
}
