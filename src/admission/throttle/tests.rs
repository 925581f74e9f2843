//! Which waits fit, and when a wait that was announced to another run stops this one.

use super::*;
use crate::admission::tests::run_options;
use crate::event::Events;
use crate::remote::rate_headers::RateHeaders;

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn a_wait_is_judged_by_the_graver_limit_that_it_passes() {
    let hour = 60 * MINUTE;
    for (wait, limited, left, expected) in [
        (1, 0, None, WaitVerdict::Fits),
        (60, 0, None, WaitVerdict::Fits),
        (61, 0, None, WaitVerdict::TooLong),
        (30, 40, None, WaitVerdict::TooLong),
        (10, 0, Some(10), WaitVerdict::Fits),
        (11, 0, Some(10), WaitVerdict::BeyondDeadline),
        // both
        (120, 0, Some(10), WaitVerdict::TooLong),
        // the deadline comes before an hour of 429
        (30, 40, Some(10), WaitVerdict::BeyondDeadline),
        (30, 40, Some(30), WaitVerdict::TooLong),
    ] {
        let left = left.map(|left: u32| left * MINUTE);
        assert_eq!(
            judge_wait(wait * MINUTE, limited * MINUTE, left, hour),
            expected,
            "{wait} {limited} {left:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_announced_wait_stops_a_run_only_if_a_row_waits_for_the_api() {
    let admission = Admission::new(&run_options(std::path::Path::new("unused")), Events::none());
    let permit = admission.limiter.acquire(10).await;
    let wait = Some(120 * MINUTE);
    permit.answered(&RateHeaders { limited: true, retry_after: wait, ..RateHeaders::default() });
    admission.check_announced_wait();
    assert!(!admission.drain.is_draining(), "every row has its answer");
    let waiting = admission.limiter.acquire(9);
    assert!(tokio::time::timeout(MINUTE, waiting).await.is_err());
    admission.check_announced_wait();
    assert!(!admission.drain.is_draining(), "the row that waited is gone");
    let mut waiting = Box::pin(admission.limiter.acquire(9));
    assert!(tokio::time::timeout(MINUTE, &mut waiting).await.is_err());
    admission.check_announced_wait();
    assert!(admission.drain.is_draining());
}

#[test]
fn a_wait_of_hours_that_later_runs_keep_names_the_folder_that_keeps_it() {
    let throttle = |kept_in| Throttle::new(60 * MINUTE, kept_in);
    let kept = throttle(Some("/state/exporter".into()));
    assert!(kept.remedy(24 * 60 * MINUTE).contains("/state/exporter"));
    assert_eq!(kept.remedy(5 * MINUTE), "", "over before anyone would do anything about it");
    assert_eq!(throttle(None).remedy(24 * 60 * MINUTE), "", "nothing is kept");
}
