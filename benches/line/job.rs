//! A job, and the sandbox that it runs against: behind TLS, at the other end of a line.

use std::fmt;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox::Sandbox;
use sandbox::bulk::Bulk;
use sandbox::config::Config;
use sandbox::limiter::Rate;
use sandbox::line::LineShape;
use sandbox::registry::ImageRef;
use sandbox::server::AnyError;
use sandbox::thread::SandboxThread;
use sandbox::tls::Authority;
use tempfile::TempDir;

/// `requests` in any `window`.
#[derive(Clone, Copy)]
pub struct Allowance {
    pub requests: u32,
    pub window: Duration,
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.requests, self.window.as_secs())
    }
}

pub struct Job {
    pub name: String,
    pub shape: LineShape,
    pub rows: u64,
    /// Bytes of an image.
    pub size: usize,
    /// `None`: the API allows everything, and the program is told so.
    pub allowance: Option<Allowance>,
    /// More arguments for the program.
    pub args: Vec<String>,
}

/// A sandbox with the images of a job, and a folder for what is fetched.
pub struct Rig {
    pub sandbox: SandboxThread,
    pub shape: LineShape,
    pub rows: u64,
    pub allowance: Option<Allowance>,
    dir: TempDir,
}

impl Job {
    pub fn start(&self) -> Result<Rig, AnyError> {
        let authority = Authority::new();
        let config = Config {
            rate: self.allowance.map(|allowance| Rate::new(allowance.requests, allowance.window)),
            tls: Some(authority.good()),
            line: Some(self.shape),
            log: 0,
            ..Config::default()
        };
        let sandbox = Sandbox::start_blocking(config)?;
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("ca.pem"), authority.pem)?;
        let manifest = File::create(dir.path().join("manifest.csv"))?;
        sandbox.add_bulk(self.rows, self.size, BufWriter::new(manifest))?;
        Ok(Rig { sandbox, shape: self.shape, rows: self.rows, allowance: self.allowance, dir })
    }
}

impl Rig {
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// An empty folder of this name.
    pub fn empty_folder(&self, name: &str) -> Result<PathBuf, AnyError> {
        let path = self.dir.path().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path)?;
        Ok(path)
    }

    /// The images of the manifest.
    pub fn images(&self) -> impl Iterator<Item = ImageRef> {
        (0..self.rows).map(Bulk::row)
    }
}
