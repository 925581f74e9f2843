//! `exporter plan`: what a run would do.

use std::process::ExitCode;

use clap::ArgMatches;
use exporter::error::RunError;
use exporter::options::Rate;
use exporter::plan::{Plan, PlanOptions, plan};

use crate::output::facts::{self, Facts};
use crate::output::{format, redact};
use crate::settings::table::{self, Setting};
use crate::{cli, commands, exit, settings, time_zone};

/// Settings of the plan that the run must have, too.
const RUN_SETTINGS: [&Setting; 5] =
    [&table::OUT, &table::STATE_DIR, &table::COLUMNS, &table::DELIMITER, &table::ON_BAD_ROW];

/// Prints the plan.
pub fn run(args: &ArgMatches) -> ExitCode {
    let read = |sources: &settings::Sources<'_>| {
        let options = settings::plan(sources)?;
        Ok((options, settings::as_flags(sources, &RUN_SETTINGS)))
    };
    let (options, flags) = match commands::begin(args, read) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let plan = match plan(&options) {
        Ok(plan) => plan,
        Err(error) => return exit::failed(&error),
    };
    if let Some(why) = &plan.no_folder {
        tracing::warn!("{why}");
    }
    for warning in &plan.warnings {
        tracing::warn!("{}", warning.what);
    }
    let code = if plan.refused || plan.bad_rows > 0 { print_bad_rows(&options, &plan) } else { 0 };
    let text = if args.get_flag(cli::JSON) { commands::json(&plan) } else { text(&plan, &options, &flags) };
    commands::answer(&text, code)
}

/// Names the bad rows; the exit code is that of a run that refuses the manifest, or 0.
fn print_bad_rows(options: &PlanOptions, plan: &Plan) -> u8 {
    let error =
        RunError::BadRows { path: options.source.path(), bad: plan.bad_rows, first: plan.first_bad.clone() };
    if plan.refused {
        exit::print(&error);
        return exit::USAGE;
    }
    exit::warn_bad_rows(plan.bad_rows, &plan.first_bad, "would count as failed");
    0
}

/// The answer, one fact a line. `flags` are those of the planned run.
fn text(plan: &Plan, options: &PlanOptions, flags: &str) -> String {
    let mut facts = Facts::new(headline(plan));
    if plan.rows > 0 {
        facts.add("rows", rows(plan));
    }
    add_comparison(&mut facts, plan);
    facts.add("requests", format!("{} to the API", format::count(plan.api_requests)));
    if plan.to_fetch > 0 {
        facts.add("time", time(plan, options.rate));
    }
    if plan.to_fetch > 0
        && let Some(line) = line(plan)
    {
        facts.add("line", line);
    }
    let files =
        plan.disk_free_files.map_or_else(String::new, |files| format!(", {} files", format::count(files)));
    let folder = redact::safe(&options.out.to_string_lossy());
    facts.add("disk", format!("{} free{files}, for {folder}", format::bytes(plan.disk_free_bytes)));
    if plan.refused {
        let (rows, them) = if plan.bad_rows == 1 { ("row", "it") } else { ("rows", "them") };
        facts.add("next", format!("correct the bad {rows}, or leave {them} out with --on-bad-row skip"));
    } else if plan.to_fetch > 0 {
        let manifest = redact::shell(&options.source.path());
        let shard = plan.shards.map_or_else(String::new, |shards| format!(" --shard K/{shards}"));
        facts.add("next", format!("exporter run {manifest}{flags}{shard}"));
    }
    facts.into_text()
}

/// `needs 267 Mbit/s at 2 MB an image; one machine will do`.
fn line(plan: &Plan) -> Option<String> {
    let (needed, size) = (plan.needed_bits_per_second?, plan.image_bytes?);
    let needs = format!("needs {} at {} an image", decimal(needed, "bit/s"), decimal(size, "B"));
    let machines = format::count(u64::from(plan.machines?));
    Some(match (plan.machines?, plan.reached_bits_per_second) {
        (1, _) => format!("{needs}; one machine will do"),
        (_, Some(reached)) => format!(
            "{needs}; a run here reached {}: {machines} such machines use the allowance in full",
            decimal(reached, "bit/s")
        ),
        (_, None) => format!("{needs}: {machines} machines with gigabit lines use the allowance in full"),
    })
}

/// `2 MB`, `267 Mbit/s`: powers of 1000, as lines are sold.
fn decimal(number: u64, unit: &str) -> String {
    const PREFIXES: [&str; 5] = ["", "k", "M", "G", "T"];
    let (mut value, mut at) = (format::approximate(number), 0);
    while value >= 999.5 && at + 1 < PREFIXES.len() {
        value /= 1000.0;
        at += 1;
    }
    let digits = usize::from(value < 9.95 && at > 0);
    let text = format!("{value:.digits$}");
    format!("{} {}{unit}", text.strip_suffix(".0").unwrap_or(&text), PREFIXES[at])
}

/// What has changed since the manifests before; nothing for the first one.
fn add_comparison(facts: &mut Facts, plan: &Plan) {
    let again = plan.to_fetch.saturating_sub(plan.new);
    if again + plan.delivered + plan.gone == 0 {
        return;
    }
    facts.add("new", format!("{} never delivered before", format::counted(plan.new, "image")));
    if again > 0 {
        let images = format::counted(again, "image");
        facts.add(
            "again",
            format!("{images} whose file is gone or another one, or that must have another hash"),
        );
    }
    if plan.gone > 0 {
        let images = format::counted(plan.gone, "image");
        facts.add(
            "gone",
            format!(
                "{images} not in this manifest any more; a run deletes nothing, and lists them in gone.csv"
            ),
        );
    }
}

