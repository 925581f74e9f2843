//! Is it one image that is sick, or the whole way? An outage is a state of the run, not of its rows.
//!
//! Pure: fed with what each try met, on whatever clock it is given. An outage begins where a connection cannot be
//! made, or where five different rows in succession get no whole answer from a service. While it lasts one probe
//! at a time goes out, and no image pays for it. [`crate::admission`] makes the tasks wait.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Failure, ItemError, Service};

/// So many different rows in succession without a whole answer are an outage.
const ROWS: usize = 5;
/// From so many rows on that are sick alone a refused connection is theirs, not a sign of an outage.
const MANY_SICK: usize = 5;
/// Pause between two probes at first, doubled each time.
const FIRST_PROBE: Duration = Duration::from_millis(500);
/// Longest pause between two probes.
const LAST_PROBE: Duration = Duration::from_secs(30);

/// What a row that wants to try has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Go ahead.
    Go,
    /// Go ahead as the probe of an outage.
    Probe,
    /// Ask again then, or when something changed.
    WaitUntil(Instant),
    /// Ask again when something changed: a probe is out.
    WaitForProbe,
    /// The outage lasted too long.
    Over,
}

/// What became of the try in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It counts against the image.
    Counts,
    /// It belongs to an outage.
    Free,
}

/// A change that people should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An outage begins.
    Down(String),
    /// It is over, after so long.
    Up(Duration),
}

#[derive(Debug)]
struct Outage {
    service: Service,
    since: Instant,
    probe: Option<i64>,
    next_probe: Instant,
    pause: Duration,
    /// The row that began it.
    first: i64,
    /// No other row met it so far.
    alone: bool,
    last: ItemError,
}

#[derive(Debug, Default)]
struct Streak {
    rows: Vec<i64>,
    began: Option<Instant>,
}

/// The books.
#[derive(Debug)]
pub struct Breaker {
    limit: Duration,
    limit_at_start: Duration,
    answered: bool,
    streaks: [Streak; 2],
    outage: Option<Outage>,
    /// Rows that began an outage which another row's success ended: theirs may be the fault, so that they pay for
    /// themselves the next time.
    sick: HashSet<i64>,
    /// Failures of that service from the first instant to the second (or still) belong to an outage and are given
    /// back.
    amnesty: Option<(Service, Instant, Option<Instant>)>,
}

const fn index(service: Service) -> usize {
    match service {
        Service::Api => 0,
        Service::Storage => 1,
    }
}

impl Breaker {
    /// All is well. An outage is waited out for `limit`, before the first answer of a run for `limit_at_start`.
    #[must_use]
    pub fn new(limit: Duration, limit_at_start: Duration) -> Self {
        Self {
            limit,
            limit_at_start: limit_at_start.min(limit),
            answered: false,
            streaks: [Streak::default(), Streak::default()],
            outage: None,
            sick: HashSet::new(),
            amnesty: None,
        }
    }

    /// May row `seq` try now?
    pub fn enter(&mut self, seq: i64, now: Instant) -> Entry {
        let limit = if self.answered { self.limit } else { self.limit_at_start };
        let Some(outage) = &mut self.outage else { return Entry::Go };
        let end = outage.since + limit;
        if outage.probe.is_some() {
            // what it meets decides; it has time limits of its own
            return Entry::WaitForProbe;
        }
        if now >= end {
            return Entry::Over;
        }
        if now < outage.next_probe {
            return Entry::WaitUntil(outage.next_probe.min(end));
        }
        outage.probe = Some(seq);
        Entry::Probe
    }

    /// A service gave row `seq` a whole answer, whatever it said.
    pub fn answered(&mut self, seq: i64, service: Service, now: Instant) -> Option<Change> {
        self.answered = true;
        self.streaks[index(service)] = Streak::default();
        let outage = self.outage.take_if(|outage| outage.service == service)?;
        if outage.first != seq {
            self.sick.insert(outage.first);
        }
        if outage.alone && outage.first != seq {
            self.amnesty = None;
        } else if let Some((_, _, until)) = &mut self.amnesty {
            *until = Some(now);
        }
        Some(Change::Up(now - outage.since))
    }

