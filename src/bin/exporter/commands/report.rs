//! `exporter report`: the reports written again, or the table of runs.

use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use exporter::error::RunError;
use exporter::ledger::{self, RunRow};
use exporter::report::{self, Summary};

use crate::output::facts::Facts;
use crate::output::{format, redact};
use crate::screen::summary::{self, SummaryContext};
use crate::settings::{self, Export};
use crate::{cli, commands, exit};

/// Writes the reports again, or prints the table of runs.
pub fn report(args: &ArgMatches) -> ExitCode {
    let export = match commands::begin(args, settings::export) {
        Ok(export) => export,
        Err(code) => return code,
    };
    let json = args.get_flag(cli::JSON);
    let answer = if args.get_flag(cli::RUNS) { runs(&export, json) } else { rewrite(&export) };
    match answer {
        Ok(text) => commands::answer(&text, 0),
        Err(error) => exit::failed(&error),
    }
}

fn rewrite(export: &Export) -> Result<String, RunError> {
    let summary = report::rewrite(&export.out, export.state_dir.as_deref())?;
    Ok(rewritten(&summary, &SummaryContext::of(&export.out)))
}

/// What was written, and the rows that are not delivered.
fn rewritten(summary: &Summary, context: &SummaryContext) -> String {
    let mut facts = Facts::new(headline(summary));
    if summary.counts.rows > 0 {
        facts.add("rows", summary::states(&summary.counts));
    }
    summary::add_undelivered(&mut facts, summary, context);
    facts.add("reports", summary::reports(&summary.counts, context));
    facts.into_text()
}

fn headline(summary: &Summary) -> String {
    let time = to_the_second(&summary.started_at);
    let since = summary::repaired_since(summary.repaired);
    match summary.exit_code {
        _ if summary.started_at.is_empty() => "reports written; no run is known".to_owned(),
        None => format!("reports written for the run of {time} UTC, which was killed{since}"),
        Some(code) => format!("reports written for the run of {time} UTC (exit code {code}){since}"),
    }
}

/// `2026-03-01 08:00:00`.
fn to_the_second(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

fn runs(export: &Export, json: bool) -> Result<String, RunError> {
    let (out, state_dir) = (&export.out, export.state_dir.as_deref());
    let connection = ledger::open_read_only(out, state_dir)?;
    let runs = ledger::runs(&connection)?;
    if json {
        return Ok(commands::json(&runs));
    }
    let running = ledger::holder(out, state_dir)?.is_some_and(|holder| holder.command == "run");
    Ok(table(&runs, running))
}

/// One line per run, oldest first. `running`: the newest one is still going on.
fn table(runs: &[RunRow], running: bool) -> String {
    const HEAD: [&str; 8] = ["run", "began (UTC)", "took", "requests", "manifest", "version", "by", "ended"];
    let newest = runs.last().map(|run| run.id);
    let lines = runs.iter().map(|run| {
        [
            run.id.to_string(),
            to_the_second(&run.started_at),
            format::duration(Duration::try_from_secs_f64(run.seconds).unwrap_or_default()),
            format::count(run.api_requests),
            run.manifest_sha256.get(..12).unwrap_or(&run.manifest_sha256).to_owned(),
            run.version.clone(),
            redact::safe(&format!("{}@{}", run.user, run.host)),
            end(run, running && newest == Some(run.id)),
        ]
    });
    let lines: Vec<[String; 8]> = std::iter::once(HEAD.map(str::to_owned)).chain(lines).collect();
    format::columns(&lines)
}

/// `3, rows failed`.
fn end(run: &RunRow, running: bool) -> String {
    let Some(code) = run.exit_code else {
        return if running { "still running" } else { "no end recorded: killed, or a power cut" }.to_owned();
    };
    let words = match code {
        0 => "complete",
        3 => "rows failed",
        4 => "out of time",
        129 => "SIGHUP",
        130 => "Ctrl-C",
        143 => "SIGTERM",
        _ => "stopped",
    };
    match &run.stop {
        Some(stop) if code == 1 => redact::safe(&format!("{code}, {stop}")),
        Some(stop) if matches!(code, 0 | 3) => redact::safe(&format!("{code}, {words}; {stop}")),
        _ => format!("{code}, {words}"),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn run(id: i64, exit_code: Option<u8>, stop: Option<&str>) -> RunRow {
        RunRow {
            id,
            started_at: format!("2026-03-0{id}T08:00:00.123Z"),
            finished_at: exit_code.map(|_| "2026-03-02T09:00:00Z".to_owned()),
            seconds: 3600.0,
            exit_code,
            stop: stop.map(str::to_owned),
            user: "night".to_owned(),
            host: "archive".to_owned(),
            version: "0.1.0".to_owned(),
            manifest_sha256: "ab12cd34ef56".repeat(5),
            api_requests: 1234 * id.unsigned_abs(),
            ..RunRow::default()
        }
    }

    #[test]
    fn the_table_names_who_ran_what_and_how_it_ended() {
        let runs = [
            run(1, Some(3), None),
            run(2, Some(1), Some("the API refuses the key")),
            run(3, None, None),
            run(4, None, None),
        ];
        let adopted = run(1, Some(0), Some("the ledger was rebuilt"));
        assert_eq!(end(&adopted, false), "0, complete; the ledger was rebuilt");
        assert_snapshot!(table(&runs, true), @"
        run  began (UTC)          took  requests  manifest      version  by             ended
        1    2026-03-01 08:00:00  1 h   1,234     ab12cd34ef56  0.1.0    night@archive  3, rows failed
        2    2026-03-02 08:00:00  1 h   2,468     ab12cd34ef56  0.1.0    night@archive  1, the API refuses the key
        3    2026-03-03 08:00:00  1 h   3,702     ab12cd34ef56  0.1.0    night@archive  no end recorded: killed, or a power cut
        4    2026-03-04 08:00:00  1 h   4,936     ab12cd34ef56  0.1.0    night@archive  still running
        ");
    }
}
