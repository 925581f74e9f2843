//! The closing summary on standard output: what became of all rows, where it stands written, what to do next.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use exporter::error::StopReason;
use exporter::error::{ErrorCode, chain};
use exporter::manifest::Source;
use exporter::options::RunOptions;
use exporter::report::{Counts, Notes, Summary};
use exporter::run::Finished;

use crate::output::{format, log};

/// Where things stand, for the commands that are named.
#[derive(Debug)]
pub struct Place {
    out: PathBuf,
    stdin: bool,
    /// Flags of a run on `failed.csv`, a blank before each.
    flags: String,
    /// Whether notes are named. They are patients': what goes into a journal or a mail counts them.
    names: bool,
}

impl Place {
    /// From what was asked for.
    pub fn new(options: &RunOptions, flags: String) -> Self {
        let stdin = options.source == Source::Stdin;
        Self { stdin, flags, ..Self::of(&options.out) }
    }

    fn of(out: &Path) -> Self {
        let names = std::io::stdout().is_terminal();
        Self { out: out.to_owned(), stdin: false, flags: String::new(), names }
    }
}

/// The summary, one fact a line.
pub fn text(finished: &Finished, place: &Place) -> String {
    let summary = &finished.summary;
    let mut text = headline(summary, finished.stopped.as_ref()) + "\n";
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10}{value}");
    };
    if summary.counts.rows > 0 {
        fact("rows", states(&summary.counts));
    }
    if summary.counts.stored > 0 {
        fact("stored", amount(summary));
    }
    if summary.api_requests > 0 {
        fact("requests", requests(summary));
    }
    if !summary.failures.is_empty() {
        fact("reasons", reasons(summary));
    }
    if summary.notes.incomplete > 0 {
        fact("notes", notes(&summary.notes, place.names));
    }
    if summary.same_content > 0 {
        fact("note", format!("{} the same bytes as an earlier one", have(summary.same_content)));
    }
    let left = summary.counts.failed + summary.counts.untried > 0;
    fact("reports", reports(place, left));
    // `sha256sum -c` refuses an empty list
    if summary.counts.stored + summary.counts.skipped > 0 {
        fact(
            "check",
            format!("cd {} && sha256sum -c --quiet manifest-sha256.txt", format::shell(&place.out)),
        );
    }
    if let Some(advice) = next(summary, place) {
        fact("next", advice);
    }
    text
}

/// The same as a log line with keys, for logs that are read by a program.
pub fn log(finished: &Finished) {
    let (summary, counts) = (&finished.summary, &finished.summary.counts);
    tracing::info!(
        target: log::PROGRESS, exit_code = finished.exit_code, rows = counts.rows, stored = counts.stored,
        skipped = counts.skipped, duplicate = counts.duplicate, failed = counts.failed, untried = counts.untried,
        bytes = summary.bytes, seconds = summary.seconds, api_requests = summary.api_requests,
        api_429 = summary.api_429, retries = summary.retries,
        "{}", headline(summary, finished.stopped.as_ref())
    );
}

/// The first line never sounds like a success where it is none.
fn headline(summary: &Summary, stopped: Option<&StopReason>) -> String {
    let counts = &summary.counts;
    let untried = || format!("{} not tried", format::counted(counts.untried, "row"));
    match stopped {
        Some(StopReason::Error(error)) => return format::safe(&format!("stopped early: {}", chain(error))),
        Some(StopReason::Signal(signal)) if counts.untried > 0 => {
            return format!("stopped early: {}, {}", signal.name(), untried());
        }
        Some(stopped @ (StopReason::Deadline | StopReason::Limited(_))) if counts.untried > 0 => {
            return format!("stopped early: {stopped}, {}", untried());
        }
        _ => {}
    }
    if counts.failed > 0 {
        let rows = format::counted(counts.rows, "row");
        format!("not complete: {} of {rows} failed", format::count(counts.failed))
    } else if counts.untried > 0 {
        format!("not complete: {}", untried())
    } else if counts.rows == 0 {
        "nothing to do: the manifest has no rows".to_owned()
    } else if counts.stored == 0 {
        match counts.skipped {
            1 => "nothing to do: the image was delivered before".to_owned(),
            images => format!("nothing to do: all {} images were delivered before", format::count(images)),
        }
    } else {
        "complete: every row is delivered".to_owned()
    }
}

