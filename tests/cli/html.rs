//! `report.html`: one page for people, which loads nothing and names no note and no image.

use std::fs;

use sandbox::faults::ApiFault;
use sandbox::registry::ImageRef;
use sandbox::workspace::{Run, Workspace};

const SECTIONS: [&str; 11] =
    ["rows", "orgs", "notes", "failures", "pace", "sizes", "checks", "runs", "provenance", "check", "files"];

fn run(workspace: &Workspace, args: &[&str]) -> Run {
    Run::wait(workspace.command(args).spawn().expect("started"))
}

#[test]
fn the_page_says_what_became_of_the_manifest() {
    let workspace = Workspace::with_images(6);
    workspace.sandbox.forget_image(&ImageRef::new("org1", "note0", "i3"));
    workspace.run(&[]).assert_code(3);
    workspace.run(&[]).assert_code(3);
    let page = workspace.read("report.html");
    for words in [
        "<h1 class=\"bad\">",
        "Not complete: 1 of 6 rows failed (exit code 3)",
        "6 rows = 0 stored + 5 skipped + 0 duplicate + 1 failed + 0 untried",
        "org0",
        "3 of 4 notes complete",
        "<code>not_found</code>",
        "check the ids, and whether the image was deleted",
        "<td class=\"lines\">5</td>",
        "1 request and 0 images in",
        "5 images, ",
        "the ETag&#39;s MD5",
        "The runs before this one",
        workspace.summary()["manifest_sha256"].as_str().expect("a hash"),
        "sha256sum -c --quiet manifest-sha256.txt",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let at = |id: &str| page.find(&format!("<section id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}"));
    assert!(SECTIONS.map(at).is_sorted(), "in the order of the documentation");
}

#[test]
fn the_page_loads_nothing_and_names_no_note_or_image() {
    let workspace = Workspace::new();
    workspace.sandbox.add_image(
        "org<&>1",
        "the-note",
        "the-image",
        sandbox::images::jpeg(1, 3000),
        "image/jpeg",
    );
    workspace.manifest("org,note,image\norg<&>1,the-note,the-image\norg<&>1,the-note,the-other\n");
    workspace.run(&[]).assert_code(3);
    let page = workspace.read("report.html");
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
    for never in [
        "<script",
        "http:",
        "https:",
        "src=",
        "url(",
        "@import",
        "the-note",
        "the-image",
        "the-other",
        "org<&>1",
    ] {
        assert!(!page.contains(never), "{never}");
    }
    assert!(page.contains("org&#60;&#38;&#62;1"), "organizations are named");
    let links = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let files: Vec<&str> = links.filter(|link| !link.starts_with('#')).collect();
    assert!(files.contains(&"index.csv") && files.contains(&"failed.csv"), "{files:?}");
    for file in files {
        assert!(workspace.out().join(file).is_file(), "{file}");
    }
    assert!(page.len() < 150_000, "{}", page.len());
    assert!(workspace.read("tagmanifest-sha256.txt").contains("  report.html\n"));
}

#[test]
fn a_complete_export_is_told_in_the_first_sentence_and_the_same_after_a_rewrite() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    let page = workspace.read("report.html");
    assert!(page.contains("<title>Export report: complete (exit code 0)</title>"), "{page}");
    assert!(page.contains("Complete: every image of the manifest is delivered (exit code 0)"));
    fs::remove_file(workspace.out().join("report.html")).expect("removed");
    run(&workspace, &["report"]).assert_code(0);
    assert!(workspace.read("report.html") == page, "the bytes are others");
    // what a repair undoes is not complete any more
    fs::remove_file(workspace.out().join("data/org0/note0/i0.jpg")).expect("removed");
    run(&workspace, &["verify", "--repair"]).assert_code(3);
    let page = workspace.read("report.html");
    assert!(page.contains("Not complete: 1 of 3 rows were not tried (exit code 0)"), "{page}");
    assert!(page.contains("verify --repair has made 1 row undelivered"));
}

#[test]
fn requests_refusals_and_waits_are_on_the_page() {
    let workspace = Workspace::with_images(4);
    workspace.sandbox.script().api("i1", ApiFault::retry_after("1"));
    workspace.run(&[]).assert_code(0);
    let ledger = rusqlite::Connection::open(workspace.out().join(".exporter/ledger.sqlite")).expect("opened");
    let minute: (i64, i64, i64) = ledger
        .query_row(
            "SELECT requests, answers_429, images FROM samples WHERE run = 1 AND minute = 0",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .expect("a minute");
    assert_eq!(minute, (5, 1, 4));
    let waited: i64 = ledger
        .query_row("SELECT ended - began FROM spans WHERE what = 'wait'", [], |row| row.get(0))
        .expect("a wait");
    assert!((500..5000).contains(&waited), "{waited}");
    let page = workspace.read("report.html");
    assert!(page.contains("5 requests and 4 images in") && page.contains("1 answered 429"), "{page}");
    assert!(page.contains("class=\"refusal\"") && page.contains("class=\"wait\""));
}
