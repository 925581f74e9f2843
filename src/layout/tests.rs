//! What every path promises: tables for the rules, random ids for the invariant.

use proptest::prelude::*;

use super::*;

/// Computed outside this program, from the definition of [`key`].
const KEY_OF_O_N_I: i64 = 2_404_779_677_548_926_415;

/// Ids rich in what file systems treat specially.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        r"[a-cA-C0-2._=h/\\ %é-]{1,12}",
        r"(?i:con|prn|aux|nul|com[0-9¹]|lpt[0-9]|conin\$)[. ]?[a-z.]{0,4}",
        "(?s:.){1,40}",
        "[a-zé./=]{80,255}",
    ]
}

/// The segment that a row gets if no other id owns it.
fn fresh(id: &str) -> String {
    let natural = segment(id);
    if needs_hash(&natural) { hashed(id) } else { natural }
}

fn assert_safe(segment: &str) {
    assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-=".contains(&b)), "{segment}");
    assert!(!segment.is_empty() && !segment.starts_with('.') && !segment.ends_with('.'), "{segment}");
    assert!(segment.len() <= MAX_SEGMENT, "{segment}");
    let stem = segment.split('.').next().expect("one part").to_uppercase();
    let devices = (1..=9).flat_map(|n| [format!("COM{n}"), format!("LPT{n}")]);
    let devices = devices.chain(["CON", "PRN", "AUX", "NUL"].map(str::to_owned));
    assert!(devices.into_iter().all(|device| device != stem), "{segment}");
}

#[test]
fn segments_keep_harmless_bytes_and_escape_the_rest() {
    for (id, wanted) in [
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("scan_1.final.JPG", "scan_1.final.JPG"),
        ("../../etc/passwd", "=2E.=2F..=2Fetc=2Fpasswd"),
        ("a\\b", "a=5Cb"),
        ("%2e%2e", "=252e=252e"),
        ("=41", "=3D41"),
        ("a b+c?d#e~", "a=20b=2Bc=3Fd=23e=7E"),
        ("ü", "=C3=BC"),
        (".", "=2E"),
        ("..", "=2E=2E"),
        (".hidden", "=2Ehidden"),
        ("end.", "end=2E"),
        ("=HYPERLINK(1)", "=3DHYPERLINK=281=29"),
        ("\0", "=00"),
    ] {
        assert_eq!(segment(id), wanted);
    }
}

#[test]
fn the_first_letter_of_a_name_that_windows_reserves_is_escaped() {
    for (id, wanted) in [
        ("CON", "=43ON"),
        ("nul", "=6Eul"),
        ("con.x", "=63on.x"),
        ("Com9.tar.gz", "=43om9.tar.gz"),
        ("LPT1", "=4CPT1"),
        ("aux.", "aux=2E"),
        ("con ", "con=20"),
        ("com0", "com0"),
        ("com10", "com10"),
        ("console", "console"),
        ("x.con", "x.con"),
        ("CONIN$", "CONIN=24"),
        ("COM¹", "COM=C2=B9"),
    ] {
        assert_eq!(segment(id), wanted);
    }
}

#[test]
fn ids_that_differ_only_in_their_unicode_form_have_different_ascii_paths() {
    // composed and decomposed; a ligature, a full-width letter, a dotless i, which some rules fold together
    for (one, other) in [
        ("\u{e9}", "e\u{301}"),
        ("\u{212b}", "\u{c5}"),
        ("\u{fb01}", "fi"),
        ("\u{ff21}", "A"),
        ("\u{131}", "i"),
    ] {
        let (one, other) = (segment(one), segment(other));
        assert!(one.is_ascii() && other.is_ascii(), "{one} {other}");
        assert_ne!(fold(&one), fold(&other));
    }
}

#[test]
fn a_hashed_segment_starts_like_the_id_and_ends_in_its_hash() {
    // printf ABC | sha256sum
    assert_eq!(hashed("ABC"), "ABC=hb5d4045c3f466fa91fe2cc6abe79232a");
}

#[test]
fn the_prefix_of_a_hashed_segment_is_cut_between_two_escapes() {
    for (before, kept) in [("", 39), ("x", 40), ("xx", 38)] {
        let long = hashed(&format!("{before}{}", "é".repeat(120)));
        assert!(long.starts_with(&format!("{before}=C3=A9=C3=A9")), "{long}");
        assert_eq!(long.find("=h"), Some(kept), "{long}");
    }
}

