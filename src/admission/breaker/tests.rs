//! Each rule of an outage, on a clock that the test sets.

use super::*;
use crate::error::ErrorResponse;

fn down() -> Failure {
    Failure::ApiDown(ErrorResponse { status: 503, ..ErrorResponse::default() })
}

fn refused() -> Failure {
    Failure::Connect { service: Service::Api, what: "refused".to_owned() }
}

fn breaker() -> (Breaker, Instant) {
    (Breaker::new(Duration::from_secs(100), Duration::from_secs(10)), Instant::now())
}

#[test]
fn five_different_rows_in_succession_are_an_outage() {
    let (mut breaker, now) = breaker();
    for seq in 1..=4 {
        assert_eq!(breaker.failed(seq, &down(), 50, now).0, Charge::Image);
        assert_eq!(breaker.failed(seq, &down(), 50, now).0, Charge::Image, "the same row again is one row");
    }
    let (charge, change) = breaker.failed(5, &down(), 50, now);
    assert_eq!(charge, Charge::Outage);
    assert!(matches!(change, Some(Transition::Opened(_))));
    assert!(breaker.was_outage(Service::Api, now), "what led to it is refunded");
    assert!(!breaker.was_outage(Service::Storage, now));
    breaker.answered(5, Service::Api, now + Duration::from_secs(1), now + Duration::from_secs(1));
    assert!(breaker.was_outage(Service::Api, now), "also after it");
    assert!(
        !breaker.was_outage(Service::Api, now + Duration::from_secs(2)),
        "what comes later is no part of it"
    );
}

#[test]
fn a_success_between_starts_the_count_again() {
    let (mut breaker, now) = breaker();
    for seq in 1..=4 {
        breaker.failed(seq, &down(), 50, now);
    }
    breaker.answered(9, Service::Api, now, now);
    assert_eq!(breaker.failed(5, &down(), 50, now), (Charge::Image, None));
}

#[test]
fn an_answer_of_the_api_says_nothing_of_the_storage() {
    let (mut breaker, now) = breaker();
    let silent = Failure::StorageDown(ErrorResponse::default());
    for seq in 1..=4 {
        breaker.failed(seq, &silent, 50, now);
        breaker.answered(seq, Service::Api, now, now);
    }
    assert!(breaker.failed(5, &silent, 50, now).1.is_some());
}

#[test]
fn with_fewer_than_five_rows_left_each_uses_its_own_attempts() {
    let (mut breaker, now) = breaker();
    for seq in 1..=9 {
        assert_eq!(breaker.failed(seq, &down(), 4, now), (Charge::Image, None));
    }
}

#[test]
fn one_probe_at_a_time_goes_out_and_its_answer_ends_the_outage() {
    let (mut breaker, now) = breaker();
    breaker.answered(1, Service::Api, now, now);
    assert!(breaker.failed(1, &refused(), 50, now).1.is_some());
    assert_eq!(breaker.admit(2, now), Admit::WaitUntil(now + FIRST_PROBE_PAUSE));
    let later = now + FIRST_PROBE_PAUSE;
    assert_eq!(breaker.admit(2, later), Admit::Probe);
    assert_eq!(breaker.admit(3, later), Admit::WaitForProbe);
    assert_eq!(breaker.failed(2, &refused(), 50, later), (Charge::Outage, None));
    assert!(matches!(breaker.admit(3, later), Admit::WaitUntil(_)), "probes keep a distance");
    let later = later + FIRST_PROBE_PAUSE * 2;
    assert_eq!(breaker.admit(3, later), Admit::Probe);
    assert_eq!(breaker.answered(3, Service::Api, later, later), Some(Transition::Closed(later - now)));
    assert_eq!(breaker.admit(4, later), Admit::Go);
}

#[test]
fn an_outage_before_the_first_answer_ends_the_run_sooner() {
    let (mut breaker, now) = breaker();
    breaker.failed(1, &refused(), 50, now);
    assert_eq!(breaker.admit(2, now + Duration::from_secs(10)), Admit::Over);
    let (mut breaker, now) = self::breaker();
    breaker.answered(1, Service::Api, now, now);
    breaker.failed(1, &refused(), 50, now);
    assert_ne!(breaker.admit(2, now + Duration::from_secs(10)), Admit::Over);
    breaker.release_probe(2);
    assert_eq!(breaker.admit(2, now + Duration::from_secs(100)), Admit::Over);
}

