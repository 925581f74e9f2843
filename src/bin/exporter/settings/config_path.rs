//! Where the config file is searched for if none is named.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// In the working folder.
const HERE: &str = "exporter.toml";
/// In the user's config folder.
const USER: &str = "exporter/config.toml";

/// The environment's variables by name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The first of the usual paths that exists.
pub fn find(env: Environment<'_>) -> Option<PathBuf> {
    let user = folder(env).map(|folder| folder.join(USER));
    std::iter::once(PathBuf::from(HERE)).chain(user).find(|path| exists(path))
}

/// `$XDG_CONFIG_HOME`, else `~/.config`. A relative path in a variable is ignored, as the specification asks
/// (<https://specifications.freedesktop.org/basedir-spec/latest/>).
fn folder(env: Environment<'_>) -> Option<PathBuf> {
    let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))
}

/// A file that exists but cannot be read counts: without it the run would use other settings than the user meant. A
/// folder that this process may not enter (systemd's `ProtectHome`) holds none.
fn exists(path: &Path) -> bool {
    match std::fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_folder_is_the_one_of_xdg_else_below_the_home() {
        let env = |xdg: &'static str, home: &'static str| {
            folder(&move |name| {
                let value = if name == "HOME" { home } else { xdg };
                (!value.is_empty()).then(|| value.into())
            })
        };
        assert_eq!(env("/xdg", "/home/a"), Some("/xdg".into()));
        assert_eq!(env("", "/home/a"), Some("/home/a/.config".into()));
        assert_eq!(env("relative", "/home/a"), Some("/home/a/.config".into()));
        assert_eq!(env("", ""), None);
    }

    #[test]
    fn what_is_no_file_in_a_folder_that_is_none_is_not_there() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(exists(file.path()));
        assert!(!exists(&file.path().join(USER)));
        assert!(!exists(Path::new("/no/such/folder/exporter.toml")));
    }
}
