//! GET of a signed URL: the object as the storage serves it, byte for byte.
//!
//! The request carries nothing but what a presigned GET may carry unsigned: Range, If-Match, Accept-Encoding and
//! User-Agent (Amazon S3 User Guide, using presigned URLs).

use futures::StreamExt;
use percent_encoding::percent_decode_str;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_MATCH, RANGE};
use reqwest::{Response, StatusCode, Url};

use super::{Http, capped, text, transport_error};
use crate::checksum::{Algorithm, Checksum};
use crate::error::{ErrorResponse, Failure, Service, clean};
use crate::item::unhex;
use crate::remote::{ObjectBody, ObjectMeta, PresignedUrl, ResumeFrom};

/// An error's XML has a few hundred bytes.
const CAP: usize = 16 * 1024;
const CHECKSUM_TYPE: &str = "x-amz-checksum-type";
/// S3's have 34 to 40 characters. A longer one than this is not kept: the ledger has one for every image.
const ETAG_MAX: usize = 1024;
/// Parameters of a signed URL whose value opens something, or says whose it is, by a part of their names (SigV2,
/// SigV4, CloudFront, GCS, Azure).
const OPENING: [&str; 8] =
    ["sig", "token", "credential", "accesskey", "accessid", "key-pair", "policy", "secret"];

pub(super) async fn open(
    http: &Http,
    signed: &PresignedUrl,
    resume: Option<&ResumeFrom>,
) -> Result<ObjectBody, Failure> {
    let url = Url::parse(signed.expose())
        .map_err(|error| Failure::ApiMalformed(format!("data.url is not a URL ({error})")))?;
    http.addresses.check_url(&url).map_err(Failure::UrlRefused)?;
    unchanged(signed, &url)?;
    let host = http.place(&url);
    let mut request = http.storage.get(url).header(ACCEPT_ENCODING, "identity");
    if let Some(resume) = resume {
        request = request.header(RANGE, format!("bytes={}-", resume.from)).header(IF_MATCH, &resume.etag);
    }
    let silent = || Failure::Timeout {
        service: Service::Storage,
        what: format!("{} at {host}: no byte for {} s", Service::Storage, http.stall.as_secs_f64()),
    };
    let secrets = Secrets::of(signed);
    let mut response = match tokio::time::timeout(http.stall, request.send()).await {
        Err(_) => return Err(silent()),
        Ok(Ok(response)) => response,
        Ok(Err(error)) if transport_error::is_stale(&error) => {
            let what = format!("{} at {host}: the connection was closed without an answer", Service::Storage);
            return Err(Failure::StaleConnection { service: Service::Storage, what });
        }
        Ok(Err(error)) => return Err(transport_error::failure(error, Service::Storage, &host)),
    };
    match (response.status().as_u16(), resume) {
        (200, _) => Ok(opened(response, None, host, &secrets)),
        (206, Some(resume)) => continued(response.headers(), resume, &secrets)
            .map(|()| opened(response, Some(resume), host, &secrets)),
        (status, _) => {
            let read = tokio::time::timeout(http.stall, capped(&mut response, CAP)).await;
            let body = read.map_err(|_| silent())?.map(|(body, _)| body).unwrap_or_default();
            let said = said(response.status(), response.headers(), &body, &secrets);
            Err(refusal(status, said, resume.is_some()))
        }
    }
}

/// The library must send exactly these bytes: a signature covers them all.
fn unchanged(signed: &PresignedUrl, url: &Url) -> Result<(), Failure> {
    if url.fragment().is_some() {
        return Err(Failure::UrlNotVerbatim("it holds a '#', what follows is never sent".to_owned()));
    }
    if url.as_str() != signed.expose() {
        return Err(Failure::UrlNotVerbatim("the HTTP library would write it in another way".to_owned()));
    }
    Ok(())
}

