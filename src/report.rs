//! Placeholder until the reports land.
/// Rows by state: they always add up to `rows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Rows of the manifest.
    pub rows: u64,
    /// Delivered by this run.
    pub stored: u64,
    /// Delivered by an earlier run.
    pub skipped: u64,
    /// Same image as an earlier row.
    pub duplicate: u64,
    /// Given up.
    pub failed: u64,
    /// The run stopped first.
    pub untried: u64,
}
/// Summary.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Summary {
    /// Rows by state.
    #[serde(flatten)]
    pub counts: Counts,
    /// Bytes delivered by this run.
    pub bytes: u64,
    /// How long the run took.
    pub seconds: f64,
    /// Requests to the API.
    pub api_requests: u64,
    /// 429 answers.
    pub api_429: u64,
    /// Tries beyond the first.
    pub retries: u64,
    /// Rows whose bytes an earlier row had.
    pub same_content: u64,
    /// Delivered earlier, not asked for by this manifest.
    pub not_in_manifest: u64,
    /// Exit code of the run.
    pub exit_code: u8,
    /// Failed and untried rows by code.
    pub failures: std::collections::BTreeMap<String, u64>,
}
