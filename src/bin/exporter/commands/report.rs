//! `exporter report`: the reports again, or the table of runs.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use exporter::error::RunError;
use exporter::ledger::{self, RunRow};
use exporter::report;

use crate::cli::ReportArgs;
use crate::screen::summary;
use crate::settings::{self, Export};
use crate::{commands, exit, output::format};

/// Does it.
pub fn report(args: &ReportArgs) -> ExitCode {
    let export =
        match commands::begin(&args.config, &args.log, |sources| settings::folder(&args.folder, sources)) {
            Ok(export) => export,
            Err(code) => return code,
        };
    let answer = if args.runs { runs(&export, args.json) } else { again(&export) };
    match answer {
        Ok(text) => commands::answer(&text, 0),
        Err(error) => exit::failed(&error),
    }
}

fn again(export: &Export) -> Result<String, RunError> {
    let summary = report::rewrite(&export.out, export.state_dir.as_deref())?;
    Ok(summary::again(&summary, &export.out))
}

fn runs(export: &Export, json: bool) -> Result<String, RunError> {
    let (out, state_dir) = (&export.out, export.state_dir.as_deref());
    let runs = ledger::runs(&ledger::open_read_only(out, state_dir)?)?;
    if json {
        return Ok(commands::json(&runs));
    }
    let on = ledger::holder(out, state_dir)?.is_some_and(|holder| holder.command == "run");
    Ok(table(&runs, on))
}

/// One line a run. `on`: the newest one is still going on.
fn table(runs: &[RunRow], on: bool) -> String {
    const HEAD: [&str; 8] = ["run", "began (UTC)", "took", "requests", "manifest", "version", "by", "ended"];
    let newest = runs.last().map(|run| run.id);
    let lines = runs.iter().map(|run| {
        [
            run.id.to_string(),
            run.started_at.get(..19).unwrap_or(&run.started_at).replace('T', " "),
            format::duration(Duration::try_from_secs_f64(run.seconds).unwrap_or_default()),
            format::count(run.api_requests),
            run.manifest_sha256.get(..12).unwrap_or(&run.manifest_sha256).to_owned(),
            run.version.clone(),
            format::safe(&format!("{}@{}", run.user, run.host)),
            end(run, on && newest == Some(run.id)),
        ]
    });
    let lines: Vec<[String; 8]> = std::iter::once(HEAD.map(str::to_owned)).chain(lines).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(widths).take(7) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line[7]);
    }
    text
}

/// `3, rows failed`.
fn end(run: &RunRow, on: bool) -> String {
    let Some(code) = run.exit_code else {
        return if on { "still on" } else { "without a word: killed, or a power cut" }.to_owned();
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
        Some(stop) if code == 1 => format::safe(&format!("{code}, {stop}")),
        Some(stop) if matches!(code, 0 | 3) => format::safe(&format!("{code}, {words}; {stop}")),
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
    fn the_table_tells_who_ran_what_and_how_it_ended() {
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
        3    2026-03-03 08:00:00  1 h   3,702     ab12cd34ef56  0.1.0    night@archive  without a word: killed, or a power cut
        4    2026-03-04 08:00:00  1 h   4,936     ab12cd34ef56  0.1.0    night@archive  still on
        ");
    }
}
