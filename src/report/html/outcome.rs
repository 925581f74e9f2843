//! What became of the rows: by state, organization, note and error code.

use super::chart::Bars;
use super::shown::{percent, short};
use crate::error::{ErrorCode, advice};
use crate::number::{count, counted};
use crate::report::details::Details;
use crate::report::{Counts, Notes, Org};

/// Organizations in the picture and in the table; the others are summed up.
const ORG_BARS_MAX: usize = 12;
const ORG_LINES_MAX: usize = 40;

pub(super) struct RowsShown {
    pub equation: String,
    pub chart: Bars,
    pub states: Vec<State>,
}

pub(super) struct State {
    pub class: &'static str,
    pub rows: String,
    pub share: String,
    pub meaning: &'static str,
}

impl RowsShown {
    pub fn of(counts: &Counts) -> Self {
        let states = [
            ("stored", counts.stored, "delivered by this run"),
            ("skipped", counts.skipped, "delivered by an earlier run and still there"),
            ("duplicate", counts.duplicate, "the same image as an earlier row"),
            ("failed", counts.failed, "given up, with a reason"),
            ("untried", counts.untried, "left for the next run"),
        ];
        let sum: Vec<String> =
            states.iter().map(|(state, rows, _)| format!("{} {state}", count(*rows))).collect();
        let equation = format!("{} = {}", counted(counts.rows, "row"), sum.join(" + "));
        let parts: Vec<_> = states.iter().map(|(state, rows, _)| (*state, *rows)).collect();
        let chart = Bars::new("rows-c", "Rows of the manifest by state", format!("One bar: {equation}."));
        let shown = |(class, rows, meaning)| State {
            class,
            rows: count(rows),
            share: percent(rows, counts.rows),
            meaning,
        };
        Self { equation, chart: chart.single(&parts, counts.rows), states: states.map(shown).into() }
    }
}

pub(super) struct OrgsShown {
    pub summary: String,
    pub chart: Option<Bars>,
    pub caption: String,
    pub lines: Vec<OrgLine>,
}

pub(super) struct OrgLine {
    pub name: String,
    pub rows: String,
    pub delivered: String,
    pub failed: String,
    pub untried: String,
}

impl OrgLine {
    fn of(name: String, org: &Org) -> Self {
        let [rows, delivered, failed, untried] =
            [org.rows, org.delivered, org.failed, org.untried].map(count);
        Self { name, rows, delivered, failed, untried }
    }
}

impl OrgsShown {
    pub fn of(orgs: &[Org]) -> Self {
        if orgs.is_empty() {
            let summary = "The manifest names none.".to_owned();
            return Self { summary, chart: None, caption: String::new(), lines: Vec::new() };
        }
        let mut worst: Vec<&Org> = orgs.iter().collect();
        let lacks = |org: &Org| org.failed + org.untried;
        worst.sort_by(|a, b| lacks(b).cmp(&lacks(a)).then(b.rows.cmp(&a.rows)).then(a.org.cmp(&b.org)));
        let complete = orgs.iter().filter(|org| org.complete).count();
        let summary = match (orgs.len(), complete) {
            (1, 1) => "The manifest names one organization, and it is complete.".to_owned(),
            (all, complete) if all == complete => {
                format!("All {} are complete.", counted(all as u64, "organization"))
            }
            (all, complete) => {
                format!("{} of {} complete.", count(complete as u64), counted(all as u64, "organization"))
            }
        };
        let mut lines: Vec<_> =
            worst.iter().take(ORG_LINES_MAX).map(|org| OrgLine::of(short(&org.org), org)).collect();
        let rest = &worst[lines.len()..];
        if !rest.is_empty() {
            lines.push(OrgLine::of(counted(rest.len() as u64, "other organization"), &sum(rest)));
        }
        Self {
            summary,
            chart: Some(org_bars(&worst)),
            caption: "Organizations, worst first".to_owned(),
            lines,
        }
    }
}