/// `resume` is what this answer goes on with, where it does.
fn opened(response: Response, resume: Option<&ResumeFrom>, host: String, secrets: &Secrets) -> ObjectBody {
    let from = resume.map_or(0, |resume| resume.from);
    let mut meta = meta(response.headers());
    // a storage may announce the checksum of what it sends; `FULL_OBJECT` says that it does not
    let whole = text(response.headers(), CHECKSUM_TYPE).eq_ignore_ascii_case("full_object");
    meta.of_range = from > 0 && !whole;
    // also a header of the answer may repeat what was asked
    for text in [&mut meta.content_type, &mut meta.content_encoding, &mut meta.etag] {
        *text = secrets.hide(text);
    }
    // what the framing of the body says, which hyper holds the body to; of a rest without a length it is known
    meta.length = resume.map(|resume| resume.length).or_else(|| response.content_length());
    let body = response
        .bytes_stream()
        .map(move |chunk| chunk.map_err(|error| transport_error::failure(error, Service::Storage, &host)))
        .boxed();
    ObjectBody { meta, from, body }
}

fn meta(headers: &HeaderMap) -> ObjectMeta {
    let mut etag = text(headers, ETAG.as_str());
    if etag.len() > ETAG_MAX {
        etag.clear();
    }
    let encrypted = text(headers, "x-amz-server-side-encryption");
    let customer_key = headers.contains_key("x-amz-server-side-encryption-customer-algorithm");
    let plain = matches!(&*encrypted, "" | "AES256") && !customer_key;
    ObjectMeta {
        length: None,
        md5: plain.then(|| md5_of(&etag)).flatten(),
        content_type: text(headers, "content-type"),
        content_encoding: encoding(headers),
        checksums: checksums(headers),
        of_range: false,
        etag,
    }
}

/// `aws-chunked` is how it was uploaded, `identity` is none: neither changes the bytes.
fn encoding(headers: &HeaderMap) -> String {
    let value = text(headers, "content-encoding");
    let is_none =
        |one: &&str| ["", "identity", "aws-chunked"].iter().any(|name| one.eq_ignore_ascii_case(name));
    let real: Vec<&str> = value.split(',').map(str::trim).filter(|one| !is_none(one)).collect();
    clean(&real.join(","))
}

/// An ETag is the MD5 of the bytes where it is a strong one of 32 hex digits (Amazon S3 User Guide, checking
/// object integrity); whether encryption makes it something else is asked elsewhere.
fn md5_of(etag: &str) -> Option<[u8; 16]> {
    unhex(etag.strip_prefix('"')?.strip_suffix('"')?)
}

/// Checksums of the object. Those that are made of the checksums of its parts (`…-N`, or of that type) cannot be
/// computed from the bytes, and are left out.
fn checksums(headers: &HeaderMap) -> Vec<Checksum> {
    if text(headers, CHECKSUM_TYPE).eq_ignore_ascii_case("composite") {
        return Vec::new();
    }
    let announced = |algorithm: Algorithm| {
        let value = text(headers, &format!("x-amz-checksum-{}", algorithm.name()));
        Checksum::read(algorithm, value.trim())
    };
    Algorithm::ALL.into_iter().filter_map(announced).collect()
}

/// A 206 must go on exactly where the part ends, in the same version of the object.
pub(super) fn continued(headers: &HeaderMap, resume: &ResumeFrom, secrets: &Secrets) -> Result<(), Failure> {
    let range = text(headers, CONTENT_RANGE.as_str());
    let last = resume.length.saturating_sub(1);
    if range != format!("bytes {}-{last}/{}", resume.from, resume.length) {
        return Err(Failure::PartUnusable(format!(
            "the storage continued with another range ({})",
            clean(&secrets.hide(&range))
        )));
    }
    let rest = text(headers, CONTENT_LENGTH.as_str());
    if !rest.is_empty() && rest != resume.length.saturating_sub(resume.from).to_string() {
        return Err(Failure::PartUnusable(format!(
            "the storage continued with another length ({})",
            clean(&secrets.hide(&rest))
        )));
    }
    if text(headers, ETAG.as_str()) != resume.etag {
        return Err(Failure::PartUnusable("the object changed between two tries".to_owned()));
    }
    Ok(())
}

