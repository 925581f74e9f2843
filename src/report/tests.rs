//! The reports of a small ledger with every kind of row.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use insta::assert_snapshot;
use rusqlite::{Connection, params};

use super::*;

/// Two runs: the first exported another manifest; the reports are about the second.
const RUNS: &str = "
    INSERT INTO runs (id, started_at, finished_at, seconds, manifest_sha256, host, user, version, exit_code, stop,
                      bytes, api_requests, api_429, retries, allowance_share) VALUES
        (1, '2026-03-01T08:00:00.000Z', '2026-03-01T09:00:00.000Z', 3600.0, 'aaaa', 'old-host', 'old-user', '0.0.9',
         0, NULL, 100, 10, 0, 0, 1.0),
        (2, '2026-03-02T08:00:00.000Z', '2026-03-02T08:01:30.500Z', 90.50049, 'bbbb', 'host', 'user', '0.1.0',
         1, 'the API refuses the key', 60, 9, 2, 3, 0.375);
    INSERT INTO manifest VALUES (1, 'bbbb', '', CAST('org_id,note,image,\"my, column\"' AS BLOB), 13, 1);
    INSERT INTO orgs VALUES (1, 'old', 'old', 'old'), (2, 'zeta', 'zeta', 'zeta'), (3, 'a,b', 'a=2Cb', 'a=2cb');
    INSERT INTO notes VALUES (1, 1, 'of an earlier manifest', 1, NULL), (2, 3, '=n2', 2, NULL),
        (3, 2, 'n\"1', 3, NULL), (4, 2, '007', 4, NULL);";

fn image(conn: &Connection, id: i64, note: i64, run: i64, same: (u8, u8), delivered: bool) {
    let (hash, object) = (fill(same.0), fill(same.1));
    conn.execute(
        "INSERT INTO images VALUES (?1, ?2, 'i' || ?1, ?1, ?3, 'data/org/' || ?2 || '/i' || ?1 || '.jpg', ?1 * 10,
             ?4, 'image/jpeg', '\"tag\"', ?5, 'length+etag-md5', 2, '2026-03-0' || ?6 || 'T08:01:0' || (?1 % 10) || '.000Z',
             '', ?6, '')",
        params![id, note, delivered, hash, object, run],
    )
    .expect("image");
}

/// A hash of one repeated byte.
fn fill(byte: u8) -> Vec<u8> {
    vec![byte; 32]
}

fn row(conn: &Connection, seq: i64, line: i64, note: i64, name: &str, raw: &str, rest: &str) {
    let sql = format!(
        "INSERT INTO rows (seq, line, note, name, key, raw, first, image, run, failed, attempts, code, error, trace_id)
         VALUES (?1, ?2, ?3, ?4, CAST(substr(?4, 2) AS INTEGER), ?5, {rest})"
    );
    conn.execute(&sql, params![seq, line, note, name, raw.as_bytes()]).expect("row");
}

const REACHED: &str = "NULL, NULL, NULL, NULL, NULL, NULL";

