//! One image's attempts on a paused clock, against a scripted network.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::admission::Admission;
use crate::admission::tests::run_options;
use crate::error::{ErrorCode, ErrorResponse, Failure};
use crate::event::Events;
use crate::item::{ImageId, Item, NoteId, OrgId};
use crate::ledger::{self, EndState, Ledger, Work};
use crate::remote::rate_headers::RateHeaders;
use crate::remote::{ObjectBody, ObjectMeta, PresignedUrl, Remote, ResumeFrom, SignedUrlReply};
use crate::store::{Committer, Folder};
use futures::StreamExt;

const JPEG: &[u8] = b"\xff\xd8\xff\xe0 an image \xff\xd9";

/// Gives the scripted failures in turn, then delivers.
struct Scripted {
    api: Mutex<VecDeque<(Failure, Option<Duration>)>>,
    storage: Mutex<VecDeque<Failure>>,
    asked: Mutex<Vec<Instant>>,
}

impl Remote for Scripted {
    async fn signed_url(&self, _item: &Item) -> SignedUrlReply {
        self.asked.lock().expect("no panic").push(Instant::now());
        let failure = self.api.lock().expect("no panic").pop_front();
        match failure {
            Some((failure, retry_after)) => {
                let limited = matches!(failure, Failure::RateLimited(_));
                let hints = RateHeaders { limited, retry_after, ..RateHeaders::default() };
                SignedUrlReply { rate_headers: hints, key_version: 0, url: Err(failure) }
            }
            None => {
                let url = PresignedUrl::new("https://storage/object?signature".to_owned(), Instant::now());
                SignedUrlReply { rate_headers: RateHeaders::default(), key_version: 0, url: Ok(url) }
            }
        }
    }

    async fn get_object(
        &self,
        _url: &PresignedUrl,
        _resume: Option<&ResumeFrom>,
    ) -> Result<ObjectBody, Failure> {
        if let Some(failure) = self.storage.lock().expect("no panic").pop_front() {
            return Err(failure);
        }
        let meta = ObjectMeta { length: Some(JPEG.len() as u64), ..ObjectMeta::default() };
        let body = futures::stream::iter([Ok(bytes::Bytes::from_static(JPEG))]).boxed();
        Ok(ObjectBody { meta, from: 0, body })
    }

    fn renew_key(&self, _refused: u64) -> bool {
        false
    }
}

/// Fetches one image: how it ended, and when the API was asked.
async fn fetch(failures: Vec<(Failure, Option<Duration>)>) -> (Outcome, Vec<Instant>) {
    fetch_from(failures, Vec::new(), None).await
}

/// As [`fetch`], with failures of the storage; another row has the only slot for `held` as soon as the image waits.
async fn fetch_from(
    failures: Vec<(Failure, Option<Duration>)>,
    storage: Vec<Failure>,
    held: Option<Duration>,
) -> (Outcome, Vec<Instant>) {
    let dir = tempfile::tempdir().expect("a folder");
    let options = run_options(dir.path());
    let mut state = ledger::open_state(dir.path(), None).expect("a ledger");
    let text = "org,note,image\no,n,i\n";
    let manifest = crate::manifest::Manifest::open(text.as_bytes(), &options.manifest).expect("a manifest");
    let loading = ledger::Loading {
        sha256: Some(crate::manifest::fingerprint(text.as_bytes()).expect("read")),
        reading: String::new(),
        header: Vec::new(),
        warnings: Vec::new(),
        entries: manifest,
        skip_bad: false,
        shard: None,
        run: None,
    };
    ledger::load(&mut state.connection, loading, |_| Ok(())).expect("loaded");
    let (ledger, _thread) = Ledger::start(state.connection).expect("a thread");
    let folder = Arc::new(Folder::open(dir.path(), None, 0).expect("a folder"));
    let (committer, _thread) = Committer::start(Arc::clone(&folder), ledger.clone(), 1).expect("a thread");
    let remote = Scripted {
        api: Mutex::new(failures.into()),
        storage: Mutex::new(storage.into()),
        asked: Mutex::new(Vec::new()),
    };
    let admission = Admission::new(&options, Events::none());
    let fetcher = Fetcher::new(&options, remote, admission, folder, committer, ledger, Arc::default());
    let item = Item {
        seq: 1,
        line: 2,
        org: OrgId::new("o"),
        note: NoteId::new("n"),
        image: ImageId::new("i"),
        wanted: None,
        stem: "data/o/n/i".to_owned(),
        part: "i.part".to_owned(),
        replaces: None,
    };
    let (place, work) = (fetcher.queue.enter(), Work { item, org: 1, part: None });
    let outcome = tokio::select! {
        outcome = fetcher.fetch(&work, place) => outcome,
        () = turns_without_end(&fetcher) => unreachable!("it does not end"),
        () = hold_slot(&fetcher, held) => unreachable!("it does not end"),
    };
    let asked = fetcher.remote.asked.lock().expect("no panic").clone();
    (outcome, asked)
}