/// A status other than 200 or an expected 206 → failure, by the error's own code before the status. 412, 416 and
/// an odd 2xx speak of the bytes at hand only where there are any.
pub(super) fn refusal(status: u16, said: ErrorResponse, resuming: bool) -> Failure {
    match (status, &*said.code) {
        (
            _,
            "RequestTimeout"
            | "SlowDown"
            | "InternalError"
            | "ServiceUnavailable"
            | "Throttling"
            | "ThrottlingException",
        ) => Failure::StorageDown(said),
        (_, "InvalidObjectState") => Failure::Archived(said),
        (_, "NoSuchKey" | "NoSuchBucket") | (404, _) => Failure::Missing(said),
        (201..=299 | 412 | 416, _) if resuming => {
            Failure::PartUnusable(format!("the storage answered {said} to a continued download"))
        }
        (400 | 401 | 403, _) => Failure::Denied(said),
        (300..=399, _) => Failure::Redirected(said),
        (408 | 425 | 429 | 500.., _) => Failure::StorageDown(said),
        _ => Failure::StorageRefused(said),
    }
}

/// What the storage's error document says, in the few elements that are harmless.
pub(super) fn said(status: StatusCode, headers: &HeaderMap, body: &[u8], secrets: &Secrets) -> ErrorResponse {
    let header_id = text(headers, "x-amz-request-id");
    let body = String::from_utf8_lossy(body);
    let safe = |text: &str| clean(&secrets.hide(text));
    let mut said = ErrorResponse {
        status: status.as_u16(),
        code: safe(element(&body, "Code")),
        message: safe(element(&body, "Message")),
        trace_id: safe(if header_id.is_empty() { element(&body, "RequestId") } else { &header_id }),
    };
    if said.code.is_empty() {
        status.canonical_reason().unwrap_or("unknown status").clone_into(&mut said.message);
    }
    said
}

/// What a signed URL holds that a server may repeat: its query, and the values in it that open something.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(signed: &PresignedUrl) -> Self {
        let query = signed.expose().split_once('?').map_or("", |(_, query)| query);
        let mut found = vec![signed.expose().to_owned(), query.to_owned()];
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let name = name.to_ascii_lowercase();
            if OPENING.iter().any(|word| name.contains(word)) {
                let decoded = percent_decode_str(value).decode_utf8_lossy().into_owned();
                // of a credential, the key's name alone
                found.extend(decoded.split_once('/').map(|(name, _)| name.to_owned()));
                found.extend([value.to_owned(), decoded]);
            }
        }
        // a short value is a word that servers use for other things
        found.retain(|secret| secret.len() >= 8);
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(found)
    }

    /// The text without them.
    pub(super) fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[hidden]"))
    }
}

