//! The values of the summary's lines. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use exporter::error::ErrorCode;
use exporter::report::{Counts, Notes, Summary};
use exporter::shard::Shard;

use super::SummaryContext;
use crate::output::{facts, format, redact};
use crate::screen::whole;

/// `50,000 = 40,000 stored + 9,000 skipped + 1,000 duplicate`.
pub fn states(counts: &Counts) -> String {
    let states = [
        (counts.stored, "stored"),
        (counts.skipped, "skipped"),
        (counts.duplicate, "duplicate"),
        (counts.failed, "failed"),
        (counts.untried, "untried"),
    ];
    facts::sum(counts.rows, &states)
}

/// `63.3 GiB in 43 min, 15.5 images/s, 25.1 MiB/s`.
pub fn stored(summary: &Summary) -> String {
    let time = format::duration(Duration::try_from_secs_f64(summary.seconds).unwrap_or_default());
    // below a second a speed says nothing
    if summary.seconds < 1.0 {
        return format!("{} in {time}", format::bytes(summary.bytes));
    }
    let images = format::per_second(format::approximate(summary.counts.stored) / summary.seconds);
    let bytes = whole(format::approximate(summary.bytes) / summary.seconds);
    format!("{} in {time}, {images} images/s, {}/s", format::bytes(summary.bytes), format::bytes(bytes))
}

/// `40,000 to the API, 3 answered 429 (too many), 98 % of the allowance, 0 retries, up to 48 images in flight`.
pub fn requests(summary: &Summary) -> String {
    let mut text = format!("{} to the API", format::count(summary.api_requests));
    if summary.api_429 > 0 {
        let _ = write!(text, ", {} answered 429 (too many)", format::count(summary.api_429));
    }
    if let Some(share) = summary.allowance_share {
        let _ = write!(text, ", {:.0} % of the allowance", 100.0 * share);
    }
    let _ = write!(text, ", {}", format::retries(summary.retries));
    if let Some(images) = summary.concurrency {
        let _ = write!(text, ", up to {} in flight", format::counted(images, "image"));
    }
    text
}

/// `not_found 37, timeout 2`, the most frequent first.
pub fn reasons(summary: &Summary) -> String {
    let mut reasons: Vec<(&str, u64)> =
        summary.failures.iter().map(|(code, rows)| (code.as_str(), *rows)).collect();
    reasons.sort_by_key(|(code, rows)| (std::cmp::Reverse(*rows), *code));
    let parts: Vec<String> =
        reasons.into_iter().map(|(code, rows)| format!("{code} {}", format::count(rows))).collect();
    parts.join(", ")
}

/// `38 of 40 complete, see notes.csv`, with `names`
/// `38 of 40 complete; not: org0 note3 (2 of 4 images), org1 note7 (0 of 1) and 12 more, see notes.csv`.
pub fn notes(notes: &Notes, names: bool) -> String {
    let mut text = format!("{} of {} complete", format::count(notes.complete), format::count(notes.total));
    if !names {
        return text + ", see notes.csv";
    }
    text.push_str("; not: ");
    for (at, note) in notes.first_incomplete.iter().enumerate() {
        let (has, wants) = (format::count(note.delivered), format::count(note.images));
        let (comma, images) = if at == 0 { ("", " images") } else { (", ", "") };
        let _ = write!(text, "{comma}{} {} ({has} of {wants}{images})", note.org, note.note);
    }
    let more = notes.incomplete.saturating_sub(notes.first_incomplete.len() as u64);
    if more > 0 {
        let _ = write!(text, " and {} more, see notes.csv", format::count(more));
    }
    redact::safe(&text)
}

/// Rows whose image has the bytes of another row's.
pub fn same_content(rows: u64) -> String {
    let rows = if rows == 1 { "1 row has".to_owned() } else { format!("{} rows have", format::count(rows)) };
    format!("{rows} the same bytes as an earlier one")
}

/// Paths of the reports that list what to look at.
pub fn reports(counts: &Counts, context: &SummaryContext) -> String {
    let path = |name: &str| redact::shell(&context.out.join(name));
    match counts.failed + counts.untried {
        0 => path("report.csv"),
        _ => format!("{}, {}", path("report.csv"), path("failed.csv")),
    }
}

/// What `verify --repair` has changed since the run; starts with a semicolon, empty if nothing.
pub fn repaired_since(rows: u64) -> String {
    match rows {
        0 => String::new(),
        rows => format!("; since then {} made undelivered by verify --repair", format::counted(rows, "row")),
    }
}

/// What comes after the run of a shard.
pub fn next_of_shard(counts: &Counts, shard: Shard) -> String {
    match counts.failed + counts.untried {
        0 => format!("shard {shard} is complete; when the others have ended:"),
        _ => format!(
            "to try again what is left of shard {shard}, run the same command again; when all have ended:"
        ),
    }
}

/// What to do about rows that are not delivered.
pub struct Next {
    pub advice: &'static str,
    pub command: Option<String>,
}

/// `None` if every row is delivered.
pub fn next(summary: &Summary, context: &SummaryContext) -> Option<Next> {
    let bad = summary.failures.get(ErrorCode::BadRow.as_str()).copied().unwrap_or_default();
    let failed = summary.counts.failed.saturating_sub(bad);
    let advice = |advice| Some(Next { advice, command: None });
    let run_failed_csv = |advice| {
        let path = redact::shell(&context.out.join("failed.csv"));
        Some(Next { advice, command: Some(format!("exporter run {path}{}", context.flags)) })
    };
    match (summary.counts.untried, failed, bad) {
        (0, 0, 0) => None,
        (0, 0, _) => {
            advice("correct the bad rows (report.csv names their lines) and run the same command again")
        }
        (0, ..) => run_failed_csv("failed.csv gives a reason and an advice for each row; then run:"),
        _ if context.stdin => run_failed_csv("to continue with the remaining rows, run:"),
        _ => advice("run the same command again to continue"),
    }
}
