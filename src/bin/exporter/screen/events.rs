//! Events as log lines: what a person might want to know at once, without drowning in it.

use std::time::Duration;

use exporter::event::Event;

use crate::output::{format, log};

/// So many failed rows, and so many warnings about rows, are told one by one; the reports have them all.
const TOLD: u32 = 20;
/// A wait as long as this is worth a line by default: shorter ones come with every window.
const LONG_WAIT: Duration = Duration::from_mins(1);

/// Remembers how much was told.
#[derive(Debug, Default)]
pub struct Teller {
    failures: u32,
    warnings: u32,
}

/// Whether to tell the next of its kind.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Tell,
    TellTheLast,
    Hush,
}

fn turn(told: &mut u32) -> Turn {
    *told = told.saturating_add(1);
    match *told {
        ..TOLD => Turn::Tell,
        TOLD => Turn::TellTheLast,
        _ => Turn::Hush,
    }
}

impl Teller {
    /// Tells it. `signalled`: a signal asked for the end, which was said when it came.
    pub fn tell(&mut self, event: &Event, signalled: bool) {
        match event {
            Event::Reading { manifest } => tracing::info!("reading {}", manifest.display()),
            Event::Notice { what } => tracing::warn!(target: log::PROGRESS, "{what}"),
            Event::Checking => tracing::info!("checking which images are delivered already"),
            Event::Begin { folder, todo, .. } => {
                tracing::info!("{} to fetch into {}", format::counted(*todo, "image"), folder.display());
            }
            Event::Warning { line, what } => self.warning(*line, what),
            Event::Retry { line, attempt, after, why } => {
                let after = format::duration(*after);
                tracing::info!(line, "try {attempt} failed, the next one comes in {after}: {why}");
            }
            Event::Failed { line, error } => {
                let code = error.code.map_or("", |code| code.as_str());
                let trace = Some(&*error.trace_id).filter(|id| !id.is_empty());
                self.failed(*line, code, &error.error, trace);
            }
            Event::Tripped { org, rows, why } => tracing::warn!(
                "organization {} is refused, its other {} without a request: {why}",
                format::safe(org),
                if *rows == 1 {
                    "row fails".to_owned()
                } else {
                    format!("{} rows fail", format::count(*rows))
                },
            ),
            Event::Outage { why } => {
                tracing::warn!("outage, nothing new is tried until a probe gets through: {why}");
            }
            Event::Recovered { after } => {
                tracing::warn!("the outage is over after {}", format::duration(*after));
            }
            Event::Limited { wait } if *wait >= LONG_WAIT => {
                tracing::warn!("the API asks to wait {}", format::duration(*wait));
            }
            Event::Limited { wait } => tracing::info!("the API asks to wait {}", format::duration(*wait)),
            Event::Draining { why } if !signalled => {
                tracing::warn!("stopping, finishing what is in flight: {why}");
            }
            Event::Reporting => tracing::info!("writing the reports"),
            _ => {}
        }
    }

    fn failed(&mut self, line: u64, code: &str, error: &str, trace_id: Option<&str>) {
        let turn = turn(&mut self.failures);
        if turn == Turn::Hush {
            tracing::debug!(line, trace_id, error_code = code, "{code}: {error}");
        } else {
            tracing::warn!(line, trace_id, error_code = code, "{code}: {error}");
        }
        if turn == Turn::TellTheLast {
            tracing::warn!("{TOLD} rows have failed; of the others see failed.csv at the end");
        }
    }

    fn warning(&mut self, line: Option<u64>, what: &str) {
        let Some(line) = line else { return tracing::warn!("{what}") };
        let turn = turn(&mut self.warnings);
        if turn == Turn::Hush {
            tracing::debug!(line, "{what}");
        } else {
            tracing::warn!(line, "{what}");
        }
        if turn == Turn::TellTheLast {
            tracing::warn!("{TOLD} rows have warnings; of the others see the column warning of report.csv");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_twenty_are_told_and_the_others_counted_on_in_silence() {
        let mut told = 0;
        let turns: Vec<Turn> = (0..22).map(|_| turn(&mut told)).collect();
        assert!(turns[..19].iter().all(|turn| *turn == Turn::Tell));
        assert_eq!(turns[19..], [Turn::TellTheLast, Turn::Hush, Turn::Hush]);
    }
}