fn sum(orgs: &[&Org]) -> Org {
    let add = |field: fn(&Org) -> u64| orgs.iter().map(|org| field(org)).sum();
    Org {
        rows: add(|org| org.rows),
        delivered: add(|org| org.delivered),
        failed: add(|org| org.failed),
        untried: add(|org| org.untried),
        ..Org::default()
    }
}

fn org_bars(worst: &[&Org]) -> Bars {
    let shown = &worst[..worst.len().min(ORG_BARS_MAX)];
    let description = format!(
        "One bar for each of {} of {}, those with the most rows that are not delivered first: the delivered, failed and \
         untried share of its rows.",
        shown.len(),
        counted(worst.len() as u64, "organization")
    );
    let mut bars = Bars::new("orgs-c", "How much of each organization is delivered", description);
    for org in shown {
        let parts = [("stored", org.delivered), ("failed", org.failed), ("untried", org.untried)];
        bars.add(&org.org, percent(org.delivered, org.rows), &parts, org.rows);
    }
    bars
}

pub(super) struct NotesShown {
    pub summary: String,
    pub chart: Option<Bars>,
    pub complete: String,
    pub incomplete: String,
}

impl NotesShown {
    pub fn of(notes: &Notes) -> Self {
        let summary = match (notes.total, notes.incomplete) {
            (0, _) => "The manifest names none.".to_owned(),
            (total, 0) => format!("{}, all complete.", counted(total, "note")),
            (total, _) => format!(
                "{} of {} complete. Which are not is in notes.csv: the ids of notes are patient data and are not shown here.",
                count(notes.complete),
                counted(total, "note")
            ),
        };
        let description =
            format!("One bar: {} complete, {} incomplete.", count(notes.complete), count(notes.incomplete));
        let chart = (notes.total > 0).then(|| {
            let parts = [("stored", notes.complete), ("failed", notes.incomplete)];
            Bars::new("notes-c", "Notes, complete and incomplete", description).single(&parts, notes.total)
        });
        Self { summary, chart, complete: count(notes.complete), incomplete: count(notes.incomplete) }
    }
}

pub(super) struct Failures {
    pub summary: String,
    pub chart: Option<Bars>,
    pub lines: Vec<Failure>,
}

pub(super) struct Failure {
    pub code: String,
    pub rows: String,
    pub advice: String,
    pub lines: String,
}

impl Failures {
    pub fn of(details: &Details) -> Self {
        let mut codes: Vec<_> = details.failures.iter().collect();
        codes.sort_by(|a, b| b.1.rows.cmp(&a.1.rows).then(a.0.cmp(b.0)));
        codes.truncate(ErrorCode::ALL.len());
        let rows: u64 = codes.iter().map(|(_, failed)| failed.rows).sum();
        let most = codes.first().map_or(0, |(_, failed)| failed.rows);
        let kinds = counted(codes.len() as u64, "reason");
        let summary =
            format!("{} failed, for {kinds}. failed.csv names each with its reason.", counted(rows, "row"));
        let description = format!(
            "One bar for each error code, the most frequent first: {kinds}, {}.",
            counted(rows, "row")
        );
        let mut chart = Bars::new("failures-c", "Failed rows by error code", description);
        for (code, failed) in &codes {
            chart.add(code, count(failed.rows), &[("failed", failed.rows)], most);
        }
        let line = |(code, failed): &(&String, &crate::report::details::FailedRows)| Failure {
            code: short(code),
            rows: count(failed.rows),
            advice: super::shown::reason(&advice::of(ErrorCode::parse(code), &failed.error)),
            lines: lines(&failed.first_lines, failed.rows),
        };
        let lines = codes.iter().map(line).collect();
        Self { summary, chart: (rows > 0).then_some(chart), lines }
    }
}

/// `2, 7, 9 and 120 more`.
fn lines(first: &[u64], rows: u64) -> String {
    let named: Vec<String> = first.iter().map(u64::to_string).collect();
    let more = rows.saturating_sub(first.len() as u64);
    let more = if more > 0 { format!(" and {} more", count(more)) } else { String::new() };
    format!("{}{more}", named.join(", "))
}
