//! What an image can meet, and how its row ends.

use std::time::Duration;

use sandbox::faults::{ApiFault, StorageFault};
use sandbox::images::jpeg;
use sandbox::registry::ImageRef;
use sandbox::workspace::{Line, Workspace};

/// One image `i`, which meets these faults.
fn meets(api: &[ApiFault], storage: &[StorageFault], args: &[&str], code: i32) -> (Workspace, Line) {
    let workspace = Workspace::new();
    workspace.sandbox.add_image("o", "n", "i", jpeg(1, 300_000), "image/jpeg");
    workspace.manifest("org,note,image\no,n,i\n");
    for fault in api {
        workspace.sandbox.script().api("i", fault.clone());
    }
    for fault in storage {
        workspace.sandbox.script().storage("i", fault.clone());
    }
    let ran = workspace.run(args).assert_code(code);
    assert!(!ran.stderr.contains("X-Amz"), "{}", ran.stderr);
    let line = workspace.report().remove(0);
    (workspace, line)
}

#[test]
fn documented_refusals_end_a_row_at_once_with_the_apis_own_words() {
    for (status, code, words) in [
        (400, "bad_request", "must be a valid UUID"),
        (403, "forbidden", "Insufficient scope"),
        (404, "not_found", "Resource not found"),
    ] {
        let (workspace, line) = meets(&[ApiFault::status(status)], &[], &[], 3);
        assert_eq!((&*line["state"], &*line["error_code"], &*line["attempts"]), ("failed", code, "1"));
        assert!(line["error"].contains(words), "{line:?}");
        assert!(!line["trace_id"].is_empty());
        assert_eq!(workspace.api_requests(), 1);
    }
}

#[test]
fn passing_faults_of_the_api_are_tried_again() {
    let faults = [
        ApiFault::status(503),
        ApiFault::html(200),
        ApiFault::json("{\"code\":\"success\",\"data\":{\"url\":"),
        ApiFault::json("{\"code\":\"success\",\"data\":{\"url\":null}}"),
    ];
    let (_, line) = meets(&faults, &[], &[], 0);
    assert_eq!((&*line["state"], &*line["attempts"]), ("stored", "5"));
}

#[test]
fn lasting_faults_of_the_api_end_as_api_error() {
    for fault in [ApiFault::status(500), ApiFault::html(200), ApiFault::json("{}"), ApiFault::html(502)] {
        let (workspace, line) = meets(&[fault.clone(), fault.clone()], &[], &["--max-attempts", "2"], 3);
        assert_eq!((&*line["error_code"], &*line["attempts"]), ("api_error", "2"), "{fault:?}");
        assert_eq!(workspace.images().len(), 0);
    }
}

#[test]
fn a_redirect_of_the_api_is_final_and_not_followed() {
    let (workspace, line) = meets(&[ApiFault::redirect(302, "http://127.0.0.1:1/steal")], &[], &[], 3);
    assert_eq!((&*line["error_code"], &*line["attempts"]), ("api_error", "1"));
    assert_eq!(workspace.api_requests(), 1);
}

#[test]
fn signed_urls_that_must_not_be_dialled_are_refused_without_a_connection() {
    for url in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://user@{host}{target}",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/latest",
        "http://10.0.0.1/x",
        "https://10.0.0.1/x",
        "http://s3.example.com/x",
    ] {
        let (workspace, line) = meets(&[ApiFault::Url(url.to_owned())], &[], &[], 3);
        assert_eq!((&*line["error_code"], &*line["attempts"]), ("api_error", "1"), "{url}: {line:?}");
        assert_eq!(workspace.sandbox.counts(sandbox::log::Server::Storage).requests, 0, "{url}");
    }
}

#[test]
fn a_url_that_would_be_sent_otherwise_is_a_storage_error() {
    let (_, line) = meets(&[ApiFault::Url("{url}#x".to_owned())], &[], &[], 3);
    assert_eq!((&*line["error_code"], &*line["attempts"]), ("storage_error", "1"));
}

#[test]
fn an_expired_url_is_renewed_once_at_no_charge() {
    let (workspace, line) = meets(&[ApiFault::Expired], &[], &[], 0);
    assert_eq!((&*line["state"], &*line["attempts"]), ("stored", "1"));
    assert_eq!(workspace.api_requests(), 2);
    let (workspace, line) = meets(&[ApiFault::Expired, ApiFault::Expired, ApiFault::Expired], &[], &[], 3);
    assert_eq!((&*line["error_code"], &*line["attempts"]), ("storage_denied", "1"));
    assert_eq!(workspace.api_requests(), 2);
}

#[test]
fn what_the_storage_does_not_have_ends_a_row_at_once() {
    let (_, line) = meets(&[], &[StorageFault::error("NoSuchBucket")], &[], 3);
    assert_eq!((&*line["error_code"], &*line["attempts"]), ("storage_missing", "1"));
    let (_, line) = meets(&[], &[StorageFault::error("InvalidObjectState")], &[], 3);
    assert_eq!(line["error_code"], "storage_archived");
    let workspace = Workspace::new();
    workspace.sandbox.add_dangling("o", "n", "i");
    workspace.manifest("org,note,image\no,n,i\n");
    workspace.run(&[]).assert_code(3);
    assert_eq!(workspace.report()[0]["error_code"], "storage_missing");
}

