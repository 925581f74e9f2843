//! Opens a manifest as a file that can be read twice: once to check every row, once to load them.

use std::fs::File;
use std::io::{self, Seek};
use std::path::PathBuf;

/// Where the manifest comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a named pipe.
    File(PathBuf),
    /// Standard input, which is read once.
    Stdin,
}

impl Source {
    /// The name to show: the path, or `-`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Stdin => PathBuf::from("-"),
        }
    }
}

/// Opens the manifest as a file that can be read again; standard input and pipes are copied into an unnamed one.
///
/// # Errors
/// If it cannot be read, or is a folder.
pub fn open(source: &Source) -> io::Result<File> {
    match source {
        Source::File(path) => {
            let file = File::open(path)?;
            let kind = file.metadata()?.file_type();
            if kind.is_dir() {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder, a CSV file is wanted"));
            }
            if kind.is_file() { Ok(file) } else { spool(file) }
        }
        Source::Stdin => spool(io::stdin().lock()),
    }
}

fn spool(mut from: impl io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut from, &mut file)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_shown_by_its_path_or_a_hyphen() {
        assert_eq!(Source::File(PathBuf::from("a/b.csv")).path(), PathBuf::from("a/b.csv"));
        assert_eq!(Source::Stdin.path(), PathBuf::from("-"));
    }
}
