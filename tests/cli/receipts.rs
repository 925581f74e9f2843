//! `receipts.jsonl`: a chain of what was done, and `verify --receipts`.

use std::fs;
use std::io::Write as _;

use sandbox::registry::ImageRef;
use sandbox::workspace::{Run, Workspace};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::inject::inject;

const NAME: &str = "receipts.jsonl";

fn hex(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(workspace: &Workspace, args: &[&str]) -> Run {
    Run::wait(workspace.command(args).spawn().expect("started"))
}

fn verify(workspace: &Workspace, args: &[&str]) -> Run {
    run(workspace, &[&["verify", "--receipts"], args].concat())
}

fn lines(workspace: &Workspace) -> Vec<String> {
    workspace.read(NAME).lines().map(str::to_owned).collect()
}

/// The receipts, which must be a whole chain.
fn chain(workspace: &Workspace) -> Vec<Value> {
    let text = workspace.read(NAME);
    assert!(text.ends_with('\n'), "{text}");
    let mut previous = "0".repeat(64);
    let mut receipts = Vec::new();
    for line in text.lines() {
        let receipt: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(receipt["previous"], previous, "{line}");
        assert_eq!(receipt["seq"], receipts.len() + 1);
        previous = hex(line);
        receipts.push(receipt);
    }
    receipts
}

fn what(workspace: &Workspace) -> Vec<String> {
    chain(workspace).iter().map(|receipt| receipt["what"].as_str().expect("a word").to_owned()).collect()
}

#[test]
fn each_run_repair_and_adoption_has_a_line_that_names_the_one_before() {
    let workspace = Workspace::with_images(4);
    workspace.sandbox.forget_image(&ImageRef::new("org1", "note0", "i3"));
    let ran = workspace.run(&["--metrics-file", "m.prom"]).assert_code(3);
    let head = hex(&lines(&workspace)[0]);
    assert!(ran.stdout.contains(&format!("\nreceipt   {head}\n")), "{}", ran.stdout);
    let metrics = fs::read_to_string(workspace.path("m.prom")).expect("written");
    assert!(metrics.contains(&format!("exporter_receipt_info{{sha256=\"{head}\"}} 1\n")), "{metrics}");
    let summary = workspace.summary();
    let tags = hex(workspace.read("tagmanifest-sha256.txt"));
    assert_eq!(
        chain(&workspace),
        [json!({
            "seq": 1, "previous": "0".repeat(64), "what": "run", "started_at": summary["started_at"],
            "finished_at": summary["finished_at"], "version": summary["version"],
            "manifest_sha256": summary["manifest_sha256"], "tagmanifest_sha256": tags,
            "counts": { "rows": 4, "stored": 3, "skipped": 0, "duplicate": 0, "failed": 1, "untried": 0 },
            "exit_code": 3
        })]
    );
    let keys = r#"{"seq":1,"previous":"0"#;
    assert!(lines(&workspace)[0].starts_with(keys), "the keys in the order of the documentation");
    assert!(
        !workspace.read("tagmanifest-sha256.txt").contains(NAME)
            && !workspace.read("summary.json").contains(&head)
    );

    run(&workspace, &["report"]).assert_code(0);
    assert_eq!(what(&workspace), ["run"], "the same bytes are no event");
    fs::remove_file(workspace.out().join("data/org0/note0/i0.jpg")).expect("removed");
    run(&workspace, &["verify", "--repair"]).assert_code(3);
    fs::remove_file(workspace.out().join(".exporter/ledger.sqlite")).expect("removed");
    run(&workspace, &["verify", "--adopt"]).assert_code(0);
    let receipts = chain(&workspace);
    assert_eq!(what(&workspace), ["run", "repair", "adoption"]);
    assert_eq!((&receipts[1]["counts"]["untried"], &receipts[1]["exit_code"]), (&json!(1), &json!(3)));
    assert_eq!(receipts[2]["tagmanifest_sha256"], hex(workspace.read("tagmanifest-sha256.txt")));
    verify(&workspace, &["--head", &head]).assert_code(0);
    run(&workspace, &["report"]).assert_code(0);
    assert_eq!(what(&workspace)[3..], ["report"], "the adoption's reports are others");
    workspace.run(&[]).assert_code(3);
    assert_eq!(what(&workspace)[4..], ["run"]);
    let answer = verify(&workspace, &["--json", "--head", &head.to_uppercase()]).assert_code(0).stdout;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!((&answer["receipts"], &answer["head_found"]), (&json!(5), &json!(true)));
    assert_eq!(answer["head"], hex(lines(&workspace).pop().expect("a line")));
}

#[test]
fn whatever_is_changed_in_the_chain_or_below_it_is_found() {
    let workspace = Workspace::with_images(2);
    for _ in 0..3 {
        workspace.run(&[]).assert_code(0);
    }
    let path = workspace.out().join(NAME);
    let sound = fs::read_to_string(&path).expect("read");
    let all: Vec<&str> = sound.split_inclusive('\n').collect();
    let changed = [
        (sound.replacen("\"rows\":2", "\"rows\":3", 1), "line 2 does not name the hash"),
        (all[1..].concat(), "line 1 has seq 2 instead of 1"),
        (format!("{}{}", all[0], all[2]), "line 2 has seq 3 instead of 2"),
        (format!("{}{}{}", all[0], all[2], all[1]), "in another order"),
        (all[..2].concat(), "the last 1 of the receipts that the ledger knows"),
        (
            format!("{}{}{}", all[0], all[1], all[2].replace("\"exit_code\":0", "\"exit_code\":3")),
            "the ledger knows",
        ),
        (String::new(), "the last 3 of the receipts"),
        (format!("{}\"torn\n{}{}", &all[0][..40], all[1], all[2]), "line 2 does not name the hash"),
    ];
    for (text, words) in changed {
        fs::write(&path, &text).expect("written");
        let ran = verify(&workspace, &[]).assert_code(3);
        assert!(ran.stdout.starts_with("not well") && ran.stdout.contains(words), "{words}: {}", ran.stdout);
        assert_eq!(fs::read_to_string(&path).expect("read"), text, "nothing is touched");
    }
    fs::write(&path, &sound).expect("written");
    verify(&workspace, &[]).assert_code(0);
    let ran = verify(&workspace, &["--head", &"ab".repeat(32)]).assert_code(3);
    assert!(ran.stdout.contains("the head is not in the chain"), "{}", ran.stdout);
    let tags = workspace.read("tagmanifest-sha256.txt");
    fs::write(workspace.out().join("tagmanifest-sha256.txt"), tags.replacen('a', "b", 1)).expect("written");
    let ran = verify(&workspace, &[]).assert_code(3);
    assert!(ran.stdout.contains("tagmanifest-sha256.txt is missing, or is not the one"), "{}", ran.stdout);
    for wrong in [&["--head", "abc"][..], &["--repair"], &["--oldest", "1/7"], &["--adopt"]] {
        verify(&workspace, wrong).assert_code(2);
    }
    run(&workspace, &["verify", "--head", &"ab".repeat(32)]).assert_code(2);
    verify(&workspace, &["nowhere"]).assert_code(2);
}

#[test]
fn a_torn_last_line_is_no_tampering_and_the_next_run_completes_it() {
    let workspace = Workspace::with_images(2);
    workspace.run(&[]).assert_code(0);
    workspace.run(&[]).assert_code(0);
    let path = workspace.out().join(NAME);
    let sound = fs::read_to_string(&path).expect("read");
    let first = sound.lines().next().expect("a line").len() + 1;
    for cut in [first + 1, first + 200, sound.len() - 1] {
        fs::write(&path, &sound[..cut]).expect("cut");
        let ran = verify(&workspace, &[]).assert_code(0);
        assert!(ran.stderr.contains("the last line is torn, as by a power cut"), "{}", ran.stderr);
        let ran = run(&workspace, &["report"]).assert_code(0);
        assert!(ran.stderr.contains("are appended from the ledger"), "{}", ran.stderr);
        assert!(fs::read_to_string(&path).expect("read") == sound, "{cut}");
    }
    // the next run says so, too
    fs::write(&path, &sound[..first + 9]).expect("cut");
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stderr.contains("are appended from the ledger"), "{}", ran.stderr);
    assert_eq!(what(&workspace), ["run"; 3]);
    assert!(fs::read_to_string(&path).expect("read").starts_with(&sound));
}

