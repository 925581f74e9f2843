//! The only seam to the network: ask the API for a presigned URL, then get the object behind it.
//!
//! A trait, so that everything above it can be tested on a paused clock; [`http`] is the real implementation. Nothing
//! here knows about retries, files or permits.

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

/// A presigned URL: a bearer secret. It has no `Display`, and its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUrl {
    url: String,
    /// When the API answered with it; its validity is counted from here.
    pub issued: Instant,
}

impl PresignedUrl {
    /// Keeps the text exactly as the API sent it.
    #[must_use]
    pub const fn new(url: String, issued: Instant) -> Self {
        Self { url, issued }
    }

    /// The secret itself: to be sent to the storage and used for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.url
    }

    /// A hash of the address without the query: the same for every URL of one object.
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

/// The outcome of one request for a presigned URL.
#[derive(Debug)]
pub struct SignedUrlReply {
    /// The rate-limit headers of the answer; empty if there was none.
    pub rate_headers: RateHeaders,
    /// Version of the key that was sent, for [`Remote::renew_key`].
    pub key_version: u64,
    /// The URL, or why there is none.
    pub url: Result<PresignedUrl, Failure>,
}

/// What the storage's headers say about the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The host that answered, with the proxy in front of it, for error texts.
    pub host: String,
    /// Size of the whole object in bytes, if announced.
    pub length: Option<u64>,
    /// As received, may be empty.
    pub etag: String,
    /// As received, may be empty.
    pub content_type: String,
    /// As received; empty if the body is the object's own bytes.
    pub content_encoding: String,
    /// The ETag, if it is the MD5 of the bytes by S3's rules.
    pub md5: Option<[u8; 16]>,
    /// `x-amz-checksum-*`, without composites of the parts of an upload.
    pub checksums: Vec<Checksum>,
    /// The checksums may be those of the requested range instead of the whole object.
    pub of_range: bool,
}

impl ObjectMeta {
    /// The digests, besides SHA-256, that the body is compared with.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let etag = self.md5.map(|_| Algorithm::Md5);
        self.checksums.iter().map(|checksum| checksum.algorithm).chain(etag).collect()
    }
}

/// The storage's answer; its body is still to be read.
pub struct ObjectBody {
    /// From the headers.
    pub meta: ObjectMeta,
    /// Position in the object of the first byte of the body: 0, or the length of the partial download.
    pub from: u64,
    /// Ends early with a failure if the connection does.
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

/// The partial download to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeFrom {
    /// Bytes that are already on the disk, from the start of the object.
    pub from: u64,
    /// ETag of the version that they belong to.
    pub etag: String,
    /// Size of the whole object.
    pub length: u64,
}

/// The network.
pub trait Remote: Send + Sync + 'static {
    /// Asks the API for the presigned URL of an image. One request.
    fn signed_url(&self, item: &Item) -> impl Future<Output = SignedUrlReply> + Send;

    /// Gets the object from the storage. One request, no redirect followed.
    fn get_object(
        &self,
        url: &PresignedUrl,
        resume: Option<&ResumeFrom>,
    ) -> impl Future<Output = Result<ObjectBody, Failure>> + Send;

    /// Reads the key again from its file after the API refused version `refused`. True if there is another key now.
    fn renew_key(&self, refused: u64) -> bool;
}
