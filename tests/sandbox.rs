//! The sandbox held against what it claims to be, over real sockets. The exporter's own tests lean on
//! it, so what it gets wrong they would not notice.
#![expect(clippy::disallowed_methods, reason = "a test may take any error for an absence")]

use std::time::{Duration, Instant};

use md5::{Digest as _, Md5};
use reqwest::{Client, Response};
use sandbox::Sandbox;
use sandbox::config::{API_KEY, Config};
use sandbox::faults::{ApiFault, StorageFault};
use sandbox::images::{jpeg, png};
use sandbox::limiter::{Rate, SendHeaders};
use sandbox::log::Server;
use sandbox::manifest::ORGS;
use sandbox::presign::hex;
use sandbox::registry::ImageRef;
use serde_json::Value;

const ORG: &str = ORGS[0];
const HOUR: Duration = Duration::from_hours(1);

fn client() -> Client {
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.build().expect("a client")
}

async fn sandbox() -> Sandbox {
    with(Config::default()).await
}

/// A sandbox with one image, `i`.
async fn with(config: Config) -> Sandbox {
    let sandbox = Sandbox::start(config).await.expect("loopback");
    sandbox.add_image(ORG, "n", "i", jpeg(1, 5000), "image/jpeg");
    sandbox
}

fn image() -> ImageRef {
    ImageRef::new(ORG, "n", "i")
}

async fn ask(sandbox: &Sandbox, image: &str) -> reqwest::Result<Response> {
    let url = format!("{}/notes/n/images/{image}/url", sandbox.api_url());
    client().get(url).bearer_auth(API_KEY).header("X-Organization-Id", ORG).send().await
}

async fn url(sandbox: &Sandbox, image: &str) -> String {
    let answer = ask(sandbox, image).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let json: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("json");
    assert_eq!(json["code"], "success");
    json["data"]["url"].as_str().expect("a url").to_owned()
}

/// What a GET of `i` gives under this fault.
async fn get_under(sandbox: &Sandbox, fault: StorageFault) -> reqwest::Result<Response> {
    sandbox.script().storage("i", fault);
    client().get(sandbox.signed_url(&image(), HOUR).expect("known")).send().await
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test]
async fn a_signed_url_leads_to_the_bytes_with_their_md5_and_type() {
    let sandbox = sandbox().await;
    let url = url(&sandbox, "i").await;
    assert!(url.contains("X-Amz-Expires=3600") && url.contains("X-Amz-SignedHeaders=host"));
    let answer = client().get(&url).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type"), "image/jpeg");
    assert_eq!(header(&answer, "etag"), format!("\"{}\"", hex(&Md5::digest(jpeg(1, 5000)))));
    assert_eq!(answer.content_length(), Some(5000));
    assert_eq!(answer.bytes().await.expect("a body"), jpeg(1, 5000));
}

#[tokio::test]
async fn the_api_answers_with_the_documented_errors() {
    let sandbox = sandbox().await;
    sandbox.refuse_org("poor");
    let url = |image: &str| format!("{}/notes/n/images/{image}/url", sandbox.api_url());
    let with_org = |image: &str, org: &str| {
        client().get(url(image)).bearer_auth(API_KEY).header("X-Organization-Id", org)
    };
    let cases = [
        (client().get(url("i")).header("X-Organization-Id", ORG), 401, "unauthorized"),
        (client().get(url("i")).bearer_auth("wrong").header("X-Organization-Id", ORG), 401, "unauthorized"),
        (client().get(url("i")).bearer_auth(API_KEY), 400, "bad_request"),
        (with_org("i", "poor"), 403, "forbidden"),
        (with_org("j", ORG), 404, "not_found"),
        (with_org("i", ORGS[1]), 404, "not_found"),
        (client().get(format!("{}/else", sandbox.api_url())).bearer_auth(API_KEY), 404, "not_found"),
    ];
    for (request, status, code) in cases {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{code}");
        let json: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("json");
        assert_eq!(json["code"], code);
        assert!(json["message"].is_string() && json["trace_id"].is_string());
    }
    let requests = sandbox.requests();
    assert_eq!(requests.len(), 7);
    assert_eq!(
        (requests[3].status, requests[3].org.as_str(), requests[3].image.as_str()),
        (403, "poor", "i")
    );
    assert_eq!(requests[1].header("authorization"), Some("Bearer wrong"));
    assert_eq!(sandbox.counts(Server::Api).failed, 7);
}

