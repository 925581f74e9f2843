//! Closing summaries of runs that ended in every way.

use exporter::error::RunError;
use exporter::report::{Counts, IncompleteNote, Notes};
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
    text(&Finished { summary, exit_code: 0, stopped, reports: None, receipt: None }, &context(out))
}

fn context(out: &str) -> SummaryContext {
    let flags = if out == "export" { String::new() } else { format!(" -o {}", redact::shell(out.as_ref())) };
    SummaryContext { out: out.into(), shard: None, stdin: false, flags, names: false }
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
    next      failed.csv gives a reason and an advice for each row; then run:
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
    let finished = Finished { summary, exit_code: 3, stopped: None, reports: None, receipt: None };
    let text = text(&finished, &context("export"));
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
    next      run the same command again to continue
    ");
    let error = Some(StopReason::Error(RunError::Disk("/srv/export is full".to_owned())));
    assert_snapshot!(shown([100, 0, 0, 0, 900], &[], error, "/srv/export"), @"
    stopped early: /srv/export is full. What is delivered is safe; make room or mend the disk, and run again to go on
    rows      1,000 = 100 stored + 900 untried
    stored    162 MiB in 6.5 s, 15.5 images/s, 25.1 MiB/s
    requests  100 to the API, 0 retries
    reports   /srv/export/report.csv, /srv/export/failed.csv
    check     cd /srv/export && sha256sum -c --quiet manifest-sha256.txt
    next      run the same command again to continue
    ");
}

#[test]
fn a_signal_after_the_last_row_takes_nothing_away() {
    let text = shown([100, 0, 0, 0, 0], &[], Some(StopReason::Signal(Signal::Terminate)), "export");
    assert!(text.starts_with("complete: "), "{text}");
}

#[test]
fn reports_that_could_not_be_replaced_are_no_success_and_offer_no_check() {
    let counts = Counts { rows: 9, stored: 9, ..Counts::default() };
    let summary = Summary { counts, ..Summary::default() };
    let reports = Some(RunError::Reports {
        names: "report.csv".to_owned(),
        why: "Permission denied".to_owned(),
        folder: "export".into(),
    });
    let finished = Finished { summary, exit_code: 1, stopped: None, reports, receipt: None };
    assert_snapshot!(text(&finished, &context("export")), @"
    not finished: report.csv could not be replaced
    rows      9 = 9 stored
    stored    0 B in 0 s
    reports   not all are those of this run; to write them again: exporter report export
    ");
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
    let finished =
        Finished { summary, exit_code: 4, stopped: Some(StopReason::Deadline), reports: None, receipt: None };
    let text = text(&finished, &SummaryContext { stdin: true, ..context("export") });
    assert!(text.contains("exporter run export/failed.csv\n"), "{text}");
}
