//! What can be made to go wrong, one request at a time. The [script](super::script) says when.

use std::time::Duration;

/// Header names and values.
pub type Headers = Vec<(String, String)>;

/// What may go wrong at the API.
#[derive(Clone, Debug)]
pub enum ApiFault {
    /// This instead: 500, 429 with `Retry-After`, HTML under 200, a redirect, wrong JSON …
    Answer { status: u16, headers: Headers, body: Vec<u8> },
    /// The connection closes without an answer.
    Close,
    /// The true answer up to `after` bytes of its body, then RST.
    Reset { after: usize },
    /// The true answer, late.
    Delay(Duration),
    /// 200 and a JSON that never closes its string: `bytes` bytes, one each `every` (zero: at once).
    Endless { every: Duration, bytes: usize },
    /// The true answer with these headers besides, in place of any of the same name.
    Headers(Headers),
    /// The true answer, but its `data.url` is this text. `{url}` in it stands for the signed URL,
    /// `{host}` for the storage's host and port, `{target}` for path and query.
    Url(String),
    /// The true answer, its URL signed for this long.
    Lifetime(Duration),
    /// The true answer, its URL signed two hours ago for one.
    Expired,
    /// The URL of this other image.
    ObjectOf(String),
}

/// What may go wrong at the storage.
#[derive(Clone, Debug)]
pub enum StorageFault {
    /// This instead: HTML under 200, a redirect, an empty 200 …
    Answer {
        status: u16,
        headers: Headers,
        body: Vec<u8>,
    },
    /// An S3 error with this code as its XML says it.
    Error {
        status: u16,
        code: String,
        message: String,
    },
    Close,
    Delay(Duration),
    /// Right `Content-Length`, then only so many bytes and an orderly close.
    Short {
        after: usize,
    },
    /// The same with RST.
    Cut {
        after: usize,
    },
    /// Chunked, no length, broken off without the last chunk.
    ChunkedCut {
        after: usize,
    },
    /// Chunked, no length, shorter than the object, and ended as if that were all.
    ChunkedShort {
        after: usize,
    },
    /// Chunked, no length, whole.
    Chunked,
    /// This bit of the body (modulo its length) is the other way round.
    FlipBit(usize),
    /// Nothing for so long behind so many bytes, then the rest.
    Stall {
        after: usize,
        pause: Duration,
    },
    /// So many bytes one by one, then the rest.
    Drip {
        every: Duration,
        bytes: usize,
    },
    /// The object is replaced by these bytes before the request is looked at.
    Swap(Vec<u8>),
    /// As if there were no `Range`: 200 and the whole object.
    IgnoreRange,
    /// As if there were no `If-Match`.
    IgnoreIfMatch,
    /// This `Content-Length`, then the object and an orderly close.
    Announce(u64),
    /// Chunked, no length: the object, then zeros up to so many bytes in all.
    Padded(u64),
    /// 206 with this `Content-Range`.
    ContentRange(String),
    /// 416 with `Content-Range: bytes */N`.
    Unsatisfiable,
    /// The true answer with these headers besides, in place of any of the same name.
    Headers(Headers),
    NoEtag,
    /// This `ETag`, as it stands (quotes are yours to write).
    Etag(String),
    /// `Content-Encoding: gzip` over bytes that are none.
    Gzip,
    /// Several at once, applied in this order.
    All(Vec<StorageFault>),
}

impl ApiFault {
    /// A documented error: `{code,message,trace_id}`.
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: json_type(), body: super::replies::error_body(status, None) }
    }

    /// A 429 that says how long to wait, in whatever words.
    pub fn retry_after(value: &str) -> Self {
        let mut headers = json_type();
        headers.push(("retry-after".into(), value.into()));
        Self::Answer { status: 429, headers, body: super::replies::error_body(429, None) }
    }

    /// A page instead of JSON, as a proxy or a login would send.
    pub fn html(status: u16) -> Self {
        Self::Answer { status, headers: html_type(), body: HTML.into() }
    }

    /// 200 with this JSON text.
    pub fn json(body: &str) -> Self {
        Self::Answer { status: 200, headers: json_type(), body: body.into() }
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        Self::Answer { status, headers: vec![("location".into(), location.into())], body: Vec::new() }
    }
}

impl StorageFault {
    /// An S3 error by its code, with the status that belongs to it.
    pub fn error(code: &str) -> Self {
        let status = match code {
            "NoSuchKey" | "NoSuchBucket" => 404,
            "ExpiredToken" | "InvalidToken" | "RequestTimeout" | "AuthorizationQueryParametersError" => 400,
            "InternalError" => 500,
            "SlowDown" | "ServiceUnavailable" => 503,
            "PreconditionFailed" => 412,
            _ => 403,
        };
        Self::Error { status, code: code.into(), message: format!("scripted {code}") }
    }

    /// A page instead of an image.
    pub fn html(status: u16) -> Self {
        Self::Answer { status, headers: html_type(), body: HTML.into() }
    }

    /// 200 and nothing.
    pub fn empty() -> Self {
        Self::Answer {
            status: 200,
            headers: vec![("content-type".into(), "image/jpeg".into())],
            body: vec![],
        }
    }

    /// 307 as S3 sends it for a young bucket.
    pub fn redirect(location: &str) -> Self {
        Self::Answer { status: 307, headers: vec![("location".into(), location.into())], body: Vec::new() }
    }

    /// One header besides.
    pub fn header(name: &str, value: &str) -> Self {
        Self::Headers(vec![(name.into(), value.into())])
    }
}

const HTML: &str = "<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>";

fn json_type() -> Headers {
    vec![("content-type".into(), "application/json".into())]
}

fn html_type() -> Headers {
    vec![("content-type".into(), "text/html; charset=utf-8".into())]
}
