//! The S3 server: `s3s` checks signature and expiry and `s3s-fs` serves a temporary folder. Added here is
//! what the two leave out and a client meets at the real thing: `If-Match`, the second authorization,
//! unsigned `x-amz-` headers, the time fields of "Request has expired", request ids.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, IF_MATCH, RANGE};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use percent_encoding::percent_decode_str;
use s3s::S3 as _;
use s3s::auth::SimpleAuth;
use s3s::dto::{PutObjectInput, StreamingBlob};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;

use crate::faults::StorageFault;
use crate::log::Server;
use crate::presign::Signer;
use crate::refusals::{precondition, refused, request_ids, request_time, s3_error};
use crate::server::{Answer, AnyError, Line, full, held};
use crate::shape::shaped;
use crate::state::{State, pause};

/// The one bucket.
pub const BUCKET: &str = "patients-files";

/// What an upload left behind.
#[derive(Clone, Debug)]
struct Object {
    size: usize,
    content_type: String,
    etag: String,
}

/// A bucket in a temporary folder.
pub struct Storage {
    folder: TempDir,
    service: S3Service,
    /// A second handle on the same folder: the service owns its own.
    files: FileSystem,
    objects: Mutex<HashMap<String, Object>>,
}

impl Storage {
    pub fn new(signer: &Signer) -> Result<Self, AnyError> {
        let folder = tempfile::Builder::new().prefix("sandbox-s3-").tempdir()?;
        std::fs::create_dir(folder.path().join(BUCKET))?;
        let open = || FileSystem::new(folder.path()).map_err(|error| format!("{error:?}"));
        let mut builder = S3ServiceBuilder::new(open()?);
        builder.set_auth(SimpleAuth::from_single(signer.access_key.clone(), signer.secret_key.clone()));
        let (service, files) = (builder.build(), open()?);
        Ok(Self { folder, service, files, objects: Mutex::default() })
    }

    /// Uploads an object as a single PUT does: its `ETag` is its MD5.
    pub async fn put(&self, key: &str, bytes: Bytes, content_type: &str) -> Result<(), AnyError> {
        let size = bytes.len();
        let input = PutObjectInput::builder()
            .bucket(BUCKET.to_owned())
            .key(key.to_owned())
            .content_length(Some(i64::try_from(size)?))
            .content_type(Some(content_type.to_owned()))
            .body(Some(StreamingBlob::from(s3s::Body::from(bytes))))
            .build()?;
        let request = s3s::S3Request {
            input,
            method: hyper::Method::PUT,
            uri: hyper::Uri::default(),
            headers: hyper::HeaderMap::new(),
            extensions: hyper::http::Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        let stored = self.files.put_object(request).await?;
        let etag = stored.output.e_tag.map(|etag| format!("\"{}\"", etag.value())).unwrap_or_default();
        let object = Object { size, content_type: content_type.to_owned(), etag };
        self.objects.lock().expect("no holder panics").insert(key.to_owned(), object);
        Ok(())
    }

    /// Takes an object away: its URLs answer `NoSuchKey`.
    pub fn remove(&self, key: &str) -> std::io::Result<()> {
        self.objects.lock().expect("no holder panics").remove(key);
        std::fs::remove_file(self.path_of(key))
    }

    /// Where the bytes of `key` lie.
    pub fn path_of(&self, key: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(key)
    }

    fn object(&self, key: &str) -> Option<Object> {
        self.objects.lock().expect("no holder panics").get(key).cloned()
    }
}

/// Answers one request to the storage.
pub async fn answer(state: Arc<State>, request: Request<Incoming>, line: Line) -> Answer {
    let (mut head, body) = request.into_parts();
    let mut ticket = state.log.arrived(Server::Storage, &head);
    let key = key_of(&head);
    let image = state.registry.image_of(&key);
    if let Some(image) = &image {
        ticket.about(&image.org, &image.note, &image.image);
    }
    pause(state.storage_latency).await;
    let id = image.as_ref().map_or("", |image| image.image.as_str());
    let faults = state.script.take_storage(id).map(flat).unwrap_or_default();
    if let Some(refused) = refused(&head) {
        return Ok(held(refused, ticket));
    }
    for fault in &faults {
        match fault {
            StorageFault::Answer { status, headers, body } => {
                return Ok(held(super::replies::scripted(*status, headers, body)?, ticket));
            }
            StorageFault::Error { status, code, message } => {
                return Ok(held(s3_error(*status, code, message, ""), ticket));
            }
            StorageFault::Close => return Err("scripted close".into()),
            StorageFault::Delay(time) => tokio::time::sleep(*time).await,
            StorageFault::Swap(bytes) => {
                let old = state.storage.object(&key).map(|object| object.content_type);
                let content_type = old.as_deref().unwrap_or("application/octet-stream");
                state.storage.put(&key, bytes.clone().into(), content_type).await?;
            }
            StorageFault::IgnoreRange => drop(head.headers.remove(RANGE)),
            StorageFault::IgnoreIfMatch => drop(head.headers.remove(IF_MATCH)),
            _ => {}
        }
    }
    let asked = head.clone();
    let mut answer = match (state.registry.bulk.get(), &image) {
        // What was added one by one lies in the folder, all else of a known image is bulk.
        (Some(bulk), Some(image)) if state.storage.object(&key).is_none() => {
            bulk.answer(&state.signer, &head, &image.image)
        }
        _ => from_s3s(&state, Request::from_parts(head, body)).await?,
    };
    let object = state.storage.object(&key);
    if let Some(changed) = precondition(&asked, &answer, object.as_ref().map(|object| object.etag.as_str())) {
        answer = changed;
    } else if let (416, Some(object)) = (answer.status().as_u16(), &object) {
        let span = format!("bytes */{}", object.size);
        answer.headers_mut().insert(CONTENT_RANGE, span.parse()?);
    }
    let size = object.map(|object| object.size);
    Ok(held(shaped(&faults, answer, size, &line).await?, ticket))
}

/// Passes the request on, and writes into "Request has expired" the times that S3 names.
async fn from_s3s(state: &State, request: Request<Incoming>) -> Answer {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let answer = state.storage.service.call(request.map(s3s::Body::from)).await.map_err(AnyError::from)?;
    let (head, body) = answer.into_parts();
    let mut answer = if head.status.is_success() {
        Response::from_parts(head, body.map_err(std::io::Error::other).boxed_unsync())
    } else {
        let bytes = body.collect().await?.to_bytes();
        if find(&bytes, b"Request has expired") {
            s3_error(403, "AccessDenied", "Request has expired", &request_time(&query))
        } else {
            Response::from_parts(head, full(bytes))
        }
    };
    for (name, value) in request_ids() {
        answer.headers_mut().entry(name).or_insert(value.parse()?);
    }
    Ok(answer)
}

fn key_of(head: &Parts) -> String {
    let path = head.uri.path().strip_prefix('/').unwrap_or_default();
    let key = path.strip_prefix(BUCKET).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    percent_decode_str(key).decode_utf8_lossy().into_owned()
}

fn flat(fault: StorageFault) -> Vec<StorageFault> {
    match fault {
        StorageFault::All(several) => several.into_iter().flat_map(flat).collect(),
        one => vec![one],
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