#[test]
fn a_torn_line_that_no_ledger_knows_stays_and_the_chain_goes_on_behind_it() {
    let workspace = Workspace::with_images(2);
    workspace.run(&[]).assert_code(0);
    let mut file = fs::OpenOptions::new().append(true).open(workspace.out().join(NAME)).expect("opened");
    file.write_all(&[0; 300]).expect("as a file system may leave it");
    verify(&workspace, &[]).assert_code(0);
    let ran = workspace.run(&[]).assert_code(0);
    assert!(ran.stderr.contains("ends in a torn line that the ledger does not know"), "{}", ran.stderr);
    let ran = verify(&workspace, &["--json"]).assert_code(0);
    assert!(ran.stderr.contains("line 2 is no receipt: torn"), "{}", ran.stderr);
    let answer: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!((&answer["receipts"], &answer["torn"]), (&json!(2), &json!([2])));
}

#[test]
fn a_run_that_was_killed_before_its_receipt_has_one_from_report_or_the_next_run() {
    for command in [&["report"][..], &["run", "manifest.csv"]] {
        let workspace = Workspace::with_images(2);
        workspace.run(&[]).assert_code(0);
        workspace.manifest("org,note,image\norg0,note0,i0\n");
        // the run looks for the receipts when all reports are written
        let mut killed =
            inject(&workspace.command(&["run", "manifest.csv"]), &["call=stat,path=/receipts.jsonl,kill=1"]);
        assert_eq!(Run::wait(killed.spawn().expect("started")).code, None);
        let ran = verify(&workspace, &[]).assert_code(0);
        assert!(ran.stderr.contains("the newest run has no receipt: it was killed"), "{}", ran.stderr);
        run(&workspace, command).assert_code(0);
        let receipts = chain(&workspace);
        assert_eq!(receipts[1]["what"], "run");
        if command == ["report"] {
            assert_eq!((receipts.len(), &receipts[1]["counts"]["skipped"]), (2, &json!(1)));
        } else {
            assert_eq!((receipts.len(), &receipts[1]["counts"]), (3, &Value::Null));
        }
        verify(&workspace, &[]).assert_code(0);
    }
}

