//! Headers as people write them, and the error for each that cannot be used.

use super::*;

fn names(header: &str) -> Vec<String> {
    header.split(',').map(str::to_owned).collect()
}

fn find_in(header: &str, org: Option<&str>, note: Option<&str>) -> Result<Columns, String> {
    let asked = ColumnNames { org: org.map(str::to_owned), note: note.map(str::to_owned), image: None };
    find(&names(header), &asked, b',').map_err(|error| error.to_string())
}

#[test]
fn known_names_match_in_any_case_with_underscore_hyphen_and_space_alike() {
    let wanted = Ok(Columns { org: 0, note: 1, image: 2, sha256: None });
    for header in [
        "org,note,image",
        "Org_ID,noteId,ImageID",
        "X-Organization-Id,Note ID,File-Id",
        "ORGANIZATION ID,NOTE-ID,IMAGE_ID",
        " organization , note\t, imageid",
    ] {
        assert_eq!(find_in(header, None, None), wanted, "{header}");
    }
}

#[test]
fn columns_are_found_in_any_order_among_others() {
    let found = find_in("file_id,taken at,SHA256,note,ward,org", None, None);
    assert_eq!(found, Ok(Columns { org: 5, note: 3, image: 0, sha256: Some(2) }));
}

#[test]
fn the_hash_is_found_however_its_name_is_written() {
    for name in
        ["sha256", "SHA-256", "sha_256", "Sha 256", "sha256sum", "SHA 256 sum", "sha-256-sum", "SHA256SUM"]
    {
        let found = find_in(&format!("org,note,image,{name}"), None, None).map(|found| found.sha256);
        assert_eq!(found, Ok(Some(3)), "{name}");
    }
    for name in ["sha2566", "sha", "sha512", "sum", "image_sha256"] {
        let found = find_in(&format!("org,note,image,{name}"), None, None).map(|found| found.sha256);
        assert_eq!(found, Ok(None), "{name}");
    }
}

#[test]
fn a_name_from_the_user_wins_over_the_known_ones() {
    let found = find_in("org,clinic,note,image", Some("clinic"), None).map(|found| found.org);
    assert_eq!(found, Ok(1));
    let found = find_in("Clinic ID,note,image", Some("clinic-id"), None).map(|found| found.org);
    assert_eq!(found, Ok(0));
    let found = find_in("Clinic,clinic,note,image", Some("clinic"), None).map(|found| found.org);
    assert_eq!(found, Ok(1), "exactly so, before any other case");
}

#[test]
fn a_column_with_a_role_gets_no_other() {
    let found = find_in("note,note_id,image", Some("note"), None);
    assert_eq!(found, Ok(Columns { org: 0, note: 1, image: 2, sha256: None }));
}

#[test]
fn one_column_cannot_have_two_roles() {
    let error = find_in("a,b,image", Some("a"), Some("a")).expect_err("shared");
    assert_eq!(error, "column `a` was asked for as org and as note: give each its own in --columns");
}

#[test]
fn a_missing_column_is_named_with_what_was_found_and_what_is_known() {
    let error = find_in("org,patient,picture", None, None).expect_err("missing");
    assert_eq!(
        error,
        "there is no column for note, image: found `org`, `patient`, `picture`; known are note: note, \
         note_id, noteid; image: image, image_id, imageid, file_id; rename the column, or name it with \
         --columns org=A,note=B,image=C"
    );
    let error = find_in("org,note,image", Some("clinic"), None).expect_err("missing");
    assert!(error.contains("no column for org (`clinic` was asked for): found `org`,"), "{error}");
}

#[test]
fn a_column_named_twice_is_refused_and_both_names_are_shown() {
    let error = find_in("org,org_id,note,image", None, None).expect_err("twice");
    assert!(error.contains("`org`, `org_id` could each be org"), "{error}");
    assert!(error.contains("choose with --columns org=NAME"), "{error}");
    let error = find_in("org,note,image,sha256,Sha256", None, None).expect_err("twice");
    assert!(error.contains("`sha256`, `Sha256` could each be sha256"), "{error}");
}

#[test]
fn the_error_for_a_header_of_one_column_names_the_delimiter_it_seems_to_have() {
    for (header, said) in
        [("org;note;image", "';'"), ("org\tnote\timage", "--delimiter tab"), ("org|note|image", "'|'")]
    {
        let error = find(&[header.to_owned()], &ColumnNames::default(), b',').expect_err("one column");
        assert!(error.to_string().contains(said), "{error}");
    }
    let error = find(&["org,note,image".to_owned()], &ColumnNames::default(), b'\t').expect_err("one column");
    assert!(error.to_string().contains("','"), "{error}");
}

#[test]
fn names_are_shown_without_control_characters() {
    assert_eq!(shown("a\u{1b}[2J\nb\u{202e}"), "`a\\u{1b}[2J\\nb\\u{202e}`");
    assert_eq!(shown(r#" say "it's" a\b "#), r#"`say "it's" a\b`"#);
    assert_eq!(shown(&"x".repeat(1000)).chars().count(), 63);
    let many: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    assert!(list(&many).ends_with("`19` and 30 more"));
}
