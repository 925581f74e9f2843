//! Whose answer is it? What comes from something on the way never ends a row as the API's word would, and twenty rows
//! that fail alike end the run.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use sandbox::faults::{ApiFault, StorageFault};
use sandbox::images::jpeg;
use sandbox::log::Server;
use sandbox::workspace::{Line, Run, Workspace};

fn answer(status: u16, content_type: &str, body: &[u8]) -> ApiFault {
    let headers = vec![("content-type".to_owned(), content_type.to_owned())];
    ApiFault::Answer { status, headers, body: body.to_vec() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).expect("packed");
    packer.finish().expect("packed")
}

/// Runs one row that meets these faults of the API.
fn one(faults: &[ApiFault], args: &[&str], code: i32) -> (Workspace, Line, Run) {
    let workspace = Workspace::with_images(1);
    for fault in faults {
        workspace.sandbox.script().api("i0", fault.clone());
    }
    let ran = workspace.run(args).assert_code(code);
    let line = workspace.report().remove(0);
    (workspace, line, ran)
}

#[test]
fn an_answer_without_the_apis_own_json_is_tried_again_whatever_its_status() {
    for status in [200, 400, 401, 403, 404, 418, 500, 502] {
        for fault in [
            ApiFault::html(status),
            answer(status, "application/json", br#"{"message":"Forbidden"}"#),
            answer(status, "", b""),
        ] {
            let (_, line, _) = one(std::slice::from_ref(&fault), &[], 0);
            assert_eq!((&*line["state"], &*line["attempts"]), ("stored", "2"), "{fault:?}");
        }
        let page = ApiFault::html(status);
        let (workspace, line, _) = one(&[page.clone(), page], &["--max-attempts", "2"], 3);
        assert_eq!((&*line["error_code"], &*line["attempts"]), ("api_error", "2"), "{status}: {line:?}");
        assert!(
            line["error"].contains(&status.to_string()) && line["error"].contains("127.0.0.1"),
            "{line:?}"
        );
        let advice = &workspace.failed()[0]["advice"];
        let cause = if status == 502 { "gateway" } else { "proxy" };
        assert!(advice.contains(cause) && advice.contains("127.0.0.1"), "{advice}");
    }
}

#[test]
fn a_429_is_a_rate_limit_whoever_sends_it() {
    let page = ApiFault::Answer {
        status: 429,
        headers: vec![("retry-after".to_owned(), "1".to_owned())],
        body: b"<html>slow down</html>".to_vec(),
    };
    let start = Instant::now();
    let (workspace, line, _) = one(&[page], &[], 0);
    assert_eq!((&*line["state"], &*line["attempts"]), ("stored", "1"));
    assert_eq!(workspace.count("api_429"), 1);
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_compressed_json_answer_is_read() {
    let workspace = Workspace::with_images(2);
    let image = sandbox::registry::ImageRef::new("org0", "note0", "i0");
    let url = workspace.sandbox.signed_url(&image, Duration::from_hours(1)).expect("known");
    let body = gzip(serde_json::json!({"code": "success", "data": {"url": url}}).to_string().as_bytes());
    let packed = |status, body| ApiFault::Answer {
        status,
        headers: vec![("content-encoding".to_owned(), "gzip".to_owned())],
        body,
    };
    workspace.sandbox.script().api("i0", packed(200, body));
    let refusal = gzip(br#"{"code":"not_found","message":"Resource not found","trace_id":"t-1"}"#);
    workspace.sandbox.script().api("i1", packed(404, refusal));
    workspace.run(&[]).assert_code(3);
    let report = workspace.report();
    assert_eq!((&*report[0]["state"], &*report[0]["attempts"]), ("stored", "1"), "{report:?}");
    assert_eq!((&*report[1]["error_code"], &*report[1]["trace_id"]), ("not_found", "t-1"), "{report:?}");
}

#[test]
fn a_gateways_page_for_a_while_is_an_outage_that_no_row_pays_for() {
    let sign_in = ApiFault::Answer {
        status: 302,
        headers: vec![("location".into(), "http://127.0.0.1:1/sign-in".into())],
        body: b"<html>Moved</html>".to_vec(),
    };
    for (api, storage) in [
        (Some(ApiFault::html(404)), None),
        (Some(sign_in), None),
        (None, Some(StorageFault::html(404))),
        (None, Some(StorageFault::html(403))),
    ] {
        let workspace = Workspace::with_images(200);
        workspace.sandbox.script().api_always(api);
        workspace.sandbox.script().storage_always(storage);
        let child = workspace.command(&["run", "manifest.csv"]).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(1500));
        workspace.sandbox.script().api_always(None);
        workspace.sandbox.script().storage_always(None);
        let ran = Run::wait(child).assert_code(0);
        assert!(ran.stderr.contains("outage"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("over after 0 s"), "{}", ran.stderr);
        let report = workspace.report();
        assert!(report.iter().all(|line| line["state"] == "stored" && line["attempts"] == "1"), "{report:?}");
    }
}

#[test]
fn a_page_in_the_storages_place_names_the_host_and_says_nothing_of_the_image() {
    for status in [302, 400, 401, 403, 404, 410] {
        let workspace = Workspace::with_images(1);
        for _ in 0..2 {
            workspace.sandbox.script().storage("i0", StorageFault::html(status));
        }
        workspace.run(&["--max-attempts", "2"]).assert_code(3);
        let line = workspace.report().remove(0);
        assert_eq!((&*line["error_code"], &*line["attempts"]), ("storage_error", "2"), "{status}: {line:?}");
        assert!(line["error"].contains(&format!("not the storage's own ({status}: ")), "{line:?}");
        let advice = &workspace.failed()[0]["advice"];
        assert!(advice.contains("proxy") && advice.contains("127.0.0.1"), "{advice}");
        workspace.run(&[]).assert_code(0);
    }
}

#[test]
fn a_sign_in_page_for_every_request_stops_the_run_with_its_advice() {
    let workspace = Workspace::with_images(300);
    workspace.sandbox.script().api_always(Some(ApiFault::html(200)));
    let ran = workspace.run(&["--max-outage", "2s"]).assert_code(1);
    assert!(ran.stderr.contains("not the API's own") && ran.stderr.contains("sign-in"), "{}", ran.stderr);
    assert_eq!((workspace.count("failed"), workspace.count("untried")), (0, 300));
    let report = workspace.report();
    assert!(report.iter().all(|line| line["error_code"] == "api_error"), "{report:?}");
    let asked = workspace.api_requests();
    assert!(asked <= 45, "{asked} requests; 2,400 before");
}

/// Every row meets the same useless answer.
fn alike(api: Option<ApiFault>, storage: Option<StorageFault>, code: &str, words: &[&str]) {
    let workspace = Workspace::with_images(300);
    workspace.sandbox.script().api_always(api);
    workspace.sandbox.script().storage_always(storage);
    let ran = workspace.run(&["--concurrency", "4", "--max-attempts", "1"]).assert_code(1);
    let said = format!("20 rows in succession failed with {code}");
    assert!(ran.stdout.contains(&said), "{}", ran.stdout);
    // when it begins to stop, and at the end
    assert_eq!(ran.stderr.matches(&said).count(), 2, "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    let failed = workspace.count("failed");
    // a few are on their way when it stops
    assert!((20..=100).contains(&failed), "{code}: {failed}");
    assert_eq!(workspace.count("untried"), 300 - failed);
    let untried: Vec<Line> =
        workspace.report().into_iter().filter(|line| line["state"] == "untried").collect();
    assert!(
        untried.iter().any(|line| line["error_code"].is_empty() && line["error"].contains(&said)),
        "{code}: {untried:?}"
    );
}

#[test]
fn twenty_rows_that_fail_alike_stop_the_run_with_the_advice_of_their_cause() {
    let odd = StorageFault::Answer { status: 418, headers: vec![], body: vec![] };
    alike(None, Some(odd), "storage_error", &["418", "Run again"]);
    alike(None, Some(StorageFault::error("AccessDenied")), "storage_denied", &["API's support"]);
    alike(
        None,
        Some(StorageFault::html(200)),
        "not_an_image",
        &["Something on the way to 127.0.0.1", "proxy"],
    );
    let no_url = ApiFault::json(r#"{"code":"success","message":"","data":{}}"#);
    alike(Some(no_url), None, "api_error", &["data.url is missing", "trace id"]);
    let inside = ApiFault::Url("https://10.0.0.1/x".to_owned());
    alike(Some(inside), None, "api_error", &["--storage-host 10.0.0.1"]);
}

#[test]
fn what_says_something_of_one_row_never_stops_a_run() {
    let refusal = |code: &str| Some(StorageFault::error(code));
    for (api, storage, code) in [
        (Some(ApiFault::status(404)), None, "not_found"),
        (Some(ApiFault::status(400)), None, "bad_request"),
        (None, refusal("NoSuchKey"), "storage_missing"),
        (None, refusal("InvalidObjectState"), "storage_archived"),
        (None, Some(StorageFault::FlipBit(999)), "integrity"),
    ] {
        let workspace = Workspace::with_images(60);
        workspace.sandbox.script().api_always(api);
        workspace.sandbox.script().storage_always(storage);
        workspace.run(&["--max-attempts", "1"]).assert_code(3);
        assert_eq!(workspace.summary()["failures"][code], 60, "{code}");
    }
}

#[test]
fn an_image_that_was_received_counts_before_it_is_recorded() {
    // 19 refusals, one image, 19 refusals: the run goes on, however late the image is recorded
    let workspace = Workspace::new();
    let mut manifest = "org,note,image\n".to_owned();
    for n in 0..39_u64 {
        workspace.sandbox.add_image("o", "n", &format!("i{n}"), jpeg(n, 2000), "image/jpeg");
        manifest.push_str(&format!("o,n,i{n}\n"));
    }
    workspace.manifest(&manifest);
    // a refused row asks again behind all others: the second requests come in the rows' order, too
    for n in 0..39 {
        for _ in 0..if n == 19 { 1 } else { 2 } {
            workspace.sandbox.script().storage(&format!("i{n}"), StorageFault::error("AccessDenied"));
        }
    }
    let command = workspace.command(&["run", "manifest.csv", "--concurrency", "1"]);
    let mut command = crate::inject::inject(&command, &["call=sync,delay=500"]);
    let ran = Run::wait(command.spawn().expect("started")).assert_code(3);
    assert!(!ran.stderr.contains("in succession"), "{}", ran.stderr);
    assert_eq!((workspace.count("stored"), workspace.count("failed")), (1, 38));
}

#[test]
fn an_odd_status_to_a_plain_get_is_tried_again() {
    for status in [201, 204, 405, 409, 412, 416, 418] {
        let workspace = Workspace::with_images(1);
        let odd = StorageFault::Answer { status, headers: vec![], body: vec![] };
        workspace.sandbox.script().storage("i0", odd);
        workspace.run(&[]).assert_code(0);
        assert_eq!(workspace.report()[0]["attempts"], "2", "{status}");
    }
}

#[test]
fn a_503_with_a_retry_after_is_not_asked_again_before_its_time() {
    let busy = ApiFault::Answer {
        status: 503,
        headers: vec![("retry-after".to_owned(), "2".to_owned())],
        body: br#"{"code":"busy","message":"maintenance"}"#.to_vec(),
    };
    let start = Instant::now();
    let (workspace, line, _) = one(std::slice::from_ref(&busy), &[], 0);
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!((&*line["attempts"], workspace.api_requests()), ("2", 2));
    // many rows: an outage, whose first probe waits as long
    let workspace = Workspace::with_images(60);
    workspace.sandbox.script().api_always(Some(busy));
    let child = workspace.command(&["run", "manifest.csv"]).spawn().expect("started");
    std::thread::sleep(Duration::from_millis(1500));
    let early = workspace.sandbox.counts(Server::Api).requests;
    workspace.sandbox.script().api_always(None);
    Run::wait(child).assert_code(0);
    assert!(early <= 32, "{early} requests in 1.5 s");
    assert!(workspace.report().iter().all(|line| line["attempts"] == "1"));
}

#[test]
fn the_stall_timeout_ends_a_silent_answer_of_the_api() {
    let silent = ApiFault::Delay(Duration::from_secs(20));
    let start = Instant::now();
    let (_, line, _) = one(&[silent], &["--stall-timeout", "1s"], 0);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((&*line["state"], &*line["attempts"]), ("stored", "2"));
    // slow is not silent: 300 bytes, one each 20 ms, are no JSON in the end, but they come
    let drip = ApiFault::Endless { every: Duration::from_millis(20), bytes: 150 };
    let (_, line, _) = one(std::slice::from_ref(&drip), &["--stall-timeout", "1s", "--max-attempts", "1"], 3);
    assert_eq!(line["error_code"], "api_error", "{line:?}");
}
