//! The first sentence: what became of the manifest, with the exit code. It never sounds better than the export is.

use super::shown::reason;
use crate::number::{count, counted};
use crate::report::Summary;

/// The headline.
pub(super) struct Verdict {
    /// `good` or `bad`: its colour.
    pub class: &'static str,
    pub mark: &'static str,
    pub headline: String,
    /// For the window's title.
    pub short: String,
    pub detail: Option<String>,
}

impl Verdict {
    pub fn of(summary: &Summary) -> Self {
        let counts = &summary.counts;
        let is_complete = counts.failed + counts.untried == 0 && summary.exit_code == Some(0);
        let code = match summary.exit_code {
            Some(code) => format!("exit code {code}"),
            None => "no exit code".to_owned(),
        };
        let what = outcome(summary);
        let word = if is_complete { "complete" } else { "not complete" };
        Self {
            class: if is_complete { "good" } else { "bad" },
            mark: if is_complete { "\u{2713}" } else { "!" },
            headline: format!("{what} ({code})"),
            short: format!("{word} ({code})"),
            detail: detail(summary),
        }
    }
}

fn outcome(summary: &Summary) -> String {
    let counts = &summary.counts;
    let rows = counted(counts.rows, "row");
    match (summary.exit_code, counts.failed, counts.untried) {
        _ if summary.started_at.is_empty() => "Nothing is known of any run".to_owned(),
        (None, ..) => format!(
            "Not complete: the run was killed, {} of {rows} are not delivered",
            count(counts.failed + counts.untried)
        ),
        (Some(0), 0, 0) if counts.rows == 0 => "Complete: the manifest has no rows".to_owned(),
        (Some(0), 0, 0) => "Complete: every image of the manifest is delivered".to_owned(),
        (Some(_), 0, 0) => "Every image is delivered, but the run did not end well".to_owned(),
        (Some(_), 0, untried) => format!("Not complete: {} of {rows} were not tried", count(untried)),
        (Some(_), failed, 0) => format!("Not complete: {} of {rows} failed", count(failed)),
        (Some(_), failed, untried) => {
            format!("Not complete: {} of {rows} failed, {} were not tried", count(failed), count(untried))
        }
    }
}

/// Why the run stopped, and what has happened since.
fn detail(summary: &Summary) -> Option<String> {
    let mut sentences = Vec::new();
    if let Some(stop) = &summary.stop {
        sentences.push(format!("The run ended early: {}.", reason(stop)));
    }
    if summary.exit_code.is_none() && !summary.started_at.is_empty() {
        sentences.push("Its end is not recorded; the numbers are those of its last image.".to_owned());
    }
    if summary.repaired > 0 {
        let rows = counted(summary.repaired, "row");
        sentences.push(format!(
            "Since then verify --repair has made {rows} undelivered; the next run fetches them."
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Counts;

    #[test]
    fn only_a_complete_export_sounds_like_one() {
        let verdict = |exit_code, stored, failed, untried| {
            let counts =
                Counts { rows: stored + failed + untried, stored, failed, untried, ..Counts::default() };
            let started_at = "2026-03-01T08:00:00Z".to_owned();
            Verdict::of(&Summary { counts, exit_code, started_at, ..Summary::default() })
        };
        let good = verdict(Some(0), 5, 0, 0);
        assert_eq!(good.headline, "Complete: every image of the manifest is delivered (exit code 0)");
        assert_eq!((good.class, &*good.short), ("good", "complete (exit code 0)"));
        for (code, stored, failed, untried, words) in [
            (Some(3), 4, 1, 0, "Not complete: 1 of 5 rows failed (exit code 3)"),
            (Some(1), 1, 1, 3, "Not complete: 1 of 5 rows failed, 3 were not tried (exit code 1)"),
            (Some(4), 1, 0, 4, "Not complete: 4 of 5 rows were not tried (exit code 4)"),
            (Some(0), 1, 0, 4, "Not complete: 4 of 5 rows were not tried (exit code 0)"),
            (Some(1), 5, 0, 0, "Every image is delivered, but the run did not end well (exit code 1)"),
            (None, 1, 0, 4, "Not complete: the run was killed, 4 of 5 rows are not delivered (no exit code)"),
        ] {
            let verdict = verdict(code, stored, failed, untried);
            assert_eq!((verdict.class, &*verdict.headline), ("bad", words));
        }
    }
}
