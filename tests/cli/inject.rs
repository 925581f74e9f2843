//! The program of `tests/inject`, which makes system calls of another program fail, wait or kill it.
//!
//! It needs Linux and a C compiler, which the build needs anyway.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The injector, compiled once for each test binary.
fn injector() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject/inject.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inject");
        let fresh = program.with_extension(std::process::id().to_string());
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let built = Command::new(compiler).args(["-O1", "-o"]).arg(&fresh).arg(&source).status();
        assert!(built.expect("a C compiler").success(), "inject.c does not compile");
        // another test binary may be using the old one
        std::fs::rename(&fresh, &program).expect("renamed");
        program
    })
}

/// `command`, started under the injector with `rules` such as `call=stat,path=/data/,errno=EACCES`. Its output is
/// captured; it sees the variables that were set for it, and no others.
pub fn inject(command: &Command, rules: &[&str]) -> Command {
    let mut injected = Command::new(injector());
    injected.args(rules).arg("--").arg(command.get_program()).args(command.get_args()).env_clear();
    injected.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    if let Some(folder) = command.get_current_dir() {
        injected.current_dir(folder);
    }
    injected.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    injected
}

#[test]
fn an_injected_error_reaches_the_program() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("UTF-8");
    let mut cat = Command::new("/bin/cat");
    cat.arg(path).env("LC_ALL", "C");
    let rule = format!("call=open,path={path},errno=EACCES");
    let output = inject(&cat, &[&rule]).output().expect("started");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Permission denied"), "{said}");
    let output = inject(&cat, &["call=open,path=/elsewhere,errno=EACCES"]).output().expect("started");
    assert!(output.status.success());
}
