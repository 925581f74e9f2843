//! A long run at the allowance: samples in a CSV file, and a drawing of them.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use sandbox::server::AnyError;

use crate::job::{Allowance, Job};
use crate::outcome::{Outcome, admitted_until, number};
use crate::program::Sample;
use crate::{BODY_TIME, plot, slow_line};

/// How often a sample is written.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

pub fn run(minutes: u32, allowance: Allowance, csv: &Path) -> Result<(), AnyError> {
    let windows = f64::from(minutes * 60) / allowance.window.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "minutes are few")]
    let rows = (windows * f64::from(allowance.requests)) as u64;
    let shape = slow_line();
    let size = shape.body_of(BODY_TIME);
    let name = format!("{minutes} minutes at {allowance}, 150 ms, bodies of 2 s");
    let job = Job { name, shape, rows, size, allowance: Some(allowance), args: Vec::new() };
    let rig = job.start()?;
    let mut file = File::create(csv)?;
    writeln!(file, "seconds,share_of_allowance,in_flight,429s,memory_mib")?;
    let (mut seen, mut due): (Vec<Sample>, Duration) = (Vec::new(), Duration::ZERO);
    let samples = rig.watch_program(&job.args, |sample| {
        seen.push(*sample);
        if sample.at >= due {
            due = sample.at + LINE_INTERVAL;
            writeln!(file, "{}", line(&seen, sample, allowance))?;
        }
        Ok(())
    })?;
    println!(
        "{}\n{}",
        Outcome::HEAD,
        Outcome::of(&samples, rows, Some(allowance)).line(&job.name, "exporter")
    );
    Ok(plot::draw(csv)?)
}

/// The share is that of the window that ends now, or of what there is of the first one.
fn line(seen: &[Sample], now: &Sample, allowance: Allowance) -> String {
    let before = now.at.checked_sub(allowance.window).map_or(0, |time| admitted_until(seen, time));
    let share = number(now.admitted - before) / f64::from(allowance.requests);
    let (seconds, memory) = (now.at.as_secs(), number(now.memory) / 1024.0);
    format!("{seconds},{share:.3},{},{},{memory:.1}", now.in_flight, now.limited)
}
