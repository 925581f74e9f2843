//! How one field stands in a CSV line (RFC 4180): quoted only where it must be, as the `csv` crate does it.

/// Adds a field to a line, quoted where it must be.
pub fn push(line: &mut Vec<u8>, field: &[u8]) {
    // no early end: this way the compiler looks at many bytes at once
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
    fn a_field_is_quoted_only_where_it_must_be() {
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
