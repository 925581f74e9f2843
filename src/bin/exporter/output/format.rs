//! Numbers as people read them. Pure.

use std::fmt::Write as _;

use exporter::ledger::Pace;
pub use exporter::number::{approximate, bytes, count, counted, duration};
use unicode_width::UnicodeWidthStr;

/// `1 retry`, `2 retries`.
pub fn retries(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "retry" } else { "retries" })
}

/// A rate: `0.4`, `16.7`, `250`.
pub fn per_second(rate: f64) -> String {
    if rate < 99.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// A table: columns as wide as their widest cell, two blanks between them, the last one as it is.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let widest = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(widest);
    let mut text = String::new();
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            text.push_str(cell);
            if at + 1 < N {
                text.extend(std::iter::repeat_n(' ', width - cell.width() + 2));
            }
        }
        text.push('\n');
    }
    text
}

/// `32 downloading, 3 asking, 200 waiting for the allowance (up to 48 in flight)`: what the rows that were started do.
pub fn pace(pace: &Pace) -> String {
    let others = [
        (pace.asking, "asking"),
        (pace.ready, "with a URL"),
        (pace.waiting, "waiting for the allowance"),
        (pace.queued, "queued"),
    ];
    let mut text = format!("{} downloading", count(pace.downloading));
    for (rows, doing) in others.into_iter().filter(|(rows, _)| *rows > 0) {
        let _ = write!(text, ", {} {doing}", count(rows));
    }
    let _ = write!(text, " (up to {} in flight)", count(pace.concurrency));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_on_the_terminal() {
        let rows = [["by", "ended"], ["病院", "0"], ["a", "1"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "by    ended\n病院  0\na     1\n");
    }
}