/// The text of an element of S3's flat error document. Its other elements may echo secrets and are not read.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let inside = || {
        let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
        let end = start + xml[start..].find("</")?;
        Some(&xml[start..end])
    };
    inside().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    reqwest::header::HeaderName::from_static(name),
                    reqwest::header::HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    const MD5: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";

    #[test]
    fn an_etag_is_an_md5_only_by_s3s_rules() {
        assert!(meta(&headers(&[("etag", MD5)])).md5.is_some());
        assert!(meta(&headers(&[("etag", MD5), ("x-amz-server-side-encryption", "AES256")])).md5.is_some());
        for other in [
            vec![("etag", MD5), ("x-amz-server-side-encryption", "aws:kms")],
            vec![("etag", MD5), ("x-amz-server-side-encryption-customer-algorithm", "AES256")],
            vec![("etag", "\"d41d8cd98f00b204e9800998ecf8427e-2\"")],
            vec![("etag", "W/\"d41d8cd98f00b204e9800998ecf8427e\"")],
            vec![("etag", "d41d8cd98f00b204e9800998ecf8427e")],
            vec![("etag", "\"+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1\"")],
            vec![],
        ] {
            let md5 = meta(&headers(&other)).md5;
            assert_eq!(md5, None, "{other:?}");
        }
    }

    #[test]
    fn an_etag_without_measure_is_none() {
        let etag = |length: usize| {
            let text = format!("\"{}\"", "e".repeat(length - 2));
            let headers = HeaderMap::from_iter([(ETAG, text.parse().expect("a value"))]);
            meta(&headers).etag.len()
        };
        assert_eq!((etag(ETAG_MAX), etag(ETAG_MAX + 1)), (ETAG_MAX, 0));
    }

    #[test]
    fn each_announced_checksum_is_read_and_those_of_parts_are_left_out() {
        let all = checksums(&headers(&[
            ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ("x-amz-checksum-crc32c", "4waSgw=="),
            ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
            ("x-amz-checksum-xxhash3", "rosUhgp5mIg="),
        ]));
        let names: Vec<_> = all.iter().map(|one| one.algorithm.name()).collect();
        assert_eq!(names, ["sha1", "crc32", "crc32c", "crc64nvme"]);
        let found = checksums(&headers(&[
            ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
            ("x-amz-checksum-crc32", "AAAAAA==-2"),
            ("x-amz-checksum-type", "FULL_OBJECT"),
        ]));
        assert_eq!(found.iter().map(|one| one.algorithm).collect::<Vec<_>>(), [Algorithm::Sha256]);
        assert!(
            checksums(&headers(&[
                ("x-amz-checksum-crc32", "AAAAAA=="),
                ("x-amz-checksum-type", "COMPOSITE")
            ]))
            .is_empty()
        );
    }

    #[test]
    fn the_errors_own_code_decides_before_the_status() {
        let said = |code: &str| ErrorResponse { code: code.to_owned(), ..ErrorResponse::default() };
        let refusal = |status, said| super::refusal(status, said, false);
        assert!(matches!(refusal(400, said("RequestTimeout")), Failure::StorageDown(_)));
        assert!(matches!(refusal(403, said("InvalidObjectState")), Failure::Archived(_)));
        assert!(matches!(refusal(403, said("AccessDenied")), Failure::Denied(_)));
        assert!(matches!(refusal(400, said("ExpiredToken")), Failure::Denied(_)));
        assert!(matches!(refusal(404, said("")), Failure::Missing(_)));
        assert!(matches!(refusal(301, said("PermanentRedirect")), Failure::Redirected(_)));
    }

    #[test]
    fn only_harmless_elements_of_an_error_are_read() {
        let xml =
            "<Error><Code>ExpiredToken</Code><Message>expired</Message><Token-0>secret</Token-0></Error>";
        assert_eq!((element(xml, "Code"), element(xml, "Message")), ("ExpiredToken", "expired"));
        assert_eq!(element("<Code>never closed", "Code"), "");
    }

    #[test]
    fn what_opens_the_url_is_hidden_where_the_storage_repeats_it() {
        let url = "https://s3/b/k?X-Amz-Credential=AKIACANARY%2F20260101%2Fus&X-Amz-Signature=0123456789abcdef\
                   &response-content-type=image%2Fjpeg";
        let secrets = Secrets::of(&PresignedUrl::new(url.to_owned(), tokio::time::Instant::now()));
        for (text, hidden) in [
            ("sig 0123456789abcdef!", "sig [hidden]!"),
            ("by AKIACANARY/20260101/us", "by [hidden]"),
            ("by AKIACANARY%2F20260101%2Fus", "by [hidden]"),
            ("the access key AKIACANARY is unknown", "the access key [hidden] is unknown"),
            (url, "[hidden]"),
            ("image/jpeg", "image/jpeg"),
        ] {
            assert_eq!(secrets.hide(text), hidden);
        }
        let body = b"<Error><Code>0123456789abcdef</Code><Message>AKIACANARY/20260101/us</Message></Error>";
        let said = said(StatusCode::FORBIDDEN, &HeaderMap::new(), body, &secrets);
        assert_eq!((&*said.code, &*said.message), ("[hidden]", "[hidden]"));
    }

    #[test]
    fn a_url_that_the_library_would_write_in_another_way_is_never_sent() {
        let unchanged = |url: &str| {
            let signed = PresignedUrl::new(url.to_owned(), tokio::time::Instant::now());
            unchanged(&signed, &Url::parse(url).expect("a URL"))
        };
        for fine in [
            "https://s3.amazonaws.com/b/k%20%2B%C3%BC.jpg?X-Amz-Signature=a%2Fb",
            "http://127.0.0.1:9000/b/k?a=1",
        ] {
            assert!(unchanged(fine).is_ok(), "{fine}");
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
            assert!(matches!(unchanged(changed), Err(Failure::UrlNotVerbatim(_))), "{changed}");
        }
    }
}
