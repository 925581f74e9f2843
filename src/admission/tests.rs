//! Whether a wait may be waited, and what is remembered of organizations.

use super::*;
use crate::fetch::tests::run_options;
use crate::remote::rate_headers::RateHeaders;

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn a_wait_is_judged_by_the_graver_limit_that_it_passes() {
    let hour = 60 * MINUTE;
    for (wait, limited, left, expected) in [
        (1, 0, None, Longest::Waits),
        (60, 0, None, Longest::Waits),
        (61, 0, None, Longest::Outage),
        (30, 40, None, Longest::Outage),
        (10, 0, Some(10), Longest::Waits),
        (11, 0, Some(10), Longest::Deadline),
        // both
        (120, 0, Some(10), Longest::Outage),
        // the deadline comes before an hour of 429
        (30, 40, Some(10), Longest::Deadline),
        (30, 40, Some(30), Longest::Outage),
    ] {
        let left = left.map(|left: u32| left * MINUTE);
        assert_eq!(
            longest(wait * MINUTE, limited * MINUTE, left, hour),
            expected,
            "{wait} {limited} {left:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_nobody_waits_for_stops_no_run() {
    let control = Admission::new(&run_options(std::path::Path::new("unused")), Events::none());
    let permit = control.limiter.acquire(10).await;
    let wait = Some(120 * MINUTE);
    permit.answered(&RateHeaders { limited: true, retry_after: wait, ..RateHeaders::default() });
    control.closed();
    assert!(!control.is_draining(), "every row has its answer");
    let waiting = control.limiter.acquire(9);
    assert!(tokio::time::timeout(MINUTE, waiting).await.is_err());
    control.closed();
    assert!(!control.is_draining(), "who waited is gone");
    let mut waiting = Box::pin(control.limiter.acquire(9));
    assert!(tokio::time::timeout(MINUTE, &mut waiting).await.is_err());
    control.closed();
    assert!(control.is_draining());
}

#[test]
fn many_organizations_with_refusals_are_not_looked_through_again_and_again() {
    let mut orgs = Orgs { known: HashMap::new(), most: REMEMBERED };
    let mut looks = 0;
    for org in 0..100_000 {
        let most = orgs.most;
        orgs.of(org).refused = 1;
        looks += u32::from(orgs.most != most);
    }
    assert!(looks <= 4 && orgs.known.len() <= orgs.most, "{looks} looks, the next one at {}", orgs.most);
    for org in orgs.known.values_mut() {
        org.refused = 0;
    }
    for org in 100_000..200_000 {
        orgs.of(org);
    }
    assert!(orgs.known.len() <= 100_000, "those with nothing to remember are forgotten");
}
