//! Where an example was built, and the exporter of the same build.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::API_KEY;
use crate::server::AnyError;

/// Where an example was built: `<target>/<profile>/examples/NAME`.
pub struct Build {
    pub target: PathBuf,
    profile: PathBuf,
    example: &'static str,
}

impl Build {
    /// Of the example that is running.
    pub fn of(example: &'static str) -> Result<Self, AnyError> {
        let this = std::env::current_exe()?;
        let profile = this.parent().and_then(Path::parent).ok_or("this example lies in no profile folder")?;
        let target = profile.parent().ok_or("this example lies in no target folder")?;
        Ok(Self { target: target.to_owned(), profile: profile.to_owned(), example })
    }

    /// The exporter of the same build. Under cargo it is built first, since `cargo run --example` leaves
    /// binaries as they are and an old one would demonstrate old code.
    pub fn exporter(&self) -> Result<PathBuf, AnyError> {
        let exporter = self.profile.join(format!("exporter{}", std::env::consts::EXE_SUFFIX));
        let cargo = std::env::var_os("CARGO");
        if cargo.is_some() || !exporter.exists() {
            let profile = match self.profile.file_name().and_then(|name| name.to_str()) {
                Some("debug") => "dev",
                Some(name) => name,
                None => return Err("the profile folder has no name".into()),
            };
            let status = Command::new(cargo.unwrap_or_else(|| "cargo".into()))
                // together with the example, so that all it shares with it is not built a second time
                .args([
                    "build",
                    "--quiet",
                    "--bin",
                    "exporter",
                    "--example",
                    self.example,
                    "--profile",
                    profile,
                ])
                .arg("--target-dir")
                .arg(&self.target)
                .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
                .status()?;
            if !status.success() {
                return Err(format!("the exporter could not be built: {status}").into());
            }
        }
        Ok(exporter)
    }

    /// A command of that exporter: the user's own settings and request clock stay out of it.
    pub fn command(&self, exporter: &Path, api_url: &str) -> Command {
        let mut command = Command::new(exporter);
        let own = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("EXPORTER_");
        std::env::vars_os().map(|(name, _)| name).filter(own).for_each(|name| {
            command.env_remove(name);
        });
        command
            .env("MAXAI_API_URL", api_url)
            .env("MAXAI_API_KEY", API_KEY)
            .env_remove("MAXAI_API_KEY_FILE")
            .env("XDG_CONFIG_HOME", self.target.join(format!("{}-config", self.example)))
            .env("XDG_STATE_HOME", self.target.join(format!("{}-state", self.example)));
        command
    }
}

/// Removes the export that an earlier example left, and nothing else.
pub fn remove_former(out: &Path) -> Result<(), AnyError> {
    if !out.exists() {
        return Ok(());
    }
    if !out.join(".exporter").is_dir() {
        return Err(format!("{} is in the way, and no export", shown(out)).into());
    }
    Ok(std::fs::remove_dir_all(out)?)
}

/// A path as seen from where the user stands.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}
