//! How S3 says no: the error document, and the refusals that `s3s` and `s3s-fs` leave out.

use std::fmt::Write as _;

use hyper::Response;
use hyper::header::{AUTHORIZATION, ETAG, IF_MATCH};
use hyper::http::request::Parts;
use jiff::Timestamp;

use crate::images::mix;
use crate::presign::parse_time;
use crate::server::{Body, full};

/// 412 where `If-Match` names another version than the one that would be answered. Judged behind the
/// signature, as S3 does, and ahead of the range.
pub fn precondition(
    asked: &Parts,
    answer: &Response<Body>,
    etag_of_object: Option<&str>,
) -> Option<Response<Body>> {
    let wanted = asked.headers.get(IF_MATCH)?.to_str().ok()?;
    if !matches!(answer.status().as_u16(), 200 | 206 | 416) {
        return None;
    }
    let own = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
    let etag = own.or(etag_of_object)?;
    let same = wanted.split(',').any(|one| one.trim() == "*" || one.trim() == etag);
    (!same).then(|| {
        let message = "At least one of the pre-conditions you specified did not hold";
        s3_error(412, "PreconditionFailed", message, "<Condition>If-Match</Condition>")
    })
}

/// What S3 refuses before it looks at the signature.
pub fn refused(head: &Parts) -> Option<Response<Body>> {
    let query = head.uri.query().unwrap_or_default();
    if let Some(value) = head.headers.get(AUTHORIZATION)
        && query.contains("X-Amz-Algorithm=")
    {
        let value = escaped(&String::from_utf8_lossy(value.as_bytes()));
        let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
                       query string parameter or the Authorization header should be specified";
        let echo =
            format!("<ArgumentName>Authorization</ArgumentName><ArgumentValue>{value}</ArgumentValue>");
        return Some(s3_error(400, "InvalidArgument", message, &echo));
    }
    let unsigned = head.headers.keys().find(|name| name.as_str().starts_with("x-amz-"))?;
    let message = "There were headers present in the request which were not signed";
    let echo = format!("<HeadersNotSigned>{unsigned}</HeadersNotSigned>");
    Some(s3_error(403, "AccessDenied", message, &echo))
}

/// An S3 error document; `extra` is XML behind the message.
pub fn s3_error(status: u16, code: &str, message: &str, extra: &str) -> Response<Body> {
    let [(_, id), (_, host)] = request_ids();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message>{extra}\
         <RequestId>{id}</RequestId><HostId>{host}</HostId></Error>",
        escaped(code),
        escaped(message)
    );
    Response::builder()
        .status(status)
        .header("content-type", "application/xml")
        .header("x-amz-request-id", id)
        .header("x-amz-id-2", host)
        .body(full(body))
        .expect("plain headers")
}

/// The time fields of "Request has expired", from the query that was refused.
pub fn request_time(query: &str) -> String {
    let field = |name: &str| {
        let (_, rest) = query.split_once(name)?;
        rest.split('&').next()
    };
    let mut xml = String::new();
    let lifetime = field("X-Amz-Expires=").and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    let at = field("X-Amz-Date=").and_then(parse_time);
    if let Some(at) = at {
        let expires = at + jiff::SignedDuration::from_secs(lifetime);
        let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ");
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let _ = write!(xml, "<X-Amz-Expires>{lifetime}</X-Amz-Expires><Expires>{expires}</Expires>");
        let _ = write!(xml, "<ServerTime>{now}</ServerTime>");
    }
    xml
}

pub fn request_ids() -> [(&'static str, String); 2] {
    let id = mix(Timestamp::now().as_microsecond().cast_unsigned());
    [("x-amz-request-id", format!("{id:016X}")), ("x-amz-id-2", format!("{:016x}sandbox", mix(id)))]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
