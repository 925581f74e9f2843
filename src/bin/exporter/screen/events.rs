//! Events as log lines: what a person should know at once, without a line for every row.

use std::collections::HashMap;
use std::time::Duration;

use exporter::event::Event;

use crate::exit;
use crate::output::{format, log, redact};

/// Failed rows, and rows with the same warning, that get a line each by default; the reports list all of them.
const SHOWN_MAX: u32 = 20;
/// Kinds of warnings that are counted apart. The program has fewer; a warning may quote text of a server.
const KINDS_MAX: usize = 32;
/// Words that tell a warning from others. What follows them may differ from row to row.
const KIND_WORDS: usize = 4;
/// A wait this long is logged by default; shorter ones come with every window.
const LONG_WAIT: Duration = Duration::from_mins(1);

/// Logs events, and counts the lines about rows.
#[derive(Debug, Default)]
pub struct EventLog {
    failures: u32,
    /// By kind.
    warnings: HashMap<String, u32>,
}

/// What to do with the next line of its kind.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Show,
    ShowLast,
    Skip,
}

fn next_turn(lines: &mut u32) -> Turn {
    *lines = lines.saturating_add(1);
    match *lines {
        ..SHOWN_MAX => Turn::Show,
        SHOWN_MAX => Turn::ShowLast,
        _ => Turn::Skip,
    }
}

impl EventLog {
    /// Logs an event. `signalled`: the signal that asked the run to stop was logged when it came.
    pub fn log(&mut self, event: &Event, signalled: bool) {
        match event {
            Event::Reading { manifest } => tracing::info!("reading {}", manifest.display()),
            Event::Notice { what } => tracing::warn!(target: log::PROGRESS, "{what}"),
            Event::BadRows { bad, first } => {
                let count = if *bad == 1 { "counts as failed" } else { "count as failed" };
                exit::warn_bad_rows(*bad, first, count);
            }
            Event::Checking => tracing::info!("checking that the images delivered before are still there"),
            Event::Begin { folder, todo, .. } => {
                tracing::info!("{} to fetch into {}", format::counted(*todo, "image"), folder.display());
            }
            Event::Warning { line, what } => self.warning(*line, what),
            Event::Retry { line, attempt, after, why } => {
                let after = format::duration(*after);
                tracing::info!(line, "attempt {attempt} failed, the next one starts in {after}: {why}");
            }
            Event::Failed { line, error } => {
                let code = error.code.map_or("", |code| code.as_str());
                let trace = Some(&*error.trace_id).filter(|id| !id.is_empty());
                self.failed(*line, code, &error.error, trace);
            }
            Event::OrgRefused { org, rows, why } => org_refused(org, *rows, why),
            Event::Outage { why } => {
                tracing::warn!("outage, no new image is attempted until a probe succeeds: {why}");
            }
            Event::Recovered { after } => {
                tracing::warn!("the outage is over after {}", format::duration(*after));
            }
            Event::RateLimited { wait } => rate_limited(*wait),
            Event::Draining { why } if !signalled => {
                tracing::warn!("stopping, finishing the images in flight: {why}");
            }
            Event::Reporting => tracing::info!("writing the reports"),
            _ => {}
        }
    }

    fn failed(&mut self, line: u64, code: &str, error: &str, trace_id: Option<&str>) {
        let turn = next_turn(&mut self.failures);
        if turn == Turn::Skip {
            tracing::debug!(line, trace_id, error_code = code, "{code}: {error}");
        } else {
            tracing::warn!(line, trace_id, error_code = code, "{code}: {error}");
        }
        if turn == Turn::ShowLast {
            tracing::warn!("{SHOWN_MAX} rows have failed; failed.csv will list any others");
        }
    }

    fn warning(&mut self, line: Option<u64>, what: &str) {
        let Some(line) = line else { return tracing::warn!("{what}") };
        let turn = self.warning_turn(what);
        if turn == Turn::Skip {
            tracing::debug!(line, "{what}");
        } else {
            tracing::warn!(line, "{what}");
        }
        if turn == Turn::ShowLast {
            tracing::warn!(
                "{SHOWN_MAX} rows have this warning; the column warning of report.csv will list any others"
            );
        }
    }

    /// A row may have several warnings. Its line is shown if one of them is still to be shown, so no kind of warning
    /// hides another.
    fn warning_turn(&mut self, what: &str) -> Turn {
        let turns: Vec<Turn> = what.split("; ").map(|one| self.count_warning(one)).collect();
        [Turn::ShowLast, Turn::Show].into_iter().find(|turn| turns.contains(turn)).unwrap_or(Turn::Skip)
    }

    fn count_warning(&mut self, what: &str) -> Turn {
        let words: Vec<&str> = what.split(' ').take(KIND_WORDS).collect();
        let mut kind = words.join(" ");
        if !self.warnings.contains_key(&kind) && self.warnings.len() >= KINDS_MAX {
            kind = String::new();
        }
        next_turn(self.warnings.entry(kind).or_default())
    }
}

fn org_refused(org: &str, rows: u64, why: &str) {
    tracing::warn!("organization {} is refused{}: {why}", redact::safe(org), other_rows(rows));
}

fn other_rows(rows: u64) -> String {
    match rows {
        0 => String::new(),
        1 => ", its other row fails without a request".to_owned(),
        rows => format!(", its other {} rows fail without a request", format::count(rows)),
    }
}

fn rate_limited(wait: Duration) {
    let text = format::duration(wait);
    if wait >= LONG_WAIT {
        tracing::warn!("the API asks to wait {text}");
    } else {
        tracing::info!("the API asks to wait {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_lines_of_a_kind_are_shown_and_the_others_skipped() {
        let mut lines = 0;
        let turns: Vec<Turn> = (0..22).map(|_| next_turn(&mut lines)).collect();
        assert!(turns[..19].iter().all(|turn| *turn == Turn::Show));
        assert_eq!(turns[19..], [Turn::ShowLast, Turn::Skip, Turn::Skip]);
    }

    #[test]
    fn other_rows_of_a_refused_organization_are_spoken_of_only_if_there_are_any() {
        assert_eq!(other_rows(0), "");
        assert_eq!(other_rows(1), ", its other row fails without a request");
        assert_eq!(other_rows(1200), ", its other 1,200 rows fail without a request");
    }

    #[test]
    fn no_kind_of_warning_hides_another() {
        let mut log = EventLog::default();
        let turns = |log: &mut EventLog, what: &str, rows| -> Vec<Turn> {
            (0..rows).map(|_| log.warning_turn(what)).collect()
        };
        let odd = "the bytes are of no known image format";
        assert!(turns(&mut log, odd, 22).ends_with(&[Turn::ShowLast, Turn::Skip, Turn::Skip]));
        let both = format!("stored as served, in Content-Encoding gzip; {odd}");
        assert_eq!(turns(&mut log, &both, 21)[18..], [Turn::Show, Turn::ShowLast, Turn::Skip]);
        assert_eq!(turns(&mut log, odd, 1), [Turn::Skip]);
        for n in 0..1000 {
            log.warning_turn(&format!("{n} is text from a server"));
        }
        assert!(log.warnings.len() <= KINDS_MAX + 1, "memory has a bound");
    }
}
