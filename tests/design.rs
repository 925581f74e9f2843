//! The rules of `doc/design.md` that can be read from the source files alone.
//!
//! - The document names every source file, and none that is not there.
//! - A module of the library imports only modules above it in `src/lib.rs`.
//! - The files of one folder import each other without a circle.
//! - Only `src/ledger/` contains SQL that changes a ledger's table.
//!
//! The rules hold for the program itself: test modules are left out.
#![expect(clippy::disallowed_methods, reason = "a test may take any error for an absence")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Paths of all `.rs` files below `folder`, relative to the package, with `/` between their parts.
fn sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).expect("below the root");
            let parts: Vec<_> = relative.iter().map(|part| part.to_str().expect("UTF-8")).collect();
            found.insert(parts.join("/"));
        }
    }
}

/// A file of the library, without its test module and its comments.
struct Source {
    /// Relative to `src/`, without the extension: `ledger/open`.
    module: String,
    code: String,
}

/// The library's files, without those that hold only tests.
fn library() -> Vec<Source> {
    let mut paths = BTreeSet::new();
    sources(&root().join("src"), &mut paths);
    let module = |path: &String| Some(path.strip_prefix("src/")?.strip_suffix(".rs")?.to_owned());
    let modules = paths.iter().filter_map(module);
    let program = |module: &String| {
        !module.starts_with("bin/") && !module.split('/').any(|part| part == "tests" || part == "fuzz")
    };
    let read = |module: String| {
        let path: PathBuf = root().join("src").join(format!("{module}.rs"));
        let text = std::fs::read_to_string(path).expect("a source file");
        Source { module, code: program_of(&text) }
    };
    modules.filter(program).map(read).collect()
}

/// The code of a file without its comments and without the test modules that are written out in it. A line such as
/// `mod tests;` ends nothing: the program goes on below it.
fn program_of(text: &str) -> String {
    let mut lines = text.lines();
    let mut program = Vec::new();
    while let Some(line) = lines.next() {
        let is_test_module =
            program.last() == Some(&"#[cfg(test)]") && line.starts_with("mod ") && line.ends_with('{');
        if is_test_module {
            // to the brace that closes it, which `rustfmt` puts at the start of a line
            lines.by_ref().find(|line| *line == "}");
        } else if !line.trim_start().starts_with("//") {
            program.push(line);
        }
    }
    program.join("\n")
}

/// The names that follow `prefix` in the code, such as `ledger` for `crate::` in `crate::ledger::open`. A list in
/// braces gives all its names.
fn names_after<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|char| char.is_alphanumeric() || matches!(char, '_' | ':' | '$')) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => names.extend(list_heads(list)),
            None => names.extend(Some(word(rest)).filter(|word| !word.is_empty())),
        }
    }
    names
}

