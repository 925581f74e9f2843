//! `exporter verify`: the library's check, how far it is, and its answer.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ArgMatches;
use exporter::verify::{Progress, Verified, VerifyOptions, adopt, verify};

use crate::screen::{self, Steps};
use crate::settings::{self, Export, Screen, table};
use crate::{cli, commands, exit, output::format};

/// Does it.
pub fn run(args: &ArgMatches) -> ExitCode {
    let adopts = args.get_flag(cli::ADOPT);
    let read = |sources: &settings::Sources<'_>| {
        let screen = settings::screen(sources)?;
        let oldest = settings::oldest(sources)?;
        let export = settings::export(sources)?;
        let again = |settings: &[&table::Setting]| settings::as_flags(sources, settings);
        let flags =
            Flags { run: again(&[&table::OUT, &table::STATE_DIR]), state_dir: again(&[&table::STATE_DIR]) };
        Ok((screen, export, oldest, flags))
    };
    let (screen, Export { out, state_dir }, oldest, flags) = match commands::begin(args, read) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let options = VerifyOptions { out, state_dir, repair: args.get_flag(cli::REPAIR), oldest };
    let progress = Progress::default();
    let result = watched(screen, &progress, || {
        if adopts { adopt(&options, &progress) } else { verify(&options, &progress) }
    });
    let verified = match result {
        Ok(verified) => verified,
        Err(error) => return exit::failed(&error),
    };
    for notice in &verified.notices {
        tracing::warn!("{notice}");
    }
    let text = if args.get_flag(cli::JSON) {
        commands::json(&verified)
    } else {
        text(&verified, &options, &flags, adopts)
    };
    commands::answer(&text, if verified.is_well() { 0 } else { exit::FOUND })
}

/// Flags of the commands that are named, a blank before each.
#[derive(Default)]
struct Flags {
    run: String,
    state_dir: String,
}

/// Shows how far it is while `work` is done on this thread.
fn watched<T>(screen: Screen, progress: &Progress, work: impl FnOnce() -> T) -> T {
    let mut steps = Steps::new(screen::mode(screen));
    let (over, wait) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let begun = Instant::now();
            while wait.recv_timeout(Steps::TICK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                steps.show(begun.elapsed(), || far(progress, begun.elapsed()));
            }
            steps.close();
        });
        let result = work();
        drop(over);
        result
    })
}

/// `11,600 of 50,000 images (23 %), 412 MiB/s, 2 min left`.
fn far(progress: &Progress, time: Duration) -> String {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (images, seen, bytes, read) =
        (get(&progress.images), get(&progress.seen), get(&progress.bytes), get(&progress.read));
    if images == 0 {
        return "reading the ledger".to_owned();
    }
    let percent = screen::percent(seen, images);
    let mut text = format!("{} of {} ({percent} %)", format::count(seen), format::counted(images, "image"));
    let rate = format::approximate(read) / time.as_secs_f64().max(0.001);
    let _ = write!(text, ", {}/s", format::bytes(screen::whole(rate)));
    if read > 0 && bytes > read {
        let left = format::approximate(bytes - read) / rate;
        let left = Duration::try_from_secs_f64(left.round()).unwrap_or_default();
        let _ = write!(text, ", {} left", format::duration(left));
    }
    text
}

