//! One image that meets a list of faults, one consumed a request; and what must be true of every export,
//! whatever was met.

use std::collections::BTreeSet;
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use sandbox::faults::{ApiFault, StorageFault};
use sandbox::images::jpeg;
use sandbox::log::Server;
use sandbox::presign::hex;
use sandbox::workspace::{Line, Run, Workspace};

/// Cases of one test that run at the same time.
const AT_ONCE: usize = 10;
/// Size of a case's image.
pub const SIZE: usize = 300_000;

/// An image, its faults, and the versions of it that may come home.
pub struct Case {
    pub workspace: Workspace,
    args: Vec<&'static str>,
    versions: Vec<Vec<u8>>,
}

/// How it ended.
pub struct End {
    pub workspace: Workspace,
    pub line: Line,
    pub ran: Run,
}

/// Does it for each at the same time: most of a case's time is waiting.
pub fn each<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let cases: Vec<T> = cases.into_iter().collect();
    let places = Mutex::new(cases.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = places.lock().expect("no holder panics").next();
                    let Some(case) = next else { break };
                    test(case);
                }
            });
        }
    });
}

/// Faults of the storage.
pub fn case<const N: usize>(faults: [StorageFault; N]) -> Case {
    image(jpeg(1, SIZE), "image/jpeg", faults)
}

/// Faults of the API.
pub fn api_case<const N: usize>(faults: [ApiFault; N]) -> Case {
    let case = case([]);
    for fault in faults {
        case.workspace.sandbox.script().api("i", fault);
    }
    case
}

/// The same with another object.
pub fn image<const N: usize>(bytes: Vec<u8>, content_type: &str, faults: [StorageFault; N]) -> Case {
    let workspace = Workspace::new();
    workspace.sandbox.add_image("o", "n", "i", bytes.clone(), content_type);
    workspace.manifest("org,note,image\no,n,i\n");
    for fault in faults {
        workspace.sandbox.script().storage("i", fault);
    }
    Case { workspace, args: Vec::new(), versions: vec![bytes] }
}

/// Several at once.
pub fn all<const N: usize>(faults: [StorageFault; N]) -> StorageFault {
    StorageFault::All(faults.into())
}

impl Case {
    pub fn arg(mut self, name: &'static str, value: &'static str) -> Self {
        self.args.extend([name, value]);
        self
    }

    /// These bytes may come home, and no others.
    pub fn version(mut self, bytes: Vec<u8>) -> Self {
        self.versions = vec![bytes];
        self
    }

    #[track_caller]
    fn assert_code(self, state: &str, code: i32) -> End {
        let ran = self.workspace.run(&self.args).assert_code(code);
        assert_consistent(&self.workspace, &ran, |_| self.versions.clone());
        let line = self.workspace.report().remove(0);
        assert_eq!(line["state"], state, "{line:?}\n{}", ran.stderr);
        assert_eq!(self.workspace.sandbox.script().waiting(Server::Storage), 0, "a fault that nobody met");
        assert_eq!(self.workspace.sandbox.script().waiting(Server::Api), 0, "a fault that nobody met");
        End { workspace: self.workspace, line, ran }
    }

    #[track_caller]
    pub fn stored(self) -> End {
        self.assert_code("stored", 0)
    }

    #[track_caller]
    pub fn failed(self, code: &str) -> End {
        let end = self.assert_code("failed", 3);
        assert_eq!(end.line["error_code"], code, "{:?}", end.line);
        end
    }

    #[track_caller]
    pub fn untried(self, code: &str) -> End {
        let end = self.assert_code("untried", 1);
        assert_eq!(end.line["error_code"], code, "{:?}", end.line);
        end
    }
}

impl End {
    #[track_caller]
    pub fn attempts(self, attempts: u32) -> Self {
        assert_eq!(self.line["attempts"], attempts.to_string(), "{:?}\n{}", self.line, self.ran.stderr);
        self
    }

    #[track_caller]
    pub fn checked_by(self, by: &str) -> Self {
        assert_eq!(self.line["checked_by"], by, "{:?}", self.line);
        self
    }

    /// A word of the warning; empty: there is none.
    #[track_caller]
    pub fn warning(self, word: &str) -> Self {
        let warning = &self.line["warning"];
        assert!(warning.contains(word) && word.is_empty() == warning.is_empty(), "{warning:?}");
        self
    }

    #[track_caller]
    pub fn says(self, word: &str) -> Self {
        assert!(self.line["error"].contains(word), "{:?}", self.line);
        self
    }

    /// `Range` of each GET, empty where there was none.
    pub fn ranges(&self) -> Vec<String> {
        let requests = self.workspace.sandbox.requests();
        let gets = requests.iter().filter(|request| request.server == Server::Storage);
        gets.map(|request| request.header("range").unwrap_or_default().to_owned()).collect()
    }
}

/// What holds for every export: counts and exit code agree; each delivered row has a file with the bytes of one
/// version, and the hash, size and checks that the report tells; no other file is there; no secret was said.
#[track_caller]
pub fn assert_consistent(workspace: &Workspace, ran: &Run, versions: impl Fn(&Line) -> Vec<Vec<u8>>) {
    let report = workspace.report();
    let mut paths = BTreeSet::new();
    for line in &report {
        let delivered = matches!(&*line["state"], "stored" | "skipped");
        assert_eq!(delivered, !line["path"].is_empty() && line["state"] != "duplicate", "{line:?}");
        if !delivered {
            continue;
        }
        let bytes = std::fs::read(workspace.out().join(&line["path"])).expect("a delivered file");
        assert!(versions(line).contains(&bytes), "{} bytes of no version: {line:?}", bytes.len());
        assert_eq!(line["sha256"], hex(&Sha256::digest(&bytes)), "{line:?}");
        assert_eq!(line["bytes"], bytes.len().to_string(), "{line:?}");
        let by: Vec<&str> = line["checked_by"].split('+').collect();
        if by.contains(&"image-end") {
            let has = |end: &[u8]| bytes.windows(end.len()).any(|piece| piece == end);
            assert!(has(b"\xff\xd9") || has(b"IEND\xae\x42\x60\x82"), "{line:?}");
        }
        if by.contains(&"etag-md5") {
            assert_eq!(line["etag"], format!("\"{}\"", hex(&md5::Md5::digest(&bytes))), "{line:?}");
        }
        paths.insert(line["path"].clone());
    }
    assert_eq!(workspace.images().into_iter().collect::<BTreeSet<_>>(), paths, "files and report");
    let listed: BTreeSet<String> = workspace
        .read("manifest-sha256.txt")
        .lines()
        .map(|line| line.split_once("  ").expect("hash, two spaces, path").1.to_owned())
        .collect();
    assert_eq!(listed, paths, "the bag's list and the report");
    let of = |state: &str| report.iter().filter(|line| line["state"] == state).count() as u64;
    for state in ["stored", "skipped", "duplicate", "failed", "untried"] {
        assert_eq!(workspace.count(state), of(state), "{state}");
    }
    assert_eq!(workspace.count("rows"), report.len() as u64);
    assert!(!ran.stderr.contains("X-Amz") && !ran.stdout.contains("X-Amz"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    if ran.code == Some(0) {
        let state = std::fs::read_dir(workspace.out().join(".exporter")).expect("there");
        let mut left: Vec<_> = state.map(|entry| entry.expect("an entry").file_name()).collect();
        left.sort();
        assert_eq!(left, ["ledger.sqlite", "lock"], "no part is left");
    }
}