#[test]
fn a_row_whose_host_alone_is_dead_pays_for_itself_the_next_time() {
    let (mut breaker, now) = breaker();
    let dead = Failure::Connect { service: Service::Storage, what: "no such host".to_owned() };
    assert_eq!(breaker.failed(1, &dead, 50, now).0, Charge::Outage);
    breaker.answered(2, Service::Storage, now, now);
    assert_eq!(breaker.failed(1, &dead, 50, now), (Charge::Image, None));
}

#[test]
fn rows_with_dead_hosts_do_not_hold_the_others_for_ever() {
    let (mut breaker, mut now) = breaker();
    let dead = Failure::Connect { service: Service::Storage, what: "no such host".to_owned() };
    let mut outages = 0;
    for round in 0..10 {
        for seq in 1..=20 {
            outages += u32::from(breaker.failed(seq, &dead, 50, now).1.is_some());
            now += FIRST_PROBE_PAUSE;
            breaker.answered(100 + round, Service::Storage, now, now);
        }
    }
    assert_eq!(outages, 5, "each began one at most, and five of them are enough to know");
    for seq in 1..=20 {
        assert_eq!(breaker.failed(seq, &dead, 50, now).0, Charge::Image);
        breaker.answered(100, Service::Storage, now, now);
    }
}

#[test]
fn an_outage_of_five_rows_is_refunded_and_one_that_a_single_row_met_is_not() {
    for rows in [1, 5] {
        let (mut breaker, now) = breaker();
        for seq in 1..=rows {
            breaker.failed(seq, &if rows == 1 { refused() } else { down() }, 50, now);
        }
        let later = now + Duration::from_secs(5);
        breaker.answered(9, Service::Api, later, later);
        assert_eq!(breaker.was_outage(Service::Api, now), rows == 5, "{rows} rows");
    }
}

#[test]
fn an_outage_that_another_row_met_too_is_refunded() {
    let (mut breaker, now) = breaker();
    breaker.answered(9, Service::Api, now, now);
    assert!(breaker.failed(1, &refused(), 50, now).1.is_some());
    assert_eq!(breaker.failed(2, &refused(), 50, now).0, Charge::Outage);
    let later = now + Duration::from_secs(5);
    breaker.answered(3, Service::Api, later, later);
    assert!(breaker.was_outage(Service::Api, now) && breaker.was_outage(Service::Api, later));
}

#[test]
fn an_outage_is_not_over_while_its_probe_is_out() {
    let (mut breaker, now) = breaker();
    breaker.answered(1, Service::Api, now, now);
    breaker.failed(1, &refused(), 50, now);
    assert_eq!(breaker.admit(2, now + FIRST_PROBE_PAUSE), Admit::Probe);
    let end = now + Duration::from_secs(100);
    assert_eq!(breaker.admit(3, end), Admit::WaitForProbe);
    breaker.failed(2, &refused(), 50, end);
    assert_eq!(breaker.admit(3, end), Admit::Over);
}

#[test]
fn a_probe_that_leaves_makes_room_for_the_next() {
    let (mut breaker, now) = breaker();
    breaker.failed(1, &refused(), 50, now);
    let later = now + FIRST_PROBE_PAUSE;
    assert_eq!(breaker.admit(2, later), Admit::Probe);
    breaker.release_probe(2);
    assert_eq!(breaker.admit(3, later), Admit::Probe);
}

