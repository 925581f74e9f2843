//! `exporter status`: how far a run is, or how the last one ended; once, or every few seconds.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use exporter::ledger::{RunRow, Standing};
use exporter::report::Counts;
use exporter::status::{Phase, ShardStatus, Status, status};
use jiff::Timestamp;

use crate::output::facts::Facts;
use crate::output::{self, format, redact};
use crate::screen::summary;
use crate::{cli, commands, exit, screen, settings, time_zone};

/// Between two answers with `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Prints the status, with `--watch` until no run is going on.
pub fn run(args: &ArgMatches) -> ExitCode {
    let (json, watch) = (args.get_flag(cli::JSON), args.get_flag(cli::WATCH));
    let export = match commands::begin(args, settings::export) {
        Ok(export) => export,
        Err(code) => return code,
    };
    let redraws = watch && !json && screen::can_redraw(&std::io::stdout());
    let mut page = Page { json, watch, redraws, drawn: 0 };
    loop {
        let status = match status(&export.out, export.state_dir.as_deref(), Timestamp::now()) {
            Ok(status) => status,
            Err(error) => return exit::failed(&error),
        };
        let last = !watch || !status.running;
        match output::stdout_is_read(&page.next(&status, last)) {
            Ok(is_read) if last || !is_read => return ExitCode::SUCCESS,
            Ok(_) => {}
            Err(error) => {
                tracing::error!("the answer could not be written to standard output: {error}");
                return ExitCode::from(exit::FAILURE);
            }
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// What standard output shows. On a terminal each answer replaces the one before it.
struct Page {
    json: bool,
    watch: bool,
    redraws: bool,
    /// Lines of the answer before.
    drawn: usize,
}

impl Page {
    /// The next answer, with what the terminal needs around it.
    fn next(&mut self, status: &Status, last: bool) -> String {
        let answer = match (self.json, self.watch) {
            (true, false) => commands::json(status),
            (true, true) => serde_json::to_string(status).unwrap_or_default() + "\n",
            (false, _) => text(status),
        };
        if !self.redraws {
            let separator = if last || self.json { "" } else { "\n" };
            return answer + separator;
        }
        // a line that wraps would take two rows, and one of them would not be replaced
        let answer = if last { answer } else { screen::fit(&answer, screen::width_of_stdout()) };
        let drawn = std::mem::replace(&mut self.drawn, answer.lines().count());
        // up to the first line of the answer before, and clear from there
        let back = if drawn > 0 { format!("\u{1b}[{drawn}A\u{1b}[J") } else { String::new() };
        back + &answer
    }
}

/// The answer, one fact a line.
fn text(status: &Status) -> String {
    let mut facts = Facts::new(headline(status));
    // while a run reads its manifest, the numbers are still those of the run before
    let reading = status.phase == Some(Phase::Reading);
    if status.counts.rows > 0 && !reading {
        facts.add("rows", summary::states(&status.counts));
    }
    if status.running && !reading {
        facts.add("speed", speed(status));
    }
    if let Some(pace) = &status.pace
        && !reading
    {
        facts.add("now", format::pace(pace));
    }
    if let Some(run) = &status.run
        && run.api_requests > 0
        && !reading
    {
        facts.add("requests", requests(run));
    }
    for (at, line) in shards(&status.shards).into_iter().enumerate() {
        facts.add(if at == 0 { "shards" } else { "" }, line);
    }
    if status.bytes > 0 {
        facts.add("delivered", format!("{} in all", format::bytes(status.bytes)));
    }
    facts.into_text()
}

fn headline(status: &Status) -> String {
    if !status.shards.is_empty() {
        return shards_headline(status);
    }
    if status.running {
        return progress(status);
    }
    let Some(run) = &status.run else { return "not running: there has been no run yet".to_owned() };
    let time = |text: &str| text.get(..19).unwrap_or(text).replace('T', " ");
    let Some(finished_at) = &run.finished_at else {
        let started_at = time(&run.started_at);
        return format!(
            "not running: the run of {started_at} UTC was killed; run the same command again to continue"
        );
    };
    let counts = &status.counts;
    let end = end(run, counts, counts.untried.saturating_sub(status.repaired));
    let code = run.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
    let since = summary::repaired_since(status.repaired);
    format!("not running: the last run ended at {} UTC, {end}{code}{since}", time(finished_at))
}

/// `running, process 4711: 11,600 of 50,000 rows done (23 %)`.
fn progress(status: &Status) -> String {
    let counts = &status.counts;
    let process = status.pid.map_or_else(String::new, |pid| format!(", process {pid}"));
    if status.phase == Some(Phase::Reading) {
        return format!("running{process}: reading the manifest");
    }
    let done = counts.rows - counts.untried;
    let percent = screen::percent(done, counts.rows);
    let (done, rows) = (format::count(done), format::counted(counts.rows, "row"));
    format!("running{process}: {done} of {rows} done ({percent} %)")
}

/// `running: 2 of 4 shards at work, 300 of 1,000 rows done (30 %)`.
fn shards_headline(status: &Status) -> String {
    let count = |state| status.shards.iter().filter(|shard| shard.state == state).count() as u64;
    let all = format::counted(status.shards.len() as u64, "shard");
    if status.running {
        let done = status.counts.rows - status.counts.untried;
        let percent = screen::percent(done, status.counts.rows);
        let at_work = format::count(count(Standing::Running));
        let (done, rows) = (format::count(done), format::counted(status.counts.rows, "row"));
        return format!("running: {at_work} of {all} at work, {done} of {rows} done ({percent} %)");
    }
    let complete = count(Standing::Complete);
    if complete == status.shards.len() as u64 {
        return format!("not running: {all} complete; to make one export of them: exporter merge");
    }
    format!("not running: {} of {all} complete; run the others to continue", format::count(complete))
}

/// A line for each shard.
fn shards(shards: &[ShardStatus]) -> Vec<String> {
    let line = |shard: &ShardStatus| {
        let state = match (shard.state, shard.exit_code) {
            (Standing::Missing, _) => "has not run".to_owned(),
            (Standing::Running, _) => "running".to_owned(),
            (Standing::Killed, _) => "killed".to_owned(),
            (Standing::Stopped, Some(code)) => format!("ended early (exit code {code})"),
            (Standing::Stopped, None) => "ended early".to_owned(),
            (Standing::Complete, _) => "complete".to_owned(),
        };
        let host = shard.host.as_deref().map(redact::safe).unwrap_or_default();
        let rows = if shard.counts.rows > 0 { summary::states(&shard.counts) } else { String::new() };
        [format!("{}", shard.shard), state, host, rows]
    };
    let lines: Vec<_> = shards.iter().map(line).collect();
    format::columns(&lines).lines().map(|line| line.trim_end().to_owned()).collect()
}

/// How a run ended that left `untried` rows untried.
fn end(run: &RunRow, counts: &Counts, untried: u64) -> String {
    let words = match (counts.failed, untried) {
        (0, 0) => "complete".to_owned(),
        (0, untried) => format!("{} not tried", format::counted(untried, "row")),
        (failed, _) => format!("{} of {} failed", format::count(failed), format::counted(counts.rows, "row")),
    };
    match (&run.stop, run.exit_code) {
        (Some(stop), Some(1)) => redact::safe(stop),
        (Some(stop), _) if untried > 0 => redact::safe(stop),
        (Some(stop), Some(0 | 3)) => redact::safe(&format!("{words}; {stop}")),
        _ => words,
    }
}

/// `16.0 images/s over the last minute, 40 min left (until 2026-03-01 14:05)`.
fn speed(status: &Status) -> String {
    let mut text = format!("{} images/s over the last minute", format::per_second(status.rows_per_second));
    if let Some(left) = status.seconds_left {
        let _ = write!(text, ", {} left", format::duration(Duration::from_secs(left)));
        let end = time_zone::now().checked_add(Duration::from_secs(left));
        if let Ok(end) = end {
            let _ = write!(text, " (until {})", end.strftime("%Y-%m-%d %H:%M"));
        }
    }
    text
}

/// `2,640 to the API, 990 a minute on average, 3 answered 429 (too many), 12 retries`.
fn requests(run: &RunRow) -> String {
    let mut text = format!("{} to the API", format::count(run.api_requests));
    // an average over less than a minute says nothing
    if run.seconds >= 60.0 {
        let minute = screen::whole(format::approximate(run.api_requests) / run.seconds * 60.0);
        let _ = write!(text, ", {} a minute on average", format::count(minute));
    }
    if run.api_429 > 0 {
        let _ = write!(text, ", {} answered 429 (too many)", format::count(run.api_429));
    }
    format!("{text}, {}", format::retries(run.retries))
}

#[cfg(test)]
mod tests {
    use exporter::ledger::Pace;
    use insta::assert_snapshot;

    use super::*;

    fn some(running: bool, run: RunRow) -> Status {
        let counts =
            Counts { rows: 50_000, stored: 2_560, skipped: 9_000, duplicate: 40, failed: 0, untried: 38_400 };
        Status { running, counts, bytes: 5 << 30, run: Some(run), ..Status::default() }
    }

    fn run(finished: bool, exit_code: Option<u8>) -> RunRow {
        RunRow {
            started_at: "2026-03-01T08:00:00.123Z".to_owned(),
            finished_at: finished.then(|| "2026-03-01T08:02:40.5Z".to_owned()),
            exit_code,
            seconds: 160.0,
            api_requests: 2_640,
            api_429: 3,
            retries: 12,
            ..RunRow::default()
        }
    }

    #[test]
    fn a_run_is_shown_with_its_speed_and_its_requests() {
        let pace = Pace { concurrency: 48, downloading: 32, asking: 3, waiting: 200, queued: 0, ready: 5 };
        let status = Status {
            rows_per_second: 16.0,
            pid: Some(4711),
            pace: Some(pace),
            ..some(true, run(false, None))
        };
        assert_snapshot!(text(&status), @"
        running, process 4711: 11,600 of 50,000 rows done (23 %)
        rows      50,000 = 2,560 stored + 9,000 skipped + 40 duplicate + 38,400 untried
        speed     16.0 images/s over the last minute
        now       32 downloading, 3 asking, 5 with a URL, 200 waiting for the allowance (up to 48 in flight)
        requests  2,640 to the API, 990 a minute on average, 3 answered 429 (too many), 12 retries
        delivered 5.0 GiB in all
        ");
        let left = Status { seconds_left: Some(2400), ..status };
        assert!(speed(&left).contains("last minute, 40 min left (until 2"), "{}", speed(&left));
    }

    #[test]
    fn the_end_of_the_last_run_comes_first() {
        let first = |status: &Status| text(status).lines().next().unwrap_or_default().to_owned();
        assert_snapshot!(first(&some(false, run(false, None))), @"not running: the run of 2026-03-01 08:00:00 UTC was killed; run the same command again to continue");
        let stop = Some("stopped by Ctrl-C".to_owned());
        assert_snapshot!(first(&some(false, RunRow { stop, ..run(true, Some(130)) })), @"not running: the last run ended at 2026-03-01 08:02:40 UTC, stopped by Ctrl-C (exit code 130)");
        let mut done = some(false, run(true, Some(0)));
        done.counts.untried = 0;
        assert_snapshot!(first(&done), @"not running: the last run ended at 2026-03-01 08:02:40 UTC, complete (exit code 0)");
        assert_eq!(first(&Status::default()), "not running: there has been no run yet");
        (done.counts.stored, done.counts.untried, done.repaired) = (2_558, 2, 2);
        assert_snapshot!(first(&done), @"not running: the last run ended at 2026-03-01 08:02:40 UTC, complete (exit code 0); since then 2 rows made undelivered by verify --repair");
        let nothing = Status {
            run: Some(RunRow { stop: Some("the ledger was rebuilt".to_owned()), ..run(true, Some(1)) }),
            ..Status::default()
        };
        assert_snapshot!(first(&nothing), @"not running: the last run ended at 2026-03-01 08:02:40 UTC, the ledger was rebuilt (exit code 1)");
    }

    #[test]
    fn while_the_manifest_is_read_no_number_of_the_run_before_is_shown() {
        let status = Status { phase: Some(Phase::Reading), ..some(true, run(true, Some(0))) };
        assert_snapshot!(text(&status), @"
        running: reading the manifest
        delivered 5.0 GiB in all
        ");
    }

    #[test]
    fn only_a_terminal_that_can_redraw_gets_cursor_movements() {
        let status = some(true, run(false, None));
        let answers = |redraws: bool| {
            let mut page = Page { json: false, watch: true, redraws, drawn: 0 };
            [page.next(&status, false), page.next(&status, false)]
        };
        let plain = answers(false);
        assert!(
            plain.iter().all(|answer| !answer.contains('\u{1b}') && answer.ends_with("\n\n")),
            "{plain:?}"
        );
        let redrawn = answers(true);
        assert!(
            redrawn[0].starts_with("running: ") && redrawn[1].starts_with("\u{1b}[5A\u{1b}[J"),
            "{redrawn:?}"
        );
    }
}
