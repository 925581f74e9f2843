//! `cargo run --example sandbox`: a local Max AI API and an S3 to try the exporter on, until Ctrl-C.
//! They know the images of `examples/manifest.csv`, and as many more as `--rows` says.
#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use sandbox::Sandbox;
use sandbox::config::{API_KEY, Config};
use sandbox::limiter::{Algorithm, Rate, SendHeaders};
use sandbox::log::{Counts, Server};
use sandbox::server::AnyError;

/// A local Max AI API and S3 to try the exporter on
#[derive(Parser)]
struct Options {
    /// Port of the API (default: one that is free)
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Requests per seconds that the API allows, or `off`
    #[arg(long, value_name = "N/SECS", default_value = "1000/60", value_parser = rate)]
    rate: Limit,
    /// How the API counts its requests
    #[arg(long, value_name = "WAY", default_value = "counter", value_parser = ["counter", "log", "fixed"])]
    counts: String,
    /// Which of its answers carry rate headers
    #[arg(long, value_name = "WHICH", default_value = "always", value_parser = ["always", "429", "never"])]
    headers: String,
    /// Add this many images, made in memory when asked for
    #[arg(long, value_name = "N", requires = "manifest")]
    rows: Option<u64>,
    /// Write the manifest of those images to this file
    #[arg(long, value_name = "FILE", requires = "rows")]
    manifest: Option<PathBuf>,
    /// Size of each of those images
    #[arg(long, value_name = "BYTES", default_value_t = 100_000)]
    size: usize,
    /// Stop after this time
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

/// Wrapped, since clap reads a bare `Option` as "may be absent".
#[derive(Clone, Copy)]
struct Limit(Option<Rate>);

fn rate(text: &str) -> Result<Limit, String> {
    if text == "off" {
        return Ok(Limit(None));
    }
    let parsed = text.split_once('/').and_then(|(limit, seconds)| {
        let window = Duration::try_from_secs_f64(seconds.trim_end_matches('s').parse().ok()?).ok()?;
        let limit = limit.parse().ok()?;
        (limit > 0 && !window.is_zero()).then(|| Rate::new(limit, window))
    });
    parsed.map(|rate| Limit(Some(rate))).ok_or_else(|| "for example 1000/60, or off".to_owned())
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let options = Options::parse();
    let rate = options.rate.0.map(|rate| Rate {
        algorithm: match &*options.counts {
            "log" => Algorithm::Log,
            "fixed" => Algorithm::Fixed,
            _ => Algorithm::Counter,
        },
        headers: match &*options.headers {
            "429" => SendHeaders::Only429,
            "never" => SendHeaders::Never,
            _ => SendHeaders::Always,
        },
        ..rate
    });
    // Nobody reads the log here.
    let config = Config { api_port: options.port, rate, log: 0, ..Config::default() };
    let sandbox = Sandbox::start(config).await?;
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/manifest.csv");
    sandbox.add_manifest(&std::fs::read_to_string(sample)?)?;
    let mut manifest = "examples/manifest.csv".to_owned();
    if let (Some(rows), Some(path)) = (options.rows, options.manifest) {
        sandbox.add_bulk(rows, options.size, BufWriter::new(File::create(&path)?))?;
        manifest = path.display().to_string();
    }
    println!("The sandbox is up. In another terminal:\n");
    println!("  export MAXAI_API_URL={} MAXAI_API_KEY={API_KEY}", sandbox.api_url());
    println!("  cargo run --release -- run {manifest} -o export\n");
    if std::io::stdout().is_terminal() {
        println!("Ctrl-C stops it.");
    }
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped?,
        () = tokio::time::sleep(options.seconds.map_or(Duration::MAX, Duration::from_secs)) => {}
    }
    for (name, server) in [("API", Server::Api), ("storage", Server::Storage)] {
        let Counts { requests, peak_in_flight, limited, failed, .. } = sandbox.counts(server);
        println!(
            "{name}: {requests} requests, at most {peak_in_flight} at once, {failed} failed, {limited} of them 429"
        );
    }
    Ok(())
}
