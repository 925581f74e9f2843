//! The numbers in Prometheus' text format
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>). Pure.
//!
//! All are gauges: they describe the newest run, and start again at 0 with the next one.

use std::fmt::Write as _;

use exporter::report::Counts;

const LAST_SUCCESS: &str = "exporter_last_success_timestamp_seconds";
const RECEIPT_INFO: &str = "exporter_receipt_info";

/// What a run has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    pub counts: Counts,
    pub bytes: u64,
    pub api_requests: u64,
    pub api_429: u64,
    pub retries: u64,
    /// From 0 to 1.
    pub allowance_share: f64,
    pub seconds: f64,
}

/// What outlives the run that wrote it: a run that has none of its own yet repeats it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Before {
    /// Unix time of the last success; 0: none.
    pub last_success: f64,
    /// Hash of the newest receipt, in hex.
    pub receipt: Option<String>,
}

/// The file's text. Times are Unix times in seconds; there is no exit code while the run is going on.
pub fn text(numbers: &Numbers, now: f64, before: &Before, exit_code: Option<u8>) -> String {
    let mut text = String::new();
    let counts = numbers.counts;
    head(&mut text, "exporter_rows", "Rows of the manifest by state.");
    for (state, rows) in [
        ("stored", counts.stored),
        ("skipped", counts.skipped),
        ("duplicate", counts.duplicate),
        ("failed", counts.failed),
        ("untried", counts.untried),
    ] {
        let _ = writeln!(text, "exporter_rows{{state=\"{state}\"}} {rows}");
    }
    for (name, help, value) in [
        ("exporter_bytes", "Bytes of the images that the run delivered.", numbers.bytes),
        ("exporter_api_requests", "Requests to the API, retries too.", numbers.api_requests),
        ("exporter_api_429", "Answers of the API with status 429, too many requests.", numbers.api_429),
        ("exporter_retries", "Attempts beyond the first of an image.", numbers.retries),
    ] {
        head(&mut text, name, help);
        let _ = writeln!(text, "{name} {value}");
    }
    for (name, help, value) in [
        (
            "exporter_allowance_share",
            "Requests to the API as a share of what the allowance permits from the first to the last, 0 to 1.",
            numbers.allowance_share,
        ),
        ("exporter_run_seconds", "How long the run took, or has taken so far.", numbers.seconds),
        (
            "exporter_last_run_timestamp_seconds",
            "Unix time when the newest run ended; while it is going on, when this was written.",
            now,
        ),
        (LAST_SUCCESS, "Unix time when the newest run with exit code 0 ended; 0: none.", before.last_success),
    ] {
        head(&mut text, name, help);
        let _ = writeln!(text, "{name} {value:.3}");
    }
    if let Some(code) = exit_code {
        head(&mut text, "exporter_exit_code", "Exit code of the newest run; missing while it is going on.");
        let _ = writeln!(text, "exporter_exit_code {code}");
    }
    if let Some(receipt) = &before.receipt {
        head(&mut text, RECEIPT_INFO, "SHA-256 of the newest line of receipts.jsonl; always 1.");
        let _ = writeln!(text, "{RECEIPT_INFO}{{sha256=\"{receipt}\"}} 1");
    }
    text
}

impl Before {
    /// Reads it from the text of such a file; what is not understood is none.
    pub fn read(text: &str) -> Self {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let time = value(LAST_SUCCESS).and_then(|value| value.strip_prefix(' ')?.trim().parse().ok());
        let label =
            value(RECEIPT_INFO).and_then(|value| value.strip_prefix("{sha256=\"")?.strip_suffix("\"} 1"));
        let is_hash = |hash: &&str| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        Self {
            last_success: time.filter(|time: &f64| time.is_finite() && *time >= 0.0).unwrap_or_default(),
            receipt: label.filter(is_hash).map(str::to_owned),
        }
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn each_number_has_its_name_help_and_type() {
        let counts = Counts { rows: 15, stored: 1, skipped: 2, duplicate: 3, failed: 4, untried: 5 };
        let numbers = Numbers {
            counts,
            bytes: 1 << 40,
            api_requests: 6,
            api_429: 7,
            retries: 8,
            allowance_share: 0.375,
            seconds: 9.25,
        };
        let before = Before { last_success: 0.0, receipt: Some("ab".repeat(32)) };
        assert_snapshot!(text(&numbers, 1_790_000_000.5, &before, Some(3)), @r#"
        # HELP exporter_rows Rows of the manifest by state.
        # TYPE exporter_rows gauge
        exporter_rows{state="stored"} 1
        exporter_rows{state="skipped"} 2
        exporter_rows{state="duplicate"} 3
        exporter_rows{state="failed"} 4
        exporter_rows{state="untried"} 5
        # HELP exporter_bytes Bytes of the images that the run delivered.
        # TYPE exporter_bytes gauge
        exporter_bytes 1099511627776
        # HELP exporter_api_requests Requests to the API, retries too.
        # TYPE exporter_api_requests gauge
        exporter_api_requests 6
        # HELP exporter_api_429 Answers of the API with status 429, too many requests.
        # TYPE exporter_api_429 gauge
        exporter_api_429 7
        # HELP exporter_retries Attempts beyond the first of an image.
        # TYPE exporter_retries gauge
        exporter_retries 8
        # HELP exporter_allowance_share Requests to the API as a share of what the allowance permits from the first to the last, 0 to 1.
        # TYPE exporter_allowance_share gauge
        exporter_allowance_share 0.375
        # HELP exporter_run_seconds How long the run took, or has taken so far.
        # TYPE exporter_run_seconds gauge
        exporter_run_seconds 9.250
        # HELP exporter_last_run_timestamp_seconds Unix time when the newest run ended; while it is going on, when this was written.
        # TYPE exporter_last_run_timestamp_seconds gauge
        exporter_last_run_timestamp_seconds 1790000000.500
        # HELP exporter_last_success_timestamp_seconds Unix time when the newest run with exit code 0 ended; 0: none.
        # TYPE exporter_last_success_timestamp_seconds gauge
        exporter_last_success_timestamp_seconds 0.000
        # HELP exporter_exit_code Exit code of the newest run; missing while it is going on.
        # TYPE exporter_exit_code gauge
        exporter_exit_code 3
        # HELP exporter_receipt_info SHA-256 of the newest line of receipts.jsonl; always 1.
        # TYPE exporter_receipt_info gauge
        exporter_receipt_info{sha256="abababababababababababababababababababababababababababababababab"} 1
        "#);
    }

    #[test]
    fn the_exit_code_is_missing_while_the_run_is_going_on() {
        let text = text(&Numbers::default(), 1.0, &Before::default(), None);
        assert!(!text.contains("exporter_exit_code") && !text.contains("receipt"));
    }

    #[test]
    fn what_outlives_a_run_is_read_back_and_nonsense_is_none() {
        let before = Before { last_success: 1_790_000_000.25, receipt: Some("0f".repeat(32)) };
        assert_eq!(Before::read(&text(&Numbers::default(), 2e9, &before, None)), before);
        for value in ["", " ", " NaN", " +Inf", " -1", " x", "{a=\"b\"} 5"] {
            assert_eq!(Before::read(&format!("{LAST_SUCCESS}{value}\n")), Before::default(), "{value}");
        }
        for value in ["", " 1", "{sha256=\"\"} 1", "{sha256=\"x\"} 1"] {
            assert_eq!(Before::read(&format!("{RECEIPT_INFO}{value}\n")), Before::default(), "{value}");
        }
    }
}
