//! Manifests and folders that mean harm, or come from a spreadsheet: refused with a word, or read for what they are.

use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;

use sandbox::images::jpeg;
use sandbox::log::Server;
use sandbox::workspace::{Run, Workspace};

/// Every file and folder below, links not followed.
fn tree(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        found.push(path.display().to_string());
        if path.symlink_metadata().expect("there").is_dir() {
            tree(&path, found);
        }
    }
}

fn csv_row(fields: &[&str]) -> String {
    let quoted: Vec<String> =
        fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
    quoted.join(",") + "\n"
}

/// Ids that a file system, a URL, a terminal or a spreadsheet would take for something else.
const ODD: [&str; 26] = [
    "../x",
    "../../../../tmp/x",
    "/etc/x",
    "a\\b",
    "..\\x",
    "...",
    "a/../../b",
    "CON",
    "nul.txt",
    "end.",
    ".hidden",
    "-rf",
    "~",
    "$(id)",
    "`id`",
    "%2e%2e%2f",
    "%00",
    "a%2Fb",
    "a?b=c&d#e",
    "a b+c",
    "ü",
    "u\u{308}",
    "=HYPERLINK(\"http://x\")",
    "+1",
    "@x",
    "gpj.\u{202e}exe",
];

#[test]
fn odd_ids_are_one_segment_of_the_request_and_stay_in_the_folder() {
    let workspace = Workspace::new();
    let mut manifest = "org,note,image\n".to_owned();
    for (n, id) in ODD.iter().enumerate() {
        workspace.sandbox.add_image_at(
            sandbox::registry::ImageRef::new("o", *id, *id),
            &format!("key-{n}"),
            jpeg(n as u64, 3000),
            "image/jpeg",
        );
        manifest.push_str(&csv_row(&["o", id, id]));
    }
    workspace.manifest(&manifest);
    let mut before = Vec::new();
    tree(&workspace.path("."), &mut before);
    let ran = workspace.run(&[]).assert_code(0);
    assert!(!ran.stderr.contains('\u{202e}') && !ran.stdout.contains('\u{202e}'), "{}", ran.stderr);
    let report = workspace.report();
    for (n, (line, id)) in report.iter().zip(ODD).enumerate() {
        assert_eq!((&*line["state"], &*line["note"], &*line["image"]), ("stored", id, id), "ids are data");
        let bytes = std::fs::read(workspace.out().join(&line["path"])).expect("the image");
        assert_eq!(bytes, jpeg(n as u64, 3000), "{id}");
    }
    let mut folded: Vec<String> = report.iter().map(|line| line["path"].to_lowercase()).collect();
    folded.sort();
    folded.dedup();
    assert_eq!(folded.len(), ODD.len());
    assert!(
        folded.iter().all(|path| path.starts_with("data/o/") && path.split('/').count() == 4),
        "{folded:?}"
    );
    // nothing came to be outside
    let mut after = Vec::new();
    tree(&workspace.path("."), &mut after);
    let (out, state) = (workspace.out().display().to_string(), workspace.path("state").display().to_string());
    after.retain(|path| !before.contains(path) && !path.contains("/export") && !path.contains("/state"));
    assert_eq!(after, Vec::<String>::new(), "outside {out} and {state}");
    for entry in workspace.sandbox.requests().iter().filter(|entry| entry.server == Server::Api) {
        let parts: Vec<&str> = entry.target.split('/').collect();
        assert!(
            matches!(parts[..], ["", "v2", "notes", _, "images", _, "url"]),
            "another endpoint was asked: {}",
            entry.target
        );
    }
}