fn ledger() -> Connection {
    let conn = empty_ledger();
    conn.execute_batch(RUNS).expect("runs");
    image(&conn, 1, 3, 2, (1, 1), true);
    image(&conn, 2, 3, 1, (2, 2), true);
    image(&conn, 3, 2, 2, (1, 1), true);
    image(&conn, 4, 4, 2, (1, 4), true);
    image(&conn, 5, 2, 1, (1, 5), false);
    image(&conn, 6, 1, 1, (2, 2), true);
    conn.execute_batch(
        "UPDATE images SET content_type = '=cmd|x', etag = 'W/\"a' || char(13) || 'b\"',
             warning = 'the content type says png' WHERE id = 1;
         UPDATE images SET object = NULL WHERE id = 2;",
    )
    .expect("what the server said");

    conn.execute_batch("INSERT INTO unasked VALUES (1, 'cccc'), (6, 'aaaa')")
        .expect("of the manifest before");
    row(&conn, 1, 2, 3, "i1", "zeta,\"n\"\"1\",i1,", &format!("NULL, 1, {REACHED}"));
    row(&conn, 2, 3, 3, "i2", "zeta,\"n\"\"1\",i2,", &format!("NULL, 2, {REACHED}"));
    row(&conn, 3, 5, 3, "i1", "zeta,\"n\"\"1\",i1,again", &format!("1, NULL, {REACHED}"));
    row(
        &conn,
        4,
        6,
        3,
        "gone",
        "zeta,\"n\"\"1\",gone,\"it's \"\"mine\"\"\nreally\"",
        "NULL, NULL, 2, 1, 8, 'not_found', '=1+1, \"said\" the API', '-trace'",
    );
    let refused = "NULL, NULL, 2, 0, 1, 'unauthorized', 'the API answered 401', '4bf92f35'";
    row(&conn, 5, 8, 2, "refused", "\"a,b\",=n2,refused,", refused);
    row(&conn, 6, 9, 2, "later", "\"a,b\",=n2,later,", &format!("NULL, NULL, {REACHED}"));
    conn.execute_batch(
        "INSERT INTO rows (seq, line) VALUES (7, 10); INSERT INTO bad_rows VALUES (7, 'zeta', '', 'x', '-an empty id');",
    )
    .expect("bad row");
    row(&conn, 8, 11, 2, "i3", "\"a,b\",=n2,i3,", &format!("NULL, 3, {REACHED}"));
    row(&conn, 9, 12, 4, "i4", "zeta,007,i4,", &format!("NULL, 4, {REACHED}"));
    row(&conn, 10, 13, 3, "gone", "zeta,\"n\"\"1\",gone,", &format!("4, NULL, {REACHED}"));
    row(&conn, 11, 14, 2, "later", "\"a,b\",=n2,later,", &format!("6, NULL, {REACHED}"));
    // failed in the run before, not reached in this one
    row(&conn, 12, 15, 3, "i7", "zeta,\"n\"\"1\",i7,", "NULL, NULL, 1, 1, 8, 'timeout', 'no answer', 'old'");
    // was delivered, must be fetched again
    row(&conn, 13, 16, 2, "i5", "\"a,b\",=n2,i5,", &format!("NULL, 5, {REACHED}"));
    conn
}

fn empty_ledger() -> Connection {
    let conn = Connection::open_in_memory().expect("memory");
    conn.execute_batch(include_str!("../ledger/schema.sql")).expect("schema");
    conn
}

fn written(conn: &Connection) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("folder");
    write_all(conn, folder.path(), &Occasion::Report).expect("written");
    files(folder.path())
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs_err::read_dir(folder).expect("listed").map(|entry| entry.expect("entry"));
    entries
        .filter(|entry| entry.file_type().expect("type").is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().expect("UTF-8");
            (name, fs_err::read_to_string(entry.path()).expect("read"))
        })
        .collect()
}

