//! Values in and out of SQLite's columns.
//!
//! Texts and BLOBs are borrowed from the row, since the reports read twenty columns of each of a million rows. A
//! value of another type than the schema's is an error, never a guess.

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Error, Result, Row};

/// A text column without a copy; NULL is the empty text.
pub(crate) fn text<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row str> {
    let text = row.get_ref(column)?.as_str_or_null().map_err(|error| wrong(column, error))?;
    Ok(text.unwrap_or_default())
}

/// A BLOB or text column without a copy; NULL is empty.
pub(crate) fn bytes<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row [u8]> {
    let bytes = row.get_ref(column)?.as_bytes_or_null().map_err(|error| wrong(column, error))?;
    Ok(bytes.unwrap_or_default())
}

/// A column that counts something; NULL is `None`, a negative number an error.
pub(crate) fn number(row: &Row<'_>, column: usize) -> Result<Option<u64>> {
    let Some(number) = row.get::<_, Option<i64>>(column)? else { return Ok(None) };
    u64::try_from(number).map(Some).map_err(|_| Error::IntegralValueOutOfRange(column, number))
}

/// A count or size as SQLite stores it: its integers are signed, and no count of this program comes near the limit.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn wrong(column: usize, error: FromSqlError) -> Error {
    Error::FromSqlConversionFailure(column, Type::Null, Box::new(error))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn read<T>(value: &str, read: impl FnOnce(&Row<'_>) -> Result<T>) -> Result<T> {
        let connection = Connection::open_in_memory().expect("memory");
        connection.query_row(&format!("SELECT {value}"), [], read)
    }

    #[test]
    fn null_is_the_empty_value_of_its_type() {
        assert_eq!(read("NULL", |row| text(row, 0).map(str::to_owned)), Ok(String::new()));
        assert_eq!(read("NULL", |row| bytes(row, 0).map(<[u8]>::to_vec)), Ok(Vec::new()));
        assert_eq!(read("NULL", |row| number(row, 0)), Ok(None));
    }

    #[test]
    fn a_value_that_the_schema_does_not_allow_is_an_error() {
        assert!(read("7", |row| text(row, 0).map(str::to_owned)).is_err());
        assert!(read("7", |row| bytes(row, 0).map(<[u8]>::to_vec)).is_err());
        assert!(read("'7'", |row| number(row, 0)).is_err());
        assert_eq!(read("-1", |row| number(row, 0)), Err(Error::IntegralValueOutOfRange(0, -1)));
    }

    #[test]
    fn a_number_too_large_for_sqlite_is_its_largest() {
        assert_eq!((int(7), int(u64::MAX)), (7, i64::MAX));
    }
}