#[test]
fn ids_that_cannot_be_sent_are_refused_by_line_before_any_request() {
    for (org, note, image, words) in [
        ("o\r\nX-Admin: 1", "n", "i", "control character"),
        ("o\u{e9}", "n", "i", "visible ASCII"),
        ("o o", "n", "i", "visible ASCII"),
        ("o", "n\0", "i", "control character"),
        ("o", "n\n", "i", "control character"),
        ("o", "\u{1b}[2J", "i", "control character"),
        ("o", "n", "\u{85}", "control character"),
        ("o", "..", "i", "is no id"),
        ("o", ".", "i", "is no id"),
        ("o", " n", "i", "blank"),
        ("o", "n", "i\u{a0}", "blank"),
        ("o", "", "i", "empty"),
    ] {
        let workspace = Workspace::with_images(1);
        workspace.manifest(&("org,note,image\n".to_owned() + &csv_row(&[org, note, image])));
        let ran = workspace.run(&[]).assert_code(2);
        assert!(ran.stderr.contains("line 2: ") && ran.stderr.contains(words), "{words}: {}", ran.stderr);
        assert!(!ran.stderr.contains(['\u{1b}', '\r', '\0']), "{:?}", ran.stderr);
        assert_eq!(workspace.api_requests(), 0);
        assert!(!workspace.out().exists());
    }
    let workspace = Workspace::with_images(1);
    workspace.manifest(&format!("org,note,image\no,n,{}\n", "x".repeat(10_240)));
    let ran = workspace.run(&[]).assert_code(2);
    assert!(ran.stderr.contains("10240 bytes, at most 255") && ran.stderr.len() < 1000, "{}", ran.stderr);
}

#[test]
fn ids_are_text_and_never_numbers() {
    let workspace = Workspace::new();
    let ids = ["1", "01", "001", "1.0", "1e3", "1.23E+15", "0x1", "TRUE", "-1"];
    let mut manifest = "image,extra,note,org\n".to_owned();
    for (n, id) in ids.iter().enumerate() {
        workspace.sandbox.add_image("7", "007", id, jpeg(n as u64, 3000), "image/jpeg");
        manifest.push_str(&format!("{id},x,007,7\n"));
    }
    workspace.manifest(&manifest);
    let ran = workspace.run(&[]).assert_code(0);
    let report = workspace.report();
    for (line, id) in report.iter().zip(ids) {
        assert_eq!((&*line["image"], &*line["note"], &*line["state"]), (id, "007", "stored"));
    }
    assert!(ran.stderr.contains("1 row has an id like 1.23E+15 (the first on line 7)"), "{}", ran.stderr);
    assert_eq!(workspace.images().len(), ids.len());
}

#[test]
fn every_shape_of_a_manifest_has_a_clear_end() {
    // one row without a line end, CR alone, semicolons, quoted line ends
    for (text, args) in [
        ("org,note,image\norg0,note0,i0", &[][..]),
        ("org,note,image\rorg0,note0,i0\r", &[]),
        ("org;note;image\norg0;note0;i0\n", &["--delimiter", ";"]),
        ("\u{feff}\"org\",\"note\",\"image\",\"x\"\r\n\"org0\",\"note0\",\"i0\",\"a\r\n\"\"b\"\r\n\r\n", &[]),
    ] {
        let workspace = Workspace::with_images(1);
        workspace.manifest(text);
        workspace.run(args).assert_code(0);
        assert_eq!(workspace.states(), ["stored"], "{text:?}");
    }
    // cut in its last line, cut in a quote, NUL bytes, UTF-16 both ways, a picture
    for (bytes, words) in [
        (b"org,note,image\norg0,note0,i0\norg0,no".to_vec(), "line 3"),
        (b"org,note,image\norg0,note0,\"i0\n".to_vec(), "quote"),
        (b"org,note,image\norg0,note0,i\x000\n".to_vec(), "line 2"),
        ("org,note,image\n".encode_utf16().flat_map(u16::to_le_bytes).collect(), "UTF-8"),
        ([0xfe, 0xff].into_iter().chain("org".encode_utf16().flat_map(u16::to_be_bytes)).collect(), "UTF-8"),
        (jpeg(1, 3000), "manifest"),
        (b"org,note,image\norg0,note0,i\xff\n".to_vec(), "not UTF-8"),
        (b"org,\x1b[2Jnote,image\n".to_vec(), "note"),
    ] {
        let workspace = Workspace::with_images(1);
        workspace.write("manifest.csv", &bytes);
        let ran = workspace.run(&[]).assert_code(2);
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
        assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
        assert_eq!(workspace.api_requests(), 0);
        assert!(!workspace.out().exists());
    }
}

