use super::*;

const RATE: Rate = Rate { requests: 100, window: Duration::from_secs(3) };

/// Most requests within any window of that length, counted when they were sent.
fn most_in_a_window(sent: &[Instant], window: Duration) -> usize {
    (0..sent.len())
        .map(|first| sent[first..].iter().take_while(|at| **at < sent[first] + window).count())
        .max()
        .unwrap_or(0)
}

async fn send(limiter: &Limiter, rows: u64, latency: Duration) -> Vec<Instant> {
    let mut sent = Vec::new();
    for left in (1..=rows).rev() {
        let permit = limiter.acquire(left).await;
        sent.push(Instant::now());
        tokio::time::sleep(latency).await;
        permit.answered(&RateHeaders::default());
    }
    sent
}

/// A limiter whose first request was answered: the gate is open.
async fn open() -> Limiter {
    let limiter = Limiter::new(RATE);
    let permit = limiter.acquire(10).await;
    permit.answered(&RateHeaders::default());
    limiter
}

#[tokio::test(start_paused = true)]
async fn no_window_holds_more_than_the_allowance() {
    let limiter = Limiter::new(RATE);
    let sent = send(&limiter, 650, Duration::ZERO).await;
    assert_eq!(sent.len(), 650);
    assert!(most_in_a_window(&sent, RATE.window) <= 100);
}

#[tokio::test(start_paused = true)]
async fn a_long_job_takes_hardly_longer_than_the_allowance_asks() {
    let limiter = Limiter::new(RATE);
    let start = Instant::now();
    send(&limiter, 650, Duration::ZERO).await;
    let least = Duration::from_millis(650 * 3000 / 100);
    assert!(start.elapsed() <= least.mul_f64(1.05), "took {:?}, least {least:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fits_into_the_allowance_is_not_slowed() {
    let limiter = Limiter::new(RATE);
    let start = Instant::now();
    send(&limiter, 100, Duration::ZERO).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_429_waits_as_long_as_the_server_asked() {
    let limiter = Limiter::new(RATE);
    let permit = limiter.acquire(10).await;
    let wait = Duration::from_secs(7);
    permit.answered(&RateHeaders { limited: true, retry_after: Some(wait), ..RateHeaders::default() });
    let start = Instant::now();
    let _permit = limiter.acquire(10).await;
    assert_eq!(start.elapsed(), wait);
}

#[tokio::test(start_paused = true)]
async fn a_success_that_was_under_way_does_not_open_the_gate() {
    let limiter = open().await;
    let (refused, fine) = (limiter.acquire(10).await, limiter.acquire(9).await);
    let wait = Duration::from_secs(7);
    refused.answered(&RateHeaders { limited: true, retry_after: Some(wait), ..RateHeaders::default() });
    fine.answered(&RateHeaders::default());
    let start = Instant::now();
    let _permit = limiter.acquire(10).await;
    assert_eq!(start.elapsed(), wait);
}

#[tokio::test(start_paused = true)]
async fn the_first_request_goes_ahead_alone() {
    let limiter = Limiter::new(RATE);
    let _probe = limiter.acquire(10).await;
    let second = tokio::time::timeout(Duration::from_mins(1), limiter.acquire(9)).await;
    assert!(second.is_err(), "a second request went out before the first was answered");
}

#[tokio::test(start_paused = true)]
async fn one_request_goes_ahead_alone_after_a_429() {
    let limiter = Limiter::new(RATE);
    let permit = limiter.acquire(10).await;
    permit.answered(&RateHeaders { limited: true, ..RateHeaders::default() });
    let probe = limiter.acquire(10).await;
    let second = tokio::time::timeout(Duration::from_mins(1), limiter.acquire(9)).await;
    assert!(second.is_err(), "a second request went out before the probe was answered");
    probe.answered(&RateHeaders::default());
    let start = Instant::now();
    let _permit = limiter.acquire(9).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn waits_that_the_server_does_not_name_double_up_to_the_window() {
    let limiter = Limiter::new(RATE);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let permit = limiter.acquire(10).await;
        permit.answered(&RateHeaders { limited: true, ..RateHeaders::default() });
        let start = Instant::now();
        let permit = limiter.acquire(10).await;
        waits.push(start.elapsed().as_secs());
        permit.answered(&RateHeaders { limited: true, ..RateHeaders::default() });
    }
    assert_eq!(waits[0], 1);
    assert!(waits.is_sorted() && waits.iter().all(|wait| *wait <= 3), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_of_the_server_counts_and_a_higher_one_does_not() {
    let limiter = Limiter::new(RATE);
    for limit in [500, 40] {
        let permit = limiter.acquire(1000).await;
        permit.answered(&RateHeaders { limit: Some(limit), ..RateHeaders::default() });
    }
    let sent = send(&limiter, 300, Duration::ZERO).await;
    assert!(most_in_a_window(&sent, RATE.window) <= 40);
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_holds_its_slot_until_a_window_after_it_came() {
    let limiter = Limiter::new(Rate { requests: 1, window: Duration::from_secs(3) });
    let sent = send(&limiter, 3, Duration::from_secs(2)).await;
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(5)), "{sent:?}");
}

/// One request in three seconds.
const ONE: Rate = Rate { requests: 1, window: Duration::from_secs(3) };

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_before_its_request_left_frees_its_slot() {
    let limiter = Limiter::new(ONE);
    let start = Instant::now();
    drop(limiter.acquire(1).await);
    let _next = limiter.acquire(1).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(limiter.share(), None, "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_after_its_request_left_uses_its_slot_for_one_more_window() {
    let limiter = Limiter::new(ONE);
    let mut permit = limiter.acquire(10).await;
    permit.sent();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    drop(permit);
    let mut probe = limiter.acquire(10).await;
    assert_eq!(start.elapsed(), ONE.window);
    probe.sent();
    let second = tokio::time::timeout(Duration::from_mins(1), limiter.acquire(9)).await;
    assert!(second.is_err(), "a request without an answer does not open the gate");
}
