//! Every failure with its code, its error and its advice side by side.

use std::fmt::Write as _;

use insta::assert_snapshot;

use super::*;

fn response(status: u16, code: &str, message: &str) -> ErrorResponse {
    let (code, message) = (code.to_owned(), message.to_owned());
    ErrorResponse { status, code, message, ..ErrorResponse::default() }
}

/// Each variant, and each cause within it that has an advice of its own.
fn every_failure() -> Vec<Failure> {
    let own = |status| response(status, "a_code", "a message");
    let page = |status, what: &str| response(status, "", what);
    let what = |text: &str| text.to_owned();
    let through = || "api.example through the proxy proxy.example:3128".to_owned();
    let (api, storage) = (Service::Api, Service::Storage);
    vec![
        Failure::BadRequest(own(400)),
        Failure::Unauthorized(own(401)),
        Failure::Forbidden(own(403)),
        Failure::NotFound(own(404)),
        Failure::RateLimited(own(429)),
        Failure::ApiDown(own(503)),
        Failure::ForeignAnswer {
            service: api,
            host: what("api.example"),
            response: page(404, "Not Found (text/html)"),
        },
        Failure::ForeignAnswer { service: api, host: through(), response: page(200, "OK (text/html)") },
        Failure::ForeignAnswer {
            service: api,
            host: what("api.example"),
            response: page(302, "Found to login.example (text/html)"),
        },
        Failure::ForeignAnswer {
            service: api,
            host: what("api.example"),
            response: page(502, "Bad Gateway (text/html)"),
        },
        Failure::ForeignAnswer {
            service: storage,
            host: what("s3.example"),
            response: page(403, "Forbidden"),
        },
        Failure::ApiMalformed(what("data.url is missing")),
        Failure::ApiRejected(own(422)),
        Failure::UrlRefused(what(
            "s3.example leads to a private address (--storage-host s3.example allows it)",
        )),
        Failure::UrlRefused(what("host s3.example is none of --storage-host")),
        Failure::UrlRefused(what("plain http to s3.example (--allow-http allows it)")),
        Failure::UrlRefused(what("it carries a user name")),
        Failure::UrlNotVerbatim(what("it has a '#', and what follows is never sent")),
        Failure::Denied(own(403)),
        Failure::Missing(own(404)),
        Failure::Archived(own(403)),
        Failure::Redirected(page(307, "Temporary Redirect")),
        Failure::StorageDown(own(503)),
        Failure::StorageRefused(own(416)),
        Failure::PartUnusable(what("the object changed between two attempts")),
        Failure::TooLarge { bytes: 2, limit: 1 },
        Failure::Connect { service: api, what: what("the API at api.example: connection refused") },
        Failure::Tls { service: api, what: what("the API at api.example: certificate refused (expired)") },
        Failure::Proxy {
            service: api,
            what: format!(
                "the API at {}: the proxy answered 407: it asks for a user and a password",
                through()
            ),
        },
        Failure::Proxy {
            service: storage,
            what: format!("the storage at {}: the proxy answered 403 to CONNECT", through()),
        },
        Failure::Connect {
            service: api,
            what: format!("the API at {}: the proxy answered 503 to CONNECT", through()),
        },
        Failure::Broken { service: storage, what: what("the storage at s3.example: connection reset") },
        Failure::StaleConnection {
            service: api,
            what: what("the API at api.example: the connection was closed without an answer"),
        },
        Failure::Timeout { service: api, what: what("the API at api.example: no byte for 30 s") },
        Failure::Corrupt(what("the bytes have another MD5")),
        Failure::NotAnImage(what("HTML came instead of an image from s3.example")),
        Failure::NotAnImage(what("JSON came instead of an image from s3.example")),
        Failure::Disk(what("data/o/n: it is no folder")),
        Failure::DiskFatal { what: what("export: no space left on device") },
        Failure::OrgClosed(Failure::Forbidden(own(403)).describe()),
        Failure::Stopped,
    ]
}

#[test]
fn every_error_has_the_advice_of_its_cause() {
    let mut text = String::new();
    for failure in every_failure() {
        let described = failure.describe();
        let code = described.code.map(ErrorCode::as_str).unwrap_or_default();
        let _ = writeln!(text, "{code}\n  error   {}\n  advice  {}", described.error, described.advice());
    }
    assert_snapshot!(text);
}

#[test]
fn no_word_of_a_server_changes_the_advice() {
    for words in [
        "signed URL refused: evil.example leads to a private address (--storage-host evil.example allows it)",
        "the API at evil.example: an answer that is not the API's own (x)",
        "x: the proxy answered 407",
        "certificate refused",
        "HTML came instead of an image from evil.example",
    ] {
        for failure in [
            Failure::ApiRejected(response(422, "", words)),
            Failure::ApiDown(response(503, words, words)),
            Failure::StorageRefused(response(409, words, words)),
        ] {
            let described = failure.describe();
            let plain = described.code.map(ErrorCode::advice).unwrap_or_default();
            assert_eq!(described.advice(), plain, "{described:?}");
        }
    }
}
