//! The request clock's goals in numbers, against simulated servers of three kinds whose answers carry rate headers
//! always, on a 429 only, or never. All on a paused clock.

#[path = "../benches/request_clock/sim.rs"]
mod sim;

use std::time::Duration;

use exporter::options;
use proptest::prelude::*;

use sandbox::limiter::{Algorithm, Rate, SendHeaders};
use sim::{Case, Outcome, least, run};

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Log, Algorithm::Counter, Algorithm::Fixed];
const HEADERS: [SendHeaders; 3] = [SendHeaders::Always, SendHeaders::Only429, SendHeaders::Never];
const WINDOW: Duration = Duration::from_secs(3);

fn cells(limit: u32) -> impl Iterator<Item = Rate> {
    ALGORITHMS.into_iter().flat_map(move |algorithm| {
        HEADERS.into_iter().map(move |headers| Rate { limit, window: WINDOW, algorithm, headers })
    })
}

fn percent(outcome: &Outcome, case: &Case) -> f64 {
    let rows = case.rows * u64::from(case.clients);
    let number = |count: u64| f64::from(u32::try_from(count).expect("few"));
    100.0 * number(outcome.limited(case) as u64) / number(rows)
}

#[test]
fn one_client_needs_hardly_more_than_the_least_time_and_gets_no_429() {
    for server in cells(100) {
        for phase in [0.0, 0.2, 0.4, 0.6, 0.8] {
            let case = Case { phase, seed: 3, ..Case::new(server, 650) };
            let (outcome, least) = (run(&case), least(&case));
            assert_eq!(outcome.limited(&case), 0, "{server:?} {phase}");
            let admitted = outcome.seen.iter().filter(|seen| seen.admitted).count();
            assert_eq!(admitted, 650, "{server:?} {phase}");
            let ratio = outcome.makespan().as_secs_f64() / least.as_secs_f64();
            assert!(ratio <= 1.05, "{server:?} {phase}: {ratio:.3} of {least:?}");
        }
    }
}

#[test]
fn a_job_that_fits_is_not_slowed() {
    for algorithm in ALGORITHMS {
        for headers in HEADERS {
            let server = Rate { limit: 1000, window: Duration::from_secs(60), algorithm, headers };
            let case = Case { phase: 0.5, ..Case::new(server, 300) };
            let outcome = run(&case);
            // 300 rows, 32 at a time, 6 ms at most: what the network alone takes
            assert!(outcome.makespan() < Duration::from_millis(80), "{server:?}: {:?}", outcome.makespan());
        }
    }
}

#[test]
fn a_job_of_the_whole_allowance_is_not_slowed_on_a_fresh_window() {
    for algorithm in ALGORITHMS {
        for headers in HEADERS {
            for (rows, seed) in [(960, 1), (1000, 2), (1000, 3)] {
                let server = Rate { limit: 1000, window: Duration::from_secs(60), algorithm, headers };
                let case = Case { seed, ..Case::new(server, rows) };
                let outcome = run(&case);
                assert_eq!(outcome.limited(&case), 0, "{server:?}");
                assert!(
                    outcome.makespan() < Duration::from_millis(250),
                    "{server:?}: {:?}",
                    outcome.makespan()
                );
            }
        }
    }
}

#[test]
fn four_machines_share_by_headers_alone() {
    for algorithm in ALGORITHMS {
        for (headers, share, limited) in [(SendHeaders::Always, 0.94, 1.0), (SendHeaders::Only429, 0.75, 2.5)]
        {
            for seed in 0_u32..3 {
                let server = Rate { limit: 400, window: WINDOW, algorithm, headers };
                let case = Case {
                    clients: 4,
                    phase: 0.3 * f64::from(seed),
                    seed: seed.into(),
                    stagger: Duration::from_millis(40),
                    ..Case::new(server, 2600)
                };
                let outcome = run(&case);
                let (used, refused) = (outcome.busy_share(&case), percent(&outcome, &case));
                assert!(used >= share && refused <= limited, "{server:?} {seed}: {used:.3}, {refused:.2} %");
            }
        }
    }
}