#[test]
fn cut_bodies_are_continued_where_they_broke_off() {
    let (workspace, line) =
        meets(&[], &[StorageFault::Cut { after: 100_000 }, StorageFault::Short { after: 10 }], &[], 0);
    assert_eq!((&*line["state"], &*line["attempts"]), ("stored", "3"));
    let stored = std::fs::read(workspace.out().join(&line["path"])).expect("the image");
    assert_eq!(stored, jpeg(1, 300_000));
    let ranges: Vec<_> =
        workspace.sandbox.requests().iter().filter_map(|e| e.header("range").map(str::to_owned)).collect();
    assert!(!ranges.is_empty(), "the rest was asked for, not the whole");
    assert_eq!(workspace.api_requests(), 1, "a fresh URL is used again");
}

#[test]
fn an_object_that_changed_between_two_tries_is_fetched_from_the_start() {
    for ignores in [false, true] {
        let other = jpeg(2, 250_000);
        let mut second = vec![StorageFault::Swap(other.clone())];
        if ignores {
            second.push(StorageFault::IgnoreRange);
        }
        let (workspace, line) =
            meets(&[], &[StorageFault::Cut { after: 100_000 }, StorageFault::All(second)], &[], 0);
        let stored = std::fs::read(workspace.out().join(&line["path"])).expect("the image");
        assert_eq!(stored, other, "one version and nothing of the other");
    }
}

#[test]
fn doubtful_continuations_are_fetched_from_the_start() {
    for doubt in [
        StorageFault::IgnoreRange,
        StorageFault::ContentRange("bytes 5-299999/300000".to_owned()),
        StorageFault::Unsatisfiable,
        StorageFault::Etag("\"another\"".to_owned()),
    ] {
        let (workspace, line) = meets(&[], &[StorageFault::Cut { after: 100_000 }, doubt.clone()], &[], 0);
        let stored = std::fs::read(workspace.out().join(&line["path"])).expect("the image");
        assert_eq!(stored, jpeg(1, 300_000), "{doubt:?}");
    }
}

#[test]
fn a_flipped_bit_is_found_and_never_stored() {
    let (_, line) = meets(&[], &[StorageFault::FlipBit(99_999)], &[], 0);
    assert_eq!((&*line["state"], &*line["attempts"]), ("stored", "2"));
    let flip = StorageFault::FlipBit(99_999);
    let (workspace, line) = meets(&[], &[flip.clone(), flip], &["--max-attempts", "2"], 3);
    assert_eq!(line["error_code"], "integrity");
    assert_eq!(workspace.images().len(), 0);
}

#[test]
fn pages_messages_and_nothing_are_no_images() {
    for fault in [StorageFault::html(200), StorageFault::empty()] {
        let (workspace, line) = meets(&[], &[fault.clone(), fault.clone()], &[], 3);
        assert_eq!((&*line["error_code"], &*line["attempts"]), ("not_an_image", "1"), "{fault:?}");
        assert_eq!(workspace.images().len(), 0);
        let (_, line) = meets(&[], &[fault], &[], 0);
        assert_eq!(line["state"], "stored");
    }
}

#[test]
fn a_redirect_of_the_storage_is_not_followed_and_renews_the_url_once() {
    let fault = StorageFault::redirect("http://127.0.0.1:1/steal");
    let (workspace, line) = meets(&[], &[fault.clone(), fault.clone()], &[], 3);
    assert_eq!(line["error_code"], "storage_error");
    assert_eq!(workspace.api_requests(), 2);
}

#[test]
fn slow_is_not_dead_but_silent_is() {
    let drip = StorageFault::Drip { every: Duration::from_millis(100), bytes: 12 };
    let (_, line) = meets(&[], &[drip], &["--stall-timeout", "700ms"], 0);
    assert_eq!(line["attempts"], "1");
    let stall = StorageFault::Stall { after: 1000, pause: Duration::from_secs(20) };
    let (_, line) = meets(&[], &[stall], &["--stall-timeout", "700ms"], 0);
    assert_eq!((&*line["state"], &*line["attempts"]), ("stored", "2"));
}

#[test]
fn an_image_larger_than_allowed_is_refused() {
    let (workspace, line) = meets(&[], &[], &["--max-size", "100K"], 3);
    assert_eq!(line["error_code"], "storage_error");
    assert!(line["error"].contains("--max-size"), "{line:?}");
    assert_eq!(workspace.images().len(), 0);
    let (_, line) = meets(&[], &[StorageFault::Chunked], &["--max-size", "100K"], 3);
    assert_eq!(line["error_code"], "storage_error", "also where no length is announced");
}

#[test]
fn bytes_are_stored_as_served_whatever_the_encoding_says() {
    let (workspace, line) = meets(&[], &[StorageFault::Gzip], &[], 0);
    assert_eq!(std::fs::read(workspace.out().join(&line["path"])).expect("the image"), jpeg(1, 300_000));
    assert!(line["warning"].contains("gzip"), "{line:?}");
}

#[test]
fn a_key_under_kms_is_no_md5_and_raises_no_alarm() {
    let kms = StorageFault::All(vec![
        StorageFault::header("x-amz-server-side-encryption", "aws:kms"),
        StorageFault::Etag("\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned()),
    ]);
    let (_, line) = meets(&[], &[kms], &[], 0);
    assert_eq!(line["checked_by"], "length+image-end");
}

#[test]
fn one_failing_row_does_not_keep_the_others() {
    let workspace = Workspace::with_images(6);
    workspace.sandbox.forget_image(&ImageRef::new("org1", "note0", "i3"));
    let ran = workspace.run(&[]).assert_code(3);
    assert!(ran.stdout.starts_with("not complete: 1 of 6 rows failed"), "{}", ran.stdout);
    assert_eq!(workspace.states(), ["stored", "stored", "stored", "failed", "stored", "stored"]);
    assert_eq!(workspace.summary()["failures"]["not_found"], 1);
}
