//! `cargo run --release --example cluster`: four shards as four processes against the sandbox, one of them killed and
//! started again, then merged into one export. Takes half a minute, and checks what came out.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to its reader")]

use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use sandbox::Sandbox;
use sandbox::build::{Build, remove_former, shown};
use sandbox::config::Config;
use sandbox::limiter::{Algorithm, Rate, SendHeaders};
use sandbox::log::Server;
use sandbox::server::AnyError;
use sandbox::thread::SandboxThread;

const SHARDS: u32 = 4;
const ROWS: u64 = 1200;
const IMAGE_SIZE: usize = 20_000;
/// The allowance of the whole app: eight windows for all rows.
const RATE: (u32, Duration) = (150, Duration::from_secs(3));
/// The shard that is killed, and when it is started again.
const KILLED: u32 = 3;
const KILLED_AFTER: Duration = Duration::from_secs(8);
const AGAIN_AFTER: Duration = Duration::from_secs(11);
/// Between two pictures.
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(55);

fn main() -> ExitCode {
    match cluster() {
        Ok(()) => {
            println!("\nAll went as meant.");
            ExitCode::SUCCESS
        }
        Err(differed) => {
            eprintln!("\nThis went otherwise than meant: {differed}");
            ExitCode::FAILURE
        }
    }
}

/// What all commands have in common.
struct Cluster {
    build: Build,
    exporter: PathBuf,
    sandbox: SandboxThread,
    manifest: PathBuf,
    out: PathBuf,
}

fn cluster() -> Result<(), AnyError> {
    let build = Build::of("cluster")?;
    let exporter = build.exporter()?;
    let (out, manifest) = (build.target.join("cluster-export"), build.target.join("cluster.csv"));
    remove_former(&out)?;
    let (limit, window) = RATE;
    // the hardest case: the API says nothing about what is left
    let rate = Rate { limit, window, algorithm: Algorithm::Counter, headers: SendHeaders::Only429 };
    let sandbox = Sandbox::start_blocking(Config { rate: Some(rate), ..Config::default() })?;
    sandbox.add_bulk(ROWS, IMAGE_SIZE, std::fs::File::create(&manifest)?)?;
    let cluster = Cluster { build, exporter, sandbox, manifest, out };

    println!(
        "{ROWS} images, {limit} API requests in {} s for the whole app, {SHARDS} shards:\n",
        window.as_secs()
    );
    println!(
        "  exporter run manifest.csv -o export --shard K/{SHARDS} --rate {limit}/{}s\n",
        window.as_secs()
    );
    let took = cluster.run_shards()?;
    println!("\n  exporter merge manifest.csv -o export\n");
    let merged = cluster.command(&["merge"]).arg(&cluster.manifest).status()?;
    if merged.code() != Some(0) {
        return Err(format!("the merge ended with {merged}").into());
    }
    cluster.check(took)
}