#[test]
fn a_manifest_from_a_pipe_is_read_once_and_whole() {
    let workspace = Workspace::with_images(2);
    let status = Command::new("mkfifo").arg(workspace.path("pipe")).status().expect("mkfifo is there");
    assert!(status.success());
    let child = workspace.command(&["run", "pipe"]).spawn().expect("started");
    std::fs::write(workspace.path("pipe"), std::fs::read(workspace.path("manifest.csv")).expect("there"))
        .expect("read");
    Run::wait(child).assert_code(0);
    assert_eq!(workspace.states(), ["stored"; 2]);
}

#[test]
fn an_image_asked_for_under_two_organizations_is_asked_for_twice() {
    let workspace = Workspace::new();
    for (n, (org, note)) in [("o1", "n"), ("o2", "n"), ("o1", "m")].into_iter().enumerate() {
        workspace.sandbox.add_image(org, note, "same", jpeg(n as u64, 3000), "image/jpeg");
    }
    workspace.manifest("org,note,image\no1,n,same\no2,n,same\no1,m,same\no1,n,same\n");
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.states(), ["stored", "stored", "stored", "duplicate"]);
    let report = workspace.report();
    for (n, line) in report.iter().take(3).enumerate() {
        let bytes = std::fs::read(workspace.out().join(&line["path"])).expect("the image");
        assert_eq!(bytes, jpeg(n as u64, 3000), "never another's picture");
    }
}

/// What somebody put in the way.
#[derive(Clone, Copy, Debug)]
enum Thing {
    Link,
    Pipe,
    Folder,
    Device,
}

impl Thing {
    /// Puts it there; a link leads to `precious`. False where this user may not.
    fn put(self, workspace: &Workspace, path: &Path) -> bool {
        std::fs::write(workspace.path("precious"), "precious").expect("written");
        match self {
            Self::Link => symlink(workspace.path("precious"), path).is_ok(),
            Self::Pipe => Command::new("mkfifo").arg(path).status().is_ok_and(|status| status.success()),
            Self::Folder => std::fs::create_dir(path).is_ok(),
            // like /dev/zero
            Self::Device => Command::new("mknod")
                .arg(path)
                .args(["c", "1", "5"])
                .stderr(std::process::Stdio::null())
                .status()
                .is_ok_and(|status| status.success()),
        }
    }
}

fn untouched(workspace: &Workspace) {
    assert_eq!(std::fs::read_to_string(workspace.path("precious")).expect("there"), "precious");
}

const THINGS: [Thing; 4] = [Thing::Link, Thing::Pipe, Thing::Folder, Thing::Device];

#[test]
fn what_stands_in_an_images_place_is_never_written_or_waited_for() {
    for thing in THINGS {
        let workspace = Workspace::with_images(4);
        workspace.manifest("org,note,image\n");
        workspace.run(&[]).assert_code(0);
        std::fs::create_dir_all(workspace.out().join("data/org0/note0")).expect("made");
        if !thing.put(&workspace, &workspace.out().join("data/org0/note0/i0.jpg")) {
            continue;
        }
        workspace.manifest("org,note,image\norg0,note0,i0\norg1,note0,i1\n");
        let ran = workspace.run(&["--max-attempts", "1"]).assert_code(3);
        assert_eq!(workspace.states(), ["failed", "stored"], "{thing:?}");
        assert_eq!(workspace.report()[0]["error_code"], "disk", "{thing:?}");
        assert!(ran.stderr.contains("in the way"), "{}", ran.stderr);
        untouched(&workspace);
        let there = workspace
            .out()
            .join("data/org0/note0/i0.jpg")
            .symlink_metadata()
            .expect("still there")
            .file_type();
        assert!(there.is_symlink() || there.is_fifo() || there.is_dir() || there.is_char_device());
    }
}

#[test]
fn what_stands_in_the_place_of_the_ledger_or_the_lock_is_refused_and_not_written() {
    for name in ["ledger.sqlite", "lock"] {
        for thing in THINGS {
            let workspace = Workspace::with_images(2);
            std::fs::create_dir_all(workspace.out().join(".exporter")).expect("made");
            if !thing.put(&workspace, &workspace.out().join(".exporter").join(name)) {
                continue;
            }
            let ran = workspace.run(&[]).assert_code(1);
            assert!(ran.stderr.contains(name), "{name} {thing:?}: {}", ran.stderr);
            assert_eq!(workspace.api_requests(), 0);
            untouched(&workspace);
        }
    }
    for name in [".exporter", "data"] {
        let workspace = Workspace::with_images(2);
        std::fs::create_dir_all(workspace.out()).expect("made");
        std::fs::create_dir_all(workspace.path("elsewhere")).expect("made");
        symlink(workspace.path("elsewhere"), workspace.out().join(name)).expect("linked");
        let ran = workspace.run(&[]).assert_code(1);
        assert!(ran.stderr.contains("in the way"), "{}", ran.stderr);
        assert_eq!(workspace.api_requests(), 0);
        assert_eq!(std::fs::read_dir(workspace.path("elsewhere")).expect("there").count(), 0);
    }
}

