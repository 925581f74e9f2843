//! What an API key is, and the one bounded read of the file that holds it.

use secrecy::SecretString;

/// A larger file holds no key, in bytes.
pub const KEY_FILE_MAX: u64 = 4096;

/// Reads a key from the text of a file: one line, whose end is not part of the key.
///
/// # Errors
/// Says what is wrong with it, without showing it.
pub fn key_of_file(text: &str) -> Result<SecretString, &'static str> {
    let key = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    check_key(key)?;
    Ok(SecretString::from(key))
}

/// What a key cannot be: it goes into an HTTP header, and nobody means the quotes around it.
///
/// # Errors
/// Says what is wrong with it, without showing it.
pub fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() {
        Err("the key is empty")
    } else if key.contains(['"', '\'']) {
        Err("the key has quotes in it; leave them out")
    } else if key.contains(['\n', '\r']) {
        Err("the key has more than one line")
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("the key has a blank or another character in it that is not visible ASCII")
    } else {
        Ok(())
    }
}
