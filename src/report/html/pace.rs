//! Images and requests a minute against the allowance, with 429s, waits and outages: the newest run over its time.

use std::time::Duration;

use super::chart::{Numbers, approximate, em, hundredths, share};
use crate::ledger::{Sample, Span, SpanKind};
use crate::number::{bytes, count, counted, duration};
use crate::report::Summary;

/// Columns of the picture and lines of its table; a longer run has more minutes in each.
const COLUMNS_MAX: u64 = 48;
/// Spans that are drawn.
const SPANS_MAX: usize = 60;
/// The picture's top and bottom line, in `em`.
const TOP: f64 = 1.2;
const BOTTOM: f64 = 11.0;
/// Where the spans are, in `em`.
const WAITS: f64 = 12.25;
const OUTAGES: f64 = 13.1;
/// An allowance beyond this multiple of the most that was sent would press the columns flat.
const ALLOWANCE_SHOWN: f64 = 3.0;

pub(super) struct PaceShown {
    pub summary: String,
    pub plot: Option<Plot>,
}

pub(super) struct Plot {
    pub title: &'static str,
    pub description: String,
    pub columns: Vec<Column>,
    pub allowance: String,
    pub allowance_y: Option<String>,
    pub top: String,
    pub spans: Vec<Mark>,
    /// Positions of 429s.
    pub refusals: Vec<String>,
    pub from: &'static str,
    pub to: String,
    pub table: Numbers,
}

pub(super) struct Column {
    pub x: String,
    pub width: String,
    pub inner_x: String,
    pub inner_width: String,
    pub requests: Option<Height>,
    pub images: Option<Height>,
}

pub(super) struct Height {
    pub y: String,
    pub height: String,
}

pub(super) struct Mark {
    pub class: &'static str,
    pub x: String,
    pub y: String,
    pub width: String,
}

/// Some minutes together; the numbers are sums.
#[derive(Clone, Copy, Default)]
struct Bucket {
    requests: u64,
    images: u64,
    bytes: u64,
    answers_429: u64,
    in_flight: u64,
    waited: u64,
    out: u64,
}

/// The whole time of the run, divided.
struct Timeline {
    /// Minutes in a bucket.
    minutes: u64,
    buckets: Vec<Bucket>,
    /// Highest allowance, requests a minute.
    allowance: f64,
}

impl PaceShown {
    pub fn of(summary: &Summary, samples: &[Sample], spans: &[Span]) -> Self {
        let Some(timeline) = Timeline::of(samples, spans) else {
            let summary = match summary.api_requests {
                0 => "This run asked the API for nothing.".to_owned(),
                requests => format!(
                    "{} to the API; when they were sent is not recorded.",
                    counted(requests, "request")
                ),
            };
            return Self { summary, plot: None };
        };
        let total = |field: fn(&Bucket) -> u64| timeline.buckets.iter().map(field).sum::<u64>();
        let text = format!(
            "{} and {} in {}; {} answered 429, {} waited for that, {} of outages.",
            counted(total(|bucket| bucket.requests), "request"),
            counted(total(|bucket| bucket.images), "image"),
            duration(Duration::try_from_secs_f64(summary.seconds).unwrap_or_default()),
            count(total(|bucket| bucket.answers_429)),
            shown(total(|bucket| bucket.waited)),
            shown(total(|bucket| bucket.out)),
        );
        let plot = timeline.plot(&text, spans);
        Self { summary: text, plot: Some(plot) }
    }
}

impl Timeline {
    fn of(samples: &[Sample], spans: &[Span]) -> Option<Self> {
        let last_sample = samples.last()?.minute;
        let last_span = spans.iter().map(|span| span.ended / 60_000).max().unwrap_or_default();
        let minutes = (last_sample.max(last_span) + 1).div_ceil(COLUMNS_MAX);
        let columns = (last_sample.max(last_span) + 1).div_ceil(minutes);
        let mut buckets = vec![Bucket::default(); usize::try_from(columns).unwrap_or_default()];
        for sample in samples {
            let Some(bucket) = at(&mut buckets, sample.minute / minutes) else { continue };
            bucket.requests += sample.requests;
            bucket.images += sample.images;
            bucket.bytes += sample.bytes;
            bucket.answers_429 += sample.answers_429;
            bucket.in_flight = bucket.in_flight.max(sample.in_flight);
        }
        for span in spans {
            for (bucket, begin) in
                buckets.iter_mut().zip((0..).step_by(usize::try_from(minutes * 60_000).ok()?))
            {
                let end = begin + minutes * 60_000;
                let within = span.ended.min(end).saturating_sub(span.began.max(begin));
                *match span.what {
                    SpanKind::Wait => &mut bucket.waited,
                    SpanKind::Outage => &mut bucket.out,
                } += within;
            }
        }
        let allowance = samples.iter().map(|sample| sample.allowance).fold(0.0, f64::max);
        Some(Self { minutes, buckets, allowance })
    }

