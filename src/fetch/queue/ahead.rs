//! How far ahead of their downloads URLs are asked for, so that no slot waits for a round trip to the API. Pure.
//!
//! A URL that is asked for and not used costs a request of the allowance. So no more are asked for than are used within the
//! time of a few answers.

use std::time::Duration;

use tokio::time::Instant;

/// URLs are asked for as long ahead as the API takes for so many answers: then none is waited for, also if one is slow.
const ROUND_TRIPS: u32 = 4;
/// And at least so long.
const TIME_MIN: Duration = Duration::from_millis(500);
/// But no longer: what is asked for ahead is lost if the run is killed.
const TIME_MAX: Duration = Duration::from_mins(1);
/// One window of the vendor's allowance.
pub(super) const URLS_AHEAD_MAX: usize = 1000;
/// Requests to the API at a time, if it answers more slowly than the storage sends an image.
pub(super) const ASKS_MAX: usize = 256;
/// Requests to the API at a time for each image in flight.
const ASKS_MARGIN: f64 = 1.5;
/// Time over which it is measured how many URLs are used a second.
const USE_RATE_TIME: Duration = Duration::from_secs(2);
/// Weight of the newest value in a mean time.
const NEWEST_WEIGHT: f64 = 1.0 / 16.0;

#[derive(Debug)]
pub(super) struct Ahead {
    /// The most requests to the API at a time.
    asks_max: usize,
    /// Mean time of an answer of the API.
    answer_time: Duration,
    /// URLs that are used a second: a mean that forgets what is older than a few seconds.
    used_per_second: f64,
    /// Used since the last update.
    used: u32,
    updated: Option<Instant>,
}

impl Ahead {
    /// With at most `connections` to the API, or as many as images in flight if those are more.
    pub(super) fn new(connections: usize) -> Self {
        Self {
            asks_max: connections.min(ASKS_MAX),
            answer_time: Duration::ZERO,
            used_per_second: 0.0,
            used: 0,
            updated: None,
        }
    }

    /// The API has answered after this time.
    pub(super) fn answered(&mut self, time: Duration) {
        let before = Some(self.answer_time).filter(|time| !time.is_zero());
        self.answer_time = mean(before, time);
    }

    /// A download has begun.
    pub(super) const fn url_used(&mut self) {
        self.used += 1;
    }

    pub(super) fn update(&mut self, now: Instant) {
        let used = std::mem::take(&mut self.used);
        let time = self.updated.replace(now).map_or(Duration::ZERO, |last| now.duration_since(last));
        if !time.is_zero() {
            let newest = (time.as_secs_f64() / USE_RATE_TIME.as_secs_f64()).min(1.0);
            self.used_per_second += newest * (f64::from(used) / time.as_secs_f64() - self.used_per_second);
        }
    }

    /// URLs that are used within the time of a few answers of the API, and before the deadline.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative")]
    pub(super) fn urls(&self, time_left: Option<Duration>) -> usize {
        let time = (self.answer_time * ROUND_TRIPS).clamp(TIME_MIN, TIME_MAX);
        let time = time_left.map_or(time, |left| time.min(left));
        let urls = self.used_per_second * time.as_secs_f64();
        (urls.round() as usize).min(URLS_AHEAD_MAX)
    }

    /// Half as many requests more at a time than images in flight, so that URLs come faster than they are used; and more by
    /// as much as an answer takes longer than an image.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative")]
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    pub(super) fn asks(&self, downloads: usize, image_time: Duration) -> usize {
        if image_time.is_zero() {
            return downloads;
        }
        let images_an_answer = (self.answer_time.as_secs_f64() / image_time.as_secs_f64()).max(1.0);
        // a user may have asked for more images in flight than requests
        ((downloads as f64 * images_an_answer * ASKS_MARGIN) as usize).min(self.asks_max.max(downloads))
    }
}

/// The mean after one more value.
pub(super) fn mean(before: Option<Duration>, newest: Duration) -> Duration {
    before.map_or(newest, |mean| mean.mul_f64(1.0 - NEWEST_WEIGHT) + newest.mul_f64(NEWEST_WEIGHT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(250);

    /// After ten seconds in which four URLs a second were used, with answers that took this long.
    fn four_a_second(answer: Duration) -> Ahead {
        let mut ahead = Ahead::new(1000);
        let start = Instant::now();
        for tick in 0..40 {
            ahead.url_used();
            ahead.update(start + tick * TICK);
        }
        ahead.answered(answer);
        ahead
    }

    #[test]
    fn urls_are_asked_for_as_many_as_are_used_in_the_time_of_a_few_answers() {
        let seconds = |number| Some(Duration::from_secs(number));
        for (answer, time_left, urls) in [
            (Duration::from_millis(500), None, 8),
            (Duration::from_millis(500), seconds(3600), 8),
            (Duration::from_millis(500), seconds(1), 4),
            (Duration::from_millis(500), seconds(0), 0),
            (Duration::from_millis(1), None, 2),
            (Duration::from_secs(60), None, 238),
        ] {
            let ahead = four_a_second(answer).urls(time_left);
            assert!(ahead.abs_diff(urls) <= 3 * urls / 238, "{answer:?} {time_left:?}: {ahead}");
        }
        assert_eq!(Ahead::new(1000).urls(None), 0, "before any was used");
        let mut ahead = four_a_second(Duration::from_millis(500));
        ahead.used = 1_000_000;
        ahead.update(Instant::now() + Duration::from_secs(20));
        assert_eq!(ahead.urls(None), URLS_AHEAD_MAX);
    }

    #[test]
    fn more_requests_are_in_flight_than_images_only_if_answers_take_longer() {
        let ahead = four_a_second(Duration::from_millis(500));
        for (downloads, millis, asks) in
            [(1, 500, 1), (4, 1000, 6), (4, 500, 6), (4, 100, 30), (4, 1, 256), (4, 0, 4), (1000, 1, 1000)]
        {
            assert_eq!(ahead.asks(downloads, Duration::from_millis(millis)), asks, "{downloads} {millis} ms");
        }
        assert_eq!(Ahead { asks_max: 8, ..ahead }.asks(4, Duration::from_millis(1)), 8, "few open files");
    }
}
