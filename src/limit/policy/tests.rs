//! Tables of cases, and random servers that answer nonsense. No clock runs: time is a number here.

use proptest::prelude::*;

use super::*;

const N: u32 = 100;
const WINDOW: Duration = Duration::from_secs(3);
const RATE: Rate = Rate { requests: N, window: WINDOW };
const MANY: u64 = 10_000;

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn go(policy: &mut Policy, now: Instant) -> Slot {
    match policy.try_acquire(now, MANY) {
        Decision::Go(slot) => slot,
        wait => panic!("{wait:?}"),
    }
}

fn remaining(remaining: u32) -> RateHeaders {
    RateHeaders { remaining: Some(remaining), limit: Some(N), ..RateHeaders::default() }
}

/// A policy whose first answer had this Remaining.
fn guided(now: Instant, left: u32) -> Policy {
    let mut policy = Policy::new(RATE, now);
    let slot = go(&mut policy, now);
    policy.answered(&slot, now, &remaining(left));
    policy
}

/// The wait before the next request; zero if it may go.
fn wait(policy: &mut Policy, now: Instant) -> Duration {
    match policy.try_acquire(now, MANY) {
        Decision::Go(_) => Duration::ZERO,
        Decision::WaitUntil(until) => until - now,
        Decision::WaitForAnswer => Duration::MAX,
    }
}

#[test]
fn an_eighth_of_the_credit_is_in_flight_at_most_in_the_first_window() {
    let now = Instant::now();
    for (limit, expected) in [(800, 89), (100, 11), (40, 5), (10, 1)] {
        let mut policy = Policy::new(Rate { requests: limit, window: WINDOW }, now);
        let slot = go(&mut policy, now);
        policy.answered(&slot, now, &RateHeaders { remaining: Some(limit - 1), ..RateHeaders::default() });
        let mut sent = 0;
        while let Decision::Go(_) = policy.try_acquire(now, MANY) {
            sent += 1;
        }
        // each that is sent takes one from the credit
        assert_eq!(sent, expected, "{limit}");
    }
}

#[test]
fn an_older_answer_does_not_undo_a_newer_one() {
    let now = Instant::now();
    let mut policy = guided(now, 99);
    let (older, newer) = (go(&mut policy, now), go(&mut policy, now));
    policy.answered(&newer, now, &remaining(10));
    let before = wait(&mut policy, now);
    policy.answered(&older, now, &remaining(98));
    assert_eq!(wait(&mut policy, now), before);
    assert!(before > millis(5), "{before:?}");
}

#[test]
fn what_others_use_makes_the_gap_wider() {
    let now = Instant::now();
    let gaps: Vec<Duration> =
        [90, 60, 20, 5, 2, 0].into_iter().map(|remaining| wait(&mut guided(now, remaining), now)).collect();
    assert!(gaps.is_sorted() && gaps[0] < millis(10) && gaps[5] <= WINDOW, "{gaps:?}");
}

#[test]
fn an_own_request_that_overtook_another_is_not_taken_for_a_foreign_one() {
    let begin = Instant::now();
    let mut policy = guided(begin, 99);
    let mut slots: Vec<Slot> = (0..8).map(|_| go(&mut policy, begin)).collect();
    // the server counted all eight before it answered the first
    policy.answered(&slots.remove(0), begin + millis(5), &remaining(91));
    assert!(matches!(policy.try_acquire(begin + millis(5), MANY), Decision::Go(_)));
}

#[test]
fn what_got_through_before_a_429_without_headers_is_asked_for_after_it() {
    let begin = Instant::now();
    let mut policy = Policy::new(RATE, begin);
    let mut now = begin;
    let mut sent = 0;
    let limited = RateHeaders { limited: true, ..RateHeaders::default() };
    // the server's limit is 50
    loop {
        match policy.try_acquire(now, MANY) {
            Decision::Go(slot) if sent < 50 => {
                sent += 1;
                policy.answered(&slot, now, &RateHeaders::default());
            }
            Decision::Go(slot) => {
                policy.answered(&slot, now, &limited);
                break;
            }
            Decision::WaitUntil(until) => now = until,
            Decision::WaitForAnswer => panic!("nothing is in flight"),
        }
    }
    let (from, mut after) = (now + WINDOW, 0);
    while now < from + WINDOW {
        match policy.try_acquire(now, MANY) {
            Decision::Go(slot) => {
                after += u32::from(now >= from);
                policy.answered(&slot, now, &RateHeaders::default());
            }
            Decision::WaitUntil(until) => now = until,
            Decision::WaitForAnswer => panic!("nothing is in flight"),
        }
    }
    assert!((45..=51).contains(&after), "{after}");
}

#[test]
fn a_reset_counts_only_where_it_is_near_and_retry_after_always() {
    let now = Instant::now();
    let seconds = Duration::from_secs;
    let cases = [
        (None, Some(seconds(2)), seconds(2)),
        (None, Some(seconds(6)), seconds(6)),
        (None, Some(seconds(7)), seconds(1)),
        (None, Some(seconds(86_400)), seconds(1)),
        (Some(seconds(5)), Some(seconds(2)), seconds(5)),
        (Some(seconds(86_400)), None, seconds(86_400)),
        (None, None, seconds(1)),
    ];
    for (retry_after, reset, expected) in cases {
        let mut policy = Policy::new(RATE, now);
        let slot = go(&mut policy, now);
        policy.answered(
            &slot,
            now,
            &RateHeaders { limited: true, retry_after, reset, ..RateHeaders::default() },
        );
        assert_eq!(
            policy.try_acquire(now, 1),
            Decision::WaitUntil(now + expected),
            "{retry_after:?} {reset:?}"
        );
    }
}

