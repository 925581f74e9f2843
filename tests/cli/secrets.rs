//! Key and signature are nowhere: not on the screen, not in a file, not in the ledger, not in a name. Ids of notes
//! and images, which are patients', are in the reports and the ledger, in no log, and in no
//! summary but a terminal's.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::wire::Wire;
use sandbox::config::{API_KEY, Config};
use sandbox::faults::{ApiFault, StorageFault};
use sandbox::images::jpeg;
use sandbox::log::Server;
use sandbox::workspace::{Run, Workspace};

/// In every signed URL.
const CANARY: &str = "CANARYACCESSKEY";
/// In every id of a note, and of an image.
const NOTE: &str = "n0te-c4nary";
const IMAGE: &str = "1mage-c4nary";

/// No file below the folder holds one of these words, nor does its name.
pub fn search(folder: &Path, words: &[&str]) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        for word in words {
            assert!(!path.to_string_lossy().contains(word), "{word} is in the name {}", path.display());
        }
        if path.is_dir() {
            search(&path, words);
            continue;
        }
        // a running program may have renamed it
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for word in words {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{word} is in {}", path.display());
        }
    }
}

/// Everything the program ever wrote of this workspace, for the key and for every signature that was handed out.
fn nothing_leaked(workspace: &Workspace, texts: &[&str]) {
    let mut words = vec![CANARY.to_owned(), API_KEY.to_owned(), "X-Amz-".to_owned(), "Bearer ".to_owned()];
    for entry in workspace.sandbox.requests() {
        words.extend(entry.target.split_once("X-Amz-Signature=").map(|(_, signature)| signature.to_owned()));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for text in texts {
        for word in &words {
            assert!(!text.contains(word), "{word} in:\n{text}");
        }
    }
    search(&workspace.path("."), &words);
}

fn api_faults() -> Vec<ApiFault> {
    let echo = |status| {
        ApiFault::Answer {
        status,
        headers: vec![("content-type".into(), format!("text/{API_KEY}"))],
        body: format!(
            r#"{{"code":"{API_KEY}","message":"{} {API_KEY} https://s3/x?X-Amz-Signature=1","trace_id":"{API_KEY}"}}"#,
            "x".repeat(280)
        )
        .into(),
    }
    };
    vec![
        ApiFault::status(400),
        ApiFault::status(404),
        ApiFault::status(500),
        ApiFault::html(200),
        ApiFault::json("{}"),
        ApiFault::json("{\"data\":{\"url\":\"not a url X-Amz-Signature=1\"}}"),
        ApiFault::Close,
        ApiFault::Reset { after: 20 },
        ApiFault::Expired,
        ApiFault::redirect(302, "http://127.0.0.1:1/"),
        ApiFault::Url("file:///etc/passwd".to_owned()),
        ApiFault::Url("{url}#fragment".to_owned()),
        ApiFault::Url("{url} with blanks".to_owned()),
        ApiFault::Url("http://user:pw@{host}{target}".to_owned()),
        ApiFault::Url("http://127.0.0.1:1{target}".to_owned()),
        ApiFault::Url("https://{host}{target}".to_owned()),
        ApiFault::retry_after("1"),
        echo(200),
        echo(400),
        echo(418),
        echo(503),
    ]
}

fn storage_faults() -> Vec<StorageFault> {
    let echo = |status| StorageFault::Answer {
        status,
        headers: vec![("x-amz-request-id".into(), CANARY.into()), ("content-type".into(), CANARY.into())],
        body: format!(
            "<Error><Code>{CANARY}</Code><Message>{CANARY} does not exist</Message>\
             <AWSAccessKeyId>{CANARY}</AWSAccessKeyId></Error>"
        )
        .into(),
    };
    vec![
        StorageFault::error("ExpiredToken"),
        StorageFault::error("SlowDown"),
        StorageFault::error("NoSuchKey"),
        StorageFault::html(200),
        StorageFault::empty(),
        StorageFault::Close,
        StorageFault::Cut { after: 500 },
        StorageFault::Short { after: 10 },
        StorageFault::FlipBit(5),
        StorageFault::ChunkedCut { after: 7 },
        StorageFault::redirect("http://127.0.0.1:1/"),
        StorageFault::Gzip,
        StorageFault::Etag(format!("\"{CANARY}\"")),
        StorageFault::header("content-type", CANARY),
        StorageFault::header("content-encoding", CANARY),
        StorageFault::All(vec![StorageFault::ContentRange(format!("bytes {CANARY}"))]),
        echo(200),
        echo(400),
        echo(403),
        echo(416),
        echo(500),
    ]
}

/// One image for every fault, which it meets twice.
fn world_of_faults() -> Workspace {
    let workspace = Workspace::with(Config { access_key: CANARY.to_owned(), ..Config::default() });
    let mut manifest = "org,note,image\n".to_owned();
    let api = api_faults().into_iter().map(|fault| (Some(fault), None));
    let faults = api.chain(storage_faults().into_iter().map(|fault| (None, Some(fault))));
    for (n, (api, storage)) in faults.enumerate() {
        let (note, image) = (format!("{NOTE}-{}", n / 4), format!("{IMAGE}-{n}"));
        workspace.sandbox.add_image("o", &note, &image, jpeg(n as u64, 5000), "image/jpeg");
        manifest.push_str(&format!("o,{note},{image}\n"));
        for _ in 0..2 {
            if let Some(fault) = &api {
                workspace.sandbox.script().api(&image, fault.clone());
            }
            if let Some(fault) = &storage {
                workspace.sandbox.script().storage(&image, fault.clone());
            }
        }
    }
    workspace.manifest(&manifest);
    workspace
}

#[test]
fn under_every_fault_at_the_highest_log_level_no_secret_is_written_anywhere() {
    let help = Run::wait(Workspace::new().command(&["run", "--help"]).spawn().expect("started"));
    let metrics = help.stdout.contains("--metrics-file");
    for format in ["text", "json"] {
        let workspace = world_of_faults();
        // what cannot be TLS, and a port where nobody listens, stop a run: the next one goes on
        for _ in 0..4 {
            let mut args = vec!["-vvv", "--max-attempts", "2", "--log-format", format, "--max-outage", "3s"];
            if metrics {
                args.extend(["--metrics-file", "metrics.prom"]);
            }
            let ran = workspace.run(&args);
            assert!(matches!(ran.code, Some(0..=3)), "{:?}: {}", ran.code, ran.stderr);
            nothing_leaked(&workspace, &[&ran.stdout, &ran.stderr]);
        }
        let requests = workspace.sandbox.requests();
        let met = |server, n: usize| {
            requests.iter().any(|entry| entry.server == server && entry.image == format!("{IMAGE}-{n}"))
        };
        let (api, storage) = (api_faults().len(), storage_faults().len());
        assert!((0..api).all(|n| met(Server::Api, n)), "every fault of the API was met");
        assert!((api..api + storage).all(|n| met(Server::Storage, n)), "every fault of the storage was met");
    }
}

#[test]
fn a_key_that_the_api_repeats_as_it_refuses_it_is_not_shown() {
    let workspace = Workspace::with_images(3);
    let echo = ApiFault::Answer {
        status: 401,
        headers: vec![("content-type".into(), "application/json".into())],
        body: format!(
            r#"{{"code":"unauthorized","message":"key '{API_KEY}' is revoked","trace_id":"{API_KEY}"}}"#
        )
        .into(),
    };
    workspace.sandbox.script().api_always(Some(echo));
    let ran = workspace.run(&["-vv"]).assert_code(1);
    assert!(ran.stderr.contains("key '[key]' is revoked"), "{}", ran.stderr);
    nothing_leaked(&workspace, &[&ran.stdout, &ran.stderr]);
}

#[test]
fn a_storage_that_repeats_the_signed_url_gives_nothing_away() {
    let workspace = Workspace::with(Config { access_key: CANARY.to_owned(), ..Config::default() });
    workspace.manifest(&workspace.add_images(4));
    let echo = Wire::new(|mut line| {
        let head = line.head()?;
        let target = head.split(' ').nth(1).unwrap_or_default().replace('&', "&amp;");
        let signature = head.split_once("X-Amz-Signature=").map_or("", |(_, rest)| &rest[..64]);
        let body = format!(
            "<Error><Code>{signature}</Code><Message>{signature} {target}</Message><RequestId>1</RequestId></Error>"
        );
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\ncontent-type: {signature}\r\netag: \"{signature}\"\r\n\
             x-amz-request-id: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        std::io::Write::write_all(&mut line.socket, answer.as_bytes())?;
        line.close()
    });
    workspace.sandbox.script().api_always(Some(ApiFault::Url(format!("http://{}{{target}}", echo.host()))));
    let ran = workspace.run(&["-vv"]).assert_code(3);
    let heads = echo.heads();
    assert!(heads.len() >= 4, "{heads:?}");
    for head in &heads {
        let signature = &head.split_once("X-Amz-Signature=").expect("signed").1[..64];
        assert!(!ran.stderr.contains(signature) && !ran.stdout.contains(signature), "{}", ran.stderr);
        search(&workspace.path("."), &[signature]);
    }
    nothing_leaked(&workspace, &[&ran.stdout, &ran.stderr]);
}

/// Waits for something that comes within seconds.
fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn while_a_run_goes_on_and_after_it_was_killed_its_files_hold_no_secret() {
    let workspace = Workspace::with(Config { access_key: CANARY.to_owned(), ..Config::default() });
    workspace.manifest(&workspace.add_images(12));
    workspace.sandbox.script().api("i1", ApiFault::status(404));
    for image in ["i10", "i11"] {
        let stall = StorageFault::Stall { after: 1500, pause: Duration::from_secs(30) };
        workspace.sandbox.script().storage(image, stall);
    }
    let mut child = workspace.command(&["run", "manifest.csv", "-vv"]).spawn().expect("started");
    until(|| workspace.out().join("data").is_dir() && workspace.images().len() == 9);
    std::thread::sleep(Duration::from_millis(300));
    assert!(workspace.out().join(".exporter/ledger.sqlite-wal").exists(), "the ledger's log is open");
    nothing_leaked(&workspace, &[]);
    child.kill().expect("killed");
    let ran = Run::wait(child);
    nothing_leaked(&workspace, &[&ran.stdout, &ran.stderr]);
    let ran = workspace.run(&["-vv"]).assert_code(0);
    nothing_leaked(&workspace, &[&ran.stdout, &ran.stderr]);
}

#[test]
fn ids_of_notes_and_images_are_in_no_log_and_no_summary() {
    let workspace = world_of_faults();
    let repeats =
        format!(r#"{{"code":"not_found","message":"image {IMAGE}-0 of {NOTE}-0 is gone","trace_id":"t"}}"#);
    let repeats = ApiFault::Answer { status: 404, headers: vec![], body: repeats.into() };
    let check = |ran: &Run| {
        assert!(!ran.stderr.contains("c4nary"), "{}", ran.stderr);
        // a summary that is no terminal's ends in a journal or a mail
        assert!(!ran.stdout.contains("c4nary"), "{}", ran.stdout);
    };
    let ran = workspace.run(&["--max-attempts", "2", "--max-outage", "3s"]);
    check(&ran);
    workspace.sandbox.script().clear();
    workspace.sandbox.script().api(&format!("{IMAGE}-0"), repeats.clone());
    let ran = workspace.run(&["--max-attempts", "2"]).assert_code(3);
    assert!(ran.stderr.contains("line 2: not_found"), "{}", ran.stderr);
    check(&ran);
    // files and folders in the way, files of other bytes, rows of the same bytes
    let workspace = Workspace::new();
    let mut manifest = "org,note,image\n".to_owned();
    for n in 0..6 {
        let (note, image) = (format!("{NOTE}-{n}"), format!("{IMAGE}-{n}"));
        workspace.sandbox.add_image("o", &note, &image, jpeg(n / 2, 5000), "image/jpeg");
        manifest.push_str(&format!("o,{note},{image}\n"));
    }
    workspace.manifest("org,note,image\n");
    workspace.run(&[]).assert_code(0);
    let folder = |n: u32| workspace.out().join(format!("data/o/{NOTE}-{n}"));
    std::fs::create_dir_all(workspace.out().join("data/o")).expect("made");
    std::fs::write(folder(0), "a file").expect("written");
    std::fs::create_dir_all(folder(1).join(format!("{IMAGE}-1.jpg"))).expect("made");
    std::fs::create_dir_all(folder(2)).expect("made");
    std::fs::write(folder(2).join(format!("{IMAGE}-2.jpg")), "other bytes").expect("written");
    workspace.manifest(&manifest);
    let ran = workspace.run(&["--max-attempts", "2"]).assert_code(3);
    for words in ["line 2: disk: ", "line 3: disk: ", "is in the way", "line 4: replaced a file"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    check(&ran);
    let report = workspace.report();
    assert!(
        report[1]["error"].contains(&format!("data/o/{NOTE}-1/{IMAGE}-1.jpg")),
        "the report has it: {report:?}"
    );
    // a bad row
    workspace.manifest(&format!("org,note,image\no,{NOTE},{IMAGE}\u{7}\no,{NOTE}\n"));
    let ran = workspace.run(&[]).assert_code(2);
    assert!(ran.stderr.contains("line 2: "), "{}", ran.stderr);
    check(&ran);
    let ran = workspace.run(&["--on-bad-row", "skip"]).assert_code(3);
    check(&ran);
}

#[test]
fn the_storage_is_told_nothing_but_the_signed_url() {
    let workspace = Workspace::with_images(8);
    workspace.sandbox.script().storage("i1", StorageFault::Cut { after: 1000 });
    workspace.sandbox.script().storage("i2", StorageFault::redirect("http://127.0.0.1:1/"));
    workspace.sandbox.script().api("i3", ApiFault::redirect(302, "http://127.0.0.1:1/"));
    workspace.run(&[]).assert_code(3);
    let requests = workspace.sandbox.requests();
    let (api, storage): (Vec<_>, Vec<_>) = requests.iter().partition(|entry| entry.server == Server::Api);
    assert!(api.len() >= 8 && storage.len() >= 8);
    let known = ["host", "user-agent", "accept", "accept-encoding", "range", "if-match"];
    for entry in storage {
        for (name, _) in &entry.headers {
            assert!(known.contains(&&**name), "{name} is sent to the storage");
        }
    }
    for entry in api {
        for name in ["referer", "cookie"] {
            assert_eq!(entry.header(name), None, "{name} is sent to the API");
        }
    }
}

/// The program under a shell's settings.
fn under(workspace: &Workspace, settings: &str, args: &str) -> Child {
    let program = assert_cmd::cargo::cargo_bin!("exporter").display().to_string();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{settings}; exec {program} {args}")]).current_dir(workspace.path("."));
    for (name, value) in workspace.command(&[]).get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
}

fn modes(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let Ok(meta) = path.symlink_metadata() else { continue };
        let (mode, wanted) = (meta.permissions().mode() & 0o7777, if meta.is_dir() { 0o700 } else { 0o600 });
        assert_eq!(mode, wanted, "{mode:o} of {}", path.display());
        if meta.is_dir() {
            modes(&path);
        }
    }
}

#[test]
fn whatever_the_umask_is_files_and_folders_are_their_owners_alone() {
    for umask in ["000", "022", "277"] {
        let workspace = Workspace::with_images(6);
        workspace.sandbox.script().api("i1", ApiFault::status(404));
        let stall = StorageFault::Stall { after: 1500, pause: Duration::from_secs(2) };
        workspace.sandbox.script().storage("i5", stall);
        let child = under(&workspace, &format!("umask {umask}"), "run manifest.csv");
        // with parts, the ledger's log and all
        until(|| workspace.out().join("data").is_dir() && workspace.images().len() >= 3);
        modes(&workspace.out());
        Run::wait(child).assert_code(3);
        modes(&workspace.out());
        assert_eq!(workspace.out().metadata().expect("there").permissions().mode() & 0o7777, 0o700);
        let state = workspace.path("state");
        if state.exists() {
            modes(&state);
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_program_leaves_no_core_and_shows_no_key_in_its_arguments() {
    let workspace = Workspace::with_images(1);
    workspace.sandbox.script().api("i0", ApiFault::Delay(Duration::from_secs(2)));
    let child = under(&workspace, "ulimit -c unlimited 2>/dev/null || :", "run manifest.csv");
    let proc = format!("/proc/{}", child.id());
    until(|| workspace.sandbox.counts(Server::Api).requests == 1);
    let limits = std::fs::read_to_string(format!("{proc}/limits")).expect("Linux");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    let numbers: Vec<&str> = core["Max core file size".len()..].split_whitespace().take(2).collect();
    assert_eq!(numbers, ["0", "0"], "{core}");
    let arguments = std::fs::read(format!("{proc}/cmdline")).expect("Linux");
    assert!(!String::from_utf8_lossy(&arguments).contains(API_KEY));
    Run::wait(child).assert_code(0);
}
