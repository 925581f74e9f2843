//! The runs before, and where this page comes from.

use std::time::Duration;

use super::shown::{Fact, cut, short, to_the_minute};
use crate::ledger::RunRow;
use crate::number::{bytes, count, counted, duration};
use crate::report::Summary;
use crate::report::bag::Payload;

/// Earlier runs that are shown, the newest first.
const RUNS_MAX: usize = 15;
/// Longest reason of an end.
const END_MAX: usize = 120;
/// Digits of a manifest's hash that tell it from others.
const HASH_SHOWN: usize = 12;

pub(super) struct Runs {
    pub caption: String,
    pub lines: Vec<RunLine>,
}

pub(super) struct RunLine {
    pub number: String,
    pub began: String,
    pub took: String,
    pub requests: String,
    pub bytes: String,
    pub manifest: String,
    pub by: String,
    pub ended: String,
}

impl Runs {
    /// `runs`: all of them, the first one first.
    pub fn before_the_newest(runs: &[RunRow]) -> Self {
        let earlier = runs.split_last().map_or(&[][..], |(_, earlier)| earlier);
        let lines: Vec<_> = earlier.iter().rev().take(RUNS_MAX).map(RunLine::of).collect();
        let caption = match earlier.len() - lines.len() {
            0 => "The runs before this one, the newest first".to_owned(),
            more => format!(
                "The {} runs before this one, the newest first; exporter report --runs shows {} more",
                lines.len(),
                count(more as u64)
            ),
        };
        Self { caption, lines }
    }
}

impl RunLine {
    fn of(run: &RunRow) -> Self {
        Self {
            number: run.id.to_string(),
            began: run
                .started_at
                .get(..16)
                .map_or_else(|| short(&run.started_at), |time| time.replace('T', " ")),
            took: took(run.seconds),
            requests: count(run.api_requests),
            bytes: bytes(run.bytes),
            manifest: cut(run.manifest_sha256.get(..HASH_SHOWN).unwrap_or(&run.manifest_sha256), HASH_SHOWN),
            by: short(&format!("{}@{}", run.user, run.host)),
            ended: end(run),
        }
    }
}

fn took(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn end(run: &RunRow) -> String {
    match (run.exit_code, &run.stop) {
        (None, _) => "killed: no end recorded".to_owned(),
        (Some(0), None) => "0, complete".to_owned(),
        (Some(3), None) => "3, rows failed".to_owned(),
        (Some(code), None) => code.to_string(),
        (Some(code), Some(stop)) => cut(&format!("{code}, {stop}"), END_MAX),
    }
}

/// Who made this export, when, from which manifest.
pub(super) fn provenance(summary: &Summary, payload: Payload) -> Vec<Fact> {
    let hash = if summary.manifest_sha256.is_empty() { "not known" } else { &summary.manifest_sha256 };
    let share = summary
        .allowance_share
        .map_or_else(String::new, |share| format!(", {:.0} % of the allowance", 100.0 * share));
    vec![
        Fact::new("Manifest, SHA-256", short(hash)),
        Fact::new("Began", to_the_minute(&summary.started_at)),
        Fact::new(
            "Ended",
            format!("{}, after {}", to_the_minute(&summary.finished_at), took(summary.seconds)),
        ),
        Fact::new("Program", format!("exporter {}", short(&summary.version))),
        Fact::new("Machine", short(&summary.host)),
        Fact::new("User", short(&summary.user)),
        Fact::new(
            "Requests",
            format!(
                "{} to the API, {} answered 429, {} beyond the first of an image{share}",
                count(summary.api_requests),
                count(summary.api_429),
                counted(summary.retries, "attempt")
            ),
        ),
        Fact::new("Delivered by this run", bytes(summary.bytes)),
        Fact::new(
            "In this export",
            format!("{}, {}", counted(payload.images, "image"), bytes(payload.bytes)),
        ),
        Fact::new("Same bytes", format!("{} as an earlier row", counted(summary.same_content, "row"))),
        Fact::new("Left the manifest", counted(summary.not_in_manifest, "image")),
    ]
}