    /// Row `seq`'s try met `failure`; `left` rows, this one included, are not at their end.
    pub fn failed(
        &mut self,
        seq: i64,
        failure: &Failure,
        left: u64,
        now: Instant,
    ) -> (Charge, Option<Change>) {
        let probing =
            self.outage.as_mut().is_some_and(|outage| outage.probe.take_if(|row| *row == seq).is_some());
        let Some(service) = failure.silent_service() else { return (Charge::Counts, None) };
        if let Some(outage) = &mut self.outage {
            outage.alone &= outage.first == seq;
            if probing {
                outage.pause = (outage.pause * 2).min(LAST_PROBE);
                outage.next_probe = now + outage.pause;
                outage.last = failure.describe();
            }
            return (Charge::Free, None);
        }
        let streak = &mut self.streaks[index(service)];
        let began = *streak.began.get_or_insert(now);
        if !streak.rows.contains(&seq) {
            streak.rows.push(seq);
        }
        // where many rows lead to dead hosts while others get through, one more is no news
        let no_connection = matches!(failure, Failure::Connect { .. })
            && !self.sick.contains(&seq)
            && self.sick.len() < MANY_SICK;
        let many = streak.rows.len() >= ROWS && left >= ROWS as u64;
        if !no_connection && !many {
            return (Charge::Counts, None);
        }
        let last = failure.describe();
        let change = Change::Down(last.error.clone());
        self.outage = Some(Outage {
            service,
            since: now,
            probe: None,
            next_probe: now + FIRST_PROBE,
            pause: FIRST_PROBE,
            first: seq,
            alone: streak.rows.len() == 1,
            last,
        });
        self.amnesty = Some((service, began, None));
        (Charge::Free, Some(change))
    }

    /// Row `seq` gives up its turn without having met anything.
    pub fn left(&mut self, seq: i64) {
        if let Some(outage) = &mut self.outage {
            outage.probe.take_if(|row| *row == seq);
        }
    }

    /// Whether a failure of `service` at `when` belongs to an outage after all.
    #[must_use]
    pub fn forgives(&self, service: Service, when: Instant) -> bool {
        self.amnesty.is_some_and(|(its, since, until)| {
            its == service && when >= since && until.is_none_or(|until| when <= until)
        })
    }

    /// Whether nobody can tell yet if row `seq` is sick alone.
    #[must_use]
    pub fn undecided(&self, seq: i64, service: Service) -> bool {
        self.outage.is_none() && self.streaks[index(service)].rows.contains(&seq)
    }