#[test]
fn a_receipt_that_cannot_be_appended_is_exit_1_and_is_appended_by_the_next_run() {
    let workspace = Workspace::with_images(2);
    let rule = "call=write,path=/receipts.jsonl,errno=ENOSPC";
    let mut command = inject(&workspace.command(&["run", "manifest.csv"]), &[rule]);
    let ran = Run::wait(command.spawn().expect("started")).assert_code(1);
    assert!(ran.stderr.contains("receipts.jsonl could not be written"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("receipt  "), "{}", ran.stdout);
    workspace.run(&[]).assert_code(0);
    assert_eq!(what(&workspace), ["run"; 2]);
    // nothing is written through a link
    let path = workspace.out().join(NAME);
    fs::rename(&path, workspace.path("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(workspace.path("elsewhere"), &path).expect("linked");
    let ran = workspace.run(&[]).assert_code(1);
    assert!(ran.stderr.contains("is no regular file"), "{}", ran.stderr);
    fs::rename(workspace.path("elsewhere"), &path).expect("moved back");
    workspace.run(&[]).assert_code(0);
    assert_eq!(what(&workspace), ["run"; 4]);
}

#[test]
fn a_copy_without_its_ledger_can_be_checked() {
    let workspace = Workspace::with_images(2);
    workspace.run(&[]).assert_code(0);
    fs::create_dir(workspace.path("copy")).expect("made");
    for name in [NAME, "tagmanifest-sha256.txt"] {
        fs::copy(workspace.out().join(name), workspace.path("copy").join(name)).expect("copied");
    }
    let head = hex(&lines(&workspace)[0]);
    let ran = verify(&workspace, &["copy", "--head", &head]).assert_code(0);
    assert!(ran.stdout.starts_with("all well: the chain is whole, and the head is in it"), "{}", ran.stdout);
    assert_eq!(fs::read_dir(workspace.path("copy")).expect("listed").count(), 2, "nothing is made");
}