/// The first name of each entry of a list in braces; `list` starts behind the brace.
fn list_heads(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, char) in list.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.push(word(list[start..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(word(list[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn word(text: &str) -> &str {
    let end = text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
    &text[..end]
}

#[test]
fn the_design_names_every_source_file_and_no_other() {
    let mut there = BTreeSet::new();
    sources(&root().join("src"), &mut there);
    assert!(there.contains("src/lib.rs"), "{there:?}");
    let design = std::fs::read_to_string(root().join("doc/design.md")).expect("doc/design.md");
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

#[test]
fn a_module_imports_only_modules_above_it() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let declared = |line: &str| {
        let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
        line.strip_prefix("mod ").and_then(|line| line.strip_suffix(';')).map(str::to_owned)
    };
    let order: Vec<String> = text.lines().filter_map(declared).collect();
    assert!(order.len() > 20, "the modules of src/lib.rs are not recognized: {order:?}");
    let position = |module: &str| order.iter().position(|known| known == module);
    let mut upward = BTreeSet::new();
    for source in library().iter().filter(|source| source.module != "lib") {
        let own =
            position(word(&source.module)).unwrap_or_else(|| panic!("{}: not in lib.rs", source.module));
        for name in names_after(&source.code, "crate::") {
            if position(name).is_some_and(|imported| imported > own) {
                upward.insert((source.module.clone(), name.to_owned()));
            }
        }
    }
    assert_eq!(upward, BTreeSet::new(), "imports of a module that stands later in src/lib.rs");
}

#[test]
fn files_of_one_folder_import_each_other_without_a_circle() {
    let sources = library();
    let modules: BTreeSet<&str> = sources.iter().map(|source| &*source.module).collect();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in &sources {
        let Some((folder, _)) = source.module.rsplit_once('/') else { continue };
        let sibling = |name: &&str| modules.get(&*format!("{folder}/{name}")).copied();
        let mut names = names_after(&source.code, "super::");
        names.extend(names_after(&source.code, &format!("crate::{}::", folder.replace('/', "::"))));
        imports.insert(&source.module, names.iter().filter_map(sibling).collect());
    }
    let circles: BTreeSet<Vec<&str>> = imports.keys().filter_map(|start| circle(start, &imports)).collect();
    assert_eq!(circles, BTreeSet::new(), "files that import each other in a circle");
}

/// The files that `start` imports and that import it, directly or through others; with `start`, sorted.
fn circle<'a>(start: &'a str, imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let from_start = reachable(start, imports);
    let back = |file: &&&str| reachable(file, imports).contains(start);
    let members: Vec<&str> = from_start.iter().filter(back).copied().collect();
    (!members.is_empty()).then_some(members)
}

fn reachable<'a>(start: &str, imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = imports.get(start).into_iter().flatten().copied().collect();
    while let Some(file) = open.pop() {
        if found.insert(file) {
            open.extend(imports.get(file).into_iter().flatten());
        }
    }
    found
}

/// Temporary tables and tables of other databases that a file outside `src/ledger/` may write.
const OTHER_TABLES: [(&str, &str); 15] = [
    // the request limiter's own database, which all runs of a user share
    ("limit/shared/message", "messages"),
    ("limit/shared/table", "messages"),
    // the report's temporary tables
    ("report/bad_notes", "bad_images"),
    ("report/bad_notes", "bad_notes"),
    ("report/bad_notes", "note_totals"),
    ("report/gone", "gone"),
    ("report/notes", "note_totals"),
    ("report/shared_content", "same"),
    ("report/shared_content", "suspects"),
    // the verification's temporary tables
    ("verify/chosen", "chosen"),
    ("verify/adopt/list", "listed"),
    ("verify/adopt/owners", "known"),
    ("verify/foreign", "owned"),
    ("verify/pending", "foreign_files"),
    ("doctor/ledger", "t"),
];

#[test]
fn only_the_ledger_changes_its_tables() {
    let mut written = BTreeSet::new();
    for source in library().iter().filter(|source| word(&source.module) != "ledger") {
        for table in written_tables(&source.code) {
            written.insert((source.module.clone(), table.to_owned()));
        }
    }
    let known: BTreeSet<_> =
        OTHER_TABLES.iter().map(|(file, table)| ((*file).to_owned(), (*table).to_owned())).collect();
    let strange: Vec<_> = written.difference(&known).collect();
    assert!(strange.is_empty(), "SQL outside src/ledger/ writes the tables {strange:?}");
}

/// The tables that SQL in the code inserts into, updates or deletes from.
fn written_tables(code: &str) -> BTreeSet<&str> {
    let words: Vec<&str> = code
        .split(|char: char| !(char.is_ascii_alphanumeric() || matches!(char, '_' | '.')))
        .filter(|word| !word.is_empty())
        .collect();
    let mut tables = BTreeSet::new();
    for at in 0..words.len() {
        let rest = &words[at..];
        let skipped = match rest {
            ["INSERT" | "REPLACE", "INTO", ..] | ["DELETE", "FROM", ..] => 2,
            ["INSERT" | "UPDATE", "OR", _, "INTO", ..] => 4,
            ["UPDATE", "OR", ..] => 3,
            // `DO UPDATE SET` belongs to an INSERT
            ["UPDATE", "SET", ..] => continue,
            ["UPDATE", ..] => 1,
            _ => continue,
        };
        if let Some(name) = rest.get(skipped) {
            tables.insert(name.rsplit('.').next().unwrap_or(name));
        }
    }
    tables
}

#[test]
fn the_readers_of_these_tests_see_what_they_look_for() {
    let text =
        "use a;\n#[cfg(test)]\nmod tests;\n// b\nuse c;\n#[cfg(test)]\nmod tests {\n    use d;\n}\nuse e;";
    assert_eq!(program_of(text), "use a;\n#[cfg(test)]\nmod tests;\nuse c;\n#[cfg(test)]\nuse e;");
    let code = "use crate::ledger::{self, x};\nuse crate::{disk, error::{RunError, chain}};\nlet a = crate::fetch::b; \
                let c = other_crate::run;";
    assert_eq!(names_after(code, "crate::"), BTreeSet::from(["disk", "error", "fetch", "ledger"]));
    let sql = "INSERT OR REPLACE INTO images (id) … ON CONFLICT (id) DO UPDATE SET a = 1; UPDATE rows SET b = 2; \
               DELETE FROM temp.work; INSERT INTO main.orgs SELECT * FROM other.notes";
    assert_eq!(written_tables(sql), BTreeSet::from(["images", "orgs", "rows", "work"]));
    let imports = BTreeMap::from([
        ("a", BTreeSet::from(["b"])),
        ("b", BTreeSet::from(["c"])),
        ("c", BTreeSet::from(["b"])),
        ("d", BTreeSet::from(["a"])),
    ]);
    assert_eq!(circle("a", &imports), None);
    assert_eq!(circle("b", &imports), Some(vec!["b", "c"]));
}
