//! Every status of the storage and every code of S3: its failure, the verdict, and the code of a row that meets nothing else. The
//! snapshots are tables, so that a change of one line shows as one line.

use std::fmt::Write as _;

use insta::assert_snapshot;

use super::object;
use crate::error::{ErrorResponse, Failure};
use crate::fetch::retry::verdict;

/// The codes of S3's error documents that a GET can meet, with the status they come under (Amazon S3 API
/// Reference, error responses), and the words of other storages that speak S3.
const CODES: [(&str, u16); 28] = [
    ("AccessDenied", 403),
    ("AccountProblem", 403),
    ("AllAccessDisabled", 403),
    ("AuthorizationQueryParametersError", 400),
    ("BadDigest", 400),
    ("ExpiredRequest", 403),
    ("ExpiredToken", 400),
    ("InternalError", 500),
    ("InvalidAccessKeyId", 403),
    ("InvalidArgument", 400),
    ("InvalidObjectState", 403),
    ("InvalidRange", 416),
    ("InvalidToken", 400),
    ("MethodNotAllowed", 405),
    ("NoSuchBucket", 404),
    ("NoSuchKey", 404),
    ("NoSuchVersion", 404),
    ("PermanentRedirect", 301),
    ("PreconditionFailed", 412),
    ("RequestTimeTooSkewed", 403),
    ("RequestTimeout", 400),
    ("ServiceUnavailable", 503),
    ("SignatureDoesNotMatch", 403),
    ("SlowDown", 503),
    ("TemporaryRedirect", 307),
    ("Throttling", 400),
    ("ThrottlingException", 400),
    ("TooManyRequests", 429),
];

fn response(status: u16, code: &str) -> ErrorResponse {
    ErrorResponse { status, code: code.to_owned(), ..ErrorResponse::default() }
}

/// `Failure | Verdict | error_code | whole answer or silence`.
fn line(failure: &Failure) -> String {
    let kind = format!("{failure:?}");
    let kind = kind.split(['(', ' ', '{']).next().unwrap_or_default();
    let answered = match (failure.answering_service(), failure.silent_service()) {
        (Some(_), None) => "an answer",
        (None, Some(_)) => "no answer",
        (None, None) => "neither",
        (Some(_), Some(_)) => "both, which cannot be",
    };
    let code = failure.describe().code.expect("every refusal has a code");
    format!("{kind:<15} {:<14} {:<16} {answered}", format!("{:?}", verdict(failure)), code.as_str())
}

/// One line for each range of statuses that are treated alike.
fn table(failure: impl Fn(u16) -> Failure) -> String {
    let mut groups: Vec<(u16, u16, String)> = Vec::new();
    for status in 100..=599 {
        let line = line(&failure(status));
        match groups.last_mut() {
            Some((_, last, same)) if *same == line => *last = status,
            _ => groups.push((status, status, line)),
        }
    }
    let mut text = String::new();
    for (first, last, line) in groups {
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        let _ = writeln!(text, "{range:<8} {line}");
    }
    text
}

#[test]
fn every_status_of_the_storage_has_its_verdict() {
    assert_snapshot!(table(|status| object::failure_of(
        response(status, ""),
        object::Sender::Storage,
        "",
        false
    )));
}

#[test]
fn every_status_of_the_storage_has_its_verdict_while_a_download_is_continued() {
    assert_snapshot!(table(|status| object::failure_of(
        response(status, ""),
        object::Sender::Storage,
        "",
        true
    )));
}

#[test]
fn every_code_of_s3_has_its_verdict() {
    let mut text = String::new();
    for (code, status) in CODES {
        let _ = writeln!(
            text,
            "{code:<34} {status} {}",
            line(&object::failure_of(response(status, code), object::Sender::Storage, "", false))
        );
    }
    assert_snapshot!(text);
}