fn headline(plan: &Plan) -> String {
    if plan.refused {
        return format!("a run would refuse this manifest: {}", format::counted(plan.bad_rows, "bad row"));
    }
    match (plan.rows, plan.to_fetch) {
        (0, _) => "nothing to do: the manifest has no rows".to_owned(),
        (_, 0) => "nothing to do: no row is left to fetch".to_owned(),
        (_, images) => format!("{} to fetch", format::counted(images, "image")),
    }
}

/// `50,000 = 40,000 to fetch + 9,000 delivered + 1,000 duplicate`.
fn rows(plan: &Plan) -> String {
    let parts = [
        (plan.to_fetch, "to fetch"),
        (plan.delivered, "delivered"),
        (plan.duplicates, "duplicate"),
        (plan.bad_rows, "bad"),
    ];
    facts::sum(plan.rows, &parts)
}

/// `at least 50 min at 1000/60s: started now it ends at 2026-03-01 14:05 at the earliest`.
fn time(plan: &Plan, rate: Rate) -> String {
    if plan.shortest().is_zero() {
        return format!("all requests fit into one window of {rate}");
    }
    let time = format::duration(plan.shortest());
    // an end that the calendar cannot hold is left out
    let end = time_zone::now().checked_add(plan.shortest());
    let end = end.map_or_else(
        |_| String::new(),
        |end| format!(": started now it ends at {} at the earliest", end.strftime("%Y-%m-%d %H:%M")),
    );
    format!("at least {time} at {rate}{end}")
}

#[cfg(test)]
mod tests {
    use exporter::manifest::ManifestOptions;
    use exporter::manifest::Source;
    use exporter::options::{self, OnBadRow};
    use insta::assert_snapshot;

    use super::*;

    fn empty() -> Plan {
        Plan {
            rows: 0,
            bad_rows: 0,
            duplicates: 0,
            delivered: 0,
            to_fetch: 0,
            new: 0,
            gone: 0,
            api_requests: 0,
            shortest_seconds: 0,
            image_bytes: None,
            needed_bits_per_second: None,
            reached_bits_per_second: None,
            machines: None,
            disk_free_bytes: 120 << 30,
            disk_free_files: Some(3_000_000),
            warnings: Vec::new(),
            first_bad: Vec::new(),
            refused: false,
            shards: None,
            no_folder: None,
        }
    }

    fn shown(to_fetch: u64, delivered: u64, bad_rows: u64, refused: bool) -> String {
        let plan = Plan {
            rows: to_fetch + delivered + bad_rows,
            bad_rows,
            delivered,
            to_fetch,
            new: to_fetch,
            api_requests: to_fetch,
            shortest_seconds: options::RATE.shortest(to_fetch).as_secs(),
            refused,
            ..empty()
        };
        let options = PlanOptions {
            source: Source::File("manifest.csv".into()),
            manifest: ManifestOptions::default(),
            on_bad_row: OnBadRow::Stop,
            out: "/srv/export".into(),
            state_dir: None,
            rate: options::RATE,
        };
        let text = text(&plan, &options, " -o /srv/export");
        // the time of day is not the same in every test
        text.lines()
            .map(|line| line.split(": started now").next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_work_comes_first() {
        assert_snapshot!(shown(40_000, 10_000, 0, false), @"
        40,000 images to fetch
        rows      50,000 = 40,000 to fetch + 10,000 delivered
        new       40,000 images never delivered before
        requests  40,000 to the API
        time      at least 39 min at 1000/60s
        disk      120 GiB free, 3,000,000 files, for /srv/export
        next      exporter run manifest.csv -o /srv/export
        ");
    }

    #[test]
    fn a_manifest_that_a_run_would_refuse_never_looks_like_a_plan() {
        assert_snapshot!(shown(10, 0, 2, true), @"
        a run would refuse this manifest: 2 bad rows
        rows      12 = 10 to fetch + 2 bad
        requests  10 to the API
        time      all requests fit into one window of 1000/60s
        disk      120 GiB free, 3,000,000 files, for /srv/export
        next      correct the bad rows, or leave them out with --on-bad-row skip
        ");
    }

    #[test]
    fn more_machines_are_named_only_if_they_pay() {
        let plan = |reached, machines| Plan {
            image_bytes: Some(2_000_000),
            needed_bits_per_second: Some(266_666_667),
            reached_bits_per_second: reached,
            machines: Some(machines),
            ..empty()
        };
        let line = |plan| line(&plan).expect("images were delivered");
        assert_eq!(line(plan(None, 1)), "needs 267 Mbit/s at 2 MB an image; one machine will do");
        assert_eq!(
            line(plan(Some(100_000_000), 3)),
            "needs 267 Mbit/s at 2 MB an image; a run here reached 100 Mbit/s: 3 such machines use the allowance in full"
        );
        assert_eq!(decimal(999_400, "B"), "999 kB");
        assert_eq!(decimal(1_250_000, "B"), "1.2 MB");
    }

    #[test]
    fn the_advice_for_one_bad_row_speaks_of_one() {
        let text = shown(10, 0, 1, true);
        assert!(text.ends_with("correct the bad row, or leave it out with --on-bad-row skip"), "{text}");
    }

    #[test]
    fn nothing_to_do_is_said_in_words() {
        assert!(shown(0, 5, 0, false).starts_with("nothing to do: no row is left to fetch\n"));
        assert!(shown(0, 0, 0, false).starts_with("nothing to do: the manifest has no rows\n"));
    }
}
