//! Which export a ledger belongs to, if it is not in the export folder (`--state-dir`).
//!
//! A random id is made with the ledger. A ledger elsewhere and its export both have it: the id decides, not the path, so
//! an export that is moved or renamed goes on. Used with another export, a ledger is refused before anything is touched.
//! The path is remembered to name the export in that refusal, and for an export whose copy of the id is not there (yet).

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::fault::sqlite_error_in;
use super::paths::{LEDGER_FILE, STATE_DIR, with_suffix};
use crate::disk::fault::disk_error;
use crate::disk::folder::{self, refuse_special};
use crate::disk::presence::{cannot_look_at, known};
use crate::error::RunError;

/// The copy of the id in `.exporter` of an export whose ledger is elsewhere.
const ID_FILE: &str = "export-id";
/// Hex digits of an id.
const ID_LENGTH: usize = 32;

/// What a ledger says of its export.
struct Identity {
    id: String,
    /// Empty: it has never been used from outside an export.
    folder: String,
}

impl Identity {
    /// `None` for a ledger of version 1, which takes an id when it is opened for writing.
    fn of(connection: &Connection, path: &Path) -> Result<Option<Self>, RunError> {
        let read = || {
            let there = "SELECT count(*) FROM main.sqlite_schema WHERE name = 'identity'";
            if connection.query_row(there, [], |row| row.get::<_, i64>(0))? == 0 {
                return Ok(None);
            }
            connection.query_row("SELECT export, folder FROM identity", [], |row| {
                Ok(Some(Self { id: row.get(0)?, folder: row.get(1)? }))
            })
        };
        read().map_err(|error| sqlite_error_in(path, error))
    }
}

/// Refuses a ledger in the folder `state` that belongs to another export than `out`. Touches nothing.
///
/// # Errors
/// [`RunError::Settings`] names both.
pub(super) fn check(connection: &Connection, out: &Path, state: &Path) -> Result<(), RunError> {
    let path = state.join(LEDGER_FILE);
    let Some(own) = Identity::of(connection, &path)? else { return Ok(()) };
    match read_copy(out)? {
        Some(copy) if copy == own.id => Ok(()),
        // a ledger without images takes the export's id
        Some(_) if own.folder.is_empty() && !knows_images(connection, &path)? => Ok(()),
        Some(_) => Err(another_export(&path, &own, out, "")),
        None if own.folder.is_empty() || own.folder == text_of(out) || !is_elsewhere(out, state) => Ok(()),
        None => {
            let copy = copy_of(out);
            let advice = format!(
                " (if it is that export, moved without its {STATE_DIR}: write {} into {})",
                own.id,
                copy.display()
            );
            Err(another_export(&path, &own, out, &advice))
        }
    }
}

/// Gives ledger and export the same id; returns the copy if it was created. The caller holds the locks, and the ledger
/// has passed [`check`].
pub(super) fn bind(connection: &Connection, out: &Path, state: &Path) -> Result<Option<PathBuf>, RunError> {
    let path = state.join(LEDGER_FILE);
    let Some(own) = Identity::of(connection, &path)? else { return Ok(None) };
    let copy = read_copy(out)?;
    let elsewhere = is_elsewhere(out, state);
    let id = copy.clone().unwrap_or(own.id.clone());
    let mut created = None;
    if elsewhere && copy.is_none() {
        // before the path: a ledger that names a folder has its copy there
        created = Some(write_copy(out, &id)?);
    }
    let folder = if elsewhere { text_of(out) } else { String::new() };
    if (&own.id, &own.folder) != (&id, &folder) {
        connection
            .execute("UPDATE identity SET export = ?1, folder = ?2", [&id, &folder])
            .map_err(|error| sqlite_error_in(&path, error))?;
    }
    if !elsewhere && copy.is_some() {
        remove_copy(out)?;
    }
    Ok(created)
}

/// Whether the ledger is not in the export folder.
fn is_elsewhere(out: &Path, state: &Path) -> bool {
    state != out.join(STATE_DIR)
}

fn knows_images(connection: &Connection, path: &Path) -> Result<bool, RunError> {
    connection
        .query_row("SELECT EXISTS (SELECT 1 FROM images)", [], |row| row.get(0))
        .map_err(|error| sqlite_error_in(path, error))
}

fn another_export(ledger: &Path, own: &Identity, out: &Path, advice: &str) -> RunError {
    let theirs = if own.folder.is_empty() { "another export" } else { &own.folder };
    RunError::Settings(format!(
        "the ledger {} belongs to {theirs}, and {} is not that export; nothing was touched. Each export needs a \
         --state-dir of its own{advice}",
        ledger.display(),
        text_of(out)
    ))
}

/// The path of an export as it is shown and compared: the same for every spelling, also while its disk is not mounted.
fn text_of(out: &Path) -> String {
    let resolved = || -> io::Result<PathBuf> {
        let absolute = std::path::absolute(out)?;
        match (absolute.canonicalize(), absolute.parent(), absolute.file_name()) {
            (Ok(path), ..) => Ok(path),
            (Err(_), Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
            (Err(error), ..) => Err(error),
        }
    };
    resolved().unwrap_or_else(|_| out.to_owned()).to_string_lossy().into_owned()
}

fn copy_of(out: &Path) -> PathBuf {
    out.join(STATE_DIR).join(ID_FILE)
}

/// The id in the export folder. A file that holds no id counts as none.
fn read_copy(out: &Path) -> Result<Option<String>, RunError> {
    let path = copy_of(out);
    refuse_special(&path)?;
    let Some(bytes) = known(std::fs::read(&path)).map_err(cannot_look_at(&path))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).trim().to_ascii_lowercase();
    let is_id = text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(is_id.then_some(text))
}

