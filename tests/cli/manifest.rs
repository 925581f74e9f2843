//! What a manifest may look like, and what becomes of one that is wrong.

use sandbox::workspace::Workspace;

#[test]
fn headers_are_known_by_many_names_and_other_columns_are_kept() {
    for header in
        ["ORG_ID,Note-Id,file id,x", "organization,noteId,imageid,x", "X-Organization-Id,NOTE,image_id,x"]
    {
        let workspace = Workspace::with_images(1);
        workspace
            .manifest(&format!("\u{feff}{header}\r\norg0,note0,i0,\"a\r\nb\"\r\n\r\norg1,note0,gone,c\r\n"));
        workspace.run(&[]).assert_code(3);
        let report = workspace.report();
        assert_eq!((&*report[0]["line"], &*report[1]["line"]), ("2", "5"), "{header}");
        assert!(workspace.read("failed.csv").contains("org1,note0,gone,c,not_found"));
    }
}

#[test]
fn columns_can_be_named_and_tabs_are_for_tsv() {
    let workspace = Workspace::with_images(1);
    workspace.write("m.tsv", "clinic\tnote\timage\norg0\tnote0\ti0\n");
    let child = workspace
        .command(&["run", "m.tsv", "-o", "export", "--columns", "org=clinic"])
        .spawn()
        .expect("started");
    sandbox::workspace::Run::wait(child).assert_code(0);
    assert_eq!(workspace.states(), ["stored"]);
}

#[test]
fn one_bad_row_refuses_the_whole_manifest_before_any_request_and_makes_nothing() {
    let workspace = Workspace::with_images(2);
    workspace.manifest("org,note,image\norg0,note0,i0\norg0,note0\norg0,,i1\n");
    let ran = workspace.run(&[]).assert_code(2);
    assert!(ran.stderr.contains("2 bad rows"), "{}", ran.stderr);
    assert!(ran.stderr.contains("line 3") && ran.stderr.contains("line 4"), "{}", ran.stderr);
    assert_eq!(workspace.api_requests(), 0);
    assert!(!workspace.out().exists());
}

#[test]
fn bad_rows_can_be_skipped_and_count_as_failed() {
    let workspace = Workspace::with_images(2);
    workspace.manifest("org,note,image\norg0,note0,i0\norg0,note0\norg1, note0,i1\norg1,note0,i1\n");
    workspace.run(&["--on-bad-row", "skip"]).assert_code(3);
    assert_eq!(workspace.states(), ["stored", "failed", "failed", "stored"]);
    let report = workspace.report();
    assert_eq!((&*report[1]["error_code"], &*report[1]["note"]), ("bad_row", "note0"));
    assert_eq!(workspace.failed().len(), 0, "bad rows stand in report.csv only");
    assert_eq!(workspace.summary()["failures"]["bad_row"], 2);
    // once more: the rows are known, and so are the bad ones
    workspace.run(&["--on-bad-row", "skip"]).assert_code(3);
    assert_eq!(workspace.states(), ["skipped", "failed", "failed", "skipped"]);
    workspace.run(&[]).assert_code(2);
}

#[test]
fn two_rows_that_ask_for_other_hashes_of_one_image_contradict_each_other() {
    let workspace = Workspace::with_images(1);
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    workspace.manifest(&format!("org,note,image,sha256\norg0,note0,i0,{a}\norg0,note0,i0,{b}\n"));
    let ran = workspace.run(&[]).assert_code(2);
    assert!(
        ran.stderr.contains("line 3") && ran.stderr.contains("differs from that of line 2"),
        "{}",
        ran.stderr
    );
    assert!(!workspace.out().exists(), "what was made for it is taken back");
    assert_eq!(workspace.api_requests(), 0);
}

#[test]
fn what_is_no_manifest_is_refused_with_a_word() {
    let long = format!("org,note,image\norg0,note0,{}\n", "x".repeat(10 << 20));
    for (text, word) in [
        ("", "empty"),
        ("org,note\n", "image"),
        ("org,org_id,note,image\n", "org"),
        ("org;note;image\n", "--delimiter"),
        (&*long, "line 2"),
    ] {
        let workspace = Workspace::new();
        workspace.manifest(text);
        let ran = workspace.run(&[]).assert_code(2);
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
        assert!(ran.stderr.len() < 5000, "an error is no dump");
        assert!(!workspace.out().exists());
    }
    let workspace = Workspace::new();
    workspace.write("manifest.csv", b"\xff\xfeo\0r\0g\0");
    assert!(workspace.run(&[]).assert_code(2).stderr.contains("UTF-8"));
    std::fs::remove_file(workspace.path("manifest.csv")).expect("removed");
    assert!(workspace.run(&[]).assert_code(2).stderr.contains("manifest.csv"));
    std::fs::create_dir(workspace.path("manifest.csv")).expect("made");
    assert!(workspace.run(&[]).assert_code(2).stderr.contains("folder"));
}