#[test]
fn what_a_stranger_leaves_is_used_and_all_of_it_after_he_is_gone() {
    for algorithm in ALGORITHMS {
        let server = Rate { limit: 200, window: WINDOW, algorithm, headers: SendHeaders::Always };
        let gone = WINDOW * 5;
        let case =
            Case { stranger: Some((100, Duration::ZERO, gone)), phase: 0.3, ..Case::new(server, 2000) };
        let outcome = run(&case);
        let (before, after) =
            (outcome.share(&case, WINDOW, gone), outcome.share(&case, gone + 2 * WINDOW, gone + 5 * WINDOW));
        assert!(before >= 0.9 && after >= 0.94, "{algorithm:?}: {before:.3}, {after:.3}");
        assert!(percent(&outcome, &case) <= 2.0, "{algorithm:?}: {:.2} %", percent(&outcome, &case));
    }
}

#[test]
fn a_start_right_after_a_run_on_another_machine_costs_one_429() {
    for server in cells(100) {
        let case = Case { before: 100, phase: 0.4, ..Case::new(server, 300) };
        let outcome = run(&case);
        // who is not told how long waits 1 s, then 2 s: 3 s are a window here
        let most = if server.headers == SendHeaders::Never { 2 } else { 1 };
        assert!(outcome.limited(&case) <= most, "{server:?}: {}", outcome.limited(&case));
    }
}

/// Another machine has just used a window, or a part of it; from the next one on all of the allowance is there.
#[test]
fn a_429_at_the_start_costs_no_more_than_its_window() {
    for server in cells(100) {
        for before in [50, 90, 99, 100] {
            // without any header it might as well be a lower limit
            if before == 50 && server.headers == SendHeaders::Never {
                continue;
            }
            let case = Case { before, phase: 0.2, ..Case::new(server, 650) };
            let outcome = run(&case);
            let used = outcome.share(&case, 2 * WINDOW, 6 * WINDOW);
            assert!(used >= 0.93, "{server:?} {before}: {used:.3}");
        }
    }
}

#[test]
fn a_lower_limit_is_found_out() {
    for server in cells(100) {
        let rate = options::Rate { requests: 200, window: WINDOW };
        let case = Case { rate, phase: 0.4, ..Case::new(server, 1300) };
        let outcome = run(&case);
        assert!(percent(&outcome, &case) <= 2.0, "{server:?}: {:.2} %", percent(&outcome, &case));
        assert!(outcome.busy_share(&case) >= 0.75, "{server:?}: {:.3}", outcome.busy_share(&case));
    }
}

#[test]
fn a_higher_limit_changes_nothing() {
    for server in cells(300) {
        let rate = options::Rate { requests: 100, window: WINDOW };
        let case = Case { rate, phase: 0.4, ..Case::new(server, 650) };
        let outcome = run(&case);
        assert!(most_in_a_window(&outcome) <= 100, "{server:?}");
        assert!(
            outcome.makespan() <= Duration::from_secs_f64(19.5 * 1.05),
            "{server:?}: {:?}",
            outcome.makespan()
        );
    }
}

fn most_in_a_window(outcome: &Outcome) -> usize {
    let mut at: Vec<Duration> = outcome.seen.iter().map(|seen| seen.at).collect();
    at.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for (last, time) in at.iter().enumerate() {
        while at[first] + WINDOW <= *time {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_lone_client_never_overspends_whatever_the_latency(
        limit in 5_u32..120,
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
        headers in prop::sample::select(HEADERS.to_vec()),
        phase in 0.0..1.0_f64,
        (fastest, slowest) in (0_u64..3000).prop_flat_map(|slowest| (0..=slowest, Just(slowest))),
        concurrency in 1_u32..64,
        seed in any::<u64>(),
    ) {
        let server = Rate { limit, window: WINDOW, algorithm, headers };
        let rows = u64::from(limit) * 4;
        let case = Case { phase, latency: (fastest, slowest), concurrency, seed, ..Case::new(server, rows) };
        let outcome = run(&case);
        prop_assert!(most_in_a_window(&outcome) <= limit as usize);
        prop_assert_eq!(outcome.seen.iter().filter(|seen| seen.admitted).count() as u64, rows);
        prop_assert!(outcome.limited(&case) <= 4, "{} 429s", outcome.limited(&case));
    }
}