#[tokio::test]
async fn the_context_names_app_organization_and_scopes() {
    let sandbox = sandbox().await;
    let url = format!("{}/marketplace/me", sandbox.api_url());
    let request = client().get(&url).bearer_auth(API_KEY).header("X-Organization-Id", ORG);
    let text = request.send().await.expect("an answer").text().await.expect("a body");
    let json: Value = serde_json::from_str(&text).expect("json");
    assert_eq!(json["data"]["organization"]["id"], ORG);
    assert!(json["data"]["app"]["id"].is_string());
    assert_eq!(json["data"]["scopes"][1], "read:notes");
    assert_eq!(client().get(&url).send().await.expect("an answer").status(), 401);
}

#[tokio::test]
async fn strange_ids_and_keys_survive_the_way() {
    let sandbox = sandbox().await;
    for (index, id) in ["a/b", "a b+c", "ü", "a?b#c", "100%", "%2e%2e"].into_iter().enumerate() {
        let row = ImageRef::new(ORG, id, id);
        let bytes = png(index as u64, 3, 3);
        sandbox.add_image_at(
            row.clone(),
            &format!("o/p/ü a+b?c#d%20&{index}.png"),
            bytes.clone(),
            "image/png",
        );
        let part = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
        let url = format!("{}/notes/{part}/images/{part}/url", sandbox.api_url());
        let request = client().get(url).bearer_auth(API_KEY).header("X-Organization-Id", ORG);
        let text = request.send().await.expect("an answer").text().await.expect("a body");
        let json: Value = serde_json::from_str(&text).expect("json");
        let signed = json["data"]["url"].as_str().unwrap_or_else(|| panic!("{id}: {text}"));
        let answer = client().get(signed).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{id}");
        assert_eq!(answer.bytes().await.expect("a body"), bytes, "{id}");
        sandbox.add_image(ORG, id, "second", png(99, 2, 2), "image/png");
    }
}

#[tokio::test]
async fn a_changed_signature_key_host_or_method_is_refused() {
    let sandbox = sandbox().await;
    sandbox.add_image(ORG, "n", "j", jpeg(2, 2000), "image/jpeg");
    let signed = sandbox.signed_url(&image(), HOUR).expect("known");
    let (rest, signature) = signed.split_once("X-Amz-Signature=").expect("signed");
    let flipped = if signature.starts_with('0') { "1" } else { "0" };
    let cases = [
        client().get(format!("{rest}X-Amz-Signature={flipped}{}", &signature[1..])),
        client().get(signed.replace("/i.jpg", "/j.jpg")),
        client().get(signed.replace("X-Amz-Expires=3600", "X-Amz-Expires=3601")),
        client().get(signed.replace("127.0.0.1", "localhost")),
        client().head(&signed),
    ];
    for (index, request) in cases.into_iter().enumerate() {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 403, "case {index}");
        let text = answer.text().await.expect("a body");
        assert!(index == 4 || text.contains("<Code>SignatureDoesNotMatch</Code>"), "case {index}: {text}");
    }
}

