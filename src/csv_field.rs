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

/// The number of fields of a line that [`push`] made.
pub fn count(line: &[u8]) -> usize {
    commas(line).count() + 1
}

/// The first `fields` fields of a line that [`push`] made; all of them if it has fewer.
pub fn first(line: &[u8], fields: usize) -> &[u8] {
    let end = fields.checked_sub(1).map_or(Some(0), |before| commas(line).nth(before));
    &line[..end.unwrap_or(line.len())]
}

/// The positions of the commas that separate fields.
fn commas(line: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut quoted = false;
    line.iter().enumerate().filter_map(move |(at, byte)| {
        quoted ^= *byte == b'"';
        (*byte == b',' && !quoted).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fields_of_a_line_are_its_beginning() {
        let line = b"a,\"b,\"\",\",,d";
        assert_eq!(count(line), 4);
        for (fields, wanted) in
            [(0, ""), (1, "a"), (2, "a,\"b,\"\",\""), (3, "a,\"b,\"\",\","), (9, "a,\"b,\"\",\",,d")]
        {
            assert_eq!(first(line, fields), wanted.as_bytes(), "{fields}");
        }
    }

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
