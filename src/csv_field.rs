//! Quoting of one CSV field (RFC 4180): only if necessary, as the `csv` crate does it.

/// Appends a field to a line, quoted if necessary.
pub fn push(line: &mut Vec<u8>, field: &[u8]) {
    // no early exit, so that the compiler checks many bytes at once
    let quoted = field.iter().fold(false, |found, byte| found | matches!(byte, b',' | b'"' | b'\r' | b'\n'));
    if !quoted {
        line.extend_from_slice(field);
        return;
    }
    line.push(b'"');
    for &byte in field {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_only_if_necessary() {
        for (field, wanted) in [
            ("", ""),
            ("a b", "a b"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
            ("a\rb", "\"a\rb\""),
            ("=1+1", "=1+1"),
        ] {
            let mut line = b"x,".to_vec();
            push(&mut line, field.as_bytes());
            assert_eq!(line, [b"x,", wanted.as_bytes()].concat(), "{field}");
        }
    }
}