/// `50,000 = 40,000 stored + 9,000 skipped + 1,000 duplicate`.
pub fn states(counts: &Counts) -> String {
    let states = [
        (counts.stored, "stored"),
        (counts.skipped, "skipped"),
        (counts.duplicate, "duplicate"),
        (counts.failed, "failed"),
        (counts.untried, "untried"),
    ];
    let parts: Vec<String> = states
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, state)| format!("{} {state}", format::count(number)))
        .collect();
    format!("{} = {}", format::count(counts.rows), parts.join(" + "))
}

fn amount(summary: &Summary) -> String {
    let time = format::duration(Duration::try_from_secs_f64(summary.seconds).unwrap_or_default());
    // below a second a speed says nothing
    if summary.seconds < 1.0 {
        return format!("{} in {time}", format::bytes(summary.bytes));
    }
    let images = format::per_second(format::approximate(summary.counts.stored) / summary.seconds);
    let bytes = super::line::whole(format::approximate(summary.bytes) / summary.seconds);
    format!("{} in {time}, {images} images/s, {}/s", format::bytes(summary.bytes), format::bytes(bytes))
}

fn requests(summary: &Summary) -> String {
    let mut text = format!("{} to the API", format::count(summary.api_requests));
    if summary.api_429 > 0 {
        let _ = write!(text, ", {} answered 429 (too many)", format::count(summary.api_429));
    }
    if let Some(share) = summary.allowance_share {
        let _ = write!(text, ", {:.0} % of the allowance", 100.0 * share);
    }
    format!("{text}, {}", format::retries(summary.retries))
}

/// `not_found 37, timeout 2`, the most frequent first.
fn reasons(summary: &Summary) -> String {
    let mut reasons: Vec<(&str, u64)> =
        summary.failures.iter().map(|(code, rows)| (code.as_str(), *rows)).collect();
    reasons.sort_by_key(|(code, rows)| (std::cmp::Reverse(*rows), *code));
    let parts: Vec<String> =
        reasons.into_iter().map(|(code, rows)| format!("{code} {}", format::count(rows))).collect();
    parts.join(", ")
}

/// `38 of 40 complete, see notes.csv`, with `names` `38 of 40 complete; not: org0 note3 (2 of 4 images), org1 note7 (0 of 1) and 12 more, see notes.csv`.
fn notes(notes: &Notes, names: bool) -> String {
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
    let rest = notes.incomplete.saturating_sub(notes.first_incomplete.len() as u64);
    if rest > 0 {
        let _ = write!(text, " and {} more, see notes.csv", format::count(rest));
    }
    format::safe(&text)
}

/// What `exporter report` says of the reports that it wrote.
pub fn again(summary: &Summary, out: &Path) -> String {
    let place = Place::of(out);
    let mut text = format!("{}\n", again_headline(summary));
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10}{value}");
    };
    if summary.counts.rows > 0 {
        fact("rows", states(&summary.counts));
    }
    if !summary.failures.is_empty() {
        fact("reasons", reasons(summary));
    }
    if summary.notes.incomplete > 0 {
        fact("notes", notes(&summary.notes, place.names));
    }
    fact("reports", reports(&place, summary.counts.failed + summary.counts.untried > 0));
    text
}

fn again_headline(summary: &Summary) -> String {
    let time = summary.started_at.get(..19).unwrap_or(&summary.started_at).replace('T', " ");
    let since = since(summary.repaired);
    match summary.exit_code {
        _ if summary.started_at.is_empty() => "reports written; no run is known".to_owned(),
        None => format!("reports written; the run of {time} UTC has no end: it was killed{since}"),
        Some(code) => format!("reports written as the run of {time} UTC left it (exit code {code}){since}"),
    }
}

/// What became of the rows after the run.
pub fn since(repaired: u64) -> String {
    match repaired {
        0 => String::new(),
        rows => format!("; since then {} made undelivered by verify --repair", format::counted(rows, "row")),
    }
}