#[tokio::test]
async fn an_expired_url_says_so_as_s3_does() {
    let sandbox = sandbox().await;
    sandbox.script().api("i", ApiFault::Expired);
    let url = url(&sandbox, "i").await;
    let answer = client().get(url).send().await.expect("an answer");
    assert_eq!(answer.status(), 403);
    assert_eq!(header(&answer, "content-type"), "application/xml");
    let text = answer.text().await.expect("a body");
    for part in [
        "<Code>AccessDenied</Code><Message>Request has expired</Message>",
        "<X-Amz-Expires>3600</X-Amz-Expires><Expires>20",
        "<ServerTime>20",
        "<RequestId>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn what_real_s3_refuses_is_refused() {
    let sandbox = sandbox().await;
    sandbox.add_dangling(ORG, "n", "gone");
    let gone = ImageRef::new(ORG, "n", "gone");
    let signed = sandbox.signed_url(&image(), HOUR).expect("known");
    let cases = [
        (client().get(&signed).bearer_auth("x<y"), 400, "InvalidArgument"),
        (client().get(&signed).header("x-amz-checksum-mode", "ENABLED"), 403, "AccessDenied"),
        (client().get(sandbox.signed_url(&gone, HOUR).expect("known")), 404, "NoSuchKey"),
        (client().get(signed.split_once('?').expect("a query").0), 403, "AccessDenied"),
        (client().get(&signed).header("If-Match", "\"other\""), 412, "PreconditionFailed"),
    ];
    for (request, status, code) in cases {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{code}");
        assert!(!header(&answer, "x-amz-request-id").is_empty(), "{code}");
        let text = answer.text().await.expect("a body");
        assert!(text.contains(&format!("<Code>{code}</Code>")), "{text}");
    }
}

#[tokio::test]
async fn a_range_gives_its_part_while_the_version_is_the_same() {
    let sandbox = sandbox().await;
    let signed = sandbox.signed_url(&image(), HOUR).expect("known");
    let etag = format!("\"{}\"", hex(&Md5::digest(jpeg(1, 5000))));
    let resume = |range: &str| client().get(&signed).header("Range", range).header("If-Match", &etag);
    let answer = resume("bytes=4000-").send().await.expect("an answer");
    assert_eq!(answer.status(), 206);
    assert_eq!(header(&answer, "content-range"), "bytes 4000-4999/5000");
    assert_eq!(answer.bytes().await.expect("a body"), jpeg(1, 5000)[4000..]);
    let answer = resume("bytes=5000-").send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (416, "bytes */5000"));

    sandbox.script().storage("i", StorageFault::Swap(jpeg(9, 5000)));
    assert_eq!(resume("bytes=4000-").send().await.expect("an answer").status(), 412);
    let answer = client().get(&signed).send().await.expect("an answer");
    assert_eq!(answer.bytes().await.expect("a body"), jpeg(9, 5000), "the new version stays");
}

#[tokio::test]
async fn faults_are_met_in_order_and_then_over() {
    let sandbox = sandbox().await;
    let script = sandbox.script();
    for status in [500, 403, 429] {
        script.api("i", ApiFault::status(status));
    }
    script.api("i", ApiFault::retry_after("7"));
    script.api("i", ApiFault::html(200));
    script.api("i", ApiFault::redirect(302, "http://127.0.0.1:1/"));
    let mut met = Vec::new();
    for _ in 0..7 {
        let answer = ask(&sandbox, "i").await.expect("an answer");
        met.push((answer.status().as_u16(), header(&answer, "retry-after").to_owned()));
    }
    let met: Vec<_> = met.iter().map(|(status, retry)| (*status, retry.as_str())).collect();
    assert_eq!(met, [(500, ""), (403, ""), (429, ""), (429, "7"), (200, ""), (302, ""), (200, "")]);
    assert_eq!(script.waiting(Server::Api), 0);
    assert_eq!(sandbox.counts(Server::Api).limited, 2);
}