    /// The outage that is on: who is out, for how long, and the last thing that was met.
    #[must_use]
    pub fn outage(&self, now: Instant) -> Option<(Service, Duration, &ItemError)> {
        self.outage.as_ref().map(|outage| (outage.service, now - outage.since, &outage.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorResponse;

    fn down() -> Failure {
        Failure::ApiDown(ErrorResponse { status: 503, ..ErrorResponse::default() })
    }

    fn refused() -> Failure {
        Failure::Connect { service: Service::Api, what: "refused".to_owned() }
    }

    fn health() -> (Breaker, Instant) {
        (Breaker::new(Duration::from_secs(100), Duration::from_secs(10)), Instant::now())
    }

    #[test]
    fn five_different_rows_in_succession_are_an_outage() {
        let (mut health, now) = health();
        for seq in 1..=4 {
            assert_eq!(health.failed(seq, &down(), 50, now).0, Charge::Counts);
            assert_eq!(
                health.failed(seq, &down(), 50, now).0,
                Charge::Counts,
                "the same row again is one row"
            );
        }
        let (charge, change) = health.failed(5, &down(), 50, now);
        assert_eq!(charge, Charge::Free);
        assert!(matches!(change, Some(Change::Down(_))));
        assert!(health.forgives(Service::Api, now), "what led to it is given back");
        assert!(!health.forgives(Service::Storage, now));
        health.answered(5, Service::Api, now + Duration::from_secs(1));
        assert!(health.forgives(Service::Api, now), "also after it");
        assert!(!health.forgives(Service::Api, now + Duration::from_secs(2)), "what comes later is not its");
    }

    #[test]
    fn a_success_between_starts_the_count_again() {
        let (mut health, now) = health();
        for seq in 1..=4 {
            health.failed(seq, &down(), 50, now);
        }
        health.answered(9, Service::Api, now);
        assert_eq!(health.failed(5, &down(), 50, now), (Charge::Counts, None));
    }

    #[test]
    fn an_answer_of_the_api_says_nothing_of_the_storage() {
        let (mut health, now) = health();
        let silent = Failure::StorageDown(ErrorResponse::default());
        for seq in 1..=4 {
            health.failed(seq, &silent, 50, now);
            health.answered(seq, Service::Api, now);
        }
        assert!(health.failed(5, &silent, 50, now).1.is_some());
    }

    #[test]
    fn with_fewer_than_five_rows_left_each_uses_its_own_attempts() {
        let (mut health, now) = health();
        for seq in 1..=9 {
            assert_eq!(health.failed(seq, &down(), 4, now), (Charge::Counts, None));
        }
    }

    #[test]
    fn one_probe_at_a_time_goes_out_and_its_answer_ends_the_outage() {
        let (mut health, now) = health();
        health.answered(1, Service::Api, now);
        assert!(health.failed(1, &refused(), 50, now).1.is_some());
        assert_eq!(health.enter(2, now), Entry::WaitUntil(now + FIRST_PROBE));
        let later = now + FIRST_PROBE;
        assert_eq!(health.enter(2, later), Entry::Probe);
        assert_eq!(health.enter(3, later), Entry::WaitForProbe);
        assert_eq!(health.failed(2, &refused(), 50, later), (Charge::Free, None));
        assert!(matches!(health.enter(3, later), Entry::WaitUntil(_)), "probes keep a distance");
        let later = later + FIRST_PROBE * 2;
        assert_eq!(health.enter(3, later), Entry::Probe);
        assert_eq!(health.answered(3, Service::Api, later), Some(Change::Up(later - now)));
        assert_eq!(health.enter(4, later), Entry::Go);
    }

    #[test]
    fn an_outage_before_the_first_answer_ends_the_run_sooner() {
        let (mut health, now) = health();
        health.failed(1, &refused(), 50, now);
        assert_eq!(health.enter(2, now + Duration::from_secs(10)), Entry::Over);
        let (mut health, now) = self::health();
        health.answered(1, Service::Api, now);
        health.failed(1, &refused(), 50, now);
        assert_ne!(health.enter(2, now + Duration::from_secs(10)), Entry::Over);
        health.left(2);
        assert_eq!(health.enter(2, now + Duration::from_secs(100)), Entry::Over);
    }

    #[test]
    fn a_row_whose_host_alone_is_dead_pays_for_itself_the_next_time() {
        let (mut health, now) = health();
        let dead = Failure::Connect { service: Service::Storage, what: "no such host".to_owned() };
        assert_eq!(health.failed(1, &dead, 50, now).0, Charge::Free);
        health.answered(2, Service::Storage, now);
        assert_eq!(health.failed(1, &dead, 50, now), (Charge::Counts, None));
    }

    #[test]
    fn rows_with_dead_hosts_do_not_hold_the_others_for_ever() {
        let (mut health, mut now) = health();
        let dead = Failure::Connect { service: Service::Storage, what: "no such host".to_owned() };
        let mut outages = 0;
        for round in 0..10 {
            for seq in 1..=20 {
                outages += u32::from(health.failed(seq, &dead, 50, now).1.is_some());
                now += FIRST_PROBE;
                health.answered(100 + round, Service::Storage, now);
            }
        }
        assert_eq!(outages, 5, "each began one at most, and five of them are enough to know");
        for seq in 1..=20 {
            assert_eq!(health.failed(seq, &dead, 50, now).0, Charge::Counts);
            health.answered(100, Service::Storage, now);
        }
    }

    #[test]
    fn an_outage_that_a_sick_row_met_too_is_still_forgiven() {
        let (mut health, now) = health();
        health.answered(9, Service::Api, now);
        assert!(health.failed(1, &refused(), 50, now).1.is_some());
        assert_eq!(health.failed(2, &refused(), 50, now).0, Charge::Free);
        let later = now + Duration::from_secs(5);
        health.answered(3, Service::Api, later);
        assert!(health.forgives(Service::Api, now) && health.forgives(Service::Api, later));
    }

    #[test]
    fn an_outage_is_not_over_while_its_probe_is_out() {
        let (mut health, now) = health();
        health.answered(1, Service::Api, now);
        health.failed(1, &refused(), 50, now);
        assert_eq!(health.enter(2, now + FIRST_PROBE), Entry::Probe);
        let end = now + Duration::from_secs(100);
        assert_eq!(health.enter(3, end), Entry::WaitForProbe);
        health.failed(2, &refused(), 50, end);
        assert_eq!(health.enter(3, end), Entry::Over);
    }

    #[test]
    fn a_probe_that_leaves_makes_room_for_the_next() {
        let (mut health, now) = health();
        health.failed(1, &refused(), 50, now);
        let later = now + FIRST_PROBE;
        assert_eq!(health.enter(2, later), Entry::Probe);
        health.left(2);
        assert_eq!(health.enter(3, later), Entry::Probe);
    }
}
