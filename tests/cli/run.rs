//! The job on good input.

use std::os::unix::fs::PermissionsExt;

use sha2::Digest;

use sandbox::images::{jpeg, png};
use sandbox::registry::ImageRef;
use sandbox::workspace::Workspace;

#[test]
fn every_image_comes_home_byte_for_byte_under_its_name() {
    let workspace = Workspace::with_images(12);
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stdout.starts_with("complete: every row is delivered"), "{}", ran.stdout);
    let report = workspace.report();
    assert_eq!(report.len(), 12);
    for (n, line) in report.iter().enumerate() {
        let path = format!("data/org{}/note{}/i{n}.jpg", n % 2, n / 4);
        let bytes = std::fs::read(workspace.out().join(&path)).expect("the image");
        assert_eq!(bytes, jpeg(n as u64, 2000 + n));
        assert_eq!((&*line["path"], &*line["state"], &*line["attempts"]), (&*path, "stored", "1"));
        assert_eq!(line["sha256"], format!("{:x}", HexOf(&sha2::Sha256::digest(&bytes))));
        assert_eq!(line["checked_by"], "length+etag-md5+image-end");
        assert_eq!(line["line"], (n + 2).to_string());
    }
    assert_eq!(workspace.images().len(), 12, "nothing else lies in data/");
    assert_eq!(workspace.api_requests(), 12, "one request for each image and nothing else");
}

struct HexOf<'b>(&'b [u8]);

impl std::fmt::LowerHex for HexOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[test]
fn a_large_image_is_streamed_whole() {
    let workspace = Workspace::new();
    let bytes = jpeg(1, 9_000_001);
    workspace.sandbox.add_image("o", "n", "large", bytes.clone(), "image/jpeg");
    workspace.manifest("org,note,image\no,n,large\n");
    workspace.run(&[]).assert_code(0);
    assert_eq!(std::fs::read(workspace.out().join("data/o/n/large.jpg")).expect("the image"), bytes);
}

#[test]
fn the_extension_is_that_of_the_bytes() {
    let workspace = Workspace::new();
    workspace.sandbox.add_image("o", "n", "a", png(1, 8, 8), "image/jpeg");
    workspace.sandbox.add_image("o", "n", "b", &b"what is this"[..], "application/octet-stream");
    workspace.manifest("org,note,image\no,n,a\no,n,b\n");
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.images(), ["data/o/n/a.png", "data/o/n/b.bin"]);
    assert!(workspace.report()[1]["warning"].contains("no known image format"));
}

