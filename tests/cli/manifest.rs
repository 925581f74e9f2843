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
    assert!(ran.stderr.contains("2 bad rows; nothing was fetched. Correct them, or"), "{}", ran.stderr);
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
fn every_run_names_the_bad_rows_it_leaves_out_and_repeats_what_is_odd() {
    let workspace = Workspace::with_images(2);
    let rows = "org0,note0,secret-image,x\n".repeat(22);
    workspace.manifest(&format!("org,note,image\norg0,note0,i0\n{rows}org0,NULL,i1\n"));
    let first = workspace.run(&["--on-bad-row", "skip"]).assert_code(3).stderr;
    let second = workspace.run(&["--on-bad-row", "skip"]).assert_code(3).stderr;
    for said in [first, second] {
        assert!(said.contains("22 bad rows count as failed\n"), "{said}");
        assert!(said.contains("line 3: row has 4 fields") && said.contains("line 22: row has"), "{said}");
        assert!(!said.contains("line 23: row has") && said.contains("and 2 more\n"), "{said}");
        assert!(said.contains("1 row has an id like NULL, \\N or #N/A (the first on line 25)"), "{said}");
        assert!(!said.contains("secret-image"), "no ids: {said}");
    }
    workspace.manifest("org,note,image\norg0,note0,i0\n");
    let said = workspace.run(&[]).assert_code(0).stderr;
    assert!(!said.contains("bad row") && !said.contains("NULL"), "another manifest: {said}");
}

#[test]
fn a_row_that_contradicts_another_is_named_as_a_bad_row_too() {
    let workspace = Workspace::with_images(1);
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    workspace.manifest(&format!("org,note,image,sha256\norg0,note0,gone,{a}\norg0,note0,gone,{b}\n"));
    let said = workspace.run(&["--on-bad-row", "skip"]).assert_code(3).stderr;
    assert!(said.contains("1 bad row counts as failed\n"), "{said}");
    assert!(said.contains("line 3: sha256 differs from that of line 2"), "{said}");
}

