//! `exporter verify`: the library's check, its progress, and its answer.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clap::ArgMatches;
use exporter::verify::{Progress, Verified, VerifyOptions, adopt, verify};

use crate::output::facts::{self, Facts};
use crate::output::{format, redact};
use crate::screen::{self, TaskProgress};
use crate::settings::{self, Export, Screen, table};
use crate::{cli, commands, exit};

/// Verifies the export, adopts it with `--adopt`, or checks its receipts with `--receipts`.
pub fn run(args: &ArgMatches) -> ExitCode {
    if args.get_flag(cli::RECEIPTS) {
        return commands::receipts::run(args);
    }
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
    let json = args.get_flag(cli::JSON);
    let text = if json { commands::json(&verified) } else { text(&verified, &options, &flags, adopts) };
    commands::answer(&text, if verified.is_well() { 0 } else { exit::FINDINGS })
}

/// Flags for the commands that the answer names, a blank before each.
#[derive(Default)]
struct Flags {
    run: String,
    state_dir: String,
}

/// Does `work` on this thread while another one shows its progress.
fn watched<T>(screen: Screen, progress: &Progress, work: impl FnOnce() -> T) -> T {
    let mut shown = TaskProgress::new(screen::mode(screen));
    let (over, wait) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let started = Instant::now();
            while wait.recv_timeout(TaskProgress::TICK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                shown.show(started.elapsed(), || progress_line(progress, started.elapsed()));
            }
        });
        let result = work();
        drop(over);
        result
    })
}