#[test]
fn what_stands_in_the_place_of_a_part_file_or_a_report_is_replaced_and_never_followed() {
    for thing in [Thing::Link, Thing::Pipe, Thing::Device] {
        let workspace = Workspace::new();
        workspace.sandbox.add_image("o", "n", "i", jpeg(1, 4 << 20), "image/jpeg");
        workspace.manifest("org,note,image\no,n,i\n");
        let stall = sandbox::faults::StorageFault::Stall {
            after: 2 << 20,
            pause: std::time::Duration::from_secs(50),
        };
        workspace.sandbox.script().storage("i", stall);
        let mut child =
            workspace.command(&["run", "manifest.csv", "--stall-timeout", "60s"]).spawn().expect("started");
        let parts = || -> Vec<_> {
            let entries = std::fs::read_dir(workspace.out().join(".exporter")).expect("there");
            let paths = entries.map(|entry| entry.expect("an entry").path());
            paths.filter(|path| path.extension().is_some_and(|extension| extension == "part")).collect()
        };
        let start = std::time::Instant::now();
        while !workspace.out().join(".exporter").is_dir() || parts().is_empty() {
            assert!(start.elapsed() < std::time::Duration::from_secs(20), "no part came");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        let part = parts().pop().expect("the killed run left it");
        std::fs::remove_file(&part).expect("removed");
        if !thing.put(&workspace, &part) {
            continue;
        }
        for name in ["report.csv", "summary.json", "manifest-sha256.txt"] {
            let _ = std::fs::remove_file(workspace.out().join(name));
            thing.put(&workspace, &workspace.out().join(name));
        }
        workspace.run(&[]).assert_code(0);
        let line = &workspace.report()[0];
        assert_eq!(std::fs::read(workspace.out().join(&line["path"])).expect("the image"), jpeg(1, 4 << 20));
        untouched(&workspace);
        for name in ["report.csv", "summary.json", "manifest-sha256.txt"] {
            let there = workspace.out().join(name).symlink_metadata().expect("there");
            assert!(there.is_file(), "{name} {thing:?}");
        }
        assert_eq!(parts().len(), 0);
    }
    // a folder in the place of a report: the run says so, the image is safe
    let workspace = Workspace::with_images(1);
    std::fs::create_dir_all(workspace.out().join("report.csv/x")).expect("made");
    let ran = workspace.run(&[]).assert_code(1);
    assert!(ran.stderr.contains("report.csv"), "{}", ran.stderr);
    assert_eq!(workspace.images().len(), 1);
}

#[test]
fn a_folder_that_others_may_enter_is_a_warning_and_what_is_in_it_is_closed() {
    use std::os::unix::fs::PermissionsExt;
    for (mode, words) in
        [(0o755, Some("others may enter")), (0o777, Some("others may write")), (0o700, None), (0o750, None)]
    {
        let workspace = Workspace::with_images(1);
        std::fs::create_dir(workspace.out()).expect("made");
        std::fs::set_permissions(workspace.out(), PermissionsExt::from_mode(mode)).expect("set");
        let ran = workspace.run(&[]).assert_code(0);
        match words {
            Some(words) => assert!(ran.stderr.contains(words), "{mode:o}: {}", ran.stderr),
            None => assert!(!ran.stderr.contains("others"), "{mode:o}: {}", ran.stderr),
        }
        assert_eq!(
            workspace.out().metadata().expect("there").permissions().mode() & 0o777,
            mode,
            "left as it is"
        );
        for entry in std::fs::read_dir(workspace.out()).expect("there") {
            let mode = entry.expect("an entry").metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }
}
