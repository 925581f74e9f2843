//! `cargo run --release --example demo`: the real exporter against the sandbox, in a few seconds. It
//! checks what came out, so it doubles as a test of the whole.
#![expect(clippy::disallowed_methods, reason = "an example may take any error for an absence")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to its reader")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use sandbox::Sandbox;
use sandbox::config::{API_KEY, Config};
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
    let build = Build::of_this_example()?;
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

    let mut command = Command::new(&exporter);
    // The user's own settings and request clock stay out of it.
    let own = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("EXPORTER_");
    std::env::vars_os().map(|(name, _)| name).filter(own).for_each(|name| {
        command.env_remove(name);
    });
    let status = command
        .args(["run".as_ref(), manifest.as_os_str(), "--out".as_ref(), shown(&out).as_ref()])
        .args(["--rate", &format!("{limit}/{}s", window.as_secs())])
        .env("MAXAI_API_URL", sandbox.api_url())
        .env("MAXAI_API_KEY", API_KEY)
        .env_remove("MAXAI_API_KEY_FILE")
        .env("XDG_CONFIG_HOME", build.target.join("demo-config"))
        .env("XDG_STATE_HOME", build.target.join("demo-state"))
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

/// Removes what an earlier demo left, and nothing else.
fn remove_former(out: &Path) -> Result<(), AnyError> {
    if !out.exists() {
        return Ok(());
    }
    if !out.join(".exporter").is_dir() {
        return Err(format!("{} is in the way, and no export", shown(out)).into());
    }
    Ok(std::fs::remove_dir_all(out)?)
}

/// Where this example was built: `<target>/<profile>/examples/demo`.
struct Build {
    target: PathBuf,
    profile: PathBuf,
}

impl Build {
    fn of_this_example() -> Result<Self, AnyError> {
        let this = std::env::current_exe()?;
        let profile = this.parent().and_then(Path::parent).ok_or("this example lies in no profile folder")?;
        let target = profile.parent().ok_or("this example lies in no target folder")?;
        Ok(Self { target: target.to_owned(), profile: profile.to_owned() })
    }

    /// The exporter of the same build. Under cargo it is built first, since `cargo run --example` leaves
    /// binaries as they are and an old one would demonstrate old code.
    fn exporter(&self) -> Result<PathBuf, AnyError> {
        let exporter = self.profile.join(format!("exporter{}", std::env::consts::EXE_SUFFIX));
        let cargo = std::env::var_os("CARGO");
        if cargo.is_some() || !exporter.exists() {
            let profile = match self.profile.file_name().and_then(|name| name.to_str()) {
                Some("debug") => "dev",
                Some(name) => name,
                None => return Err("the profile folder has no name".into()),
            };
            let status = Command::new(cargo.unwrap_or_else(|| "cargo".into()))
                // together with this example, so that all it shares with it is not built a second time
                .args(["build", "--quiet", "--bin", "exporter", "--example", "demo", "--profile", profile])
                .arg("--target-dir")
                .arg(&self.target)
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status()?;
            if !status.success() {
                return Err(format!("the exporter could not be built: {status}").into());
            }
        }
        Ok(exporter)
    }
}

/// A path as seen from where the user stands.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}
