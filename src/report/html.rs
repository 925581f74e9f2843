//! `report.html`: the export on one page, for people.
//!
//! One file without script, picture or link to another host; its own policy forbids them to the browser. It has at most
//! [`PAGE_MAX`] bytes, whatever the number of rows, organizations and runs: what is most is shown, the rest summed up. It
//! names organizations, and no note or image. `templates/` has its frame, the modules below what is in it.

mod chart;
mod images;
mod outcome;
mod pace;
mod runs;
mod shown;
mod verdict;

use std::io::Write;

use askama::Template;
use rusqlite::Connection;

use self::images::Images;
use self::outcome::{Failures, NotesShown, OrgsShown, RowsShown};
use self::pace::PaceShown;
use self::runs::Runs;
use self::shown::{Fact, to_the_minute};
use self::verdict::Verdict;
use super::bag::Payload;
use super::{ReportError, Summary};
use crate::ledger::{self, RunRow, Sample, Span};
use crate::number::{bytes, count, counted};

/// Size of the page; a test holds it against the largest that can be.
#[cfg(test)]
const PAGE_MAX: usize = 150_000;

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    verdict: Verdict,
    finished: String,
    finished_shown: String,
    figures: Vec<Fact>,
    rows: RowsShown,
    orgs: OrgsShown,
    notes: NotesShown,
    failures: Failures,
    pace: PaceShown,
    sizes: Images,
    checks: Images,
    runs: Runs,
    provenance: Vec<Fact>,
    gone: String,
    version: String,
}

/// Writes the page.
pub(super) fn write(
    conn: &Connection,
    summary: &Summary,
    payload: Payload,
    out: &mut impl Write,
) -> Result<(), ReportError> {
    let runs = ledger::runs_after(conn, 0)?;
    let newest = runs.last().map_or(0, |run| run.id);
    let (samples, spans) = (ledger::samples(conn, newest)?, ledger::spans(conn, newest)?);
    Page::of(summary, payload, &runs, &samples, &spans).write_into(out)?;
    Ok(())
}

impl Page {
    /// `runs` are all runs; `samples` and `spans` are those of the newest.
    fn of(summary: &Summary, payload: Payload, runs: &[RunRow], samples: &[Sample], spans: &[Span]) -> Self {
        Self {
            verdict: Verdict::of(summary),
            finished: summary.finished_at.clone(),
            finished_shown: to_the_minute(&summary.finished_at),
            figures: figures(summary, payload),
            rows: RowsShown::of(&summary.counts),
            orgs: OrgsShown::of(&summary.orgs),
            notes: NotesShown::of(&summary.notes),
            failures: Failures::of(&summary.details),
            pace: PaceShown::of(summary, samples, spans),
            sizes: Images::sizes(&summary.details),
            checks: Images::checks(&summary.details),
            runs: Runs::before_the_newest(runs),
            provenance: runs::provenance(summary, payload),
            gone: gone(summary.not_in_manifest),
            version: shown::short(&summary.version),
        }
    }
}

/// The numbers below the headline.
fn figures(summary: &Summary, payload: Payload) -> Vec<Fact> {
    let undelivered = summary.counts.failed + summary.counts.untried;
    vec![
        Fact::new(if summary.counts.rows == 1 { "row" } else { "rows" }, count(summary.counts.rows)),
        Fact::new("delivered", count(summary.counts.rows - undelivered)),
        Fact::new("not delivered", count(undelivered)),
        Fact::new("in this export", bytes(payload.bytes)),
    ]
}

fn gone(images: u64) -> String {
    match images {
        0 => "images that left the manifest: none".to_owned(),
        images => format!("{} that left the manifest; nothing is deleted", counted(images, "image")),
    }
}

#[cfg(test)]
mod tests;
