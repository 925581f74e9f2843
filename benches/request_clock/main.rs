//! The request clock against simulated servers.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to its reader")]

#[allow(dead_code, reason = "each user takes a part")]
#[path = "../../examples/support/limiter.rs"]
mod server;
mod sim;

use std::time::Duration;

use server::{Algorithm, Rate, RateHeaders};
use sim::{Case, least, run};

fn main() {
    if std::env::var_os("DBG").is_some() {
        return debug();
    }
    let seconds = Duration::from_secs;
    for (limit, window, rows) in
        [(100, seconds(3), 650), (400, seconds(3), 2600), (1000, seconds(60), 14_000)]
    {
        for algorithm in [Algorithm::Log, Algorithm::Counter, Algorithm::Fixed] {
            for headers in [RateHeaders::Always, RateHeaders::Only429, RateHeaders::Never] {
                let server = Rate { limit, window, algorithm, headers };
                print!("{limit}/{window:?} {algorithm:?} {headers:?}: one:");
                for phase in [0.0, 0.03, 0.3, 0.6, 0.97] {
                    let case = Case { phase, seed: 7, ..Case::new(server, rows) };
                    let outcome = run(&case);
                    let ratio = outcome.makespan().as_secs_f64() / least(&case).as_secs_f64();
                    print!(" {ratio:.3}");
                    if outcome.limited(&case) > 0 {
                        print!("!{}", outcome.limited(&case));
                    }
                }
                for clients in [2, 4] {
                    let (mut share, mut limited, mut spread) = (1.0f64, 0.0f64, 1.0f64);
                    let (mut ms, mut ml, mut mp) = (0.0, 0.0, 0.0);
                    for seed in 0..5 {
                        let case = Case {
                            clients,
                            rows: rows,
                            phase: 0.2 * seed as f64,
                            seed,
                            stagger: Duration::from_millis(40),
                            ..Case::new(server, rows)
                        };
                        let outcome = run(&case);
                        let l = 100.0 * outcome.limited(&case) as f64 / (clients as f64 * rows as f64);
                        share = share.min(outcome.busy_share(&case));
                        limited = limited.max(l);
                        spread = spread.max(outcome.spread());
                        ms += outcome.busy_share(&case) / 5.0;
                        ml += l / 5.0;
                        mp += outcome.spread() / 5.0;
                    }
                    print!(
                        "; {clients}: {ms:.3}>{share:.3}, 429s {ml:.2}<{limited:.2} %, {mp:.2}<{spread:.2}"
                    );
                }
                println!();
            }
        }
    }
}

fn debug() {
    let var =
        |name: &str, default: f64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let algorithm = match std::env::var("ALG").as_deref() {
        Ok("log") => Algorithm::Log,
        Ok("fixed") => Algorithm::Fixed,
        _ => Algorithm::Counter,
    };
    let headers = match std::env::var("HDR").as_deref() {
        Ok("429") => RateHeaders::Only429,
        Ok("never") => RateHeaders::Never,
        _ => RateHeaders::Always,
    };
    let n = var("N", 100.0);
    let w = var("W", 3.0);
    let server = Rate { limit: n as u32, window: Duration::from_secs_f64(w), algorithm, headers };
    let case = Case {
        phase: var("PHASE", 0.0),
        clients: var("C", 1.0) as u32,
        seed: var("SEED", 7.0) as u64,
        stagger: Duration::from_millis(40),
        ..Case::new(server, var("ROWS", 650.0) as u64)
    };
    let outcome = run(&case);
    println!(
        "makespan {:?} least {:?} ratio {:.3} 429s {} share {:.3} spread {:.2}",
        outcome.makespan(),
        least(&case),
        outcome.makespan().as_secs_f64() / least(&case).as_secs_f64(),
        outcome.limited(&case),
        outcome.busy_share(&case),
        outcome.spread()
    );
    let step = w / 10.0;
    let mut at = 0.0;
    while at < outcome.makespan().as_secs_f64() {
        let inside: Vec<_> = outcome
            .seen
            .iter()
            .filter(|s| s.at.as_secs_f64() >= at && s.at.as_secs_f64() < at + step)
            .collect();
        let mut text = String::new();
        for client in 0..case.clients {
            let ok = inside.iter().filter(|s| s.client == client && s.admitted).count();
            let no = inside.iter().filter(|s| s.client == client && !s.admitted).count();
            text += &if no > 0 { format!("{ok:4}!{no}") } else { format!("{ok:4}  ") };
        }
        println!("{at:6.2} {text}");
        at += step;
    }
}
