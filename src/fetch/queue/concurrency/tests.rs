//! The controller against a line whose behaviour is known, on a clock that the tests turn.

use std::num::NonZeroU32;

use super::*;

/// The vendor's allowance.
const ALLOWED: f64 = 1000.0 / 60.0;
const TICK: Duration = Duration::from_millis(200);
const IMAGE: f64 = 1e6;

/// A line, and the controller that is in front of it.
struct Line {
    controller: Controller,
    now: Instant,
    received: u64,
    /// Requests that the allowance permits a second.
    allowed: f64,
    /// An image takes this long if the line is not full.
    time: f64,
    /// Images a second that fill the line.
    full: f64,
}

impl Line {
    fn new(allowed: f64, time: f64, full: f64) -> Self {
        let controller = Controller::new(Concurrency::Auto, usize::MAX);
        Self { controller, now: Instant::now(), received: 0, allowed, time, full }
    }

    /// Images a second, and how many are in flight.
    fn flow(&self) -> (f64, f64) {
        let number = f64::from(u32::try_from(self.controller.number()).expect("small"));
        let rate = self.allowed.min(self.full).min(number / self.time);
        // a line that is full makes all images in flight wait
        (rate, if self.full < self.allowed { number } else { rate * self.time })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
    fn tick(&mut self) {
        let (rate, in_flight) = self.flow();
        self.now += TICK;
        self.received += (rate * IMAGE * TICK.as_secs_f64()) as u64;
        self.controller.adjust(&Measured {
            now: self.now,
            allowed_per_second: self.allowed,
            in_flight: in_flight.round() as usize,
            image_time: Duration::from_secs_f64(in_flight / rate),
            received: self.received,
        });
    }

    fn run(&mut self, seconds: u32) -> usize {
        (0..seconds * 5).for_each(|_| self.tick());
        self.controller.number()
    }
}

#[test]
fn it_settles_at_littles_law_with_a_margin() {
    for (time, numbers) in
        [(0.05, 8..=8), (1.0, 21..=32), (2.3, 48..=48), (5.0, 105..=105), (20.0, 256..=256)]
    {
        let number = Line::new(ALLOWED, time, 1e9).run(180);
        assert!(numbers.contains(&number), "{time} s an image: {number}");
    }
}

#[test]
fn it_goes_up_at_once_and_down_slowly() {
    let mut line = Line::new(ALLOWED, 2.3, 1e9);
    assert_eq!(line.run(5), 48, "as soon as two images' time was measured");
    line.time = 6.0;
    assert!(line.run(25) >= 120, "{}", line.controller.number());
    line.time = 0.1;
    let before = line.controller.number();
    assert_eq!(line.run(9), before, "not at once");
    let number = line.run(10);
    assert!(number < before && number > before / 2, "a quarter of the way: {number} of {before}");
    assert_eq!(line.run(300), 8);
}

#[test]
fn a_line_that_is_full_gets_no_more_images() {
    let mut line = Line::new(1e6, 0.16, 100.0);
    line.run(20);
    for second in 0..240 {
        line.run(1);
        assert!(line.controller.number() <= 64, "{} after {second} s", line.controller.number());
    }
    let mut wide = Line::new(1e6, 0.16, 1e9);
    assert_eq!(wide.run(10), 256, "a line with room is filled");
}

#[test]
fn a_busy_storage_and_a_stall_lower_the_number_for_a_minute() {
    let mut line = Line::new(ALLOWED, 2.3, 1e9);
    line.run(20);
    line.controller.line_is_full(40, line.now);
    assert_eq!(line.controller.number(), 30);
    line.controller.line_is_full(30, line.now);
    assert_eq!(line.controller.number(), 30, "what is in flight at one time meets the same thing");
    for _ in 0..59 {
        assert!(line.run(1) <= 30, "never more");
    }
    line.run(4);
    assert_eq!(line.controller.number(), 38, "then a quarter more at a time");
    line.run(240);
    assert_eq!(line.controller.number(), 48, "as many as are needed");
    (0..20_u32).for_each(|n| line.controller.line_is_full(9, line.now + MEASURE_INTERVAL_MAX * n));
    assert_eq!(line.controller.number(), 8, "never less");
    line.controller.forget_cap();
    line.run(10);
    assert!(line.controller.number() > 30, "an outage that is over says nothing of the line");
}

#[test]
fn files_and_memory_bound_it() {
    for (room, start) in [(1, 1), (5, 5), (20, 20), (1000, 32)] {
        let mut line = Line::new(1e6, 0.16, 1e9);
        line.controller = Controller::new(Concurrency::Auto, room);
        assert_eq!(line.controller.number(), start);
        assert_eq!(line.run(30), room.min(256));
    }
}

#[test]
fn a_number_fixes_it() {
    let fixed = |number| Concurrency::Fixed(NonZeroU32::new(number).expect("not zero"));
    for (number, room, expected) in [(1, 1000, 1), (64, 1000, 64), (1000, 2000, 1000), (64, 12, 12)] {
        let mut line = Line::new(1e6, 2.0, 1e9);
        line.controller = Controller::new(fixed(number), room);
        line.run(20);
        line.controller.line_is_full(1, line.now);
        assert_eq!((line.controller.number(), line.controller.max()), (expected, expected));
    }
}
