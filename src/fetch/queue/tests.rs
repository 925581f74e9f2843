//! Who is next, on a paused clock.

use std::num::NonZeroU32;
use std::path::Path;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::admission::tests::run_options;
use crate::error::{ErrorCode, Failure, ItemError, Service};
use crate::event::Events;
use crate::limit::Limiter;
use crate::options::Rate;
use crate::remote::rate_headers::RateHeaders;

const ORG: i64 = 1;
const MOMENT: Duration = Duration::from_millis(1);

fn queue(downloads: u32) -> Arc<Queue> {
    let wanted = Concurrency::Fixed(NonZeroU32::new(downloads).expect("not zero"));
    Arc::new(Queue::new(wanted, Room { downloads: 1000, files: 100_000 }))
}

fn admission() -> Arc<Admission> {
    Arc::new(Admission::new(&run_options(Path::new("unused")), Events::none()))
}

/// The asker of a run whose allowance is `limiter`.
fn asker(queue: &Arc<Queue>, admission: &Arc<Admission>, limiter: Limiter) -> JoinHandle<()> {
    let (queue, admission) = (Arc::clone(queue), Arc::clone(admission));
    tokio::spawn(async move {
        loop {
            queue.until_one_may_ask(&admission).await;
            let permit = limiter.acquire(1000).await;
            queue.hand_out(permit, &admission);
        }
    })
}

/// An allowance that never delays: its first request, which goes alone, has its answer.
async fn unlimited() -> Limiter {
    let limiter = Limiter::new(Rate { requests: 10_000_000, window: Duration::from_millis(1) });
    limiter.acquire(1000).await.answered(&RateHeaders::default());
    limiter
}

/// A row that asks; the order in which they do is the order of the channel.
fn row(
    queue: &Arc<Queue>,
    number: usize,
    done: &tokio::sync::mpsc::UnboundedSender<usize>,
) -> JoinHandle<Turn> {
    let (place, done) = (queue.enter(), done.clone());
    tokio::spawn(async move {
        let turn = place.turn(ORG, false).await;
        let _ = done.send(number);
        // the permit counts as sent: the limiter waits for its answer otherwise
        turn
    })
}

fn answered(turn: Turn) {
    let Turn::Ask(Ask { permit, .. }) = turn else { panic!("{turn:?}") };
    permit.answered(&RateHeaders::default());
}