#[test]
fn a_remaining_that_is_always_0_does_not_hold_a_run_for_long() {
    let begin = Instant::now();
    let mut policy = Policy::new(RATE, begin);
    let (mut now, mut sent) = (begin, 0);
    while now < begin + 10 * WINDOW {
        match policy.try_acquire(now, MANY) {
            Decision::Go(slot) => {
                sent += 1;
                policy.answered(&slot, now, &remaining(0));
            }
            Decision::WaitUntil(until) => now = until,
            Decision::WaitForAnswer => panic!("nothing is in flight"),
        }
    }
    assert!(sent > 300, "{sent} in the time of 1000");
}

#[test]
fn the_newest_limit_counts_up_to_that_of_the_rate() {
    let now = Instant::now();
    let mut policy = Policy::new(RATE, now);
    for (limit, expected) in [(Some(40), 40), (None, 40), (Some(1), 1), (Some(60), 60), (Some(1_000), 100)] {
        let slot = policy.record_foreign(now);
        policy.answered(&slot, now, &RateHeaders { limit, ..RateHeaders::default() });
        assert_eq!(policy.limit(), expected, "{limit:?}");
    }
}

#[test]
fn an_abandoned_request_keeps_its_slot_for_a_window_and_frees_the_gate() {
    let now = Instant::now();
    let mut policy = Policy::new(Rate { requests: 1, window: WINDOW }, now);
    let gone = policy.record_foreign(now);
    assert_eq!(policy.try_acquire(now, 1), Decision::WaitForAnswer);
    policy.abandon(&gone, now + millis(500));
    assert_eq!(policy.try_acquire(now + millis(500), 1), Decision::WaitUntil(now + millis(500) + WINDOW));
    let slot = go(&mut policy, now + millis(500) + WINDOW);
    assert!(slot.alone, "it is not known whether the API answers");
}

#[test]
fn a_foreign_request_sent_without_knowledge_of_the_429_ends_no_wait() {
    let now = Instant::now();
    let mut policy = guided(now, 99);
    let wait = Duration::from_secs(7);
    let slot = go(&mut policy, now);
    policy.answered(
        &slot,
        now,
        &RateHeaders { limited: true, retry_after: Some(wait), ..RateHeaders::default() },
    );
    let stranger = policy.record_foreign(now + millis(100));
    assert_eq!(policy.closed_until(), Some(now + wait));
    policy.answered(&stranger, now + millis(200), &RateHeaders::default());
    assert_eq!(policy.try_acquire(now + millis(300), 1), Decision::WaitUntil(now + wait));
    // after the wait it is a probe as any other
    let probe = policy.record_foreign(now + wait);
    assert_eq!(policy.try_acquire(now + wait, 1), Decision::WaitForAnswer);
    policy.answered(&probe, now + wait, &RateHeaders::default());
    assert!(matches!(policy.try_acquire(now + wait + WINDOW, 1), Decision::Go(_)));
}

/// Headers as no sane server sends them.
fn nonsense() -> impl Strategy<Value = RateHeaders> {
    let seconds =
        prop_oneof![Just(None), (1_u64..=86_400).prop_map(|seconds| Some(Duration::from_secs(seconds)))];
    let number = || prop_oneof![Just(None), any::<u32>().prop_map(Some), (0_u32..200).prop_map(Some)];
    (prop::bool::weighted(0.1), seconds, number(), number()).prop_map(|(limited, reset, limit, remaining)| {
        RateHeaders { limited, retry_after: None, reset, limit: limit.filter(|limit| *limit > 0), remaining }
    })
}

proptest! {
    #[test]
    fn nonsense_neither_hangs_nor_stampedes(
        answers in prop::collection::vec((nonsense(), 0_u64..4_000, any::<bool>()), 1..400),
        left in prop_oneof![Just(MANY), 1_u64..300],
    ) {
        let mut now = Instant::now();
        let mut policy = Policy::new(RATE, now);
        let mut in_flight: Vec<(Instant, Slot, RateHeaders)> = Vec::new();
        let mut sent: Vec<Instant> = Vec::new();
        for (headers, latency, soon) in answers {
            loop {
                in_flight.sort_by_key(|(at, ..)| *at);
                let come = in_flight.iter().take_while(|(at, ..)| *at <= now).count();
                for (at, slot, headers) in in_flight.drain(..come) {
                    policy.answered(&slot, at.max(now), &headers);
                }
                let next = in_flight.first().map(|(at, ..)| *at);
                match policy.try_acquire(now, left) {
                    Decision::Go(slot) => {
                        sent.push(now);
                        in_flight.push((now + millis(if soon { 1 } else { latency }), slot, headers));
                        break;
                    }
                    Decision::WaitUntil(until) => {
                        prop_assert!(until > now && until <= now + 2 * WINDOW + millis(1), "{:?}", until - now);
                        now = next.map_or(until, |next| next.min(until));
                    }
                    Decision::WaitForAnswer => {
                        prop_assert!(next.is_some(), "waits for an answer although nothing is in flight");
                        now = next.unwrap_or(now);
                    }
                }
            }
        }
        for (first, at) in sent.iter().enumerate() {
            let inside = sent[first..].iter().take_while(|later| **later < *at + WINDOW).count();
            prop_assert!(inside <= N as usize, "{} in a window", inside);
        }
    }
}