#[test]
fn a_segment_is_hashed_if_a_name_would_be_too_long() {
    assert!(!needs_hash(&segment(&"a".repeat(240))));
    assert!(needs_hash(&segment(&"a".repeat(241))));
    assert!(needs_hash(&segment(&"é".repeat(41))));
}

#[test]
fn only_what_segment_returns_is_decoded() {
    for text in [
        "",
        "=41",
        "=2f",
        "=2F.",
        "a/b",
        "con",
        "=",
        "=2",
        "=zz",
        "=FF",
        "é",
        "a=hb5d4045c3f466fa91fe2cc6abe79232a",
    ] {
        assert_eq!(decode(text), None, "{text}");
    }
}

#[test]
fn a_key_depends_on_every_part_and_on_its_boundaries() {
    let key = |org: &str, note: &str, image| key(&OrgId::new(org), &NoteId::new(note), image);
    // Stored in ledgers: this number must never change.
    assert_eq!(key("o", "n", "i"), KEY_OF_O_N_I);
    let others = [key("on", "", "i"), key("o", "ni", ""), key("o", "n", "j"), key("n", "o", "i")];
    assert!(!others.contains(&KEY_OF_O_N_I));
}

#[test]
fn paths_are_relative_and_the_extension_comes_last() {
    let stem = path("o", "n", "i.1");
    assert_eq!(with_extension(&stem, "jpg"), "data/o/n/i.1.jpg");
}

#[test]
fn a_log_line_names_the_organization_of_a_path_and_no_more() {
    let hide = |text| without_names(text, Path::new("my data/export"));
    for (text, hidden) in [
        ("making my data/export/data/o-1/n=20x/i.jpg: full", "making my data/export/data/o-1/...: full"),
        ("my data/export/data/o/n is in the way", "my data/export/data/o/... is in the way"),
        ("my data/export/data/o is in the way", "my data/export/data/o is in the way"),
        ("my data/export/data/o/ is in the way", "my data/export/data/o is in the way"),
        ("my data/export/.exporter/a.part: full", "my data/export/.exporter/a.part: full"),
        ("my data/export is full", "my data/export is full"),
        (
            "my data/export/data/o/n/i.jpg and my data/export/data/p/m/j.bin",
            "my data/export/data/o/... and my data/export/data/p/...",
        ),
    ] {
        assert_eq!(hide(text), hidden);
    }
}

proptest! {
    #[test]
    fn a_natural_segment_is_decoded_to_its_id(id in id()) {
        prop_assert_eq!(decode(&segment(&id)), Some(id));
    }

    #[test]
    fn any_segment_is_safe(id in id()) {
        assert_safe(&fresh(&id));
        assert_safe(&hashed(&id));
    }

    #[test]
    fn different_ids_have_different_segments(one in id(), other in id()) {
        prop_assume!(one != other);
        prop_assert_ne!(segment(&one), segment(&other));
        prop_assert_ne!(fold(&hashed(&one)), fold(&hashed(&other)));
        // A hashed segment never collides with a natural one, in any case.
        prop_assert_ne!(fold(&hashed(&one)), fold(&segment(&other)));
    }

    #[test]
    fn ids_that_differ_only_in_case_collide_when_folded_but_not_when_hashed(id in "[a-z]{1,30}") {
        let upper = id.to_uppercase();
        prop_assert_ne!(segment(&id), segment(&upper));
        prop_assert_ne!(fold(&segment(&id)), fold(&hashed(&upper)));
        prop_assert_ne!(fold(&hashed(&id)), fold(&hashed(&upper)));
    }

    #[test]
    fn no_natural_segment_of_an_id_is_a_hashed_one(id in id()) {
        prop_assert_eq!(decode(&hashed(&id)), None);
    }

    #[test]
    fn any_text_is_decoded_to_its_only_id_or_not_at_all(text in "[=a-fA-F0-9h.]{0,12}|.{0,12}") {
        if let Some(id) = decode(&text) {
            prop_assert_eq!(segment(&id), text);
        }
    }
}
