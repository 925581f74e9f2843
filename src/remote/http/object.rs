//! GET of a presigned URL: the object byte for byte as the storage serves it.
//!
//! The request carries only what a presigned GET may carry unsigned: Range, If-Match, Accept-Encoding and User-Agent
//! (Amazon S3 User Guide, using presigned URLs).

mod error_document;
mod meta;

#[cfg(test)]
pub(super) use error_document::Sender;
pub(super) use error_document::{error_response, failure_of, sender};

use futures::StreamExt;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_MATCH, RANGE};
use reqwest::{Response, Url};

use super::redact::UrlSecrets;
use super::{Http, ReadError, header_text, transport_error};
use crate::error::{Failure, Service};
use crate::remote::{ObjectBody, PresignedUrl, ResumeFrom};

/// The XML of an error has a few hundred bytes.
const ERROR_BODY_MAX: usize = 16 * 1024;

/// One GET, from the start of the object or as the continuation of a partial download.
pub(super) async fn get(
    http: &Http,
    signed: &PresignedUrl,
    resume: Option<&ResumeFrom>,
) -> Result<ObjectBody, Failure> {
    let url = Url::parse(signed.expose())
        .map_err(|error| Failure::ApiMalformed(format!("data.url is not a URL ({error})")))?;
    http.policy.check_url(&url).map_err(Failure::UrlRefused)?;
    check_verbatim(signed, &url)?;
    let host = http.describe_host(&url);
    let response = send(http, &url, resume).await?;
    let secrets = UrlSecrets::of(signed);
    match (response.status().as_u16(), resume) {
        (200, _) => Ok(object_body(response, None, host, &secrets)),
        (206, Some(resume)) => {
            check_continues(response.headers(), resume, &secrets)?;
            Ok(object_body(response, Some(resume), host, &secrets))
        }
        _ => Err(read_error(http, response, &host, &secrets, resume.is_some()).await),
    }
}

async fn send(http: &Http, url: &Url, resume: Option<&ResumeFrom>) -> Result<Response, Failure> {
    let mut request = http.storage.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    if let Some(resume) = resume {
        request = request.header(RANGE, format!("bytes={}-", resume.from)).header(IF_MATCH, &resume.etag);
    }
    http.send(request, Service::Storage, url).await
}

/// Reads the body of an error answer. A body that breaks off still leaves the status to judge by.
async fn read_error(
    http: &Http,
    mut response: Response,
    host: &str,
    secrets: &UrlSecrets,
    resuming: bool,
) -> Failure {
    let read = http.read_capped(&mut response, ERROR_BODY_MAX);
    let body = match tokio::time::timeout(http.stall_timeout, read).await {
        Err(_) | Ok(Err(ReadError::Stalled)) => return http.stalled(Service::Storage, host),
        Ok(Err(ReadError::Broken(_))) => Vec::new(),
        Ok(Ok(body)) => body.bytes,
    };
    let (status, headers) = (response.status(), response.headers());
    failure_of(error_response(status, headers, &body, secrets), sender(headers, &body), host, resuming)
}

/// The signature covers every byte of the URL, so reqwest must send exactly the text that the API gave.
fn check_verbatim(signed: &PresignedUrl, url: &Url) -> Result<(), Failure> {
    if url.fragment().is_some() {
        return Err(Failure::UrlNotVerbatim("it has a '#', and what follows is never sent".to_owned()));
    }
    if url.as_str() != signed.expose() {
        return Err(Failure::UrlNotVerbatim("the HTTP library would write it differently".to_owned()));
    }
    Ok(())
}

/// `resume` is the partial download that this answer continues, if it does.
fn object_body(
    response: Response,
    resume: Option<&ResumeFrom>,
    host: String,
    secrets: &UrlSecrets,
) -> ObjectBody {
    let from = resume.map_or(0, |resume| resume.from);
    let mut meta = meta::read(response.headers());
    meta.host.clone_from(&host);
    // a storage may announce the checksum of the range; `FULL_OBJECT` says that it does not
    meta.of_range = from > 0 && !meta::is_full_object(response.headers());
    // a header of the answer may repeat the request, too
    for text in [&mut meta.content_type, &mut meta.content_encoding, &mut meta.etag] {
        *text = secrets.redact(text);
    }
    // the length of the body's framing, which hyper enforces; for a continued download the whole length is known
    meta.length = resume.map(|resume| resume.length).or_else(|| response.content_length());
    let body = response
        .bytes_stream()
        .map(move |chunk| chunk.map_err(|error| transport_error::failure(error, Service::Storage, &host)))
        .boxed();
    ObjectBody { meta, from, body }
}

/// A 206 must continue exactly at the end of the partial download, in the same version of the object.
pub(super) fn check_continues(
    headers: &HeaderMap,
    resume: &ResumeFrom,
    secrets: &UrlSecrets,
) -> Result<(), Failure> {
    let unusable = |what: &str, text: &str| {
        let text = secrets.clean(text);
        Err(Failure::PartUnusable(format!("the storage continued with another {what} ({text})")))
    };
    let range = header_text(headers, CONTENT_RANGE.as_str());
    let last = resume.length.saturating_sub(1);
    if range != format!("bytes {}-{last}/{}", resume.from, resume.length) {
        return unusable("range", &range);
    }
    let rest = header_text(headers, CONTENT_LENGTH.as_str());
    if !rest.is_empty() && rest != resume.length.saturating_sub(resume.from).to_string() {
        return unusable("length", &rest);
    }
    if header_text(headers, ETAG.as_str()) != resume.etag {
        return Err(Failure::PartUnusable("the object changed between two attempts".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_the_library_would_write_differently_is_never_sent() {
        let check = |url: &str| {
            let signed = PresignedUrl::new(url.to_owned(), tokio::time::Instant::now());
            check_verbatim(&signed, &Url::parse(url).expect("a URL"))
        };
        for fine in [
            "https://s3.amazonaws.com/b/k%20%2B%C3%BC.jpg?X-Amz-Signature=a%2Fb",
            "http://127.0.0.1:9000/b/k?a=1",
        ] {
            assert!(check(fine).is_ok(), "{fine}");
        }
        for changed in [
            "https://s3.amazonaws.com/b/a b?x=1",
            "https://s3.amazonaws.com/b/ü?x=1",
            "https://s3.amazonaws.com/b/../k?x=1",
            "https://s3.amazonaws.com:443/b?x=1",
            "https://S3.amazonaws.com/b?x=1",
            "https://s3.amazonaws.com/b?x=1#y",
            "https://s3.amazonaws.com?x=1",
        ] {
            assert!(matches!(check(changed), Err(Failure::UrlNotVerbatim(_))), "{changed}");
        }
    }
}
