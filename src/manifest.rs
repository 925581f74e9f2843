//! Placeholder types until the reader lands.
/// Names of columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnNames {
    /// Organization.
    pub org: Option<String>,
    /// Note.
    pub note: Option<String>,
    /// Image.
    pub image: Option<String>,
}
/// How to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestOptions {
    /// Delimiter.
    pub delimiter: Option<u8>,
    /// Columns.
    pub columns: ColumnNames,
}
/// Bad row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Line.
    pub line: u64,
    /// Org.
    pub org: String,
    /// Note.
    pub note: String,
    /// Image.
    pub image: String,
    /// Reason.
    pub reason: String,
}
/// Error.
#[derive(Debug, thiserror::Error)]
#[error("manifest")]
pub struct ManifestError;
