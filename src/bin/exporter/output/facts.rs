//! The answer of a command for people: a headline, below it one fact a line, `name` in a column of its own. Pure.

use std::fmt::{Display, Write as _};

use super::format;

/// Where values start, unless a longer name moves them to the right.
const WIDTH_MIN: usize = 10;

/// Text that grows line by line.
#[derive(Debug)]
pub struct Facts {
    headline: String,
    lines: Vec<(String, String)>,
}

impl Facts {
    /// Starts with the headline.
    pub fn new(headline: impl Display) -> Self {
        Self { headline: headline.to_string(), lines: Vec::new() }
    }

    /// Adds the line `name      value`.
    pub fn add(&mut self, name: &str, value: impl Display) {
        self.lines.push((name.to_owned(), value.to_string()));
    }

    /// Adds a line below the last value, for a command that a narrow terminal should not wrap.
    pub fn add_below(&mut self, value: impl Display) {
        self.add("", value);
    }

    /// All lines.
    pub fn into_text(self) -> String {
        let longest = self.lines.iter().map(|(name, _)| name.len() + 1).max();
        let width = longest.unwrap_or_default().max(WIDTH_MIN);
        let mut text = format!("{}\n", self.headline);
        for (name, value) in self.lines {
            let _ = writeln!(text, "{name:<width$}{value}");
        }
        text
    }
}

/// `50,000 = 40,000 stored + 9,000 skipped + 1,000 duplicate`, without the parts that are zero.
pub fn sum(total: u64, parts: &[(u64, &str)]) -> String {
    format!("{} = {}", format::count(total), counts(parts, " + "))
}

/// `2 missing, 1 changed`, without those that are zero.
pub fn counts(parts: &[(u64, &str)], separator: &str) -> String {
    let shown: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{} {what}", format::count(*number)))
        .collect();
    shown.join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_start_in_one_column_and_zeros_are_left_out() {
        let mut facts = Facts::new("all well");
        facts.add("rows", sum(1_003, &[(1_000, "stored"), (0, "failed"), (3, "skipped")]));
        facts.add("delivered", "5.0 GiB in all");
        facts.add_below("exporter run");
        insta::assert_snapshot!(facts.into_text(), @"
        all well
        rows      1,003 = 1,000 stored + 3 skipped
        delivered 5.0 GiB in all
                  exporter run
        ");
    }
}