/// `11,600 of 50,000 images (23 %), 412 MiB/s, 2 min left`.
fn progress_line(progress: &Progress, time: Duration) -> String {
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

/// Everything that is not well: what it is called, and its files.
fn findings(verified: &Verified) -> [(&'static str, &[String]); 4] {
    [
        ("missing", &verified.missing),
        ("changed", &verified.changed),
        ("unreadable", &verified.unreadable),
        ("foreign", &verified.foreign),
    ]
}

/// The answer, one fact a line, and then every file that is not well.
fn text(verified: &Verified, options: &VerifyOptions, flags: &Flags, adopted: bool) -> String {
    let mut facts = Facts::new(headline(verified, adopted));
    facts.add("checked", checked(verified));
    facts.add("unchanged", format::count(verified.ok));
    if adopted {
        facts.add("adopted", format::count(verified.adopted));
    }
    for (name, paths) in findings(verified) {
        if !paths.is_empty() {
            facts.add(name, format::count(paths.len() as u64));
        }
    }
    if verified.waiting > 0 {
        let files = format::counted(verified.waiting, "file");
        facts.add("waiting", format!("{files} of images to be fetched again: the next run replaces them"));
    }
    if !verified.litter.is_empty() {
        let files = format::counted(verified.litter.len() as u64, "file");
        facts.add("litter", format!("{files} that an operating system left in data/"));
    }
    if let Some(next) = next(verified, options, flags, adopted) {
        facts.add("next", next);
    }
    for (name, paths) in findings(verified).into_iter().chain([("litter", &*verified.litter)]) {
        for path in paths {
            facts.add(name, redact::safe(path));
        }
    }
    facts.into_text()
}

/// `1,200 images, 5.0 GiB in 13 s, 410 MiB/s`.
fn checked(verified: &Verified) -> String {
    let images = format::counted(verified.checked, "image");
    let time = format::duration(Duration::try_from_secs_f64(verified.seconds).unwrap_or_default());
    let text = format!("{images}, {} in {time}", format::bytes(verified.bytes));
    // below a second a speed says nothing
    if verified.seconds < 1.0 {
        return text;
    }
    let rate = screen::whole(format::approximate(verified.bytes) / verified.seconds);
    format!("{text}, {}/s", format::bytes(rate))
}

/// The first line. It never sounds better than the result: what was not checked is not called well.
fn headline(verified: &Verified, adopted: bool) -> String {
    if !verified.is_well() {
        let counts = findings(verified).map(|(name, paths)| (paths.len() as u64, name));
        return format!("not well: {}", facts::counts(&counts, ", "));
    }
    match (verified.checked, adopted) {
        (0, true) => "the ledger is rebuilt, but the list names no image".to_owned(),
        (_, true) => "all well: the ledger is rebuilt, every listed image is there and unchanged".to_owned(),
        (0, false) if verified.waiting == 0 => "nothing to check: no image is delivered".to_owned(),
        (0, false) => {
            let files = format::counted(verified.waiting, "file");
            format!("nothing to check: no image is delivered, and {files} will be replaced by the next run")
        }
        (_, false) => "all well: every image that was checked is there and unchanged".to_owned(),
    }
}

/// What to do about what was found.
fn next(verified: &Verified, options: &VerifyOptions, flags: &Flags, adopted: bool) -> Option<String> {
    let Flags { run, state_dir } = flags;
    let folder = redact::shell(&options.out);
    if adopted && verified.unreadable.is_empty() {
        return Some(format!("to fetch the images that are missing: exporter run MANIFEST{run}"));
    }
    if adopted {
        return Some(format!(
            "mend the disk or the permissions before the next run: it fetches the unreadable images, too: \
             exporter run MANIFEST{run}"
        ));
    }
    if verified.repaired > 0 {
        let images = match verified.repaired {
            1 => "image".to_owned(),
            images => format!("{} images", format::count(images)),
        };
        return Some(format!("to fetch the {images} again: exporter run MANIFEST{run}"));
    }
    if !verified.missing.is_empty() || !verified.changed.is_empty() {
        return Some(format!(
            "to fetch them again: exporter verify {folder}{state_dir} --repair, then exporter run MANIFEST{run}"
        ));
    }
    if !verified.unreadable.is_empty() {
        return Some(format!(
            "mend the disk or the permissions, then check again: exporter verify {folder}{state_dir}"
        ));
    }
    (!verified.foreign.is_empty()).then(|| "inspect the foreign files, and move them out of data/".to_owned())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn options() -> VerifyOptions {
        VerifyOptions { out: "export".into(), state_dir: None, repair: false, oldest: None }
    }

    #[test]
    fn what_is_wrong_comes_first_and_every_file_is_named() {
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
        unchanged 1,197
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
        unchanged 3
        ");
    }

    #[test]
    fn what_cannot_be_read_is_not_called_changed_and_litter_alone_is_well() {
        let litter = vec!["data/.DS_Store".to_owned()];
        let verified = Verified { checked: 2, ok: 2, litter: litter.clone(), ..Verified::default() };
        assert_snapshot!(text(&verified, &options(), &Flags::default(), false), @"
        all well: every image that was checked is there and unchanged
        checked   2 images, 0 B in 0 s
        unchanged 2
        litter    1 file that an operating system left in data/
        litter    data/.DS_Store
        ");
        let unreadable = vec!["data/o/n/a.jpg".to_owned(), "data/o/n/b.jpg".to_owned()];
        let verified = Verified { unreadable, litter, ..Verified::default() };
        assert_snapshot!(text(&verified, &options(), &Flags::default(), false), @"
        not well: 2 unreadable
        checked    0 images, 0 B in 0 s
        unchanged  0
        unreadable 2
        litter     1 file that an operating system left in data/
        next       mend the disk or the permissions, then check again: exporter verify export
        unreadable data/o/n/a.jpg
        unreadable data/o/n/b.jpg
        litter     data/.DS_Store
        ");
    }

    #[test]
    fn a_check_of_nothing_is_not_called_well() {
        let verified = Verified { waiting: 2, ..Verified::default() };
        let expected =
            "nothing to check: no image is delivered, and 2 files will be replaced by the next run";
        assert_eq!(headline(&verified, false), expected);
        assert_eq!(headline(&Verified::default(), false), "nothing to check: no image is delivered");
    }
}
