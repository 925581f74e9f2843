//! Very many images by rule, for benchmarks: row `i` has ids that tell `i`, and its object is made when
//! asked for, in memory, with the right length and MD5. Signatures are checked here too. All objects
//! have one size and differ in their last kilobyte, so an answer costs a kilobyte of work at any size.

use std::io::Write;

use bytes::Bytes;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, RANGE};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use jiff::Timestamp;
use md5::{Digest as _, Md5};

use crate::images::{JPEG_TAIL, jpeg_head, jpeg_tail, mix};
use crate::presign::{Refusal, Signer, hex};
use crate::refusals::{request_ids, request_time, s3_error};
use crate::registry::ImageRef;
use crate::server::{Body, Step, full, stepped};

/// How many images share a note.
const PER_NOTE: u64 = 5;

/// `rows` images of `size` bytes.
#[derive(Clone, Debug)]
pub struct Bulk {
    pub rows: u64,
    pub size: usize,
    head: Bytes,
    hashed_head: Md5,
}

impl Bulk {
    pub fn new(rows: u64, size: usize) -> Self {
        let head = Bytes::from(jpeg_head(size));
        let hashed_head = Md5::new_with_prefix(&head);
        Self { rows, size: size.max(head.len() + JPEG_TAIL), head, hashed_head }
    }

    pub fn row(index: u64) -> ImageRef {
        let note = index / PER_NOTE;
        ImageRef::new(uuid(1, note % 3), uuid(2, note), uuid(3, index))
    }

    /// The manifest of all rows.
    pub fn write_manifest(&self, mut to: impl Write) -> std::io::Result<()> {
        writeln!(to, "org,note,image")?;
        for index in 0..self.rows {
            let ImageRef { org, note, image } = Self::row(index);
            writeln!(to, "{org},{note},{image}")?;
        }
        to.flush()
    }

    pub fn key_of(&self, image: &ImageRef) -> Option<String> {
        self.index_of(&image.image).filter(|&index| Self::row(index) == *image)?;
        Some(format!("{}/{}/{}.jpg", image.org, image.note, image.image))
    }

    pub fn image_of(&self, key: &str) -> Option<ImageRef> {
        let index = self.index_of(key.rsplit('/').next()?.strip_suffix(".jpg")?)?;
        let image = Self::row(index);
        (self.key_of(&image)? == key).then_some(image)
    }

    fn index_of(&self, image: &str) -> Option<u64> {
        let (_, index) = image.rsplit_once('-')?;
        u64::from_str_radix(index, 16).ok().filter(|&index| index < self.rows)
    }

    /// The object of `image`: its two parts and its `ETag`.
    fn object(&self, image: &str) -> (Bytes, Bytes, String) {
        let seed = self.index_of(image).unwrap_or_default();
        let tail = jpeg_tail(seed, self.size - self.head.len());
        let md5 = self.hashed_head.clone().chain_update(&tail).finalize();
        (self.head.clone(), tail.into(), format!("\"{}\"", hex(&md5)))
    }

    /// What S3 would answer to this GET.
    pub fn answer(&self, signer: &Signer, request: &Parts, image: &str) -> Response<Body> {
        if let Some(refused) = refused(signer, request) {
            return refused;
        }
        let (head, tail, etag) = self.object(image);
        let asked = request.headers.get(RANGE).and_then(|value| value.to_str().ok());
        let Some(range) = asked.and_then(|text| s3s::dto::Range::parse(text).ok()) else {
            return answer(StatusCode::OK, &etag, self.size, stepped([Step::Send(head), Step::Send(tail)]));
        };
        let Ok(range) = range.check(self.size as u64) else {
            return s3_error(416, "InvalidRange", "The requested range is not satisfiable", "");
        };
        let [from, to] = [range.start, range.end].map(|at| usize::try_from(at).expect("below size"));
        let part = Bytes::from([head, tail].concat()).slice(from..to);
        let mut answer = answer(StatusCode::PARTIAL_CONTENT, &etag, part.len(), full(part));
        let span = format!("bytes {from}-{}/{}", to - 1, self.size);
        answer.headers_mut().insert(CONTENT_RANGE, span.parse().expect("digits"));
        answer
    }
}

fn answer(status: StatusCode, etag: &str, length: usize, body: Body) -> Response<Body> {
    let [(id, id_value), (host, host_value)] = request_ids();
    Response::builder()
        .status(status)
        .header(id, id_value)
        .header(host, host_value)
        .header(ETAG, etag)
        .header(CONTENT_TYPE, "image/jpeg")
        .header(CONTENT_LENGTH, length)
        .header(ACCEPT_RANGES, "bytes")
        .body(body)
        .expect("plain headers")
}

fn refused(signer: &Signer, request: &Parts) -> Option<Response<Body>> {
    let host = request.headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = request.uri.query().unwrap_or_default();
    let checked = match request.method {
        Method::GET => signer.check(host, request.uri.path(), query, Timestamp::now()),
        _ => Err(Refusal::WrongSignature),
    };
    Some(match checked.err()? {
        Refusal::Malformed => s3_error(
            400,
            "AuthorizationQueryParametersError",
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
             X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            "",
        ),
        Refusal::Expired => s3_error(403, "AccessDenied", "Request has expired", &request_time(query)),
        Refusal::WrongSignature => s3_error(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
            "",
        ),
    })
}

/// A UUID that ends in `number` and looks like nothing in particular before it.
fn uuid(kind: u64, number: u64) -> String {
    let noise = mix(kind << 56 | number);
    let [a, b, c] = [noise >> 32, noise >> 16 & 0xffff, noise & 0xfff];
    format!("{a:08x}-{b:04x}-4{c:03x}-8{kind:03x}-{number:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::jpeg;

    #[test]
    fn rows_and_keys_lead_to_each_other_and_nowhere_else() {
        let bulk = Bulk::new(100, 4096);
        for index in [0, 1, 99] {
            let row = Bulk::row(index);
            let key = bulk.key_of(&row).expect("a known row");
            assert_eq!(bulk.image_of(&key), Some(row));
        }
        assert_eq!(bulk.key_of(&Bulk::row(100)), None, "one behind the last");
        let stranger = ImageRef { note: "other".into(), ..Bulk::row(5) };
        assert_eq!(bulk.key_of(&stranger), None, "right image, wrong note");
    }

    #[test]
    fn its_objects_are_the_jpegs_of_their_number() {
        let bulk = Bulk::new(10, 4096);
        let (head, tail, etag) = bulk.object(&Bulk::row(7).image);
        let whole = [head, tail].concat();
        assert_eq!(whole, jpeg(7, 4096));
        assert_eq!(etag, format!("\"{}\"", hex(&Md5::digest(&whole))));
    }
}
