//! Every status with every kind of body: whose answer it is, and what follows from it.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use insta::assert_snapshot;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use secrecy::SecretString;

use super::*;
use crate::error::ItemError;
use crate::fetch::retry::verdict;

/// Name, content type, body.
const BODIES: [(&str, &str, &str); 5] = [
    (
        "own JSON",
        "application/json",
        r#"{"code":"a_code","message":"words","data":{"url":"https://s3.example/b/k"},"trace_id":"t-1"}"#,
    ),
    ("other JSON", "application/json", r#"{"message":"Forbidden"}"#),
    ("HTML", "text/html", "<!DOCTYPE html><html><body>Please sign in</body></html>"),
    ("text", "text/plain", "no healthy upstream"),
    ("nothing", "", ""),
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).expect("packed");
    packer.finish().expect("packed")
}

fn whole(bytes: Vec<u8>) -> CappedBody {
    CappedBody { bytes, complete: true }
}

fn read_with(status: u16, content_type: &str, body: &CappedBody) -> Result<Value, Failure> {
    let key = SecretString::from("c4narykey");
    let mut headers = HeaderMap::new();
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).expect("a header"));
    }
    let secrets = RequestSecrets::new(&key, "note", "image");
    read(StatusCode::from_u16(status).expect("a status"), &headers, body, &secrets, "api.example")
}

/// `Failure | Verdict | error_code | whole answer or silence`.
fn line(read: &Result<Value, Failure>) -> String {
    let Err(failure) = read else { return "data".to_owned() };
    let kind = format!("{failure:?}");
    let kind = kind.split(['(', ' ', '{']).next().unwrap_or_default();
    let answered = if failure.answering_service().is_some() { "an answer" } else { "no answer" };
    assert_ne!(failure.answering_service().is_some(), failure.silent_service().is_some());
    let code = failure.describe().code.expect("every refusal has a code");
    format!("{kind:<13} {:<12} {:<13} {answered}", format!("{:?}", verdict(failure)), code.as_str())
}

#[test]
fn every_status_with_every_kind_of_body_has_its_verdict() {
    let mut text = String::new();
    for (name, content_type, body) in BODIES {
        for packed in [false, true] {
            let bytes = if packed { gzip(body.as_bytes()) } else { body.into() };
            let _ = writeln!(text, "{name}{}", if packed { ", gzip" } else { "" });
            let mut groups: Vec<(u16, u16, String)> = Vec::new();
            for status in 100..=599 {
                let line = line(&read_with(status, content_type, &whole(bytes.clone())));
                match groups.last_mut() {
                    Some((_, last, same)) if *same == line => *last = status,
                    _ => groups.push((status, status, line)),
                }
            }
            for (first, last, line) in groups {
                let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
                let _ = writeln!(text, "  {range:<8} {line}");
            }
        }
    }
    assert_snapshot!(text);
}

fn described(status: u16, content_type: &str, body: &CappedBody) -> ItemError {
    read_with(status, content_type, body).expect_err("no data").describe()
}

#[test]
fn what_is_not_the_apis_own_is_named_with_host_status_and_kind() {
    let long = || CappedBody { bytes: vec![b' '; BODY_MAX], complete: false };
    let bomb = gzip(&vec![b' '; 10 << 20]);
    assert!(bomb.len() < BODY_MAX);
    for (status, content_type, body, words) in [
        (404, "text/html", whole(b"<html>".into()), "404: Not Found (text/html)"),
        (200, "application/json", whole(b"{\"code\":\"success\",\"data\":{".into()), "200: OK (broken JSON)"),
        (200, "application/json", whole(b"[]".into()), "200: OK (other JSON)"),
        (200, "application/json", whole(b"{\"code\":\"success\"}".into()), "200: OK (other JSON)"),
        (403, "", whole(Vec::new()), "403: Forbidden (empty)"),
        (200, "text/html", long(), "200: OK (text/html, more than 64 KiB)"),
        (200, "application/json", whole(bomb), "200: OK (application/json, more than 64 KiB)"),
        (200, "", whole(b"\x1f\x8bno gzip".into()), "200: OK (broken gzip)"),
        (502, "text/c4narykey", whole(Vec::new()), "502: Bad Gateway (text/[key], empty)"),
        (200, "text/html", whole(b"<html>".into()), "200: OK (text/html)"),
    ] {
        let error = described(status, content_type, &body).error;
        let expected = format!("the API at api.example: an answer that is not the API's own ({words})");
        assert_eq!(error, expected);
    }
}

