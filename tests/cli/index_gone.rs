//! `index.csv` and `gone.csv`: where each image went, and what the manifest no longer asks for.

use std::fs;
use std::path::Path;

use sandbox::registry::ImageRef;
use sandbox::workspace::{Run, Workspace};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(workspace: &Workspace, args: &[&str]) -> Run {
    Run::wait(workspace.command(args).spawn().expect("started"))
}

fn bytes_of(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The records of a CSV file, the header first; fields as they are, byte for byte.
fn records(path: &Path) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).expect("opened");
    let record =
        |record: csv::Result<csv::ByteRecord>| record.expect("a record").iter().map(<[u8]>::to_vec).collect();
    reader.byte_records().map(record).collect()
}

#[test]
fn the_index_has_a_line_for_each_delivered_image_with_the_manifests_columns_byte_for_byte() {
    let workspace = Workspace::with_images(4);
    workspace.sandbox.forget_image(&ImageRef::new("org1", "note0", "i1"));
    let manifest = b"ward,org,note,image,remark\n\xe9 1,org0,note0,i0,\"a, \"\"b\"\"\nc\"\n,org1,note0,i1,gone\n2,org0,note0,i0,twice\n3,org0,note0,i2,\n";
    workspace.write("manifest.csv", manifest);
    workspace.run(&[]).assert_code(3);
    let index = records(&workspace.out().join("index.csv"));
    let names = b"ward,org,note,image,remark,path,bytes,sha256,content_type,stored_at";
    assert_eq!(index[0].join(&b','), names);
    assert_eq!(index.len(), 3, "neither the failed row nor the duplicate");
    assert_eq!(index[1][..5], [&b"\xe9 1"[..], b"org0", b"note0", b"i0", b"a, \"b\"\nc"].map(<[u8]>::to_vec));
    let report = workspace.report();
    for (line, row) in [(1, 0), (2, 3)] {
        let text = |column: usize| String::from_utf8(index[line][column].clone()).expect("UTF-8");
        let image = bytes_of(&workspace.out().join(text(5)));
        assert_eq!((text(6), text(7)), (image.len().to_string(), hex(&image)));
        assert_eq!((text(8), text(9)), ("image/jpeg".to_owned(), report[row]["stored_at"].clone()));
    }
    let tags = workspace.read("tagmanifest-sha256.txt");
    for name in ["index.csv", "gone.csv"] {
        let line = format!("{}  {name}\n", hex(&bytes_of(&workspace.out().join(name))));
        assert!(tags.contains(&line), "{line}: {tags}");
    }
}

#[test]
fn the_index_is_a_manifest_and_its_own_index_is_the_same() {
    let workspace = Workspace::with_images(5);
    workspace.run(&[]).assert_code(0);
    let index = bytes_of(&workspace.out().join("index.csv"));
    let requests = workspace.api_requests();
    run(&workspace, &["run", "export/index.csv"]).assert_code(0);
    assert_eq!(workspace.states(), ["skipped"; 5]);
    assert_eq!(workspace.api_requests(), requests, "the hashes are those of the delivered images");
    assert!(
        bytes_of(&workspace.out().join("index.csv")) == index,
        "its columns are in place of the old ones"
    );
    run(&workspace, &["run", "export/index.csv", "-o", "other"]).assert_code(0);
    let there = fs::read_to_string(workspace.path("other/report.csv")).expect("written");
    assert_eq!(
        there.matches("manifest-sha256").count(),
        5,
        "every image was held against the index: {there}"
    );
}

#[test]
fn the_hash_of_the_index_counts_beside_that_of_the_manifest_and_comes_back_in_failed_csv() {
    let workspace = Workspace::with_images(2);
    workspace.manifest("org,note,image,SHA-256\norg0,note0,i0,\norg1,note0,i1,\n");
    workspace.run(&[]).assert_code(0);
    let index = workspace.read("index.csv");
    assert!(index.starts_with("org,note,image,SHA-256,path,bytes,sha256,"), "{index}");
    let ran = run(&workspace, &["run", "export/index.csv"]).assert_code(0);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    assert_eq!(workspace.states(), ["skipped"; 2]);
    // another hash: the image in the storage has not these bytes
    let hash = &workspace.report()[0]["sha256"];
    workspace.write("edited.csv", index.replace(&**hash, &"0".repeat(64)));
    run(&workspace, &["run", "edited.csv", "-o", "other", "--max-attempts", "1"]).assert_code(3);
    let failed = fs::read_to_string(workspace.path("other/failed.csv")).expect("written");
    let header =
        "org,note,image,SHA-256,path,bytes,sha256,content_type,stored_at,error_code,error,attempts,advice\n";
    assert!(failed.starts_with(header) && failed.contains(&"0".repeat(64)), "{failed}");
    assert_eq!(run(&workspace, &["plan", "other/failed.csv", "-o", "other"]).assert_code(0).stderr, "");
}