#[tokio::test]
async fn the_api_can_break_off_lie_and_dawdle() {
    let sandbox = sandbox().await;
    sandbox.add_image(ORG, "n", "j", jpeg(2, 2000), "image/jpeg");
    let script = sandbox.script();
    script.api("i", ApiFault::Close);
    assert!(ask(&sandbox, "i").await.is_err());
    script.api("i", ApiFault::Reset { after: 10 });
    assert!(ask(&sandbox, "i").await.expect("a head").bytes().await.is_err());
    script.api("i", ApiFault::Url("ftp://{host}{target}".into()));
    assert!(
        url(&sandbox, "i").await.starts_with(&format!("ftp://{}/patients-files/", sandbox.storage_host()))
    );
    script.api("i", ApiFault::Lifetime(Duration::from_secs(2)));
    assert!(url(&sandbox, "i").await.contains("X-Amz-Expires=2&"));
    script.api("i", ApiFault::ObjectOf("j".into()));
    assert!(url(&sandbox, "i").await.contains("/j.jpg?"));
    script.api("i", ApiFault::Headers(vec![("x-ratelimit-remaining".into(), "-5".into())]));
    assert_eq!(header(&ask(&sandbox, "i").await.expect("an answer"), "x-ratelimit-remaining"), "-5");
    script.api("i", ApiFault::Endless { every: Duration::ZERO, bytes: 1_000_000 });
    let answer = ask(&sandbox, "i").await.expect("a head");
    assert!(answer.bytes().await.expect("a body").len() > 1_000_000);
    let begun = Instant::now();
    script.api("i", ApiFault::Delay(Duration::from_millis(80)));
    url(&sandbox, "i").await;
    assert!(begun.elapsed() >= Duration::from_millis(80));
    let statuses: Vec<u16> = sandbox.requests().iter().map(|entry| entry.status).collect();
    assert_eq!(statuses[..2], [0, 200]);
}

/// What a client reads before its connection ends, and how that ends.
async fn raw(sandbox: &Sandbox) -> (Vec<u8>, std::io::Result<usize>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let signed = sandbox.signed_url(&image(), HOUR).expect("known");
    let (_, target) = signed.split_once(sandbox.storage_host()).expect("its host");
    let mut socket = tokio::net::TcpStream::connect(sandbox.storage_host()).await.expect("loopback");
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", sandbox.storage_host());
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    let ended = socket.read_to_end(&mut bytes).await;
    let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
    (bytes.split_off(body), ended)
}

#[tokio::test]
async fn a_cut_ends_in_a_reset_and_a_short_body_in_a_close() {
    let sandbox = sandbox().await;
    for after in [0, 1, 2500, 4999] {
        sandbox.script().storage("i", StorageFault::Cut { after });
        let (body, ended) = raw(&sandbox).await;
        assert_eq!(body, jpeg(1, 5000)[..after]);
        assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
        sandbox.script().storage("i", StorageFault::Short { after });
        let (body, ended) = raw(&sandbox).await;
        assert_eq!(body, jpeg(1, 5000)[..after]);
        assert!(ended.is_ok());
    }
}

#[tokio::test]
async fn bodies_break_as_scripted() {
    let sandbox = sandbox().await;
    let whole = jpeg(1, 5000);
    let broken = [
        StorageFault::Short { after: 4999 },
        StorageFault::Cut { after: 0 },
        StorageFault::ChunkedCut { after: 100 },
    ];
    for fault in broken {
        let answer = get_under(&sandbox, fault).await.expect("a head");
        assert_eq!(answer.status(), 200);
        assert!(answer.bytes().await.is_err());
    }
    let answer = get_under(&sandbox, StorageFault::Chunked).await.expect("a head");
    assert_eq!((answer.content_length(), header(&answer, "transfer-encoding")), (None, "chunked"));
    assert_eq!(answer.bytes().await.expect("a body"), whole);
    let answer = get_under(&sandbox, StorageFault::ChunkedShort { after: 99 }).await.expect("a head");
    assert_eq!(answer.bytes().await.expect("a body"), whole[..99]);
    let flipped = get_under(&sandbox, StorageFault::FlipBit(8)).await.expect("a head").bytes().await;
    assert_eq!(flipped.expect("a body")[..3], [0xff, 0xd9, 0xff]);
    let begun = Instant::now();
    let slow = StorageFault::All(vec![
        StorageFault::Drip { every: Duration::from_millis(5), bytes: 10 },
        StorageFault::Stall { after: 3000, pause: Duration::from_millis(50) },
    ]);
    let answer = get_under(&sandbox, slow).await.expect("a head");
    assert_eq!(answer.bytes().await.expect("a body"), whole);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(get_under(&sandbox, StorageFault::Close).await.is_err());
}

