//! `exporter verify --adopt` and what a killed program left of the ledger: it can be adopted again, at whatever step it
//! was killed, and nothing of an old ledger gets into the new one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use rusqlite::Connection;

use sandbox::workspace::{Run, Workspace};

use crate::inject::inject;

const IMAGES: usize = 8;
/// The database and what SQLite keeps beside it.
const FILES: [&str; 4] = ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite-journal"];

/// An export whose ledger is cut in the middle, with its last changes in a log.
struct Export {
    workspace: Workspace,
    /// The ledger's files, as a killed run left them.
    left: BTreeMap<&'static str, Vec<u8>>,
}

impl Export {
    fn new() -> Self {
        let workspace = Workspace::with_images(IMAGES);
        workspace.run(&[]).assert_code(0);
        let state = workspace.out().join(".exporter");
        let mut left = BTreeMap::new();
        let open = Connection::open(state.join(FILES[0])).expect("opened");
        open.execute_batch("UPDATE images SET delivered = 0, warning = 'of the old ledger'")
            .expect("changed");
        for file in &FILES[..3] {
            left.insert(*file, fs::read(state.join(file)).expect("read"));
        }
        left.insert(FILES[3], b"a journal that was begun".to_vec());
        drop(open);
        Self { workspace, left }
    }

    fn state(&self) -> PathBuf {
        self.workspace.out().join(".exporter")
    }

    /// Leaves these files of the ledger, and no other file but the lock.
    fn leave(&self, files: &[&str]) {
        for entry in fs::read_dir(self.state()).expect("listed") {
            let entry = entry.expect("an entry");
            if entry.file_name() != "lock" {
                fs::remove_file(entry.path()).expect("removed");
            }
        }
        for file in files {
            fs::write(self.state().join(file), &self.left[file]).expect("written");
        }
    }

    fn exporter(&self, args: &[&str]) -> Run {
        Run::wait(self.workspace.command(args).spawn().expect("started"))
    }

    /// Adopts, unless the ledger is sound; afterwards every image is delivered without a request for it.
    #[track_caller]
    fn goes_on(&self, what: &str) {
        let adopted = self.exporter(&["verify", "--adopt"]);
        let was_sound = adopted.code == Some(2) && adopted.stderr.contains("is sound");
        assert!(adopted.code == Some(0) || was_sound, "{what}: {adopted:?}");
        let integrity: String = Connection::open(self.state().join(FILES[0]))
            .and_then(|ledger| ledger.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(integrity, "ok", "{what}");
        assert!(matches!(self.exporter(&["status"]).code, Some(0)), "{what}");
        self.workspace.sandbox.clear_requests();
        self.workspace.run(&[]).assert_code(0);
        assert_eq!(self.workspace.states(), ["skipped"; IMAGES], "{what}");
        assert_eq!(self.workspace.sandbox.requests().len(), 0, "{what}");
        self.exporter(&["verify"]).assert_code(0);
    }
}

#[test]
fn whatever_is_left_of_a_lost_ledger_does_not_get_into_the_adopted_one() {
    let export = Export::new();
    for subset in 0..16_u8 {
        let files: Vec<_> =
            FILES.iter().enumerate().filter(|(n, _)| subset & (1 << n) != 0).map(|(_, file)| *file).collect();
        export.leave(&files);
        if files.contains(&FILES[0]) {
            // with a database the ledger may be sound: here it is not
            fs::write(export.state().join(FILES[0]), "no database").expect("written");
        }
        export.goes_on(&format!("{files:?}"));
        let moved = fs::read_dir(export.state()).expect("listed").filter(|entry| {
            entry.as_ref().expect("an entry").file_name().to_string_lossy().contains(".damaged-")
        });
        assert_eq!(moved.count(), files.len(), "nothing of the old ledger is removed: {files:?}");
    }
}

#[test]
fn a_sound_ledger_with_any_files_beside_it_is_never_made_worse() {
    let export = Export::new();
    // what a killed run leaves: each state that SQLite itself can be in
    for files in [&FILES[..1], &FILES[..2], &FILES[..3], &[FILES[0], FILES[2]], &[FILES[0], FILES[3]]] {
        export.leave(files);
        let adopted = export.exporter(&["verify", "--adopt"]);
        assert_eq!(adopted.code, Some(2), "{files:?}: {adopted:?}");
        assert!(adopted.stderr.contains("is sound"), "{files:?}: {}", adopted.stderr);
        export.workspace.run(&[]).assert_code(0);
        export.exporter(&["verify"]).assert_code(0);
    }
}

/// Kills an adoption at the n-th call of a kind in the state folder. False: it got to its end without.
fn killed_at(export: &Export, call: &str, n: usize) -> bool {
    let rule = format!("call={call},path=/.exporter,after={n},count=1,kill=1");
    let mut command = inject(&export.workspace.command(&["verify", "--adopt"]), &[&rule]);
    let output = command.output().expect("started");
    if output.status.signal() == Some(9) {
        return true;
    }
    assert_eq!(output.status.code(), Some(0), "{call} {n}: {}", String::from_utf8_lossy(&output.stderr));
    false
}

#[test]
fn an_adoption_that_is_killed_at_any_of_its_steps_can_be_repeated() {
    let export = Export::new();
    for (call, at_least) in [("rename", 5), ("sync", 3), ("unlink", 1)] {
        let mut n = 0;
        loop {
            export.leave(&FILES);
            fs::write(export.state().join(FILES[0]), "no database").expect("written");
            if !killed_at(&export, call, n) {
                break;
            }
            export.goes_on(&format!("killed at {call} {n}"));
            n += 1;
        }
        assert!(n >= at_least, "only {n} calls of {call}");
    }
}
