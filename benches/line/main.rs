//! Whole runs over a line with latency: `cargo bench --bench line`. The sandbox's API and storage stand behind TLS and a
//! relay that holds every byte (`sandbox::line`), and the release program runs against them. Prints images a second,
//! the share of the allowance that was used after the first window, 429s, images in flight and peak memory.
//!
//! `-- --quick` takes a minute instead of ten. `-- --soak 30` runs for 30 minutes at the vendor's allowance and writes
//! samples and a drawing of them. `-- --relay FROM TO` is only the relay, for `benches/peers.sh --line`.
//! `LINE_PROGRAM=FILE` measures another program than the one just built, `LINE_ARGS` gives it more arguments.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to its reader")]

mod curl;
mod job;
mod outcome;
mod plot;
mod program;
mod relay;
mod soak;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use sandbox::line::LineShape;
use sandbox::server::AnyError;

use crate::job::{Allowance, Job};
use crate::outcome::Outcome;

/// The vendor's allowance.
const ALLOWANCE: Allowance = Allowance { requests: 1000, window: Duration::from_secs(60) };
/// As many requests a second, in windows that are over sooner.
const QUICK_ALLOWANCE: Allowance = Allowance { requests: 250, window: Duration::from_secs(15) };
/// How long a body takes on the line of [`slow_line`].
const BODY_TIME: Duration = Duration::from_secs(2);
/// Connections of each tool in the race.
const RACE_CONNECTIONS: &str = "64";

#[derive(Parser)]
struct Options {
    /// Shorter windows and one round
    #[arg(long)]
    quick: bool,
    /// Only the cases whose name contains this
    #[arg(long, default_value = "")]
    case: String,
    /// Run for this many minutes at the vendor's allowance instead
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u32>,
    /// Where the soak's samples go; the drawing goes beside them, with `.svg`
    #[arg(long, default_value = "target/line.csv")]
    csv: PathBuf,
    /// Draw the samples of an earlier soak again
    #[arg(long)]
    draw: bool,
    /// Only relay: from this address to that one
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"])]
    relay: Option<Vec<SocketAddr>>,
    /// Round trip of the relay
    #[arg(long, value_name = "MS", default_value_t = 80)]
    round_trip: u64,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// 150 ms away, and so narrow a window that two seconds are 107 KiB: many long bodies cost little disk.
fn slow_line() -> LineShape {
    LineShape { round_trip: Duration::from_millis(150), window: 8 << 10, bytes_per_second: 12_500_000 }
}

/// A fast line over a distance: what counts is the number of round trips.
fn far_line(round_trip: Duration) -> LineShape {
    LineShape { round_trip, window: 64 << 10, bytes_per_second: 125_000_000 }
}

fn main() -> Result<(), AnyError> {
    let options = Options::parse();
    if let Some(&[from, to]) = options.relay.as_deref() {
        return relay::serve(from, to, far_line(Duration::from_millis(options.round_trip)));
    }
    if options.draw {
        return Ok(plot::draw(&options.csv)?);
    }
    if let Some(minutes) = options.soak {
        return soak::run(minutes, ALLOWANCE, &options.csv);
    }
    println!("{}", Outcome::HEAD);
    let wanted = |job: &Job| job.name.contains(&options.case);
    for job in at_the_allowance(options.quick).into_iter().filter(wanted) {
        println!("{}", job.start()?.run_program(&job.args)?.line(&job.name, "exporter"));
    }
    let race = race();
    if wanted(&race) {
        run_race(&race, if options.quick { 1 } else { 3 })?;
    }
    Ok(())
}

fn at_the_allowance(quick: bool) -> Vec<Job> {
    let allowance = if quick { QUICK_ALLOWANCE } else { ALLOWANCE };
    let size = slow_line().body_of(BODY_TIME);
    let job = |name: String, limit: Option<Allowance>| Job {
        name,
        shape: slow_line(),
        // the first window, which fills the line, and three that are measured
        rows: u64::from(allowance.requests) * if limit.is_some() { 4 } else { 2 },
        size,
        allowance: limit,
        args: Vec::new(),
    };
    vec![
        job(format!("allowance {allowance}, 150 ms, bodies of 2 s"), Some(allowance)),
        job("no allowance, 150 ms, bodies of 2 s".to_owned(), None),
    ]
}

fn race() -> Job {
    Job {
        name: "race: 2,000 x 64 KiB, 80 ms".to_owned(),
        shape: far_line(Duration::from_millis(80)),
        rows: 2000,
        size: 64 << 10,
        allowance: None,
        args: Vec::new(),
    }
}

/// The program as it comes, the program and curl with as many connections each, in turn.
fn run_race(job: &Job, rounds: usize) -> Result<(), AnyError> {
    let rig = job.start()?;
    let alike = ["--concurrency".to_owned(), RACE_CONNECTIONS.to_owned()];
    let names = ["exporter", "exporter, 64 connections", "curl -Z, 64 connections, ready URLs"];
    let mut outcomes: [Vec<Outcome>; 3] = Default::default();
    for _ in 0..rounds {
        outcomes[0].push(rig.run_program(&[])?);
        outcomes[1].push(rig.run_program(&alike)?);
        if curl::is_there() {
            outcomes[2].push(curl::run(&rig, RACE_CONNECTIONS)?);
        }
    }
    for (name, outcomes) in names.into_iter().zip(outcomes) {
        if let Some(median) = Outcome::median(outcomes) {
            println!("{}", median.line(&job.name, name));
        }
    }
    Ok(())
}