#[test]
fn what_a_manifest_no_longer_asks_for_is_listed_and_stays() {
    let workspace = Workspace::with_images(6);
    let first = workspace.add_images(6);
    workspace.run(&[]).assert_code(0);
    assert_eq!(records(&workspace.out().join("gone.csv")).len(), 1, "nothing is gone");
    let images = workspace.images();
    let report = workspace.report();

    // i4 and i5 leave, and i6 comes
    let second = workspace.add_images(4) + "org0,note9,i6\n";
    workspace.sandbox.add_image("org0", "note9", "i6", sandbox::images::jpeg(6, 3000), "image/jpeg");
    workspace.manifest(&second);
    let plan: Value =
        serde_json::from_str(&run(&workspace, &["plan", "manifest.csv", "--json"]).assert_code(0).stdout)
            .expect("JSON");
    let numbers = ["new", "gone", "delivered", "to_fetch"].map(|key| plan[key].as_u64().expect(key));
    assert_eq!(numbers, [1, 2, 4, 1]);
    let plan = run(&workspace, &["plan", "manifest.csv"]).assert_code(0).stdout;
    assert!(plan.contains("\nnew       1 image") && plan.contains("\ngone      2 images"), "{plan}");
    workspace.run(&[]).assert_code(0);
    let gone = fs::read_to_string(workspace.out().join("gone.csv")).expect("written");
    let line = |row: usize| {
        let row = &report[row];
        let [org, note, image, path, sha256, at] =
            ["org", "note", "image", "path", "sha256", "stored_at"].map(|column| &*row[column]);
        format!("{org},{note},{image},{path},{sha256},{at},{}\n", hex(first.as_bytes()))
    };
    let header = "org,note,image,path,sha256,stored_at,last_manifest_sha256\n";
    assert_eq!(gone, format!("{header}{}{}", line(4), line(5)), "sorted by path");
    assert_eq!(workspace.count("not_in_manifest"), 2);
    assert!(images.iter().all(|path| workspace.out().join(path).exists()), "a run deletes nothing");

    // i5 comes back and leaves again: the newest manifest that asked for it counts
    let third = second.clone() + "org1,note1,i5\n";
    workspace.manifest(&third);
    workspace.run(&[]).assert_code(0);
    assert_eq!(
        fs::read_to_string(workspace.out().join("gone.csv")).expect("written"),
        format!("{header}{}", line(4))
    );
    workspace.manifest(&second);
    workspace.run(&[]).assert_code(0);
    let gone = fs::read_to_string(workspace.out().join("gone.csv")).expect("written");
    let again = line(5).replace(&hex(first.as_bytes()), &hex(third.as_bytes()));
    assert_eq!(gone, format!("{header}{}{again}", line(4)));
    run(&workspace, &["verify"]).assert_code(0);
}

#[test]
fn an_image_that_a_bad_row_names_or_that_must_have_another_hash_is_not_gone() {
    let workspace = Workspace::with_images(2);
    workspace.run(&[]).assert_code(0);
    workspace.manifest(&format!(
        "org,note,image,sha256\norg0,note0,i0,no hash\norg1,note0,i1,{}\n",
        "0".repeat(64)
    ));
    let args = ["--on-bad-row", "skip"];
    let plan = run(&workspace, &[&["plan", "manifest.csv", "--json"], &args[..]].concat()).assert_code(0);
    let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
    let numbers = ["new", "gone", "delivered", "to_fetch"].map(|key| plan[key].as_u64().expect(key));
    assert_eq!(numbers, [0, 0, 0, 1]);
    workspace.run(&[&args[..], &["--max-attempts", "1"]].concat()).assert_code(3);
    assert_eq!(records(&workspace.out().join("gone.csv")).len(), 1, "{}", workspace.read("gone.csv"));
    assert_eq!(workspace.count("not_in_manifest"), 0);
    // the manifest after it asks for neither
    workspace.manifest("org,note,image\n");
    workspace.run(&[]).assert_code(0);
    assert_eq!(records(&workspace.out().join("gone.csv")).len(), 3, "{}", workspace.read("gone.csv"));
}

#[test]
fn an_adopted_export_knows_what_is_gone() {
    let workspace = Workspace::with_images(3);
    workspace.run(&[]).assert_code(0);
    workspace.manifest(&workspace.add_images(2));
    workspace.run(&[]).assert_code(0);
    fs::remove_file(workspace.out().join(".exporter/ledger.sqlite")).expect("removed");
    run(&workspace, &["verify", "--adopt"]).assert_code(0);
    run(&workspace, &["report"]).assert_code(0);
    let gone = records(&workspace.out().join("gone.csv"));
    assert_eq!((gone.len(), &gone[1][2][..]), (2, &b"i2"[..]));
    assert_eq!(records(&workspace.out().join("index.csv")).len(), 3);
}