impl Cluster {
    /// A command on the export.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.build.command(&self.exporter, self.sandbox.api_url());
        command.args(args).arg("-o").arg(&self.out);
        command
    }

    fn start(&self, shard: u32) -> Result<Child, AnyError> {
        let (limit, window) = RATE;
        let mut command = self.command(&["run", "--quiet"]);
        command
            .arg(&self.manifest)
            .args([
                "--shard",
                &format!("{shard}/{SHARDS}"),
                "--rate",
                &format!("{limit}/{}s", window.as_secs()),
            ])
            .stdout(Stdio::null());
        Ok(command.spawn()?)
    }

    /// Runs all shards to their end; one of them in two parts.
    fn run_shards(&self) -> Result<Duration, AnyError> {
        let start = Instant::now();
        let mut shards = (1..=SHARDS).map(|shard| self.start(shard)).collect::<Result<Vec<_>, _>>()?;
        let killed = KILLED as usize - 1;
        let (mut is_killed, mut is_back) = (false, false);
        let mut picture = Picture::default();
        loop {
            if !is_killed && start.elapsed() > KILLED_AFTER {
                shards[killed].kill()?;
                shards[killed].wait()?;
                is_killed = true;
                picture.note(&format!("shard {KILLED} is killed"));
            }
            if is_killed && !is_back && start.elapsed() > AGAIN_AFTER {
                shards[killed] = self.start(KILLED)?;
                is_back = true;
                picture.note(&format!("shard {KILLED} is started again"));
            }
            let status = self.status()?;
            picture.draw(&status)?;
            let mut ended = 0;
            for shard in &mut shards {
                ended += u32::from(shard.try_wait()?.is_some());
            }
            if is_back && ended == SHARDS {
                break;
            }
            if start.elapsed() > TIMEOUT {
                for shard in &mut shards {
                    shard.kill()?;
                }
                return Err(format!("not at an end after {TIMEOUT:?}").into());
            }
            std::thread::sleep(REDRAW_INTERVAL);
        }
        picture.draw(&self.status()?)?;
        Ok(start.elapsed())
    }

    /// What `exporter status --json` says; nothing before the first shard has begun.
    fn status(&self) -> Result<serde_json::Value, AnyError> {
        let mut command = self.build.command(&self.exporter, self.sandbox.api_url());
        let output = command.args(["status", "--json"]).arg(&self.out).stderr(Stdio::null()).output()?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// Every image is there and right, the allowance was kept, and the kill cost no image a second request but those that
    /// were in flight.
    fn check(&self, took: Duration) -> Result<(), AnyError> {
        let listed = std::fs::read_to_string(self.out.join("manifest-sha256.txt"))?.lines().count();
        if listed as u64 != ROWS {
            return Err(format!("manifest-sha256.txt lists {listed} images, not {ROWS}").into());
        }
        let verified = self
            .build
            .command(&self.exporter, self.sandbox.api_url())
            .arg("verify")
            .arg(&self.out)
            .status()?;
        if !verified.success() {
            return Err(format!("the verification ended with {verified}").into());
        }
        let counts = self.sandbox.counts(Server::Api);
        let (limit, window) = RATE;
        let least = window * u32::try_from((ROWS - 1) / u64::from(limit))?;
        println!(
            "\n{} requests for {ROWS} images, {} answered 429, {:.0} s; the least time at this rate is {} s.",
            counts.requests,
            counts.limited,
            took.as_secs_f64(),
            least.as_secs()
        );
        println!("Reports and images are in {}.", shown(&self.out));
        if counts.limited == 0 { Ok(()) } else { Err("the allowance was overdrawn".into()) }
    }
}

/// The shards as bars: on a terminal each picture replaces the one before.
#[derive(Default)]
struct Picture {
    lines: usize,
    notes: Vec<String>,
    last: String,
}

impl Picture {
    fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    fn draw(&mut self, status: &serde_json::Value) -> Result<(), AnyError> {
        let Some(shards) = status["shards"].as_array() else { return Ok(()) };
        let mut text: String = shards.iter().map(bar).collect();
        text.push_str(&format!("  {}\n", self.notes.join("; ")));
        let mut out = std::io::stdout();
        if out.is_terminal() {
            if self.lines > 0 {
                write!(out, "\x1b[{}A\x1b[J", self.lines)?;
            }
            write!(out, "{text}")?;
        } else if self.last.is_empty()
            || status["running"] == false
            || !self.last.contains(&self.notes.join("; "))
        {
            // in a file only the turning points
            writeln!(out, "{text}")?;
        }
        self.lines = text.lines().count();
        self.last = text;
        Ok(out.flush()?)
    }
}

/// `  shard 3  [#######.............]  104 of 300  running`.
fn bar(shard: &serde_json::Value) -> String {
    const WIDTH: u64 = 30;
    let number = |key: &str| shard[key].as_u64().unwrap_or_default();
    let (rows, left) = (number("rows"), number("untried"));
    let done = rows - left;
    let filled = usize::try_from((done * WIDTH).checked_div(rows).unwrap_or_default()).unwrap_or_default();
    let bar = format!("{:.<width$}", "#".repeat(filled), width = usize::try_from(WIDTH).unwrap_or_default());
    let state = shard["state"].as_str().unwrap_or_default();
    format!("  shard {}  [{bar}]  {done:>3} of {rows}  {state}\n", number("shard"))
}
