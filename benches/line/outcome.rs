//! What a run comes to.

use std::time::Duration;

use crate::job::Allowance;
use crate::program::Sample;

#[derive(Clone, Debug)]
pub struct Outcome {
    seconds: f64,
    images_per_second: f64,
    /// Of the allowance, after the first window.
    share: Option<f64>,
    limited: u64,
    in_flight: f64,
    in_flight_peak: usize,
    memory_peak: u64,
}

impl Outcome {
    pub const HEAD: &str = "| case | tool | seconds | images/s | share of the allowance after the first window \
                            | 429s | in flight: mean | most | peak MiB |\n|---|---|---|---|---|---|---|---|---|";

    pub fn of(samples: &[Sample], rows: u64, allowance: Option<Allowance>) -> Self {
        let last = samples.last().copied().unwrap_or_default();
        let start = first_request(samples).min(last.at);
        let seconds = last.at.saturating_sub(start).as_secs_f64();
        let working: Vec<_> = samples.iter().filter(|sample| sample.in_flight > 0).collect();
        let in_flight: usize = working.iter().map(|sample| sample.in_flight).sum();
        Self {
            seconds,
            images_per_second: number(rows) / seconds,
            share: allowance.and_then(|allowance| share(samples, allowance)),
            limited: last.limited,
            in_flight: number(in_flight as u64) / number(working.len().max(1) as u64),
            in_flight_peak: working.iter().map(|sample| sample.in_flight).max().unwrap_or_default(),
            memory_peak: last.memory_peak,
        }
    }

    /// Of a tool that does not ask the API: from its start to its end.
    pub fn without_api(samples: &[Sample], rows: u64) -> Self {
        let from_start: Vec<_> = samples.iter().map(|sample| Sample { admitted: 1, ..*sample }).collect();
        Self::of(&from_start, rows, None)
    }

    /// The one that took the median time.
    pub fn median(mut outcomes: Vec<Self>) -> Option<Self> {
        outcomes.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let middle = outcomes.len() / 2;
        outcomes.into_iter().nth(middle)
    }

    /// A line of the table.
    pub fn line(&self, case: &str, tool: &str) -> String {
        let share = self.share.map_or("-".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        format!(
            "| {case} | {tool} | {:.1} | {:.1} | {share} | {} | {:.1} | {} | {:.0} |",
            self.seconds,
            self.images_per_second,
            self.limited,
            self.in_flight,
            self.in_flight_peak,
            number(self.memory_peak) / 1024.0
        )
    }
}

/// When the API was first asked.
pub fn first_request(samples: &[Sample]) -> Duration {
    samples.iter().find(|sample| sample.admitted > 0).map_or(Duration::MAX, |sample| sample.at)
}

/// Of the allowance, in the whole windows between the first one and the last request: requests come in waves of a
/// window's length, so a part of a window says nothing. `None` if there is none.
fn share(samples: &[Sample], allowance: Allowance) -> Option<f64> {
    let all = samples.last()?.admitted;
    let (first, last) = (first_request(samples), samples.iter().find(|sample| sample.admitted == all)?.at);
    let windows = last.saturating_sub(first).as_secs() / allowance.window.as_secs();
    let windows = u32::try_from(windows).ok()?.checked_sub(1).filter(|windows| *windows > 0)?;
    let until = |time: Duration| admitted_until(samples, first + time);
    let used = until(allowance.window * (windows + 1)) - until(allowance.window);
    Some(number(used) / f64::from(allowance.requests * windows))
}

/// API requests that were admitted until this time.
pub fn admitted_until(samples: &[Sample], time: Duration) -> u64 {
    let behind = samples.partition_point(|sample| sample.at <= time);
    samples[..behind].last().map_or(0, |sample| sample.admitted)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
pub fn number(count: u64) -> f64 {
    count as f64
}