/// The asker of the run; a drain ends it, but not the image.
async fn turns_without_end(fetcher: &Fetcher<Scripted>) {
    fetcher.hand_out_turns().await;
    std::future::pending::<()>().await;
}

async fn hold_slot(fetcher: &Fetcher<Scripted>, held: Option<Duration>) {
    if let Some(time) = held {
        // the image's first attempt has failed, and it pauses
        tokio::time::sleep(Duration::from_millis(50)).await;
        let other = fetcher.queue.enter();
        let slot = other.slot(Instant::now(), false, None).await;
        tokio::time::sleep(time).await;
        drop(slot);
    }
    std::future::pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn no_url_older_than_its_age_is_used() {
    for (held, requests) in [(Duration::from_mins(19), 1), (Duration::from_mins(21), 2)] {
        let broken = Failure::Broken { service: crate::error::Service::Storage, what: String::new() };
        let (outcome, asked) = fetch_from(Vec::new(), vec![broken], Some(held)).await;
        assert!(matches!(outcome, Outcome::Stored(_)), "{outcome:?}");
        assert_eq!(asked.len(), requests, "{held:?}");
    }
}

fn down() -> (Failure, Option<Duration>) {
    (Failure::ApiDown(ErrorResponse { status: 503, ..ErrorResponse::default() }), None)
}

#[tokio::test(start_paused = true)]
async fn a_passing_fault_is_retried_after_a_pause_that_grows() {
    let (outcome, asked) = fetch(vec![down(), down()]).await;
    assert!(matches!(outcome, Outcome::Stored(_)), "{outcome:?}");
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] >= Duration::from_millis(200) && pauses[0] <= Duration::from_millis(450), "{pauses:?}");
    assert!(pauses[1] >= Duration::from_millis(400) && pauses[1] <= Duration::from_millis(850), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn attempts_end_with_the_budget() {
    let (outcome, asked) = fetch(vec![down(), down(), down(), down()]).await;
    let ended = match outcome {
        Outcome::NotDelivered(ended) | Outcome::Parked(ended, ..) => ended,
        other => panic!("{other:?}"),
    };
    assert_eq!((asked.len(), ended.attempts, ended.state), (3, 3, EndState::Failed));
    assert_eq!(ended.error.code, Some(ErrorCode::ApiError));
}

#[tokio::test(start_paused = true)]
async fn a_429_waits_as_long_as_the_server_asked_and_is_no_attempt() {
    let wait = Duration::from_secs(37);
    let limited =
        || (Failure::RateLimited(ErrorResponse { status: 429, ..ErrorResponse::default() }), Some(wait));
    let (outcome, asked) = fetch(vec![limited(), limited(), limited(), limited()]).await;
    assert!(matches!(outcome, Outcome::Stored(_)), "{outcome:?}");
    assert_eq!(asked.len(), 5, "more than the attempts that an image has");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= wait), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_change_is_asked_once() {
    for failure in [
        Failure::NotFound(ErrorResponse::default()),
        Failure::BadRequest(ErrorResponse::default()),
        Failure::Forbidden(ErrorResponse::default()),
        Failure::ApiRejected(ErrorResponse::default()),
        Failure::Unauthorized(ErrorResponse::default()),
    ] {
        let (outcome, asked) = fetch(vec![(failure, None)]).await;
        assert!(matches!(outcome, Outcome::NotDelivered(_)), "{outcome:?}");
        assert_eq!(asked.len(), 1);
    }
}