#[tokio::test]
async fn heads_lie_as_scripted() {
    let sandbox = sandbox().await;
    let answer = get_under(&sandbox, StorageFault::NoEtag).await.expect("a head");
    assert_eq!(header(&answer, "etag"), "");
    let answer = get_under(&sandbox, StorageFault::Etag("\"x-2\"".into())).await.expect("a head");
    assert_eq!(header(&answer, "etag"), "\"x-2\"");
    let kms = StorageFault::header("x-amz-server-side-encryption", "aws:kms");
    let answer = get_under(&sandbox, kms).await.expect("a head");
    assert_eq!(header(&answer, "x-amz-server-side-encryption"), "aws:kms");
    let answer = get_under(&sandbox, StorageFault::Gzip).await.expect("a head");
    assert_eq!(header(&answer, "content-encoding"), "gzip");
    let answer = get_under(&sandbox, StorageFault::html(200)).await.expect("a head");
    assert_eq!((answer.status().as_u16(), &header(&answer, "content-type")[..9]), (200, "text/html"));
    let answer = get_under(&sandbox, StorageFault::empty()).await.expect("a head");
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(0)));
    let answer = get_under(&sandbox, StorageFault::redirect("http://127.0.0.1:1/")).await.expect("a head");
    assert_eq!(answer.status(), 307);
    let answer = get_under(&sandbox, StorageFault::error("SlowDown")).await.expect("a head");
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.expect("a body").contains("<Code>SlowDown</Code>"));
    let answer = get_under(&sandbox, StorageFault::Unsatisfiable).await.expect("a head");
    assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (416, "bytes */5000"));

    let signed = sandbox.signed_url(&image(), HOUR).expect("known");
    let resume = || client().get(&signed).header("Range", "bytes=4000-");
    sandbox.script().storage("i", StorageFault::IgnoreRange);
    let answer = resume().send().await.expect("a head");
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(5000)));
    sandbox.script().storage("i", StorageFault::ContentRange("bytes 3000-3999/5000".into()));
    let answer = resume().send().await.expect("a head");
    assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (206, "bytes 3000-3999/5000"));
}

#[tokio::test]
async fn rate_headers_come_when_the_policy_says_so() {
    for (headers, on_200, on_429) in [
        (SendHeaders::Always, true, true),
        (SendHeaders::Only429, false, true),
        (SendHeaders::Never, false, false),
    ] {
        let rate = Rate { headers, ..Rate::new(1, Duration::from_mins(1)) };
        let sandbox = with(Config { rate: Some(rate), ..Config::default() }).await;
        let first = ask(&sandbox, "i").await.expect("an answer");
        let second = ask(&sandbox, "i").await.expect("an answer");
        assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 429), "{headers:?}");
        for (answer, expected) in [(first, on_200), (second, on_429)] {
            assert_eq!(!header(&answer, "x-ratelimit-limit").is_empty(), expected, "{headers:?}");
            assert_eq!(!header(&answer, "x-ratelimit-reset").is_empty(), expected, "{headers:?}");
            let retry = answer.status() == 429 && expected;
            assert_eq!(!header(&answer, "retry-after").is_empty(), retry, "{headers:?}");
        }
        assert_eq!(sandbox.counts(Server::Api).limited, 1);
    }
}