#[test]
fn a_code_alone_or_a_message_alone_is_not_the_apis_own() {
    for (json, own) in [
        (r#"{"code":"not_found","message":"gone"}"#, true),
        (r#"{"code":"not_found","data":{}}"#, true),
        (r#"{"code":"not_found","message":"gone","more":[1,2,3]}"#, true),
        (r#"{"code":"not_found","message":"gone","trace_id":7}"#, true),
        (r#"{"code":"not_found","message":null,"data":null}"#, false),
        (r#"{"code":"not_found"}"#, false),
        (r#"{"message":"gone"}"#, false),
        (r#"{"code":404,"message":"gone"}"#, false),
        (r#"{"code":"","message":"gone"}"#, false),
        (r#"{"error":{"code":"not_found","message":"gone"}}"#, false),
        (r#""not_found""#, false),
    ] {
        let failure = read_with(404, "application/json", &whole(json.into())).expect_err("no data");
        assert_eq!(matches!(failure, Failure::NotFound(_)), own, "{json}");
    }
}

#[test]
fn a_wait_is_read_from_whatever_answers() {
    let key = SecretString::from("key");
    let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
    for (status, body) in [(503, r#"{"code":"busy","message":"later"}"#), (503, "<html>"), (429, "<html>")] {
        let status = StatusCode::from_u16(status).expect("a status");
        let secrets = RequestSecrets::key_only(&key);
        let read = read(status, &headers, &whole(body.into()), &secrets, "api.example");
        assert_eq!(read.expect_err("no data").retry_after(), Some(std::time::Duration::from_secs(7)));
    }
}

#[test]
fn an_answer_may_be_packed_as_deflate_or_begin_with_a_byte_order_mark() {
    let text = br#"{"code":"not_found","message":"gone"}"#;
    let read_encoded = |encoding: &'static str, bytes: Vec<u8>| {
        let headers =
            HeaderMap::from_iter([(reqwest::header::CONTENT_ENCODING, HeaderValue::from_static(encoding))]);
        let key = SecretString::from("c4narykey");
        let secrets = RequestSecrets::new(&key, "note", "image");
        let status = StatusCode::NOT_FOUND;
        read(status, &headers, &whole(bytes), &secrets, "api.example").expect_err("no data")
    };
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(text).expect("packed");
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(text).expect("packed");
    let marked = [BYTE_ORDER_MARK, text].concat();
    for (encoding, bytes) in [
        ("deflate", zlib.finish().expect("packed")),
        ("deflate", deflate.finish().expect("packed")),
        ("identity", marked),
        ("gzip", text.to_vec()),
    ] {
        let failure = read_encoded(encoding, bytes);
        assert!(matches!(failure, Failure::NotFound(_)), "{encoding}: {failure:?}");
    }
    let foreign = read_encoded("br", b"\x0b\x02".to_vec()).describe().error;
    assert!(foreign.contains("in an encoding that was not asked for"), "{foreign}");
}

#[test]
fn an_error_under_200_keeps_its_code_and_message() {
    let body = whole(br#"{"code":"not_found","message":"gone"}"#.to_vec());
    let error = described(200, "application/json", &body).error;
    assert_eq!(
        error,
        "the API's answer does not fit its contract: an error under status 200 not_found: gone"
    );
}
