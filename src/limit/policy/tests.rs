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
fn a_reset_is_believed_as_far_as_retry_after_whatever_the_own_window() {
    let now = Instant::now();
    let seconds = Duration::from_secs;
    let cases = [
        (None, Some(seconds(2)), seconds(2)),
        (None, Some(seconds(6)), seconds(6)),
        (None, Some(seconds(7)), seconds(7)),
        (None, Some(seconds(86_400)), seconds(86_400)),
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

/// Sends as fast as the policy allows from `now` until `until`; the server refuses what `refuses` says.
fn send_until(
    policy: &mut Policy,
    mut now: Instant,
    until: Instant,
    mut refuses: impl FnMut(Instant) -> bool,
) -> u32 {
    let mut admitted = 0;
    while now < until {
        match policy.try_acquire(now, MANY) {
            Decision::Go(slot) => {
                let limited = refuses(now);
                admitted += u32::from(!limited);
                let headers = RateHeaders { limited, ..RateHeaders::default() };
                policy.answered(&slot, now, &headers);
            }
            Decision::WaitUntil(then) => now = then,
            Decision::WaitForAnswer => panic!("nothing is in flight"),
        }
    }
    admitted
}

#[test]
fn a_429_that_the_own_speed_did_not_cause_lowers_nothing() {
    let begin = Instant::now();
    // another machine has left room for so many in this window
    for left in [0, 1, 10, 40] {
        let mut policy = Policy::new(RATE, begin);
        let mut sent = 0;
        let full = begin + WINDOW;
        send_until(&mut policy, begin, full, |_| {
            sent += 1;
            sent > left
        });
        let next = full + WINDOW;
        let admitted = send_until(&mut policy, next, next + WINDOW, |_| false);
        assert!(admitted >= 97, "{left}: {admitted} in the next window");
    }
}

#[test]
fn a_429_that_meets_a_run_which_its_pace_does_not_hold_back_lowers_nothing() {
    let begin = Instant::now();
    let mut policy = Policy::new(RATE, begin);
    let mut now = begin;
    for n in 0..60 {
        now = begin + n * millis(100);
        let slot = go(&mut policy, now);
        let limited = n == 59;
        policy.answered(&slot, now, &RateHeaders { limited, ..RateHeaders::default() });
    }
    let after = now + 2 * WINDOW;
    let admitted = send_until(&mut policy, after, after + WINDOW, |_| false);
    assert!(admitted >= 97, "{admitted}");
}

#[test]
fn a_second_429_in_the_next_window_lowers_the_pace() {
    let begin = Instant::now();
    let mut policy = Policy::new(RATE, begin);
    let mut sent = 0;
    // the server's limit is 30, and it counts in windows that begin with the run
    for window in 0..2 {
        let from = begin + window * WINDOW;
        sent = 0;
        send_until(&mut policy, from, from + WINDOW, |_| {
            sent += 1;
            sent > 30
        });
    }
    assert!(sent <= 33, "{sent}");
    let from = begin + 4 * WINDOW;
    let admitted = send_until(&mut policy, from, from + WINDOW, |_| false);
    assert!((20..=32).contains(&admitted), "{admitted}");
}

#[test]
fn a_part_of_the_allowance_is_kept_to_and_ends() {
    let begin = Instant::now();
    let mut policy = Policy::new(RATE, begin);
    policy.divide(2, begin);
    let half = send_until(&mut policy, begin, begin + WINDOW, |_| false);
    assert!((47..=50).contains(&half), "{half}");
    assert_eq!((policy.limit(), policy.allowance()), (50, 100));
    // a lower limit of the server is divided, too
    let slot = policy.record_foreign(begin + WINDOW);
    policy.answered(&slot, begin + WINDOW, &RateHeaders { limit: Some(40), ..RateHeaders::default() });
    assert_eq!((policy.limit(), policy.allowance()), (20, 40));
    policy.divide(1, begin + WINDOW);
    assert_eq!(policy.limit(), 40);
}

#[test]
fn a_job_that_just_fits_is_not_paced_though_answers_overtake_each_other() {
    let now = Instant::now();
    let mut policy = Policy::new(RATE, now);
    let probe = policy.try_acquire(now, 100);
    let Decision::Go(probe) = probe else { panic!("{probe:?}") };
    policy.answered(&probe, now, &remaining(99));
    let mut left = 99;
    while left > 0 {
        let mut slots = Vec::new();
        for _ in 0..left.min(9) {
            let Decision::Go(slot) = policy.try_acquire(now, left) else { panic!("paced with {left} left") };
            slots.push(slot);
            left -= 1;
        }
        // the server counted them all before it answered the first
        for slot in slots {
            policy.answered(&slot, now, &remaining(u32::try_from(left).expect("small")));
        }
    }
}

#[test]
fn a_late_answer_of_another_run_frees_its_slot_in_time() {
    let now = Instant::now();
    let mut policy = Policy::new(Rate { requests: 2, window: WINDOW }, now);
    let late = policy.record_foreign(now);
    let own = policy.record_foreign(now + millis(2000));
    policy.answered(&own, now + millis(2000), &RateHeaders::default());
    policy.answered(&late, now + millis(10), &RateHeaders::default());
    assert_eq!(policy.try_acquire(now + millis(2500), 1), Decision::WaitUntil(now + WINDOW + millis(10)));
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
                        // a 429 may name a day
                        let longest = policy.closed_until().map_or(2 * WINDOW + millis(1), |_| millis(86_400_000));
                        prop_assert!(until > now && until <= now + longest, "{:?}", until - now);
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