/// Writes the id into the export folder, durably and as a whole.
fn write_copy(out: &Path, id: &str) -> Result<PathBuf, RunError> {
    let path = copy_of(out);
    let new = with_suffix(&path, ".new");
    let write = || {
        // one that a killed run left may be a link
        match std::fs::remove_file(&new) {
            Err(error) if !crate::disk::presence::is_absence(&error) => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    };
    write().map_err(disk_error("writing", &path))?;
    folder::sync(&out.join(STATE_DIR))?;
    Ok(path)
}

/// Removes the copy of an export whose ledger is in its own folder again.
fn remove_copy(out: &Path) -> Result<(), RunError> {
    let path = copy_of(out);
    std::fs::remove_file(&path).map_err(disk_error("removing", &path))?;
    folder::sync(&out.join(STATE_DIR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{open_locked, open_read_only, open_state};

    struct Exports(tempfile::TempDir);

    impl Exports {
        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn run(&self, out: &str, state: &str) -> Result<(), RunError> {
            open_state(&self.at(out), Some(&self.at(state))).map(drop)
        }

        /// What each command that opens a ledger says.
        fn refusals(&self, out: &str, state: &str) -> Vec<String> {
            let (out, state) = (self.at(out), self.at(state));
            let state = Some(state.as_path());
            let results = [
                open_state(&out, state).map(drop),
                open_locked(&out, state, "report").map(drop),
                open_read_only(&out, state).map(drop),
            ];
            results.into_iter().map(|result| result.expect_err("refused").to_string()).collect()
        }

        fn id(&self, out: &str) -> String {
            std::fs::read_to_string(copy_of(&self.at(out))).expect("an id")
        }
    }

    fn exports() -> Exports {
        Exports(tempfile::tempdir().expect("a folder"))
    }

    #[test]
    fn a_ledger_elsewhere_is_refused_to_another_export_and_both_are_named() {
        let exports = exports();
        exports.run("a", "state").expect("its own");
        exports.run("b", "other").expect("its own");
        for stranger in ["b", "new"] {
            for refusal in exports.refusals(stranger, "state") {
                let names = [exports.at("a"), exports.at(stranger)];
                assert!(names.iter().all(|name| refusal.contains(&*name.to_string_lossy())), "{refusal}");
                assert!(refusal.contains("--state-dir"), "{refusal}");
            }
        }
        assert!(!std::fs::exists(exports.at("new")).expect("looked"), "nothing is touched");
        exports.run("a", "state").expect("its own again");
    }

    #[test]
    fn the_id_decides_and_a_moved_export_and_a_moved_ledger_go_on() {
        let exports = exports();
        exports.run("a", "state").expect("its own");
        let id = exports.id("a");
        std::fs::rename(exports.at("a"), exports.at("moved")).expect("moved");
        std::fs::rename(exports.at("state"), exports.at("elsewhere")).expect("moved");
        open_read_only(&exports.at("moved"), Some(&exports.at("elsewhere"))).expect("read");
        exports.run("moved", "elsewhere").expect("the same export");
        assert_eq!(exports.id("moved"), id);
        // with its copy the id tells; without it the path does
        std::fs::remove_file(copy_of(&exports.at("moved"))).expect("removed");
        exports.run("moved", "elsewhere").expect("on the same path");
        assert_eq!(exports.id("moved"), id);
        std::fs::rename(exports.at("moved"), exports.at("b")).expect("moved");
        std::fs::remove_file(copy_of(&exports.at("b"))).expect("removed");
        let refusal = &exports.refusals("b", "elsewhere")[0];
        assert!(refusal.contains(id.trim()), "the way out is named: {refusal}");
        std::fs::write(copy_of(&exports.at("b")), &id).expect("as advised");
        exports.run("b", "elsewhere").expect("goes on");
    }

    #[test]
    fn only_a_ledger_elsewhere_has_a_copy_of_its_id_in_the_export() {
        let exports = exports();
        let out = exports.at("a");
        drop(open_state(&out, None).expect("made"));
        assert!(!std::fs::exists(copy_of(&out)).expect("looked"));
        // the same folder by another name is not elsewhere
        let spelled = out.join(STATE_DIR).join("../.exporter");
        drop(open_state(&out, Some(&spelled)).expect("opened"));
        assert!(!std::fs::exists(copy_of(&out)).expect("looked"));
        // moved out, and in again
        std::fs::create_dir(exports.at("state")).expect("made");
        let (inside, outside) =
            (out.join(STATE_DIR).join(LEDGER_FILE), exports.at("state").join(LEDGER_FILE));
        std::fs::rename(&inside, &outside).expect("moved");
        exports.run("a", "state").expect("moved out");
        assert_eq!(exports.id("a").trim().len(), ID_LENGTH);
        std::fs::rename(&outside, &inside).expect("moved");
        drop(open_state(&out, None).expect("moved in"));
        assert!(!std::fs::exists(copy_of(&out)).expect("looked"), "ledger and lock, nothing else");
    }
}