#[test]
fn the_pause_between_probes_doubles_up_to_its_maximum() {
    let (mut breaker, mut now) = breaker();
    breaker.answered(9, Service::Api, now, now);
    breaker.failed(1, &refused(), 50, now);
    let mut pause = FIRST_PROBE_PAUSE;
    for seq in 2..10 {
        let Admit::WaitUntil(next) = breaker.admit(seq, now) else { panic!("probe {seq} is early") };
        assert_eq!(next - now, pause, "before the probe of row {seq}");
        now = next;
        assert_eq!(breaker.admit(seq, now), Admit::Probe);
        breaker.failed(seq, &refused(), 50, now);
        pause = (pause * 2).min(PROBE_PAUSE_MAX);
    }
    assert_eq!(pause, PROBE_PAUSE_MAX);
}

#[test]
fn a_row_that_ends_its_own_outage_is_no_suspect() {
    let (mut breaker, now) = breaker();
    breaker.answered(9, Service::Api, now, now);
    for _ in 0..10 {
        assert_eq!(breaker.failed(1, &refused(), 50, now).0, Charge::Outage, "it never pays for the network");
        breaker.answered(1, Service::Api, now, now);
        assert!(breaker.was_outage(Service::Api, now), "and gets its attempts back");
    }
}

#[test]
fn an_outage_that_several_rows_led_to_stays_one_when_another_row_ends_it() {
    let (mut breaker, now) = breaker();
    for seq in 1..=5 {
        breaker.failed(seq, &down(), 50, now);
    }
    breaker.answered(9, Service::Api, now + Duration::from_secs(1), now + Duration::from_secs(1));
    assert!(breaker.was_outage(Service::Api, now));
}

#[test]
fn a_failure_may_be_an_outage_until_the_breaker_opens_or_the_service_answers() {
    let (mut breaker, now) = breaker();
    breaker.failed(1, &down(), 50, now);
    assert!(breaker.may_be_outage(1, Service::Api));
    assert!(!breaker.may_be_outage(2, Service::Api), "another row");
    assert!(!breaker.may_be_outage(1, Service::Storage), "another service");
    breaker.answered(9, Service::Api, now, now);
    assert!(!breaker.may_be_outage(1, Service::Api), "the service has answered");
    for seq in 1..=5 {
        breaker.failed(seq, &down(), 50, now);
    }
    assert!(!breaker.may_be_outage(1, Service::Api), "it is one");
}

#[test]
fn an_outage_names_its_service_its_duration_and_the_last_failure() {
    let (mut breaker, now) = breaker();
    assert_eq!(breaker.outage(now), None);
    breaker.failed(1, &refused(), 50, now);
    let (service, duration, last) = breaker.outage(now + Duration::from_secs(3)).expect("an outage");
    assert_eq!((service, duration), (Service::Api, Duration::from_secs(3)));
    assert_eq!(*last, refused().describe());
}

#[test]
fn an_answer_that_was_under_way_when_the_outage_began_does_not_end_it() {
    let (mut breaker, now) = breaker();
    let later = now + Duration::from_millis(5);
    breaker.failed(1, &refused(), 50, later);
    assert_eq!(breaker.answered(2, Service::Api, now, later), None, "no \"over after 0 s\"");
    let probe = later + FIRST_PROBE_PAUSE;
    assert_eq!(breaker.admit(1, probe), Admit::WaitUntil(probe + OTHERS_HEAD_START));
    assert_eq!(breaker.admit(3, probe), Admit::Probe);
    let end = probe + Duration::from_millis(20);
    assert_eq!(breaker.answered(3, Service::Api, probe, end), Some(Transition::Closed(end - later)));
}

#[test]
fn a_service_that_names_a_time_is_not_probed_before_it() {
    let wait = Duration::from_secs(7);
    let busy = || {
        Failure::ApiDown(ErrorResponse { status: 503, retry_after: Some(wait), ..ErrorResponse::default() })
    };
    let (mut breaker, now) = breaker();
    for seq in 1..=5 {
        breaker.failed(seq, &busy(), 50, now);
    }
    assert_eq!(breaker.admit(9, now), Admit::WaitUntil(now + wait));
    let later = now + Duration::from_secs(1);
    breaker.failed(6, &busy(), 50, later);
    assert_eq!(breaker.admit(9, later), Admit::WaitUntil(later + wait), "a later answer names a later time");
    assert_eq!(breaker.admit(9, later + wait), Admit::Probe);
}
