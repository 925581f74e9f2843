//! What a test of the program needs: a sandbox, a temporary folder, and the exporter run in it without any of this
//! machine's settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use tempfile::TempDir;

use crate::Sandbox;
use crate::config::{API_KEY, Config};
use crate::images::jpeg;
use crate::log::Server;
use crate::thread::SandboxThread;

/// A sandbox and the folder that the exporter works in. Both go when it is dropped.
pub struct Workspace {
    pub sandbox: SandboxThread,
    dir: TempDir,
}

/// A run of the program that has ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A line of a CSV file by column.
pub type Line = BTreeMap<String, String>;

impl Workspace {
    #[expect(clippy::new_without_default, reason = "it starts servers")]
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let sandbox = Sandbox::start_blocking(config).expect("the sandbox starts");
        Self { sandbox, dir: tempfile::tempdir().expect("a temporary folder") }
    }

    /// `count` small images of two orgs in the sandbox, and their manifest.
    pub fn with_images(count: usize) -> Self {
        let workspace = Self::new();
        workspace.manifest(&workspace.add_images(count));
        workspace
    }

    /// Adds images `i0`, `i1` … and returns their manifest.
    pub fn add_images(&self, count: usize) -> String {
        let mut text = "org,note,image\n".to_owned();
        for n in 0..count {
            let (org, note, image) = (format!("org{}", n % 2), format!("note{}", n / 4), format!("i{n}"));
            self.sandbox.add_image(&org, &note, &image, jpeg(n as u64, 2000 + n), "image/jpeg");
            text.push_str(&format!("{org},{note},{image}\n"));
        }
        text
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn out(&self) -> PathBuf {
        self.path("export")
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("written");
    }

    pub fn manifest(&self, text: &str) {
        self.write("manifest.csv", text);
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.out().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The program, with none of this machine's settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(exporter());
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("MAXAI_API_URL", self.sandbox.api_url())
            .env("MAXAI_API_KEY", API_KEY)
            .env("HOME", self.dir.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("EXPORTER_RATE", "100000/1s")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `exporter run manifest.csv` with more arguments.
    pub fn run(&self, args: &[&str]) -> Run {
        let all: Vec<&str> = ["run", "manifest.csv"].iter().chain(args).copied().collect();
        Run::wait(self.command(&all).spawn().expect("the program starts"))
    }

    pub fn report(&self) -> Vec<Line> {
        lines(&self.out().join("report.csv"))
    }

    pub fn failed(&self) -> Vec<Line> {
        lines(&self.out().join("failed.csv"))
    }

    /// States of all rows in the manifest's order.
    pub fn states(&self) -> Vec<String> {
        self.report().into_iter().map(|mut line| line.remove("state").expect("a state")).collect()
    }

    pub fn summary(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("summary.json")).expect("JSON")
    }

    pub fn count(&self, key: &str) -> u64 {
        self.summary()[key].as_u64().unwrap_or_else(|| panic!("{key} is no number"))
    }

    pub fn api_requests(&self) -> u64 {
        self.sandbox.counts(Server::Api).requests
    }

    /// Every file below the export's `data/`, relative to the export.
    pub fn images(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.out(), &self.out().join("data"), &mut found);
        found.sort();
        found
    }
}

impl Run {
    /// Waits until the program ends. One that hangs is killed after a minute, so that its output shows why.
    pub fn wait(child: Child) -> Self {
        let pid = child.id().to_string();
        let (ended, end) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            if end.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-9", &pid]).status();
            }
        });
        let _ended = ended; // dropped at the end of this call
        let output = child.wait_with_output().expect("the program ends");
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code; on another one, shows all output.
    #[track_caller]
    pub fn assert_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// The exporter of the same build. Cargo names it to the tests that it runs; a test that is run by hand lies in
/// `<target>/<profile>/deps`, beside the folder's programs.
pub fn exporter() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_exporter") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("a test lies in a target folder");
    profile.join(format!("exporter{}", std::env::consts::EXE_SUFFIX))
}

fn lines(path: &Path) -> Vec<Line> {
    let mut reader =
        csv::Reader::from_path(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader.deserialize().map(|line| line.expect("a line")).collect()
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(root, &path, found);
        } else {
            found.push(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
        }
    }
}
