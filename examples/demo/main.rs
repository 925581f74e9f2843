//! `cargo run --release --example demo`: the real exporter against the sandbox, in a few seconds. It
//! checks what came out, so it doubles as a test of the whole.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to its reader")]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use sandbox::Sandbox;
use sandbox::build::{Build, remove_former, shown};
use sandbox::config::Config;
use sandbox::limiter::Rate;
use sandbox::manifest::MISSING_IMAGE;
use sandbox::server::AnyError;

/// What the exporter returns when a row failed.
const SOME_ROWS_FAILED: i32 = 3;

/// Slow enough for the progress bar to be seen: 120 rows take about four seconds.
const RATE: (u32, Duration) = (30, Duration::from_secs(1));

fn main() -> ExitCode {
    match demo() {
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

fn demo() -> Result<(), AnyError> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/manifest.csv");
    let text = std::fs::read_to_string(&manifest)?;
    let build = Build::of("demo")?;
    let exporter = build.exporter()?;
    let out = build.target.join("demo-export");
    remove_former(&out)?;

    let (limit, window) = RATE;
    let latency = Duration::from_millis(60);
    let sandbox = Sandbox::start_blocking(Config {
        rate: Some(Rate::new(limit, window)),
        api_latency: latency,
        storage_latency: latency,
        ..Config::default()
    })?;
    let rows = sandbox.add_manifest(&text)?;

    println!("A local Max AI API and S3 are up; they know the images of {}, but one.", shown(&manifest));
    println!("The API allows {limit} requests a second. The exporter now brings all {rows} rows home to");
    println!("{}, and will report the missing one (exit code {SOME_ROWS_FAILED}).\n", shown(&out));

    let mut command = build.command(&exporter, sandbox.api_url());
    let status = command
        .args(["run".as_ref(), manifest.as_os_str(), "--out".as_ref(), shown(&out).as_ref()])
        .args(["--rate", &format!("{limit}/{}s", window.as_secs())])
        .status()?;
    if status.code() != Some(SOME_ROWS_FAILED) {
        return Err(format!("the exporter ended with {status}, not with {SOME_ROWS_FAILED}").into());
    }
    check(&out, rows)?;

    let out = shown(&out);
    println!("\nThe images lie in {out}/data, each row's fate in {out}/report.csv,");
    println!("the missing one with its reason in {out}/failed.csv. Next:\n");
    println!("  (cd {out} && sha256sum -c --quiet manifest-sha256.txt)");
    Ok(())
}

/// Every row but one is there, the checksums hold, and `failed.csv` names that one.
fn check(out: &Path, rows: usize) -> Result<(), AnyError> {
    let listed = std::fs::read_to_string(out.join("manifest-sha256.txt"))?.lines().count();
    if listed != rows - 1 {
        return Err(format!("manifest-sha256.txt lists {listed} images, not {}", rows - 1).into());
    }
    let failed = std::fs::read_to_string(out.join("failed.csv"))?;
    if failed.lines().count() != 2 || !failed.contains(MISSING_IMAGE) {
        return Err(format!("failed.csv should hold {MISSING_IMAGE} alone, and holds\n{failed}").into());
    }
    let mut sums = Command::new("sha256sum");
    match sums.args(["-c", "--quiet", "manifest-sha256.txt"]).current_dir(out).status() {
        Ok(status) if status.success() => println!("\nsha256sum -c: all {listed} images are right."),
        Ok(status) => return Err(format!("sha256sum -c ended with {status}").into()),
        Err(_) => println!("\n(There is no sha256sum on this machine to hold the images against.)"),
    }
    Ok(())
}
