//! The closing summary on standard output: what became of all rows, where the reports are, what to do next.
//!
//! Invariant: the first line never reads like a success unless the run was one.

mod lines;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use exporter::error::{RunError, StopReason, chain};
use exporter::ledger::ShardHome;
use exporter::manifest::Source;
use exporter::options::RunOptions;
use exporter::report::Summary;
use exporter::run::Finished;
use exporter::shard::Shard;

pub use self::lines::{notes, reasons, repaired_since, reports, states};
use crate::output::facts::Facts;
use crate::output::{format, log, redact};

/// What the summary needs to know besides its numbers, for the commands that it names.
#[derive(Debug)]
pub struct SummaryContext {
    pub(super) out: PathBuf,
    /// The shard of the run, and the export folder of all shards: `out` has only its own reports.
    shard: Option<(Shard, PathBuf)>,
    /// The manifest came from standard input and cannot be read again.
    stdin: bool,
    /// Flags of a run on `failed.csv`, a blank before each.
    flags: String,
    /// Whether incomplete notes are named. They are patients' notes: what goes into a journal or a mail counts them.
    names: bool,
}

impl SummaryContext {
    /// The context of a run.
    pub fn new(options: &RunOptions, flags: String) -> Self {
        let stdin = options.source == Source::Stdin;
        let home =
            options.shard.map(|shard| ShardHome::of(&options.out, options.state_dir.as_deref(), shard));
        let out = home.as_ref().map_or(&options.out, |home| &home.folder);
        let shard = home.as_ref().map(|home| (home.shard, options.out.clone()));
        Self { shard, stdin, flags, ..Self::of(out) }
    }

    /// The context of a command that names no other.
    pub fn of(out: &Path) -> Self {
        let names = std::io::stdout().is_terminal();
        Self { out: out.to_owned(), shard: None, stdin: false, flags: String::new(), names }
    }
}

/// The summary, one fact a line.
pub fn text(finished: &Finished, context: &SummaryContext) -> String {
    let summary = &finished.summary;
    let counts = &summary.counts;
    let mut facts = Facts::new(headline(finished));
    if counts.rows > 0 {
        facts.add("rows", states(counts));
    }
    if counts.stored > 0 {
        facts.add("stored", lines::stored(summary));
    }
    if summary.api_requests > 0 {
        facts.add("requests", lines::requests(summary));
    }
    add_undelivered(&mut facts, summary, context);
    if summary.same_content > 0 {
        facts.add("note", lines::same_content(summary.same_content));
    }
    if finished.reports.is_some() {
        // what is there may be of another run: no check of it is offered
        let out = redact::shell(&context.out);
        facts.add(
            "reports",
            format!("not all are those of this run; to write them again: exporter report {out}"),
        );
        add_receipt(&mut facts, finished);
        return facts.into_text();
    }
    facts.add("reports", reports(counts, context));
    if let Some((shard, out)) = &context.shard {
        facts.add("next", lines::next_of_shard(counts, *shard));
        facts.add_below(format!("exporter merge MANIFEST -o {}", redact::shell(out)));
        return facts.into_text();
    }
    // `sha256sum -c` refuses an empty list
    if counts.stored + counts.skipped > 0 {
        let out = redact::shell(&context.out);
        facts.add("check", format!("cd {out} && sha256sum -c --quiet manifest-sha256.txt"));
    }
    add_receipt(&mut facts, finished);
    if let Some(next) = lines::next(summary, context) {
        facts.add("next", next.advice);
        if let Some(command) = next.command {
            facts.add_below(command);
        }
    }
    facts.into_text()
}

/// Adds the hash of the run's line in `receipts.jsonl`, to be kept elsewhere.
fn add_receipt(facts: &mut Facts, finished: &Finished) {
    if let Some(receipt) = &finished.receipt {
        facts.add("receipt", receipt);
    }
}

/// Adds the lines on rows and notes that were not delivered, if there are any.
pub fn add_undelivered(facts: &mut Facts, summary: &Summary, context: &SummaryContext) {
    if !summary.failures.is_empty() {
        facts.add("reasons", reasons(summary));
    }
    if summary.notes.incomplete > 0 {
        facts.add("notes", notes(&summary.notes, context.names));
    }
}

/// The summary as a log line with keys, for programs that read the log.
pub fn log(finished: &Finished) {
    let (summary, counts) = (&finished.summary, &finished.summary.counts);
    tracing::info!(
        target: log::PROGRESS, exit_code = finished.exit_code, rows = counts.rows, stored = counts.stored,
        skipped = counts.skipped, duplicate = counts.duplicate, failed = counts.failed, untried = counts.untried,
        bytes = summary.bytes, seconds = summary.seconds, api_requests = summary.api_requests,
        api_429 = summary.api_429, retries = summary.retries, receipt = finished.receipt.as_deref().unwrap_or_default(),
        "{}", headline(finished)
    );
}

fn headline(finished: &Finished) -> String {
    let Finished { summary, stopped, reports, .. } = finished;
    if let Some(early) = stopped_early(summary, stopped.as_ref()) {
        return early;
    }
    match reports {
        Some(RunError::Reports { names, .. }) => format!("not finished: {names} could not be replaced"),
        Some(_) => "not finished: the reports could not be written".to_owned(),
        None => outcome(summary),
    }
}

/// A signal or a deadline that came after the last row did not end the run early.
fn stopped_early(summary: &Summary, stopped: Option<&StopReason>) -> Option<String> {
    let untried = summary.counts.untried;
    let reason = match stopped? {
        StopReason::Error(error) => return Some(redact::safe(&format!("stopped early: {}", chain(error)))),
        _ if untried == 0 => return None,
        StopReason::Signal(signal) => signal.name().to_owned(),
        stopped @ (StopReason::Deadline | StopReason::Limited(_)) => stopped.to_string(),
    };
    Some(format!("stopped early: {reason}, {} not tried", format::counted(untried, "row")))
}

/// How complete the export is.
pub fn outcome(summary: &Summary) -> String {
    let counts = &summary.counts;
    if counts.failed > 0 {
        let rows = format::counted(counts.rows, "row");
        format!("not complete: {} of {rows} failed", format::count(counts.failed))
    } else if counts.untried > 0 {
        format!("not complete: {} not tried", format::counted(counts.untried, "row"))
    } else if counts.rows == 0 {
        "nothing to do: the manifest has no rows".to_owned()
    } else if counts.stored > 0 {
        "complete: every row is delivered".to_owned()
    } else if counts.skipped == 1 {
        "nothing to do: the image was delivered before".to_owned()
    } else {
        format!("nothing to do: all {} images were delivered before", format::count(counts.skipped))
    }
}