fn have(rows: u64) -> String {
    if rows == 1 { "1 row has".to_owned() } else { format!("{} rows have", format::count(rows)) }
}

fn reports(place: &Place, left: bool) -> String {
    let path = |name: &str| format::shell(&place.out.join(name));
    if left { format!("{}, {}", path("report.csv"), path("failed.csv")) } else { path("report.csv") }
}

/// A command has a line of its own, below the other facts: narrow terminals leave it whole.
const COMMAND: &str = "\n          ";

/// What to do about rows that are not delivered.
fn next(summary: &Summary, place: &Place) -> Option<String> {
    let failed = format::shell(&place.out.join("failed.csv"));
    let flags = &place.flags;
    let bad = summary.failures.get(ErrorCode::BadRow.as_str()).copied().unwrap_or_default();
    let failed_rows = summary.counts.failed.saturating_sub(bad);
    match (summary.counts.untried, failed_rows) {
        (0, 0) if bad == 0 => None,
        (0, 0) => Some(
            "correct the bad rows (report.csv names their lines) and give the same command again".to_owned(),
        ),
        (0, _) => Some(format!(
            "failed.csv has a reason and an advice for each; then:{COMMAND}exporter run {failed}{flags}"
        )),
        _ if place.stdin => Some(format!("to go on with what is left:{COMMAND}exporter run {failed}{flags}")),
        _ => Some("give the same command again to go on".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use exporter::error::RunError;
    use exporter::report::IncompleteNote;
    use exporter::shutdown::Signal;
    use insta::assert_snapshot;

    use super::*;

    fn shown(counts: [u64; 5], failures: &[(&str, u64)], stopped: Option<StopReason>, out: &str) -> String {
        let [stored, skipped, duplicate, failed, untried] = counts;
        let summary = Summary {
            counts: Counts { rows: counts.iter().sum(), stored, skipped, duplicate, failed, untried },
            bytes: stored * 1_700_000,
            seconds: format::approximate(stored) / 15.5,
            api_requests: stored + failed,
            api_429: u64::from(stored > 1000) * 3,
            allowance_share: (stored > 10_000).then_some(0.984),
            retries: failed * 2,
            failures: failures.iter().map(|(code, rows)| ((*code).to_owned(), *rows)).collect(),
            ..Summary::default()
        };
        text(&Finished { summary, exit_code: 0, stopped, reports: None }, &place(out))
    }

    fn place(out: &str) -> Place {
        let flags =
            if out == "export" { String::new() } else { format!(" -o {}", format::shell(out.as_ref())) };
        Place { out: out.into(), stdin: false, flags, names: false }
    }

    #[test]
    fn a_complete_run_says_so_first() {
        assert_snapshot!(shown([40_000, 9_000, 1_000, 0, 0], &[], None, "export"), @"
        complete: every row is delivered
        rows      50,000 = 40,000 stored + 9,000 skipped + 1,000 duplicate
        stored    63.3 GiB in 43 min, 15.5 images/s, 25.1 MiB/s
        requests  40,000 to the API, 3 answered 429 (too many), 98 % of the allowance, 0 retries
        reports   export/report.csv
        check     cd export && sha256sum -c --quiet manifest-sha256.txt
        ");
    }

    #[test]
    fn failed_rows_are_counted_by_reason_with_the_way_on() {
        let failures = [("not_found", 1), ("timeout", 37)];
        assert_snapshot!(shown([1_200, 0, 0, 38, 0], &failures, None, "my export"), @"
        not complete: 38 of 1,238 rows failed
        rows      1,238 = 1,200 stored + 38 failed
        stored    1.9 GiB in 1 min 17 s, 15.5 images/s, 25.1 MiB/s
        requests  1,238 to the API, 3 answered 429 (too many), 76 retries
        reasons   timeout 37, not_found 1
        reports   'my export/report.csv', 'my export/failed.csv'
        check     cd 'my export' && sha256sum -c --quiet manifest-sha256.txt
        next      failed.csv has a reason and an advice for each; then:
                  exporter run 'my export/failed.csv' -o 'my export'
        ");
    }

    #[test]
    fn incomplete_notes_are_named_on_a_terminal_alone_and_those_beyond_the_first_counted() {
        let note = |note: &str, delivered| IncompleteNote {
            org: "org".to_owned(),
            note: note.to_owned(),
            images: 4,
            delivered,
        };
        let some = Notes {
            total: 40,
            complete: 25,
            incomplete: 15,
            first_incomplete: vec![note("a", 2), note("b\u{1b}", 0)],
        };
        assert_snapshot!(notes(&some, false), @"25 of 40 complete, see notes.csv");
        assert_snapshot!(notes(&some, true), @r"25 of 40 complete; not: org a (2 of 4 images), org b\u{1b} (0 of 4) and 13 more, see notes.csv");
        let summary = Summary { notes: some, ..Summary::default() };
        let finished = Finished { summary, exit_code: 3, stopped: None, reports: None };
        let text = text(&finished, &place("export"));
        assert!(text.contains("\nnotes     25 of 40 complete, see notes.csv\n"), "{text}");
    }

    #[test]
    fn a_run_that_stopped_early_never_looks_like_a_success() {
        let signal = Some(StopReason::Signal(Signal::Interrupt));
        assert_snapshot!(shown([100, 0, 0, 0, 900], &[], signal, "export"), @"
        stopped early: Ctrl-C, 900 rows not tried
        rows      1,000 = 100 stored + 900 untried
        stored    162 MiB in 6.5 s, 15.5 images/s, 25.1 MiB/s
        requests  100 to the API, 0 retries
        reports   export/report.csv, export/failed.csv
        check     cd export && sha256sum -c --quiet manifest-sha256.txt
        next      give the same command again to go on
        ");
        let error = Some(StopReason::Error(RunError::Disk("/srv/export is full".to_owned())));
        assert_snapshot!(shown([100, 0, 0, 0, 900], &[], error, "/srv/export"), @"
        stopped early: /srv/export is full. What is delivered is safe; make room or mend the disk, and run again to go on
        rows      1,000 = 100 stored + 900 untried
        stored    162 MiB in 6.5 s, 15.5 images/s, 25.1 MiB/s
        requests  100 to the API, 0 retries
        reports   /srv/export/report.csv, /srv/export/failed.csv
        check     cd /srv/export && sha256sum -c --quiet manifest-sha256.txt
        next      give the same command again to go on
        ");
    }

    #[test]
    fn a_signal_after_the_last_row_takes_nothing_away() {
        let text = shown([100, 0, 0, 0, 0], &[], Some(StopReason::Signal(Signal::Terminate)), "export");
        assert!(text.starts_with("complete: "), "{text}");
    }

    #[test]
    fn bad_rows_are_corrected_in_the_manifest_since_failed_csv_has_them_not() {
        let text = shown([10, 0, 0, 2, 0], &[("bad_row", 2)], None, "export");
        assert!(text.contains("next      correct the bad rows"), "{text}");
    }

    #[test]
    fn nothing_to_do_is_said_in_words() {
        assert_snapshot!(shown([0, 1_234, 6, 0, 0], &[], None, "export"), @"
        nothing to do: all 1,234 images were delivered before
        rows      1,240 = 1,234 skipped + 6 duplicate
        reports   export/report.csv
        check     cd export && sha256sum -c --quiet manifest-sha256.txt
        ");
        assert_snapshot!(shown([0; 5], &[], None, "export"), @"
        nothing to do: the manifest has no rows
        reports   export/report.csv
        ");
    }

    #[test]
    fn a_manifest_from_standard_input_goes_on_from_failed_csv() {
        let counts = Counts { rows: 1, untried: 1, ..Counts::default() };
        let summary = Summary { counts, ..Summary::default() };
        let finished = Finished { summary, exit_code: 4, stopped: Some(StopReason::Deadline), reports: None };
        let text = text(&finished, &Place { stdin: true, ..place("export") });
        assert!(text.contains("exporter run export/failed.csv\n"), "{text}");
    }
}