#[tokio::test]
async fn bulk_images_are_signed_checked_and_whole() {
    let sandbox = sandbox().await;
    let mut manifest = Vec::new();
    sandbox.add_bulk(1000, 4096, &mut manifest).expect("memory");
    let manifest = String::from_utf8(manifest).expect("text");
    assert_eq!(manifest.lines().count(), 1001);
    let row: Vec<&str> = manifest.lines().nth(778).expect("a row").split(',').collect();
    let row = ImageRef::new(row[0], row[1], row[2]);
    let url = format!("{}/notes/{}/images/{}/url", sandbox.api_url(), row.note, row.image);
    let request = client().get(url).bearer_auth(API_KEY).header("X-Organization-Id", &row.org);
    let text = request.send().await.expect("an answer").text().await.expect("a body");
    let json: Value = serde_json::from_str(&text).expect("json");
    let signed = json["data"]["url"].as_str().expect("a url");
    let answer = client().get(signed).send().await.expect("an answer");
    assert_eq!(header(&answer, "etag"), format!("\"{}\"", hex(&Md5::digest(jpeg(777, 4096)))));
    assert_eq!(answer.bytes().await.expect("a body"), jpeg(777, 4096));
    let part = client().get(signed).header("Range", "bytes=4000-4001").send().await.expect("an answer");
    assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, "bytes 4000-4001/4096"));
    let tampered = client().get(signed.replace("Expires=3600", "Expires=9999")).send().await;
    assert_eq!(tampered.expect("an answer").status(), 403);
    let changed = client().get(signed).header("If-Match", "\"x\"").send().await.expect("an answer");
    assert_eq!(changed.status(), 412);
}

#[test]
fn a_thread_of_its_own_serves_synchronous_callers_and_ends_with_them() {
    let sandbox = Sandbox::start_blocking(Config { log: 0, ..Config::default() }).expect("loopback");
    let manifest = sandbox.add_samples(7);
    assert_eq!(manifest.lines().count(), 8);
    let host = sandbox.storage_host().to_owned();
    assert!(std::net::TcpStream::connect(&host).is_ok());
    let path = sandbox.object_path(&sandbox.rows()[0]).expect("known");
    assert_eq!(std::fs::read(&path).expect("an object"), jpeg(0, 2000));
    assert!(sandbox.requests().is_empty(), "the log is off");
    drop(sandbox);
    assert!(std::net::TcpStream::connect(&host).is_err(), "no listener is left");
    assert!(!path.exists(), "no object is left");
}

#[tokio::test]
async fn in_flight_requests_are_counted_until_their_last_byte() {
    let sandbox = sandbox().await;
    let slow = StorageFault::Stall { after: 10, pause: Duration::from_millis(100) };
    sandbox.script().storage_always(Some(slow));
    let signed = sandbox.signed_url(&image(), HOUR).expect("known");
    let gets = (0..3).map(|_| async { client().get(&signed).send().await?.bytes().await });
    futures::future::join_all(gets)
        .await
        .into_iter()
        .for_each(|got| assert_eq!(got.expect("a body").len(), 5000));
    let counts = sandbox.counts(Server::Storage);
    assert_eq!((counts.requests, counts.peak_in_flight), (3, 3));
}

#[tokio::test]
async fn a_length_can_be_announced_that_never_comes_and_a_body_padded_without_one() {
    let sandbox = sandbox().await;
    let answer = get_under(&sandbox, StorageFault::Announce(1 << 40)).await.expect("an answer");
    assert_eq!(answer.content_length(), Some(1 << 40));
    assert!(answer.bytes().await.is_err());
    let answer = get_under(&sandbox, StorageFault::Padded(500_000)).await.expect("an answer");
    assert_eq!(answer.content_length(), None);
    let bytes = answer.bytes().await.expect("a body");
    assert!(bytes.len() >= 500_000 && bytes.starts_with(&jpeg(1, 5000)));
}