#[tokio::test(start_paused = true)]
async fn rows_ask_in_the_order_in_which_they_were_started() {
    let (queue, admission) = (queue(100), admission());
    admission.org_accepted(ORG);
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    // the first ones come last: the rows behind them wait for them
    let places: Vec<Place> = (0..20).map(|_| queue.enter()).collect();
    let _asker = asker(&queue, &admission, unlimited().await);
    for (number, place) in places.into_iter().enumerate() {
        let done = done.clone();
        tokio::spawn(async move {
            sleep(MOMENT * u32::try_from(20 - number).expect("small")).await;
            let turn = place.turn(ORG, false).await;
            done.send(number).expect("received");
            answered(turn);
        });
    }
    drop(done);
    let mut got = Vec::new();
    while let Some(number) = order.recv().await {
        got.push(number);
    }
    assert_eq!(got, (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_allowance_holds_no_place_and_a_fresh_url_is_not_behind_it() {
    let (queue, admission) = (queue(2), admission());
    admission.org_accepted(ORG);
    // one request in an hour
    let limiter = Limiter::new(Rate { requests: 1, window: Duration::from_hours(1) });
    let _asker = asker(&queue, &admission, limiter);
    let (done, _order) = tokio::sync::mpsc::unbounded_channel();
    let mut rows: Vec<_> = (0..256).map(|number| row(&queue, number, &done)).collect();
    answered(rows.remove(0).await.expect("the first one"));
    sleep(MOMENT).await;
    let counts = queue.counts();
    assert_eq!((counts.waiting, counts.asking, counts.downloading), (255, 0, 0), "{counts:?}");
    let place = queue.enter();
    for _ in 0..2 {
        let slot = timeout(MOMENT, place.slot(Instant::now(), false, None)).await.expect("at once");
        drop(slot.expect("a place"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_url_downloads_first_and_no_more_at_once_than_may() {
    let queue = queue(1);
    let start = Instant::now();
    let first = queue.enter();
    let slot = first.slot(start, false, None).await.expect("a place");
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    for age in [1, 9, 5] {
        let (place, done) = (queue.enter(), done.clone());
        tokio::spawn(async move {
            let slot = place.slot(start - Duration::from_secs(age), false, None).await.expect("a place");
            assert_eq!(slot_count(&place), 1);
            done.send(age).expect("received");
            sleep(MOMENT).await;
            slot.image_received();
        });
    }
    drop(done);
    sleep(MOMENT).await;
    assert_eq!((queue.counts().ready, queue.counts().downloading), (3, 1));
    drop(slot);
    let mut got = Vec::new();
    while let Some(age) = order.recv().await {
        got.push(age);
    }
    assert_eq!(got, [9, 5, 1]);
    assert_eq!(queue.counts().downloading, 0);
}

fn slot_count(place: &Place) -> usize {
    place.queue().counts().downloading
}

#[tokio::test(start_paused = true)]
async fn no_more_urls_are_asked_for_than_there_are_places_until_images_come() {
    let (queue, admission) = (queue(4), admission());
    admission.org_accepted(ORG);
    let _asker = asker(&queue, &admission, unlimited().await);
    let (done, _order) = tokio::sync::mpsc::unbounded_channel();
    let rows: Vec<_> = (0..50).map(|number| row(&queue, number, &done)).collect();
    sleep(MOMENT).await;
    let asking = rows.iter().filter(|row| row.is_finished()).count();
    assert_eq!((asking, queue.counts().asking), (4, 4));
    // images come, one each quarter of a second, and an answer takes half a second
    queue.answered(Duration::from_millis(500));
    let adjust = |is_sound| {
        queue.adjust(&Circumstances {
            allowed_per_second: 1e6,
            received: 0,
            is_out: false,
            is_sound,
            time_left: None,
        });
    };
    for _ in 0..40 {
        let place = queue.enter();
        place.slot(Instant::now(), false, None).await.expect("a place").image_received();
        sleep(Duration::from_millis(250)).await;
        adjust(true);
    }
    assert_eq!(queue.lock().rows.bounds.ahead, 8, "those that are used in two seconds");
    adjust(false);
    assert_eq!(queue.lock().rows.bounds.ahead, 0, "a row has failed");
    drop(rows);
}

#[tokio::test(start_paused = true)]
async fn a_refused_organization_is_asked_for_five_rows_and_the_others_are_told() {
    let (queue, admission) = (queue(100), admission());
    let _asker = asker(&queue, &admission, unlimited().await);
    let (done, _order) = tokio::sync::mpsc::unbounded_channel();
    let rows: Vec<_> = (0..50).map(|number| row(&queue, number, &done)).collect();
    sleep(MOMENT).await;
    let (asking, waiting): (Vec<_>, Vec<_>) = rows.into_iter().partition(JoinHandle::is_finished);
    assert_eq!(asking.len(), 5, "before the API has accepted the organization");
    for (number, row) in asking.into_iter().enumerate() {
        let turn = row.await.expect("ended");
        let refusal = ItemError {
            code: Some(ErrorCode::Forbidden),
            error: number.to_string(),
            trace_id: String::new(),
        };
        admission.org_refused(ORG, &refusal);
        answered(turn);
    }
    for row in waiting {
        assert!(matches!(row.await.expect("ended"), Turn::Refused(_)));
    }
    assert_eq!(queue.counts(), QueueCounts::default());
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_only_the_probe_may_ask() {
    let (queue, admission) = (queue(4), admission());
    admission.org_accepted(ORG);
    let broken = Failure::Connect { service: Service::Api, what: String::new() };
    admission.failed(7, &broken, None);
    assert!(admission.is_out());
    let _asker = asker(&queue, &admission, unlimited().await);
    let (done, _order) = tokio::sync::mpsc::unbounded_channel();
    let rows: Vec<_> = (0..10).map(|number| row(&queue, number, &done)).collect();
    for row in rows {
        assert!(matches!(row.await.expect("ended"), Turn::Readmit));
    }
    let probe = queue.enter();
    answered(timeout(MOMENT, probe.turn(ORG, true)).await.expect("at once"));
}

#[tokio::test(start_paused = true)]
async fn rows_that_wait_for_the_disk_keep_others_from_opening_files() {
    let wanted = Concurrency::Fixed(NonZeroU32::MIN);
    let queue = Arc::new(Queue::new(wanted, Room { downloads: 1, files: 4 }));
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let place = queue.enter();
        let mut slot = place.slot(Instant::now(), false, None).await.expect("a place");
        waiting.push(slot.take_file().expect("its file"));
    }
    let place = queue.enter();
    assert!(timeout(MOMENT, place.slot(Instant::now(), false, None)).await.is_err(), "two wait for the disk");
    let mut slot = place.slot(Instant::now(), false, waiting.first()).await.expect("it has its file");
    assert!(slot.take_file().is_none());
    drop(slot);
    let probe = place.slot(Instant::now(), true, None).await.expect("the probe of an outage");
    drop(probe);
    waiting.clear();
    assert!(place.slot(Instant::now(), false, None).await.is_some());
}