    fn plot(&self, text: &str, spans: &[Span]) -> Plot {
        let rate = |sum: u64| approximate(sum) / approximate(self.minutes);
        let most =
            self.buckets.iter().map(|bucket| rate(bucket.requests.max(bucket.images))).fold(1.0, f64::max);
        let fits = self.allowance > 0.0 && self.allowance <= ALLOWANCE_SHOWN * most;
        let top = if fits { most.max(self.allowance) } else { most };
        let height = |sum: u64| {
            let height = (BOTTOM - TOP) * rate(sum) / top;
            (sum > 0).then(|| Height { y: em(BOTTOM - height.max(0.1)), height: em(height.max(0.1)) })
        };
        let width = 100.0 / approximate(self.buckets.len() as u64);
        let columns = self.buckets.iter().zip(0_u32..).map(|(bucket, at)| {
            let x = width * f64::from(at);
            Column {
                x: hundredths(x + 0.08 * width),
                width: hundredths(0.84 * width),
                inner_x: hundredths(x + 0.27 * width),
                inner_width: hundredths(0.46 * width),
                requests: height(bucket.requests),
                images: height(bucket.images),
            }
        });
        let refused = self.buckets.iter().zip(0_u32..).filter(|(bucket, _)| bucket.answers_429 > 0);
        let each = if self.minutes == 1 { "minute".to_owned() } else { format!("{} minutes", self.minutes) };
        let allowed = format!("allowance: {} requests a minute", whole(self.allowance));
        let above = if fits || self.allowance <= 0.0 { "" } else { ", beyond the picture" };
        Plot {
            title: "Images and requests a minute over the run",
            description: format!(
                "A column for each {each}, from 0 to {} a minute. {allowed}{above}. {text}",
                whole(top)
            ),
            columns: columns.collect(),
            allowance: format!("{allowed}{above}"),
            allowance_y: fits.then(|| em(BOTTOM - (BOTTOM - TOP) * self.allowance / top)),
            top: format!("{} a minute", whole(top)),
            spans: spans.iter().take(SPANS_MAX).map(|span| self.mark(*span)).collect(),
            refusals: refused.map(|(_, at)| hundredths(width * (f64::from(at) + 0.5))).collect(),
            from: "start",
            to: shown(self.all_minutes() * 60_000),
            table: self.table(),
        }
    }

    fn all_minutes(&self) -> u64 {
        self.minutes * self.buckets.len() as u64
    }

    fn mark(&self, span: Span) -> Mark {
        let all = self.all_minutes() * 60_000;
        let (x, width) =
            (100.0 * share(span.began, all), 100.0 * share(span.ended - span.began.min(span.ended), all));
        let (class, y) = match span.what {
            SpanKind::Wait => ("wait", WAITS),
            SpanKind::Outage => ("outage", OUTAGES),
        };
        Mark { class, x: hundredths(x), y: em(y), width: hundredths(width.max(0.3)) }
    }

    fn table(&self) -> Numbers {
        let line = |(bucket, at): (&Bucket, u64)| {
            let (from, to) = (at * self.minutes, (at + 1) * self.minutes);
            vec![
                if self.minutes == 1 { count(to) } else { format!("{} to {}", count(from + 1), count(to)) },
                count(bucket.requests),
                count(bucket.images),
                bytes(bucket.bytes),
                count(bucket.in_flight),
                count(bucket.answers_429),
                shown(bucket.waited),
                shown(bucket.out),
            ]
        };
        Numbers {
            caption: "The run by minutes",
            columns: vec!["Minute", "Requests", "Images", "Size", "In flight", "429s", "Waited", "Outage"],
            lines: self.buckets.iter().zip(0..).map(line).collect(),
        }
    }
}

fn at(buckets: &mut [Bucket], at: u64) -> Option<&mut Bucket> {
    buckets.get_mut(usize::try_from(at).ok()?)
}

/// Milliseconds in words.
fn shown(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}

/// A rate without digits behind the point.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate")]
fn whole(rate: f64) -> String {
    count(rate.round() as u64)
}