#[test]
fn two_rows_that_ask_for_other_hashes_of_one_image_contradict_each_other() {
    let workspace = Workspace::with_images(1);
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    workspace.manifest(&format!("org,note,image,sha256\norg0,note0,i0,{a}\norg0,note0,i0,{b}\n"));
    let ran = workspace.run(&[]).assert_code(2);
    assert!(
        ran.stderr.contains("line 3")
            && ran.stderr.contains("differs from that of line 2")
            && ran.stderr.contains("Correct it, or"),
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

/// The standard error of `plan` and of `run`, which both end with that code.
fn planned_and_run(manifest: &str, code: i32) -> (Workspace, String, String) {
    let workspace = Workspace::with_images(2);
    workspace.manifest(manifest);
    let plan = workspace.command(&["plan", "manifest.csv"]).spawn().expect("started");
    let plan = sandbox::workspace::Run::wait(plan).assert_code(if code == 2 { 2 } else { 0 });
    let run = workspace.run(&["--max-attempts", "1"]).assert_code(code);
    (workspace, plan.stderr, run.stderr)
}

#[test]
fn a_hash_column_is_found_by_the_names_that_people_give_it() {
    for name in ["SHA-256", "sha_256", "Sha 256", "sha256sum", "SHA256"] {
        let wrong = "0".repeat(64);
        let (workspace, ..) = planned_and_run(&format!("org,note,image,{name}\norg0,note0,i0,{wrong}\n"), 3);
        assert_eq!(workspace.report()[0]["error_code"], "integrity", "{name}");
    }
}

#[test]
fn a_column_with_another_hash_is_named_as_not_compared() {
    let (_, plan, run) = planned_and_run("org,note,image,md5\norg0,note0,i0,0\n", 0);
    for said in [plan, run] {
        assert_eq!(said.matches("`md5` looks like a hash and is not compared").count(), 1, "{said}");
    }
}

#[test]
fn what_spreadsheets_add_around_the_rows_is_no_error() {
    for manifest in [
        "sep=;\norg;note;image\norg0;note0;i0\norg1;note0;i1\n",
        "org,note,image\norg0,note0,i0\norg1,note0,i1\n,,\n,,\n",
        "org,note,image\norg0,note0,i0,\norg1,note0,i1,,\n",
        "org,note,image,ward\norg0,note0,i0\norg1,note0,i1,7\n",
    ] {
        let (workspace, ..) = planned_and_run(manifest, 0);
        assert_eq!(workspace.states(), ["stored"; 2], "{manifest}");
    }
}

#[test]
fn a_title_above_the_header_is_refused_with_the_headers_line() {
    let (_, plan, run) = planned_and_run("UTF-8\norg,note,image\norg0,note0,i0\n", 2);
    for said in [plan, run] {
        assert!(said.contains("line 2 looks like the header"), "{said}");
    }
}

#[test]
fn a_column_that_is_not_utf8_comes_back_byte_for_byte() {
    let workspace = Workspace::with_images(1);
    let mut manifest = b"org,note,image,ward\norg0,note0,gone,st".to_vec();
    manifest.extend(b"\xe4tion\n");
    std::fs::write(workspace.path("manifest.csv"), manifest).expect("written");
    workspace.run(&[]).assert_code(3);
    let failed = std::fs::read(workspace.out().join("failed.csv")).expect("there");
    assert!(failed.windows(8).any(|piece| piece == b"st\xe4tion,"), "{}", String::from_utf8_lossy(&failed));
}

#[test]
fn odd_ids_are_warned_of_by_kind_and_line_and_fetched_all_the_same() {
    let (workspace, plan, run) =
        planned_and_run("org,note,image\norg0,note0,i0\norg0,note0,NULL\norg0,no\u{200b}te,i1\n", 3);
    for said in [plan, run] {
        assert!(said.contains("an id like NULL") && said.contains("line 3"), "{said}");
        assert!(said.contains("an invisible character") && said.contains("U+200B"), "{said}");
        assert!(said.contains("line 4"), "{said}");
    }
    assert_eq!(workspace.states()[0], "stored");
    let again = workspace.run(&["--max-attempts", "1"]).assert_code(3).stderr;
    assert!(again.contains("an id like NULL") && again.contains("U+200B"), "a loaded manifest: {again}");
}

#[test]
fn the_plan_in_json_lists_what_is_odd_by_kind_line_and_count() {
    let workspace = Workspace::with_images(1);
    workspace.manifest("org,note,image,MD5,x\no,n,1E+9,,\no,n,NULL,,\no,n,1E+9,,\no,n,i,");
    let child = workspace.command(&["plan", "manifest.csv", "--json"]).spawn().expect("started");
    let ran = sandbox::workspace::Run::wait(child).assert_code(0);
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let warnings = plan["warnings"].as_array().expect("a list");
    let facts: Vec<String> =
        warnings.iter().map(|one| format!("{} {} {}", one["kind"], one["lines"], one["count"])).collect();
    assert_eq!(
        facts,
        [
            "\"hash_not_compared\" [1] 1",
            "\"rounded_id\" [2,4] 2",
            "\"null_id\" [3] 1",
            "\"cut_last_line\" [5] 1"
        ]
    );
    for one in warnings {
        assert!(ran.stderr.contains(one["what"].as_str().expect("a sentence")), "{}", ran.stderr);
    }
    workspace.manifest("org,note,image\no,n,i\n");
    let child = workspace.command(&["plan", "manifest.csv", "--json"]).spawn().expect("started");
    let plan = sandbox::workspace::Run::wait(child).assert_code(0).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan["warnings"], serde_json::json!([]));
}

#[test]
fn a_compressed_manifest_is_refused_as_one() {
    for (start, kind) in [(&b"\x1f\x8b\x08\0"[..], "gzip"), (b"PK\x03\x04\x14\0", ".xlsx")] {
        let workspace = Workspace::new();
        workspace.write("manifest.csv", start);
        let ran = workspace.run(&[]).assert_code(2);
        assert!(ran.stderr.contains("is compressed") && ran.stderr.contains(kind), "{}", ran.stderr);
        assert!(ran.stderr.contains("unpack it first") && !workspace.out().exists(), "{}", ran.stderr);
    }
}
