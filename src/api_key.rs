//! What an API key is, and the one bounded read of the file that holds it. No error shows any part of the key.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use secrecy::SecretString;

/// Largest file that can hold a key in one line, in bytes.
const KEY_FILE_MAX: u64 = 4096;

/// Why a file gives no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be opened or read.
    #[error("the key file cannot be read")]
    Io(#[from] io::Error),
    /// It has more than 4096 bytes.
    #[error("the file is too large to hold a key in one line")]
    TooLarge,
    /// It holds something else.
    #[error("{0}")]
    NoKey(&'static str),
}

/// Reads the key in a file, and says what kind of file it is.
///
/// # Errors
/// The file cannot be read, is too large, or holds no key.
pub fn read_key_file(path: &Path) -> Result<(SecretString, Metadata), KeyFileError> {
    // without fs_err: the caller names the file
    let file = File::open(path)?;
    let meta = file.metadata()?;
    let mut bytes = Vec::new();
    // one byte more, so that a file that is too large is refused instead of cut
    file.take(KEY_FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > KEY_FILE_MAX {
        return Err(KeyFileError::TooLarge);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyFileError::NoKey("the key is not ASCII"))?;
    let key = key_in_line(text).map_err(KeyFileError::NoKey)?;
    Ok((key, meta))
}

/// Reads a key from the text of a file: one line. A byte order mark before it and the end of the line are not part of
/// the key.
fn key_in_line(text: &str) -> Result<SecretString, &'static str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let key = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    check_key(key)?;
    Ok(SecretString::from(key))
}

/// Checks that a text can be a key: it goes into an HTTP header, and quotes around it are never meant.
///
/// # Errors
/// What is wrong with it.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() {
        Err("the key is empty")
    } else if is_assignment(key) {
        Err("it holds NAME=value; write the value alone, without the name and the equals sign")
    } else if key.contains(['"', '\'']) {
        Err("the key has quotes in it; leave them out")
    } else if key.contains(['\n', '\r']) {
        Err("the key has more than one line")
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("the key has a space or another character in it that is not visible ASCII")
    } else {
        Ok(())
    }
}

/// Whether a text is a line such as `MAXAI_API_KEY=secret` of an environment file. A key in Base64 may end in equals
/// signs, but has nothing behind them.
fn is_assignment(text: &str) -> bool {
    let text = text.trim_start();
    let text = text.strip_prefix("export ").unwrap_or(text);
    let Some((name, value)) = text.split_once('=') else { return false };
    let name = name.trim();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(word);
    is_name && value.contains(|char: char| char != '=' && !char.is_whitespace())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_key() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), b"\xef\xbb\xbfthe-key\r\n").expect("written");
        let (key, _) = read_key_file(file.path()).expect("a key");
        assert_eq!(key.expose_secret(), "the-key");
        assert!(key_in_line("the-\u{feff}key").is_err(), "only at the start");
        assert!(key_in_line("\u{feff}").is_err(), "nothing behind it");
    }

    #[test]
    fn a_line_of_an_environment_file_is_no_key() {
        for text in [
            "MAXAI_API_KEY=max_prd_ak_1",
            "api_key=\"quoted\"",
            "export KEY=value",
            "KEY = value",
            "\u{feff}A=b\n",
            "A=b\nMAXAI_API_KEY=c\n",
        ] {
            let error = key_in_line(text).expect_err(text);
            assert!(error.contains("NAME=value"), "{text}: {error}");
        }
        for key in ["max_prd_ak_Zm9v/YmFy+MTIz==", "Zm9vYg==", "Zm9vYmE=", "max_prd_ak_a/b=c"] {
            assert_eq!(check_key(key), Ok(()), "{key}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_and_not_cut() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let size = usize::try_from(KEY_FILE_MAX).expect("a size");
        fs_err::write(file.path(), vec![b'a'; size]).expect("written");
        let (key, _) = read_key_file(file.path()).expect("a key");
        assert_eq!(key.expose_secret().len(), size);
        fs_err::write(file.path(), vec![b'a'; size + 1]).expect("written");
        assert!(matches!(read_key_file(file.path()), Err(KeyFileError::TooLarge)));
    }
}
