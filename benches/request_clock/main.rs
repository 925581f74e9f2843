//! The request clock against simulated servers: `cargo bench --bench request_clock`. Prints how long, how much of
//! the allowance and how many 429s, for the exporter and for a client that knows of no allowance and tries again a
//! second after a 429. With `--svg FILE` it draws the requests over time as well; `doc/request-clock.svg` is that.
//! `--cost` measures what one permit costs instead.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to its reader")]

mod cost;
mod plot;
mod sim;

use std::time::Duration;

use sandbox::limiter::{Algorithm, Rate, SendHeaders};
use sim::{Case, Outcome, least, run};

/// How far the server's window is when the clients begin; figures are the worst of these.
const PHASES: [f64; 5] = [0.0, 0.2, 0.4, 0.6, 0.8];

fn main() -> std::io::Result<()> {
    if std::env::args().any(|argument| argument == "--cost") {
        return cost::print();
    }
    let mut arguments = std::env::args().skip_while(|argument| argument != "--svg");
    let svg = arguments.nth(1);
    println!(
        "| allowance | server counts by | rate headers | one client: time / least | 429s | naive | its 429s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (limit, window, rows) in [(100, 3, 650), (1000, 60, 6500)] {
        for server in cells(limit, window) {
            one(server, rows);
        }
    }
    println!();
    println!(
        "| allowance | server counts by | rate headers | four machines: share | 429s | slowest / fastest | naive: 429s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (limit, window, rows) in [(400, 3, 2600), (1000, 60, 6500)] {
        for server in cells(limit, window) {
            four(server, rows);
        }
    }
    if let Some(path) = svg {
        std::fs::write(path, plot::svg())?;
    }
    Ok(())
}

fn cells(limit: u32, seconds: u64) -> Vec<Rate> {
    let mut cells = Vec::new();
    for algorithm in [Algorithm::Log, Algorithm::Counter, Algorithm::Fixed] {
        for headers in [SendHeaders::Always, SendHeaders::Only429, SendHeaders::Never] {
            cells.push(Rate { limit, window: Duration::from_secs(seconds), algorithm, headers });
        }
    }
    cells
}

fn named(server: Rate) -> String {
    let algorithm = match server.algorithm {
        Algorithm::Log => "log",
        Algorithm::Counter => "counter",
        Algorithm::Fixed => "fixed window",
    };
    let headers = match server.headers {
        SendHeaders::Always => "always",
        SendHeaders::Only429 => "on a 429",
        SendHeaders::Never => "never",
    };
    format!("| {} per {} s | {algorithm} | {headers} |", server.limit, server.window.as_secs())
}

/// The worst over the phases.
fn worst(case: &Case, figure: impl Fn(&Case, &Outcome) -> f64) -> f64 {
    let figures = PHASES.iter().zip(1..).map(|(phase, seed)| {
        let case = Case { phase: *phase, seed, ..case.clone() };
        figure(&case, &run(&case))
    });
    figures.fold(0.0, f64::max)
}

fn percent(case: &Case, outcome: &Outcome) -> f64 {
    let rows = case.rows * u64::from(case.clients);
    100.0 * number(outcome.limited(case)) / number(usize::try_from(rows).unwrap_or(usize::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a simulation")]
fn number(count: usize) -> f64 {
    count as f64
}

fn one(server: Rate, rows: u64) {
    let case = Case::new(server, rows);
    let naive = Case { naive: true, ..case.clone() };
    let time = |case: &Case, outcome: &Outcome| outcome.makespan().as_secs_f64() / least(case).as_secs_f64();
    println!(
        "{} {:.3} | {:.0} | {:.3} | {:.0} % |",
        named(server),
        worst(&case, time),
        worst(&case, |case, outcome| number(outcome.limited(case))),
        worst(&naive, time),
        worst(&naive, percent),
    );
}

fn four(server: Rate, rows: u64) {
    let stagger = Duration::from_millis(40);
    let case = Case { clients: 4, stagger, ..Case::new(server, rows) };
    let naive = Case { naive: true, ..case.clone() };
    let unused = worst(&case, |case, outcome| 1.0 - outcome.busy_share(case).min(1.0));
    println!(
        "{} {:.3} | {:.2} % | {:.2} | {:.0} % |",
        named(server),
        1.0 - unused,
        worst(&case, percent),
        worst(&case, |_, outcome| spread(outcome)),
        worst(&naive, percent),
    );
}

/// The slowest client's time divided by the fastest one's.
fn spread(outcome: &Outcome) -> f64 {
    match (outcome.spans.iter().max(), outcome.spans.iter().min()) {
        (Some(slowest), Some(fastest)) => slowest.as_secs_f64() / fastest.as_secs_f64(),
        _ => 1.0,
    }
}