/// The answer, one fact a line, and then every file that is not as it should be.
fn text(verified: &Verified, options: &VerifyOptions, flags: &Flags, adopted: bool) -> String {
    let mut text = headline(verified, adopted) + "\n";
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10}{value}");
    };
    let time = format::duration(Duration::try_from_secs_f64(verified.seconds).unwrap_or_default());
    let mut checked = format!(
        "{}, {} in {time}",
        format::counted(verified.checked, "image"),
        format::bytes(verified.bytes)
    );
    // below a second a speed says nothing
    if verified.seconds >= 1.0 {
        let rate = screen::whole(format::approximate(verified.bytes) / verified.seconds);
        let _ = write!(checked, ", {}/s", format::bytes(rate));
    }
    fact("checked", &checked);
    fact("right", &format::count(verified.ok));
    if adopted {
        fact("adopted", &format::count(verified.adopted));
    }
    for (name, paths) in
        [("missing", &verified.missing), ("changed", &verified.changed), ("foreign", &verified.foreign)]
    {
        if !paths.is_empty() {
            fact(name, &format::count(paths.len() as u64));
        }
    }
    if verified.waiting > 0 {
        let files = format::counted(verified.waiting, "file");
        fact(
            "waiting",
            &format!("{files} of images that are to be fetched again: the next run replaces them"),
        );
    }
    if let Some(next) = next(verified, options, flags, adopted) {
        fact("next", &next);
    }
    for (name, paths) in
        [("missing", &verified.missing), ("changed", &verified.changed), ("foreign", &verified.foreign)]
    {
        for path in paths {
            let _ = writeln!(text, "{name:<10}{}", format::safe(path));
        }
    }
    text
}

fn headline(verified: &Verified, adopted: bool) -> String {
    if verified.is_well() {
        return match (verified.checked, adopted) {
            (_, true) => "all well: the ledger is rebuilt, every listed image is there and unchanged",
            (0, false) if verified.waiting == 0 => "all well: no image is delivered, and none lies there",
            (_, false) => "all well: every image that was checked is there and unchanged",
        }
        .to_owned();
    }
    let counts = [
        (verified.missing.len(), "missing"),
        (verified.changed.len(), "changed"),
        (verified.foreign.len(), "foreign"),
    ];
    let parts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", format::count(count as u64)))
        .collect();
    format!("not well: {}", parts.join(", "))
}

/// What to do about what was found.
fn next(verified: &Verified, options: &VerifyOptions, flags: &Flags, adopted: bool) -> Option<String> {
    let Flags { run, state_dir } = flags;
    if adopted {
        return Some(format!("exporter run MANIFEST{run} fetches what is not there"));
    }
    if verified.repaired > 0 {
        let images = if verified.repaired == 1 {
            "image is".to_owned()
        } else {
            format!("{} images are", format::count(verified.repaired))
        };
        return Some(format!("the {images} fetched again by: exporter run MANIFEST{run}"));
    }
    if !verified.missing.is_empty() || !verified.changed.is_empty() {
        let folder = format::shell(&options.out);
        return Some(format!(
            "to fetch them again: exporter verify {folder}{state_dir} --repair, then exporter run MANIFEST{run}"
        ));
    }
    (!verified.foreign.is_empty()).then(|| "look at the foreign files, and move them away".to_owned())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn options() -> VerifyOptions {
        VerifyOptions { out: "export".into(), state_dir: None, repair: false, oldest: None }
    }

    #[test]
    fn what_is_wrong_is_said_first_and_every_file_named() {
        let verified = Verified {
            checked: 1_200,
            ok: 1_197,
            bytes: 5 << 30,
            seconds: 12.5,
            missing: vec!["data/o/n/a.jpg".to_owned()],
            changed: vec!["data/o/n/b.jpg".to_owned(), "data/o/n/c.jpg".to_owned()],
            foreign: vec!["data/o/n/x\u{1b}[2J".to_owned()],
            ..Verified::default()
        };
        assert_snapshot!(text(&verified, &options(), &Flags::default(), false), @r"
        not well: 1 missing, 2 changed, 1 foreign
        checked   1,200 images, 5.0 GiB in 13 s, 410 MiB/s
        right     1,197
        missing   1
        changed   2
        foreign   1
        next      to fetch them again: exporter verify export --repair, then exporter run MANIFEST
        missing   data/o/n/a.jpg
        changed   data/o/n/b.jpg
        changed   data/o/n/c.jpg
        foreign   data/o/n/x\u{1b}[2J
        ");
    }

    #[test]
    fn nothing_wrong_is_said_in_words() {
        let verified = Verified { checked: 3, ok: 3, bytes: 6000, seconds: 0.004, ..Verified::default() };
        assert_snapshot!(text(&verified, &options(), &Flags::default(), false), @"
        all well: every image that was checked is there and unchanged
        checked   3 images, 5.9 KiB in 0 s
        right     3
        ");
    }
}
