//! `exporter merge`: one export of what the shards have delivered.

use std::process::ExitCode;

use clap::ArgMatches;
use exporter::merge::{MergeOptions, Merged, merge};

use crate::output::facts::Facts;
use crate::output::{format, redact};
use crate::screen::summary::{self, SummaryContext};
use crate::settings::table::{self, Setting};
use crate::{cli, commands, exit, settings};

/// Settings of the merge that later commands must have, too.
const LATER_SETTINGS: [&Setting; 5] =
    [&table::OUT, &table::STATE_DIR, &table::COLUMNS, &table::DELIMITER, &table::ON_BAD_ROW];

/// Merges, and prints what became of every row.
pub fn run(args: &ArgMatches) -> ExitCode {
    let read = |sources: &settings::Sources<'_>| {
        let options = settings::merge(sources, args.get_flag(settings::FINISH))?;
        Ok((options, settings::as_flags(sources, &LATER_SETTINGS)))
    };
    let (options, flags) = match commands::begin(args, read) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let merged = match merge(&options) {
        Ok(merged) => merged,
        Err(error) => return exit::failed(&error),
    };
    for warning in &merged.warnings {
        tracing::warn!("{warning}");
    }
    for unfinished in &merged.unfinished {
        let rows = format::counted(unfinished.untried, "row");
        tracing::error!("{}: {rows} not tried", redact::safe(&unfinished.remark));
    }
    if let Some(error) = &merged.reports {
        exit::print(error);
    }
    let text = if args.get_flag(cli::JSON) {
        commands::json(&merged.summary)
    } else {
        text(&merged, &options, &flags)
    };
    commands::answer(&text, merged.exit_code)
}

/// The answer, one fact a line. `flags` are those of a command on the same export.
fn text(merged: &Merged, options: &MergeOptions, flags: &str) -> String {
    let context = SummaryContext::of(&options.out);
    let summary = &merged.summary;
    let mut facts = Facts::new(headline(merged));
    if summary.counts.rows > 0 {
        facts.add("rows", summary::states(&summary.counts));
    }
    facts.add("shards", shards(merged));
    summary::add_undelivered(&mut facts, summary, &context);
    let out = redact::shell(&options.out);
    if merged.reports.is_some() {
        facts.add(
            "reports",
            format!("not all are those of this merge; to write them again: exporter report {out}"),
        );
        return facts.into_text();
    }
    facts.add("reports", summary::reports(&summary.counts, &context));
    if summary.counts.stored + summary.counts.skipped > 0 {
        facts.add("check", format!("cd {out} && sha256sum -c --quiet manifest-sha256.txt"));
    }
    if let Some(receipt) = &merged.receipt {
        facts.add("receipt", receipt);
    }
    if merged.finished && summary.counts.failed + summary.counts.untried > 0 {
        facts.add("next", format!("exporter run MANIFEST{flags}"));
    } else if !merged.unfinished.is_empty() {
        facts.add("next", "run these shards again, then merge again");
    } else if summary.counts.failed > 0 {
        facts.add("next", "to try the failed rows again, run the shards again, then merge again");
    }
    facts.into_text()
}

fn headline(merged: &Merged) -> String {
    match merged.unfinished.len() {
        0 => summary::outcome(&merged.summary),
        1 => "not complete: 1 shard has not finished".to_owned(),
        shards => format!("not complete: {} shards have not finished", format::count(shards as u64)),
    }
}

/// `7 of 8 complete`.
fn shards(merged: &Merged) -> String {
    let complete = u64::from(merged.shards).saturating_sub(merged.unfinished.len() as u64);
    let text = format!("{} of {} complete", format::count(complete), format::count(u64::from(merged.shards)));
    if merged.finished { text + "; this is an ordinary export now" } else { text }
}
