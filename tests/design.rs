//! `doc/design.md` names every source file and none that is not there.

use std::collections::BTreeSet;
use std::path::Path;

/// Paths of all `.rs` files below `folder`, relative to `root`, with `/` between their parts.
fn sources(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).expect("below the root");
            let parts: Vec<_> = relative.iter().map(|part| part.to_str().expect("UTF-8")).collect();
            found.insert(parts.join("/"));
        }
    }
}

#[test]
fn the_design_names_every_source_file_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    sources(root, &root.join("src"), &mut there);
    assert!(there.contains("src/lib.rs"), "{there:?}");
    let design = std::fs::read_to_string(root.join("doc/design.md")).expect("doc/design.md");
    let named: BTreeSet<String> = design
        .split(|char: char| !(char.is_ascii_alphanumeric() || matches!(char, '/' | '.' | '_' | '-')))
        .filter(|word| {
            word.starts_with("src/") && Path::new(word).extension().is_some_and(|extension| extension == "rs")
        })
        .map(str::to_owned)
        .collect();
    let unnamed: Vec<_> = there.difference(&named).collect();
    assert!(unnamed.is_empty(), "doc/design.md does not name {unnamed:?}");
    let gone: Vec<_> = named.difference(&there).collect();
    assert!(gone.is_empty(), "doc/design.md names what is not there: {gone:?}");
}