#[test]
fn report_csv_has_a_line_for_every_row_in_the_manifests_order() {
    assert_snapshot!(written(&ledger())["report.csv"], @r#"
    line,org,note,image,state,path,bytes,sha256,content_type,etag,checked_by,attempts,stored_at,error_code,error,trace_id,warning
    2,zeta,"n""1",i1,stored,data/org/3/i1.jpg,10,0101010101010101010101010101010101010101010101010101010101010101,'=cmd|x,"W/""a\u{d}b""",length+etag-md5,2,2026-03-02T08:01:01.000Z,,,,the content type says png; same bytes as line 11; same object in the storage as line 11
    3,zeta,"n""1",i2,skipped,data/org/3/i2.jpg,20,0202020202020202020202020202020202020202020202020202020202020202,image/jpeg,"""tag""",length+etag-md5,0,2026-03-01T08:01:02.000Z,,,,
    5,zeta,"n""1",i1,duplicate,data/org/3/i1.jpg,,0101010101010101010101010101010101010101010101010101010101010101,,,,0,,,,,
    6,zeta,"n""1",gone,failed,,,,,,,8,,not_found,"'=1+1, ""said"" the API",'-trace,
    8,"a,b",=n2,refused,untried,,,,,,,1,,unauthorized,the API answered 401,4bf92f35,
    9,"a,b",=n2,later,untried,,,,,,,0,,,the API refuses the key,,
    10,zeta,,x,failed,,,,,,,0,,bad_row,'-an empty id,,
    11,"a,b",=n2,i3,stored,data/org/2/i3.jpg,30,0101010101010101010101010101010101010101010101010101010101010101,image/jpeg,"""tag""",length+etag-md5,2,2026-03-02T08:01:03.000Z,,,,same bytes as line 2; same object in the storage as line 2
    12,zeta,007,i4,stored,data/org/4/i4.jpg,40,0101010101010101010101010101010101010101010101010101010101010101,image/jpeg,"""tag""",length+etag-md5,2,2026-03-02T08:01:04.000Z,,,,same bytes as line 2
    13,zeta,"n""1",gone,duplicate,,,,,,,0,,,,,
    14,"a,b",=n2,later,duplicate,,,,,,,0,,,,,
    15,zeta,"n""1",i7,untried,,,,,,,0,,,the API refuses the key,,
    16,"a,b",=n2,i5,untried,,,,,,,0,,,the API refuses the key,,
    "#);
}

#[test]
fn failed_csv_repeats_the_rows_as_they_were_and_appends_the_reason() {
    assert_snapshot!(written(&ledger())["failed.csv"], @r#"
    org_id,note,image,"my, column",error_code,error,attempts,advice
    zeta,"n""1",gone,"it's ""mine""
    really",not_found,"'=1+1, ""said"" the API",8,"check the ids, and whether the image was deleted or belongs to another organization"
    "a,b",=n2,refused,,unauthorized,the API answered 401,1,check the API key (MAXAI_API_KEY or --api-key-file) and run again
    "a,b",=n2,later,,,the API refuses the key,0,run again; this row was not reached
    zeta,"n""1",i7,,,the API refuses the key,0,run again; this row was not reached
    "a,b",=n2,i5,,,the API refuses the key,0,run again; this row was not reached
    "#);
}

#[test]
fn failed_csv_has_as_many_fields_in_every_line_as_in_its_header() {
    let failed = &written(&ledger())["failed.csv"];
    let rows = ::csv::Reader::from_reader(failed.as_bytes()).into_records().collect::<Result<Vec<_>, _>>();
    assert_eq!(rows.expect("a strict reader takes it").len(), 5);
}

#[test]
fn index_csv_says_where_each_image_is_beside_the_manifests_own_columns() {
    assert_snapshot!(written(&ledger())["index.csv"], @r#"
    org_id,note,image,"my, column",path,bytes,sha256,content_type,stored_at
    zeta,"n""1",i1,,data/org/3/i1.jpg,10,0101010101010101010101010101010101010101010101010101010101010101,'=cmd|x,2026-03-02T08:01:01.000Z
    zeta,"n""1",i2,,data/org/3/i2.jpg,20,0202020202020202020202020202020202020202020202020202020202020202,image/jpeg,2026-03-01T08:01:02.000Z
    "a,b",=n2,i3,,data/org/2/i3.jpg,30,0101010101010101010101010101010101010101010101010101010101010101,image/jpeg,2026-03-02T08:01:03.000Z
    zeta,007,i4,,data/org/4/i4.jpg,40,0101010101010101010101010101010101010101010101010101010101010101,image/jpeg,2026-03-02T08:01:04.000Z
    "#);
}

#[test]
fn gone_csv_names_images_of_earlier_manifests() {
    assert_snapshot!(written(&ledger())["gone.csv"], @"
    org,note,image,path,sha256,stored_at,last_manifest_sha256
    old,of an earlier manifest,i6,data/org/1/i6.jpg,0202020202020202020202020202020202020202020202020202020202020202,2026-03-01T08:01:06.000Z,aaaa
    ");
}

#[test]
fn an_image_that_a_bad_row_names_or_that_must_have_another_hash_is_not_gone() {
    let conn = ledger();
    conn.execute_batch(
        "INSERT INTO rows (seq, line) VALUES (20, 30);
         INSERT INTO bad_rows VALUES (20, 'old', 'of an earlier manifest', 'i6', 'sha256 is not 64 hex digits');",
    )
    .expect("a bad row");
    assert_eq!(summary(&conn).expect("summary").not_in_manifest, 0);
    let conn = ledger();
    conn.execute_batch(
        "INSERT INTO rows (seq, line, note, name, key, wanted) VALUES (20, 30, 1, 'i6', 6, x'00')",
    )
    .expect("another hash");
    assert_eq!(gone(&conn), Ok(0));
}

#[test]
fn notes_csv_counts_distinct_images_in_the_order_of_the_manifest() {
    assert_snapshot!(written(&ledger())["notes.csv"], @r#"
    org,note,images,delivered,complete
    zeta,"n""1",4,2,false
    "a,b",=n2,4,1,false
    zeta,007,1,1,true
    "#);
}

#[test]
fn the_payload_manifest_names_images_of_every_manifest_sorted_by_path() {
    assert_snapshot!(written(&ledger())["manifest-sha256.txt"], @"
    0202020202020202020202020202020202020202020202020202020202020202  data/org/1/i6.jpg
    0101010101010101010101010101010101010101010101010101010101010101  data/org/2/i3.jpg
    0101010101010101010101010101010101010101010101010101010101010101  data/org/3/i1.jpg
    0202020202020202020202020202020202020202020202020202020202020202  data/org/3/i2.jpg
    0101010101010101010101010101010101010101010101010101010101010101  data/org/4/i4.jpg
    ");
}

#[test]
fn the_bag_is_declared_and_described() {
    let files = written(&ledger());
    assert_snapshot!(files["bagit.txt"], @"
    BagIt-Version: 1.0
    Tag-File-Character-Encoding: UTF-8
    ");
    assert_snapshot!(files["bag-info.txt"], @"
    Bag-Software-Agent: exporter 0.1.0
    Bagging-Date: 2026-03-02
    Internal-Sender-Description: SHA-256 of the CSV manifest that was exported last
    Internal-Sender-Identifier: bbbb
    Payload-Oxum: 160.5
    ");
}

#[test]
fn summary_json_has_the_keys_of_the_contract_in_its_order() {
    assert_snapshot!(written(&ledger())["summary.json"], @r#"
    {
      "rows": 13,
      "stored": 3,
      "skipped": 1,
      "duplicate": 3,
      "failed": 2,
      "untried": 4,
      "bytes": 60,
      "seconds": 90.5,
      "api_requests": 9,
      "api_429": 2,
      "retries": 3,
      "allowance_share": 0.375,
      "same_content": 2,
      "not_in_manifest": 1,
      "exit_code": 1,
      "started_at": "2026-03-02T08:00:00.000Z",
      "finished_at": "2026-03-02T08:01:30.500Z",
      "manifest_sha256": "bbbb",
      "host": "host",
      "user": "user",
      "version": "0.1.0",
      "stop": "the API refuses the key",
      "failures": {
        "bad_row": 1,
        "not_found": 1
      },
      "orgs": [
        {
          "org": "a,b",
          "rows": 5,
          "delivered": 1,
          "failed": 0,
          "untried": 4,
          "complete": false
        },
        {
          "org": "zeta",
          "rows": 7,
          "delivered": 4,
          "failed": 2,
          "untried": 1,
          "complete": false
        }
      ],
      "notes": {
        "total": 3,
        "complete": 1,
        "incomplete": 2
      }
    }
    "#);
}

#[test]
fn the_tag_manifest_holds_the_hash_of_every_other_file() {
    use sha2::{Digest, Sha256};
    let files = written(&ledger());
    let expected: String = files
        .iter()
        .filter(|(name, _)| !matches!(&***name, TAGS | receipts::NAME))
        .map(|(name, text)| format!("{}  {name}\n", crate::item::hex(&Sha256::digest(text))))
        .collect();
    assert_eq!(files["tagmanifest-sha256.txt"], expected);
    assert_eq!(files.len(), 12);
}

#[test]
fn the_same_ledger_gives_the_same_bytes_and_is_not_changed() {
    let conn = ledger();
    let folder = tempfile::tempdir().expect("folder");
    let first = write_all(&conn, folder.path(), &Occasion::Report).expect("written");
    let before = files(folder.path());
    assert_eq!(write_all(&conn, folder.path(), &Occasion::Report).expect("written again"), first);
    assert_eq!(files(folder.path()), before);
    assert_eq!(summary(&conn).expect("summary"), first);
    let temporary: i64 =
        conn.query_row("SELECT count(*) FROM temp.sqlite_schema", [], |row| row.get(0)).expect("counted");
    assert_eq!(temporary, 0, "temporary tables stay behind");
}

#[test]
fn both_counts_agree() {
    let conn = ledger();
    let summary = summary(&conn).expect("summary");
    let counts = counts(&conn).expect("counts");
    assert_eq!(counts, summary.counts);
    assert_eq!(
        counts.rows,
        counts.stored + counts.skipped + counts.duplicate + counts.failed + counts.untried
    );
    assert_eq!(counts.failed, summary.failures.values().sum::<u64>());
    for org in &summary.orgs {
        assert_eq!(org.rows, org.delivered + org.failed + org.untried, "{org:?}");
    }
    assert_eq!(summary.orgs.iter().map(|org| org.rows).sum::<u64>() + 1, counts.rows, "all but the bad row");
}

#[test]
fn a_killed_run_ends_with_its_newest_image() {
    let conn = ledger();
    conn.execute_batch(
        "UPDATE runs SET finished_at = NULL, seconds = 0, bytes = 0, stop = NULL WHERE id = 2",
    )
    .expect("killed");
    let killed = summary(&conn).expect("summary");
    assert_eq!(killed.finished_at, "2026-03-02T08:01:04.000Z");
    assert_eq!((killed.seconds, killed.bytes, killed.exit_code), (64.0, 80, None));
    assert_eq!(killed.counts.stored, 3, "what is delivered is never untried");
    assert_eq!(written(&conn), written(&conn));
}

#[test]
fn a_run_that_was_killed_before_its_first_image_ends_with_its_start() {
    let conn = ledger();
    conn.execute_batch(
        "INSERT INTO runs (id, started_at, manifest_sha256, host, user, version)
         VALUES (3, '2026-03-03T08:00:00.000Z', 'bbbb', 'host', 'user', '0.1.0')",
    )
    .expect("begun");
    let killed = summary(&conn).expect("summary");
    assert_eq!(killed.finished_at, "2026-03-03T08:00:00.000Z");
    assert_eq!((killed.seconds, killed.bytes, killed.counts.stored, killed.counts.skipped), (0.0, 0, 0, 4));
}

#[test]
fn a_manifest_without_rows_gives_headers_and_an_empty_bag() {
    let conn = empty_ledger();
    conn.execute_batch(RUNS).expect("runs");
    let files = written(&conn);
    assert_eq!(files["report.csv"].lines().count(), 1);
    assert_eq!(files["failed.csv"], "org_id,note,image,\"my, column\",error_code,error,attempts,advice\n");
    assert_eq!(files["notes.csv"], "org,note,images,delivered,complete\n");
    assert_eq!(files["manifest-sha256.txt"], "");
    assert!(files["bag-info.txt"].ends_with("Payload-Oxum: 0.0\n"));
}

#[test]
fn a_ledger_without_runs_gives_a_valid_bag_too() {
    let files = written(&empty_ledger());
    assert_eq!(files["bag-info.txt"], "Payload-Oxum: 0.0\n");
    assert_eq!(files["failed.csv"], "org,note,image,error_code,error,attempts,advice\n");
}

#[test]
fn data_is_created_for_its_owner_only() {
    let folder = tempfile::tempdir().expect("folder");
    write_all(&ledger(), folder.path(), &Occasion::Run).expect("written");
    let mode = fs_err::metadata(folder.path().join("data")).expect("data").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_file_that_cannot_be_replaced_is_named_and_keeps_no_other_back() {
    let folder = tempfile::tempdir().expect("folder");
    fs_err::create_dir_all(folder.path().join("notes.csv/in the way")).expect("made");
    let error = write_all(&ledger(), folder.path(), &Occasion::Run).expect_err("refused");
    let RunError::Reports { names, why, .. } = &error else { panic!("{error:?}") };
    assert_eq!(names, "notes.csv");
    assert!(why.contains("/notes.csv`"), "{why}");
    assert!(error.to_string().contains("`exporter report "), "{error}");
    let mut left = files(folder.path());
    left.remove(receipts::NAME).expect("written");
    let tags = left.remove("tagmanifest-sha256.txt").expect("written");
    let names: Vec<_> = tags.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    let left: Vec<_> = left.into_keys().collect();
    assert_eq!(names, left, "the tag manifest lists what is there");
    assert_eq!(left.len(), 9, "{left:?}");
}

#[test]
fn the_end_of_a_run_is_recorded_again_if_a_report_cannot_be_replaced() {
    for name in ["report.csv", "summary.json", "tagmanifest-sha256.txt"] {
        let conn = ledger();
        let folder = tempfile::tempdir().expect("folder");
        fs_err::create_dir_all(folder.path().join(name).join("in the way")).expect("made");
        let mut recorded = Vec::new();
        let written = finish_and_write_all(&conn, folder.path(), &Occasion::Run, |_, refused| {
            recorded.push(refused.map(ToString::to_string));
            let code = if refused.is_some() { 7 } else { 0 };
            conn.execute("UPDATE runs SET exit_code = ?1 WHERE id = 2", [code]).map(drop)
        })
        .expect("the ledger can be read");
        assert_eq!(written.summary.exit_code, Some(7), "{name}");
        assert!(written.refused.is_some(), "{name}");
        let [None, Some(why)] = &recorded[..] else { panic!("{recorded:?}") };
        assert!(why.starts_with(&format!("{name} could not be replaced: ")), "{why}");
        if name != "summary.json" {
            let summary = fs_err::read_to_string(folder.path().join("summary.json")).expect("written");
            assert!(summary.contains("\"exit_code\": 7"), "{summary}");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("folder");
    let nowhere = folder.path().join("nowhere");
    let error = write_all(&ledger(), &nowhere, &Occasion::Run).expect_err("refused");
    assert!(matches!(error, RunError::Reports { .. }), "{error:?}");
    assert!(error.to_string().contains(&*nowhere.to_string_lossy()), "{error}");
}

#[test]
fn a_note_that_a_bad_row_names_is_not_complete() {
    let conn = ledger();
    conn.execute_batch(
        "INSERT INTO rows (seq, line) VALUES (20, 30), (21, 31), (22, 32), (23, 33), (24, 34), (25, 35), (26, 36);
         INSERT INTO bad_rows VALUES
            (20, 'zeta', '007', '', 'no image'), (21, 'zeta', '007', 'i4', 'another hash'),
            (22, 'zeta', 'other', ' x', 'a blank'), (23, 'zeta', 'other', ' x', 'a blank'), (24, 'zeta', 'other', 'y ', 'a blank'),
            (25, 'zeta', '', 'z', 'no note'), (26, 'new', 'none', '', 'no image');",
    )
    .expect("bad rows");
    let summary = summary(&conn).expect("summary");
    assert_eq!((summary.notes.total, summary.notes.complete, summary.notes.incomplete), (5, 0, 5));
    assert_eq!(summary.notes.first_incomplete.len(), 3);
    assert_snapshot!(written(&conn)["notes.csv"], @r#"
    org,note,images,delivered,complete
    zeta,"n""1",4,2,false
    "a,b",=n2,4,1,false
    zeta,007,1,1,false
    zeta,other,2,0,false
    new,none,0,0,false
    "#);
}

#[test]
fn rows_with_the_bytes_of_an_earlier_row_are_named() {
    let summary = summary(&ledger()).expect("summary");
    let same: Vec<_> = summary.same_bytes.iter().map(|same| (same.line, same.earlier)).collect();
    assert_eq!(same, [(11, 2), (12, 2)]);
    assert_eq!(summary.same_content, 2);
}

#[test]
fn a_full_or_read_only_disk_is_a_disk_error() {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    for kind in [StorageFull, QuotaExceeded, ReadOnlyFilesystem] {
        assert!(
            matches!(RunError::from(ReportError::from(io::Error::from(kind))), RunError::Disk(_)),
            "{kind}"
        );
    }
    let other = RunError::from(ReportError::from(io::Error::from(PermissionDenied)));
    assert!(matches!(other, RunError::Io { .. }), "{other:?}");
}

#[test]
fn many_rows_with_the_same_bytes_are_all_named() {
    let conn = empty_ledger();
    conn.execute_batch(RUNS).expect("runs");
    for seq in 1..=300_i64 {
        // every hash comes twice, but the last three come once
        let hash = if seq > 297 { seq } else { seq % 149 };
        image(&conn, seq, 2, 2, (0, 0), true);
        conn.execute(
            "UPDATE images SET sha256 = ?2, object = NULL WHERE id = ?1",
            params![seq, <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(hash.to_le_bytes()))],
        )
        .expect("hash");
        row(&conn, seq, seq + 1, 2, &format!("i{seq}"), "a,b,c", &format!("NULL, {seq}, {REACHED}"));
    }
    assert_eq!(summary(&conn).expect("summary").same_content, 148);
    let report = &written(&conn)["report.csv"];
    assert_eq!(report.matches("same bytes as line").count(), 296);
}

#[test]
fn the_files_are_for_their_owner_only() {
    let folder = tempfile::tempdir().expect("folder");
    write_all(&ledger(), folder.path(), &Occasion::Run).expect("written");
    for name in files(folder.path()).keys() {
        let permissions = fs_err::metadata(folder.path().join(name)).expect("metadata").permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn the_reports_belong_to_the_manifest_whose_rows_they_list() {
    let conn = ledger();
    // killed between the loading and the line of its run
    conn.execute_batch("UPDATE manifest SET sha256 = 'cccc'").expect("loaded");
    let folder = tempfile::tempdir().expect("folder");
    let before = "{\"manifest_sha256\":\"bbbb\",\"finished_at\":\"2026-03-02T08:01:30.500Z\"}";
    fs_err::write(folder.path().join("summary.json"), before).expect("written");
    for _ in 0..2 {
        assert_eq!(
            write_all(&conn, folder.path(), &Occasion::Report).expect("written").manifest_sha256,
            "cccc"
        );
    }
    let kept = fs_err::read_dir(folder.path().join("reports")).expect("kept");
    assert_eq!(kept.count(), 1, "kept once");
}