#[test]
fn files_and_folders_are_for_their_owner_alone() {
    let workspace = Workspace::with_images(1);
    workspace.run(&[]).assert_code(0);
    let mode = |name: &str| {
        let path = workspace.out().join(name);
        std::fs::metadata(&path).expect(name).permissions().mode() & 0o777
    };
    for folder in ["", "data", "data/org0", "data/org0/note0", ".exporter"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
    for file in ["data/org0/note0/i0.jpg", "report.csv", "summary.json", ".exporter/ledger.sqlite"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[test]
fn after_a_complete_run_the_state_folder_holds_ledger_and_lock() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    let mut names: Vec<String> = std::fs::read_dir(workspace.out().join(".exporter"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["ledger.sqlite", "lock"]);
}

#[test]
fn duplicates_are_fetched_once_and_reported() {
    let workspace = Workspace::with_images(2);
    workspace.manifest("org,note,image\norg0,note0,i0\norg1,note0,i1\norg0,note0,i0\n");
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.states(), ["stored", "stored", "duplicate"]);
    let report = workspace.report();
    assert_eq!((&report[2]["path"], &report[2]["sha256"]), (&report[0]["path"], &report[0]["sha256"]));
    assert_eq!(report[2]["attempts"], "0");
    assert_eq!(workspace.api_requests(), 2);
}

#[test]
fn the_same_bytes_under_two_ids_are_stored_twice_and_named() {
    let workspace = Workspace::new();
    for image in ["a", "b"] {
        workspace.sandbox.add_image("o", "n", image, jpeg(7, 3000), "image/jpeg");
    }
    workspace.manifest("org,note,image\no,n,a\no,n,b\n");
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stderr.contains("warning: line 3: same bytes as line 2"), "{}", ran.stderr);
    assert_eq!(workspace.images().len(), 2);
    assert_eq!(workspace.count("same_content"), 1);
    assert!(workspace.report()[1]["warning"].contains("same bytes as line 2"));
}

#[test]
fn of_many_rows_with_the_same_bytes_twenty_are_named_and_the_others_counted() {
    let workspace = Workspace::new();
    let mut manifest = "org,note,image\n".to_owned();
    for n in 0..24 {
        workspace.sandbox.add_image("o", "n", &format!("i{n}"), jpeg(7, 3000), "image/jpeg");
        manifest.push_str(&format!("o,n,i{n}\n"));
    }
    workspace.manifest(&manifest);
    let ran = workspace.run(&[]).assert_code(0);
    assert_eq!(ran.stderr.matches("same bytes as line 2\n").count(), 20, "{}", ran.stderr);
    assert!(ran.stderr.contains("3 more rows"), "{}", ran.stderr);
}

#[test]
fn the_organization_is_sent_as_it_stands_and_ids_as_one_segment_each() {
    let workspace = Workspace::new();
    workspace.sandbox.add_image("Org_9", "a/b?c", "ü +%2F", jpeg(1, 2000), "image/jpeg");
    workspace.manifest("org,note,image\nOrg_9,a/b?c,ü +%2F\n");
    workspace.run(&[]).assert_code(0);
    let api = &workspace.sandbox.requests()[0];
    assert_eq!(api.header("x-organization-id"), Some("Org_9"));
    assert_eq!(workspace.images(), ["data/Org_9/a=2Fb=3Fc/=C3=BC=20=2B=252F.jpg"]);
}

#[test]
fn an_object_whose_key_needs_escaping_is_fetched_by_its_url_as_it_stands() {
    let workspace = Workspace::new();
    let image = ImageRef::new("o", "n", "i");
    workspace.sandbox.add_image_at(image, "o/p q+ü/ä?#%41.jpg", jpeg(1, 2000), "image/jpeg");
    workspace.manifest("org,note,image\no,n,i\n");
    workspace.run(&[]).assert_code(0);
}

#[test]
fn the_storage_never_sees_what_belongs_to_the_api() {
    let workspace = Workspace::with_images(4);
    workspace.run(&[]).assert_code(0);
    let requests = workspace.sandbox.requests();
    let storage: Vec<_> =
        requests.iter().filter(|entry| entry.server == sandbox::log::Server::Storage).collect();
    assert_eq!(storage.len(), 4);
    for entry in storage {
        for header in ["authorization", "x-organization-id", "referer", "cookie"] {
            assert_eq!(entry.header(header), None, "{header}");
        }
        assert_eq!(entry.header("accept-encoding"), Some("identity"));
    }
}

#[test]
fn a_manifest_without_rows_is_a_success_and_a_valid_bag() {
    let workspace = Workspace::new();
    workspace.manifest("org,note,image\n");
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stdout.starts_with("nothing to do: the manifest has no rows"), "{}", ran.stdout);
    assert_eq!(workspace.count("rows"), 0);
    assert!(workspace.out().join("data").is_dir());
    assert_eq!(workspace.read("manifest-sha256.txt"), "");
}

#[test]
fn a_manifest_can_come_from_standard_input() {
    let workspace = Workspace::with_images(3);
    let file = std::fs::File::open(workspace.path("manifest.csv")).expect("the manifest");
    let child = workspace.command(&["run", "-", "-o", "export"]).stdin(file).spawn().expect("started");
    sandbox::workspace::Run::wait(child).assert_code(0);
    assert_eq!(workspace.states(), ["stored"; 3]);
}

#[test]
fn quiet_prints_nothing_at_all() {
    let workspace = Workspace::with_images(2);
    let ran = workspace.run(&["-q"]).assert_code(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""));
}

#[test]
fn closed_outputs_do_not_stop_the_run() {
    let workspace = Workspace::with_images(5);
    let mut child = workspace.command(&["run", "manifest.csv", "-vv"]).spawn().expect("started");
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    assert_eq!(workspace.states(), ["stored"; 5]);
}

#[test]
fn a_sha256_column_is_checked() {
    let workspace = Workspace::with_images(2);
    let right: String =
        sha2::Sha256::digest(jpeg(0, 2000)).iter().map(|byte| format!("{byte:02X}")).collect();
    let wrong = "0".repeat(64);
    workspace.manifest(&format!("org,note,image,sha256\norg0,note0,i0,{right}\norg1,note0,i1,{wrong}\n"));
    workspace.run(&["--max-attempts", "2"]).assert_code(3);
    let report = workspace.report();
    assert_eq!(report[0]["checked_by"], "length+etag-md5+manifest-sha256+image-end");
    assert_eq!((&*report[1]["error_code"], &*report[1]["attempts"]), ("integrity", "2"));
    assert_eq!(workspace.images(), ["data/org0/note0/i0.jpg"], "wrong bytes never get a final name");
}
