//! `curl -Z` as a rival: it gets ready URLs, checks nothing and makes nothing durable.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use sandbox::server::AnyError;

use crate::job::Rig;
use crate::outcome::Outcome;

pub fn is_there() -> bool {
    Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Fetches the rig's images over this many connections.
pub fn run(rig: &Rig, connections: &str) -> Result<Outcome, AnyError> {
    let folder = rig.empty_folder("curl")?;
    let mut list = String::new();
    for (number, image) in rig.images().enumerate() {
        let url = rig.sandbox.signed_url(&image, Duration::from_hours(1)).ok_or("an unknown image")?;
        writeln!(list, "url = \"{url}\"\noutput = \"{number}\"")?;
    }
    std::fs::write(rig.folder().join("urls"), list)?;
    let mut command = Command::new("curl");
    command
        .args([
            "-q",
            "-sS",
            "-f",
            "--fail-early",
            "-Z",
            "--parallel-max",
            connections,
            "--cacert",
            "../ca.pem",
            "-K",
            "../urls",
        ])
        .current_dir(&folder);
    let samples = rig.watch(command, |_| Ok(()))?;
    let fetched = std::fs::read_dir(&folder)?.count() as u64;
    if fetched != rig.rows {
        return Err(format!("curl fetched {fetched} of {} images", rig.rows).into());
    }
    Ok(Outcome::without_api(&samples, rig.rows))
}
